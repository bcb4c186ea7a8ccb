package persistence

import (
	"math"
	"strings"
	"testing"

	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/lab/record"
	"github.com/weir-project/weir/internal/lab/setting"
)

func seenPersistence() *seen {
	return &seen{rounds: []round{{records: 10, killed: true, first: 1}, {records: 20, killed: true, first: 2}},
		records: 30, counted: 30, verify: "ok", orderly: true, finished: true}
}

func TestPersistenceJudge(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		do   func(*seen)
		want record.Verdict
		says string
	}{
		{"as it should be", func(*seen) {}, record.Holds, "all 6"},
		{"a record is gone", func(o *seen) { o.rounds[0].gone = 1 }, record.DoesNotHold, "1 gone"},
		{"a record is another", func(o *seen) { o.rounds[1].changed = 1 }, record.DoesNotHold, "1 changed"},
		{"gone, and it never came back", func(o *seen) { o.rounds[1].gone = 2; o.finished = false }, record.DoesNotHold, "2 gone"},
		{"a group went back", func(o *seen) { o.rounds[1].back = 1 }, record.DoesNotHold, "1 partitions"},
		{"one twice", func(o *seen) { o.doubled = 1 }, record.DoesNotHold, "1 duplicated"},
		{"counts differ", func(o *seen) { o.miscounted = 1 }, record.DoesNotHold, "1, of 30"},
		{"nothing counted", func(o *seen) { o.counted = 0 }, record.DoesNotHold, "of 0"},
		{"verify disagrees", func(o *seen) { o.verify = "1 lost" }, record.DoesNotHold, "1 lost"},
		{"it does not end", func(o *seen) { o.orderly = false }, record.DoesNotHold, "cleanly: false"},
		{"one was not killed", func(o *seen) { o.rounds[0].killed = false }, record.Inconclusive, "something went on"},
		{"nothing to destroy", func(o *seen) { o.rounds[0].records = 0 }, record.Inconclusive, "at least 1 record"},
		{"killed once only", func(o *seen) { o.rounds = o.rounds[:1] }, record.Inconclusive, "1 times"},
	} {
		o := seenPersistence()
		tt.do(o)
		r := &lab.Report{}
		o.measure(r)
		o.judge(r, 2)
		if r.Conclude(); r.Verdict != tt.want || !strings.Contains(r.Reason, tt.says) {
			t.Errorf("%s: %s: %s; want %s with %q", tt.name, r.Verdict, r.Reason, tt.want, tt.says)
		}
	}
}

func TestRetentionJudge(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		do   func(*retentionSeen)
		want record.Verdict
		says string
	}{
		{"as it should be", func(*retentionSeen) {}, record.Holds, "all 4"},
		{"one is missing in the middle", func(o *retentionSeen) { o.kept[1] = o.kept[0] }, record.DoesNotHold, "1 wrong"},
		{"an offset was given twice", func(o *retentionSeen) { o.high-- }, record.DoesNotHold, "9"},
		{"too much is removed", func(o *retentionSeen) { o.bytes = 1 << 20 }, record.DoesNotHold, "1024 KiB"},
		{"too little is removed", func(o *retentionSeen) { o.bytes = 9 << 20 }, record.DoesNotHold, "9216 KiB"},
		{"who is behind is served", func(o *retentionSeen) { o.behind = "5 records" }, record.DoesNotHold, "5 records"},
		{"nothing is removed", func(o *retentionSeen) { o.trimmed = false }, record.Inconclusive, "after a minute"},
	} {
		o := &retentionSeen{written: 10, low: 4, high: 10, kept: []int64{4, 5, 6, 7, 8, 9}, bytes: 4 << 20, behind: offsetOutOfRange, trimmed: true}
		tt.do(o)
		r := &lab.Report{}
		o.measure(r)
		o.judge(r)
		if r.Conclude(); r.Verdict != tt.want || !strings.Contains(r.Reason, tt.says) {
			t.Errorf("%s: %s: %s; want %s with %q", tt.name, r.Verdict, r.Reason, tt.want, tt.says)
		}
	}
}

func TestPersistenceSettings(t *testing.T) {
	t.Parallel()
	for says, do := range map[string]func(*Settings){
		"":           func(*Settings) {},
		"--rate":     func(s *Settings) { s.Rate = math.NaN() },
		"--kills 0 ": func(s *Settings) { s.Kills = 0 },
		"--between":  func(s *Settings) { s.Between = 0 },
		`"burn"`:     func(s *Settings) { s.Break = "burn" },
		"no program": func(s *Settings) { s.SetProgram("") },
	} {
		s := setting.New[Settings]()
		s.SetProgram("weir")
		do(s)
		if err := Lab.With(s).Check(); (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("want an error with %q, got %v", says, err)
		}
	}
}

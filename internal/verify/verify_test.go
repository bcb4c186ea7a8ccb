package verify_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/verify"
)

// want is what a report must say. Fields that are zero must be zero.
type want struct {
	events, foreign, lost, doubled, miscounted, disordered, faults int64
	gaps, dead, trimmed, unverifiable, uncounted                   int64
	problem                                                        string // part of a problem's text
	note                                                           string // part of a note
}

func check(t *testing.T, got verify.SourceReport, w want) {
	t.Helper()
	have := want{events: got.Events, foreign: got.Foreign, lost: got.Lost, doubled: got.Doubled, miscounted: got.Miscounted,
		disordered: got.Disordered, faults: got.Faults, gaps: got.Gaps, dead: got.DeadLetters, trimmed: got.Trimmed,
		unverifiable: got.Unverifiable, uncounted: got.Uncounted, problem: w.problem, note: w.note}
	if have != w {
		t.Errorf("got  %+v\nwant %+v", have, w)
	}
	var problems []string
	for _, p := range got.Problems {
		problems = append(problems, fmt.Sprintf("%s %s/%d@%d: %s", p.What, p.Topic, p.Partition, p.Offset, p.Text))
	}
	if wrong := w.lost+w.doubled+w.miscounted+w.disordered+w.faults > 0; got.OK == wrong || wrong != (len(problems) > 0) {
		t.Errorf("ok is %v, problems %q", got.OK, problems)
	}
	if !strings.Contains(strings.Join(problems, "\n"), w.problem) {
		t.Errorf("no problem says %q: %q", w.problem, problems)
	}
	if !strings.Contains(strings.Join(got.Notes, "\n"), w.note) {
		t.Errorf("no note says %q: %q", w.note, got.Notes)
	}
	if t.Failed() {
		t.Logf("problems %q\nnotes %q", problems, got.Notes)
	}
}

func TestCleanPipeline(t *testing.T) {
	h := newHouse(t)
	h.fill(100)
	if err := h.transaction(t.Context(), true, false, item{}, item{}); err != nil { // aborted, and numbered again
		t.Fatal(err)
	}
	h.seqs[dataTopic] -= 2
	h.counts[dataTopic]["create"] -= 2
	h.commit(item{topic: "bluesky-accounts", kind: "account"}, item{topic: "bluesky-accounts", kind: "identity", partition: 1})
	h.fill(11)
	h.count()
	check(t, h.verify(), want{events: 113})
}

// TestDamage plants each kind of damage and finds it, and nothing else.
func TestDamage(t *testing.T) {
	// In each case 40 events are written, then the damage, then ten more events,
	// and everything that is there is counted.
	tests := []struct {
		name   string
		damage func(h *house)
		after  func(h *house) // once everything was counted
		want   want
	}{
		{name: "lost event", damage: func(h *house) { h.commit(item{}, item{lost: true}, item{}) },
			want: want{events: 52, lost: 1, problem: "seq 41 is missing"}},
		{name: "lost events of the account topic", damage: func(h *house) {
			h.commit(item{topic: "bluesky-accounts"}, item{topic: "bluesky-accounts", lost: true}, item{topic: "bluesky-accounts", lost: true})
		}, want: want{events: 51, lost: 2, problem: "seq 1 to 2 are missing"}},
		{name: "same seq twice", damage: func(h *house) { h.commit(item{seq: num(7), id: 8, silent: true, partition: 1}) },
			want: want{events: 51, doubled: 1, disordered: 0, problem: "seq 7 is stored again"}},
		{name: "same event under another seq", damage: func(h *house) { h.commit(item{id: 40, at: epoch.Add(50 * time.Second)}) },
			want: want{events: 51, doubled: 1, problem: "under another seq"}},
		{name: "same event again much later", damage: func(h *house) { h.commit(item{id: 40, at: epoch.Add(2 * time.Hour)}) },
			want: want{events: 51, doubled: 1, problem: "the same event as at offset"}},
		{name: "same event in another partition", damage: func(h *house) { h.commit(item{id: 1, partition: 2}) },
			want: want{events: 51, doubled: 1, problem: "of partition 0, under another seq"}},
		{name: "same event in another topic", damage: func(h *house) { h.commit(item{id: 1, topic: "bluesky-accounts"}) },
			want: want{events: 51, doubled: 1, problem: "of bluesky-events partition 0, under another seq"}},
		{name: "same event under the same seq and another", damage: func(h *house) {
			// The first copy is in the partition of the original, so that the order of reading is fixed.
			h.commit(item{id: 7, seq: num(6), silent: true}, item{id: 7, partition: 1})
		}, want: want{events: 52, doubled: 2, problem: "under another seq"}},
		{name: "order", damage: func(h *house) { h.commit(item{seq: num(41)}, item{seq: num(40)}) },
			want: want{events: 52, disordered: 1, problem: "seq 40 comes after 41"}},
		{name: "cursor ahead", damage: func(h *house) {}, after: func(h *house) {
			h.commit(item{lost: true}, item{lost: true}, item{lost: true})
		}, want: want{events: 50, lost: 3, problem: "seq 50 to 52 are missing"}},
		{name: "cursor behind", damage: func(h *house) {}, after: func(h *house) {
			h.seqs[dataTopic] -= 2
			h.counts[dataTopic]["update"]-- // the last two that were filled in
			h.counts[dataTopic]["delete"]--
			h.commit()
		}, want: want{events: 50, faults: 2, problem: "the cursor is behind its topic"}},
		{name: "cursor counts another number", after: func(h *house) {
			h.counts[dataTopic]["create"]++
			h.commit()
		}, want: want{events: 50, faults: 1, problem: "has counted 51 events and numbered 50"}},
		{name: "cursor counts another kind", after: func(h *house) {
			h.counts[dataTopic]["create"]++
			h.counts[dataTopic]["delete"]--
			h.commit()
		}, want: want{events: 50, miscounted: 2, problem: `the cursor has counted 31 of "create", the topic holds 30`}},
		{name: "count off by one", after: func(h *house) { h.redis.HIncrBy(key(1), "k:create", -1) },
			want: want{events: 50, miscounted: 1, problem: `of "create", there are`}},
		{name: "count of another kind", after: func(h *house) {
			h.redis.HIncrBy(key(2), "k:create", -1)
			h.redis.HIncrBy(key(2), "k:delete", 1)
		}, want: want{events: 50, miscounted: 2}},
		{name: "kind that does not occur", after: func(h *house) { h.redis.HSet(key(2), "k:like", "1") },
			want: want{events: 50, miscounted: 1, problem: `has counted 1 of "like", there are 0`}},
		{name: "position without the count", after: func(h *house) {
			h.commit(item{partition: 2})
			h.redis.HIncrBy(key(2), "next", 2) // marker and record
		}, want: want{events: 51, miscounted: 1}},
		{name: "count of another group", after: func(h *house) {
			h.tally("mine", 0, "", 0, 3, map[string]int64{"create": 2})
		}, want: want{events: 50, miscounted: 1, problem: "group mine has counted"}},
		{name: "header and value disagree", damage: func(h *house) { h.commit(item{kind: "create", header: "delete"}) },
			want: want{events: 51, miscounted: 1 + 2, problem: `its header says "delete", its value "create"`}},
		{name: "counted past the end", after: func(h *house) { h.redis.HSet(key(0), "next", "9999") },
			want: want{events: 50, faults: 1, problem: "the log ends at"}},
		{name: "partition that does not exist", after: func(h *house) { h.tally(group, 17, "", 0, 3, map[string]int64{"create": 3}) },
			want: want{events: 50, faults: 1, problem: "of a partition that does not exist"}},
		{name: "another topic of the same name", after: func(h *house) { h.redis.HSet(key(0), "topic_id", "00000000-0000-0000-0000-000000000001") },
			want: want{events: 50, faults: 1, problem: "created again"}},
		{name: "gap and dead letters", damage: func(h *house) {
			h.commit(item{topic: "weir.dead-letters", kind: "gap"}, item{topic: "weir.dead-letters", kind: "malformed"},
				item{topic: "weir.dead-letters", kind: "malformed"}, item{topic: "weir.dead-letters", kind: "too-large"})
		}, want: want{events: 50, gaps: 1, dead: 3}},
		{name: "lost dead letter", damage: func(h *house) {
			h.commit(item{topic: "weir.dead-letters", kind: "malformed"}, item{topic: "weir.dead-letters", kind: "malformed", lost: true})
		}, want: want{events: 50, dead: 1, lost: 1}},
		{name: "dead letter of another source", damage: func(h *house) {
			h.commit(item{topic: "weir.dead-letters", kind: "malformed", source: "wikipedia", silent: true, partition: 1})
		}, want: want{events: 50}},
		{name: "records of others", damage: func(h *house) { h.commit(item{foreign: true}, item{foreign: true, kind: "update"}) },
			want: want{events: 52, foreign: 2, note: "written by other programs"}},
		{name: "records of others, miscounted", damage: func(h *house) { h.commit(item{foreign: true, kind: "repost"}) },
			after: func(h *house) { h.redis.HIncrBy(key(0), "k:repost", 1) },
			want:  want{events: 51, foreign: 1, miscounted: 1}},
		{name: "not counted yet", after: func(h *house) { h.commit(item{}, item{}) },
			want: want{events: 52, uncounted: 2, note: "has yet to count 2 records"}},
		{name: "Redis empty", after: func(h *house) { h.redis.FlushAll() },
			want: want{events: 50, uncounted: 50, note: "has counted nothing yet"}},
		{name: "Redis has lost what Kafka was told", after: func(h *house) {
			offsets := kadm.Offsets{}
			offsets.AddOffset(dataTopic, 0, 5, -1)
			if err := h.admin.CommitAllOffsets(h.t.Context(), group, offsets); err != nil {
				h.t.Fatal(err)
			}
			h.redis.FlushAll()
		}, want: want{events: 50, uncounted: 50, faults: 1, problem: "Redis has lost counts"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			h.fill(40)
			if test.damage != nil {
				test.damage(h)
			}
			h.fill(10)
			h.count()
			if test.after != nil {
				test.after(h)
			}
			check(t, h.verify(), test.want)
		})
	}
}

func TestWithoutCursor(t *testing.T) {
	h := newHouse(t)
	for range 5 {
		if err := h.transaction(t.Context(), false, true, item{}, item{partition: 1}); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.transaction(t.Context(), false, true, item{lost: true}, item{}); err != nil {
		t.Fatal(err)
	}
	h.count()
	check(t, h.verify(), want{events: 11, faults: 1, lost: 1, problem: "there is no cursor"})
}

func TestNothingThere(t *testing.T) {
	h := newHouse(t)
	if _, err := h.admin.DeleteTopics(t.Context(), dataTopic, "bluesky-accounts", "weir.cursors", "weir.dead-letters"); err != nil {
		t.Fatal(err)
	}
	check(t, h.verify(), want{note: "does not exist yet"})
}

func TestTopicGone(t *testing.T) {
	h := newHouse(t)
	h.fill(20)
	if _, err := h.admin.DeleteTopic(t.Context(), dataTopic); err != nil {
		t.Fatal(err)
	}
	check(t, h.verify(), want{lost: 20, problem: "the topic does not exist"})
}

// TestTrimmed deletes the beginning of partitions: what is gone is told apart
// from what is lost, and the counts are still proven.
func TestTrimmed(t *testing.T) {
	tests := []struct {
		name   string
		damage func(h *house)
		want   want
	}{
		{name: "clean", want: want{trimmed: -1, note: "no longer kept"}},
		{name: "lost after what is gone", damage: func(h *house) { h.commit(item{lost: true}, item{}) },
			want: want{trimmed: -1, lost: 1, unverifiable: -1}},
		{name: "miscounted", damage: func(h *house) { h.redis.HIncrBy(key(0), "k:create", 1) },
			want: want{trimmed: -1, miscounted: 1, problem: "were ever written"}},
		{name: "less than what is kept", damage: func(h *house) { h.redis.HSet(key(0), "k:create", "1") },
			want: want{trimmed: -1, miscounted: -1}},
		{name: "cursor rebuilt from what is kept", damage: func(h *house) {
			h.counts[dataTopic]["create"]--
			h.counts[dataTopic]["(deleted)"]++
			h.commit()
		}, want: want{trimmed: -1, unverifiable: -1, note: "cannot be recounted: the cursor was rebuilt when 1 of them"}},
		{name: "records of others", damage: func(h *house) { h.commit(item{foreign: true}) },
			want: want{trimmed: -1, foreign: 1, uncounted: 1, unverifiable: -1, note: "cannot be recounted: other programs wrote to the topic"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			h.fill(90)
			h.count()
			h.fill(9) // yet to count
			if test.damage != nil {
				test.damage(h)
			}
			before := h.numbered(dataTopic)
			h.trim(dataTopic, 0, 20)
			h.trim(dataTopic, 1, 10)
			gone := before - h.numbered(dataTopic)
			if gone < 20 {
				t.Fatalf("only %d events were deleted: nothing would be proven", gone)
			}
			got, w := h.verify(), test.want
			w.events, w.uncounted = got.Events, got.Uncounted // the subject of other tests
			if w.trimmed < 0 {
				w.trimmed = gone
			}
			if w.miscounted < 0 && got.Miscounted > 3 {
				w.miscounted = got.Miscounted
			}
			if w.unverifiable < 0 && got.Unverifiable > 0 {
				w.unverifiable = got.Unverifiable
			}
			check(t, got, w)
		})
	}
}

// numbered counts the committed records of a topic that have a seq, as a client
// sees them.
func (h *house) numbered(topic string) (n int64) {
	h.t.Helper()
	cl := h.client(kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
	ends, err := h.admin.ListEndOffsets(h.t.Context(), topic)
	if err != nil {
		h.t.Fatal(err)
	}
	left := 0
	at := map[int32]bool{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left++
		}
	})
	for left > 0 {
		fetches := cl.PollFetches(h.t.Context())
		if err := fetches.Err(); err != nil {
			h.t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			for _, header := range r.Headers {
				if header.Key == "seq" {
					n++
				}
			}
			if end, _ := ends.Lookup(topic, r.Partition); r.Offset == end.Offset-1 && !at[r.Partition] {
				at[r.Partition] = true
				left--
			}
		})
	}
	return n
}

// TestDeletedCompletely: where nothing of a partition is left, everything that is
// missing may have been there, but no more than it held.
func TestDeletedCompletely(t *testing.T) {
	h := newHouse(t)
	h.fill(30)
	h.count()
	ends, err := h.admin.ListEndOffsets(t.Context(), dataTopic)
	if err != nil {
		t.Fatal(err)
	}
	end, _ := ends.Lookup(dataTopic, 0)
	h.trim(dataTopic, 0, end.Offset)
	check(t, h.verify(), want{events: 20, trimmed: 10})
	many := make([]item, 100)
	for i := range many {
		many[i].lost = true
	}
	h.commit(many...)
	check(t, h.verify(), want{events: 20, trimmed: end.Offset, lost: 110 - end.Offset, unverifiable: 10, problem: "offsets were deleted"})
}

// TestOpenTransaction: what another program's open transaction hides is neither
// lost nor an error.
func TestOpenTransaction(t *testing.T) {
	h := newHouse(t)
	h.fill(30)
	other := h.client(kgo.TransactionalID("somebody"))
	if err := other.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := other.ProduceSync(t.Context(), &kgo.Record{Topic: dataTopic, Partition: 1, Value: []byte("{}")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	h.commit(item{partition: 1}, item{partition: 1}, item{partition: 2})
	cfg := h.config()
	cfg.Patience = 300 * time.Millisecond
	got := h.run(cfg).Sources[0]
	check(t, got, want{events: 31, unverifiable: 2, uncounted: 31, note: "a transaction is open since"})
	// Once it ends, verify waits for it and sees everything.
	ended := make(chan error, 1)
	cfg.Patience = 20 * time.Second
	waiting := make(chan struct{})
	go func() {
		<-waiting
		ended <- other.EndTransaction(t.Context(), kgo.TryAbort)
	}()
	told := false
	report, err := verify.Run(t.Context(), cfg, func(p verify.Progress) {
		if strings.Contains(p.Stage, "waiting for open transactions") && !told {
			told = true
			close(waiting)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if !told {
		t.Fatal("the open transaction was not waited for")
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	check(t, report.Sources[0], want{events: 33, uncounted: 33})
}

func TestReportJSON(t *testing.T) {
	h := newHouse(t)
	h.fill(10)
	h.count()
	h.redis.HIncrBy(key(1), "k:create", 3)
	b, err := json.Marshal(h.run(h.config()))
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		OK      *bool `json:"ok"`
		Bluesky struct {
			OK                                                      *bool
			Events, Lost, Doubled, Miscounted, Gaps, DeadLettersRaw *int64
			DeadLetters                                             *int64 `json:"dead_letters"`
		} `json:"bluesky"`
	}
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	s := got.Bluesky
	if got.OK == nil || *got.OK || s.Events == nil || *s.Events != 10 || s.Lost == nil || s.Doubled == nil || s.Miscounted == nil || *s.Miscounted != 3 || s.Gaps == nil || s.DeadLetters == nil {
		t.Errorf("%s", b)
	}
}

func TestConfigErrors(t *testing.T) {
	h := newHouse(t)
	for name, change := range map[string]func(*verify.Config){
		"no source":   func(c *verify.Config) { c.Sources = nil },
		"no classify": func(c *verify.Config) { c.Sources[0].Topics[0].Classify = nil },
		"topic twice": func(c *verify.Config) { c.Sources = append(c.Sources, c.Sources[0]) },
		"no brokers":  func(c *verify.Config) { c.Kafka.Brokers = nil },
	} {
		cfg := h.config()
		change(&cfg)
		if _, err := verify.Run(t.Context(), cfg, nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestReplayedHour stores a part of the events again ten minutes later by their
// own times, which is longer than any window of a duplicate filter.
func TestReplayedHour(t *testing.T) {
	h := newHouse(t)
	write := func(from, to int64, at time.Time) {
		var items []item
		for id := from; id < to; id++ {
			items = append(items, item{id: id, partition: int32(id % dataParts), at: at.Add(time.Duration(id) * time.Millisecond)})
		}
		h.commit(items...)
	}
	write(1, 3001, epoch)
	write(1, 2001, epoch.Add(10*time.Minute))
	h.count()
	report := h.run(h.config())
	check(t, report.Sources[0], want{events: 5000, doubled: 2000, problem: "the same event as at offset"})
	if report.OK {
		t.Error("the report is ok")
	}
	if n := len(report.Sources[0].Problems); n != 10 {
		t.Errorf("%d examples, want 10", n)
	}
}

func TestNoTemporaryDirectory(t *testing.T) {
	h := newHouse(t)
	h.fill(10)
	h.count()
	cfg := h.config()
	cfg.TempDir = t.TempDir() + "/missing"
	if report := h.run(cfg); !report.OK {
		t.Errorf("a short log needs no file: %+v", report)
	}
}

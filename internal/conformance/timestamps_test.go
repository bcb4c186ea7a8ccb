package conformance

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// A timestamp too far ahead of the broker's clock is refused: an hour, unless the
// topic says otherwise (topic config message.timestamp.after.max.ms, KIP-937, KIP-1030).
func TestTimestampAhead(t *testing.T) {
	t.Parallel()
	top := topic(t, 1)
	put := func(ahead time.Duration) int16 {
		t.Helper()
		return send(t, top, 0, batch{id: -1, epoch: -1, sequence: -1, values: []string{"a"}, timestamp: time.Now().Add(ahead)}.bytes()).ErrorCode
	}
	code(t, "half an hour ahead", put(30*time.Minute), nil)
	want := kerr.InvalidTimestamp
	if differs(t, "timestamp-limits") {
		want = nil
	}
	code(t, "two hours ahead", put(2*time.Hour), want)
}

// A batch whose time is refused leaves nothing behind: its transaction can be aborted,
// and the next one commits, since the records that end a transaction have the broker's
// own time. It is taken once the topic allows its time (topic configs
// message.timestamp.before.max.ms and message.timestamp.after.max.ms, KIP-937).
func TestRefusedTimestamps(t *testing.T) {
	t.Parallel()
	top := topic(t, 1, "message.timestamp.before.max.ms", "3600000")
	want := kerr.InvalidTimestamp
	if differs(t, "timestamp-limits") {
		want = nil
	}
	p := initProducer(t, name(t), time.Minute)
	p.must(top, "a")
	p.commit()
	for _, ahead := range []time.Duration{-2 * time.Hour, 2 * time.Hour} {
		p.ahead = ahead
		code(t, fmt.Sprint("a record of ", ahead), p.write(top, "refused"), want)
		p.abort()
		p = initProducer(t, p.txn, time.Minute) // as an ingester does that begins anew
	}
	p.must(top, "b")
	p.commit()
	p.ahead = -2 * time.Hour
	code(t, "a record of the past", p.write(top, "refused"), want)
	p.abort()

	unlimited := strconv.FormatInt(math.MaxInt64, 10)
	rs, err := adm.AlterTopicConfigs(testCtx(t), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "message.timestamp.before.max.ms", Value: &unlimited}}, top)
	if err = errors.Join(err, rs[0].Err); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string {
		if c := p.write(top, "old"); c != 0 {
			p.abort()
			return fmt.Sprint("a record of the past without a limit: ", kerr.ErrorForCode(c))
		}
		return ""
	})
	p.commit()
	eventually(t, func() string {
		var got []string
		for _, r := range read(t, top, 0, committed) {
			got = append(got, string(r.Value))
		}
		if fmt.Sprint(got) != "[a b old]" {
			return fmt.Sprintf("read_committed: %q", got)
		}
		return ""
	})
}

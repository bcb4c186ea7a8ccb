package latency

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/kafka"
)

// stageNames lists the names of all.
func stageNames() (names []string) {
	for s := range stages {
		names = append(names, s.String())
	}
	return names
}

// batch is events as a source hands them over, the last with a number of the server.
func batch(last int64, routes ...event.Route) *event.Batch {
	b := event.NewBatch()
	for _, r := range routes {
		b.Add().Route = r
	}
	b.Cursor.Seq = last
	return b
}

func stored(seq int, partition int32, offset int64) *kgo.Record {
	return &kgo.Record{Topic: kafka.TopicBluesky, Partition: partition, Offset: offset,
		Headers: []kgo.RecordHeader{{Key: kafka.HeaderSeq, Value: []byte(strconv.Itoa(seq))}}}
}

// way lets the events of two batches pass the stages, each of which takes a time of its own,
// with a delay in one of them, and returns the milliseconds in each stage.
func way(t *testing.T, broken stage, delay time.Duration) (p *probe, out [stages]int64) {
	t.Helper()
	took := [stages]time.Duration{3 * time.Millisecond, 50 * time.Millisecond, 7 * time.Millisecond, 2 * time.Millisecond, time.Millisecond}
	took[broken] += delay
	p = newProbe()
	due := p.now()
	time.Sleep(took[socket])
	p.received(batch(902, event.Data, event.Account, event.Data)) // numbers 0 to 2; 900 is the server's first
	p.received(batch(902, event.Data))                            // sent again after a reconnect
	time.Sleep(took[queue])
	w, r := producing{p}, fetching{p}
	for seq := range 2 {
		w.OnProduceRecordBuffered(stored(seq, 0, 0))
	}
	w.OnProduceRecordBuffered(&kgo.Record{Topic: kafka.TopicCursors})
	w.OnBrokerE2E(kgo.BrokerMetadata{}, int16(kmsg.Produce), kgo.BrokerE2E{})
	w.OnBrokerE2E(kgo.BrokerMetadata{}, int16(kmsg.EndTxn), kgo.BrokerE2E{}) // the answer is: later
	time.Sleep(took[transaction])
	w.OnBrokerE2E(kgo.BrokerMetadata{}, int16(kmsg.EndTxn), kgo.BrokerE2E{})
	p.received(batch(903, event.Data))
	w.OnProduceRecordBuffered(stored(2, 0, 0)) // the next transaction
	time.Sleep(took[fetch])
	r.OnFetchRecordBuffered(stored(0, 4, 10))
	r.OnFetchRecordBuffered(stored(1, 4, 12))
	time.Sleep(took[redis])
	p.count(3, 100) // another partition
	p.count(4, 12)  // the first of them
	if p.all(4) || p.counted != 1 {
		t.Errorf("%d are counted, want 1 of 3", p.counted)
	}
	p.count(4, 13)
	if p.all(4) || p.counted != 2 {
		t.Errorf("%d are counted, want 2 of 3", p.counted)
	}
	for i, us := range p.passed[1].times(due) {
		out[i] = us / 1000
	}
	r.OnFetchRecordBuffered(stored(2, 1, 0)) // before the response to its commit
	time.Sleep(time.Millisecond)
	w.OnBrokerE2E(kgo.BrokerMetadata{}, int16(kmsg.EndTxn), kgo.BrokerE2E{})
	p.count(1, 1)
	return p, out
}

func TestEachStageTakesItsOwnTime(t *testing.T) {
	for broken := range stages {
		t.Run(broken.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				want := [stages]int64{3, 50, 7, 2, 1}
				want[broken] += 300
				p, got := way(t, broken, 300*time.Millisecond)
				if got != want {
					t.Errorf("ms in %v: %v, want %v", stageNames(), got, want)
				}
				if !p.all(4) || p.all(5) || len(p.numbers) != 3 || p.numbers[1] != 2 || p.numbers[2] != 3 {
					t.Errorf("events of the data topic have the numbers %v, want 0, 2 and 3; the next is %d, want 4", p.numbers, p.next)
				}
				if times := p.passed[2].times(p.passed[2][queue]); times[fetch] != 0 || times[transaction] < 0 {
					t.Errorf("a record that came before the response to its commit has %v µs in its stages", times)
				}
			})
		})
	}
}

func TestWhatIsNoEventIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := way(t, redis, 0)
		r := fetching{p}
		r.OnFetchRecordBuffered(stored(3, 0, 50)) // there were three events
		r.OnFetchRecordBuffered(&kgo.Record{Topic: kafka.TopicBluesky})
		r.OnFetchRecordBuffered(&kgo.Record{Topic: kafka.TopicBlueskyAccounts})
		r.OnFetchRecordBuffered(stored(0, 4, 10))
		if p.unknown != 2 || p.again != 1 || p.counted != 3 {
			t.Errorf("%d unknown, %d again, %d counted; want 2, 1, 3", p.unknown, p.again, p.counted)
		}
	})
}

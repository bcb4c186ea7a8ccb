package batching

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/lab/kit"
)

// delivery is a way to write through a network that cuts connections.
type delivery string

const (
	deliverSafe  delivery = "cut, idempotent"
	deliverOnce  delivery = "cut, acks=1"
	deliverNever delivery = "cut, acks=0"
)

func (d delivery) setting() ProducerSetting {
	s := BaseSetting()
	s.Linger, s.Idempotent = 5*time.Millisecond, d == deliverSafe
	s.Acks = map[delivery]string{deliverSafe: "all", deliverOnce: "1", deliverNever: "0"}[d]
	return s
}

// deliverySeen is what was seen of one.
type deliverySeen struct {
	of                delivery
	written, refused  int64
	swallowed, voided int64 // requests that did not arrive, and responses that did not come back
	kit.Contents
}

// deliver writes through a network that swallows requests and loses responses.
func (x *run) deliver(ctx context.Context, d delivery) (*deliverySeen, error) {
	x.b.Begin(string(d), time.Now())
	x.b.Progress(string(d) + ": writing through connections that are cut")
	net := kit.NewNetwork()
	if x.s.Break != kit.BreakIdle {
		net.CutEvery = 6
	}
	w, err := x.numbered(ctx, append(d.setting().options(), net.Option())...)
	if err != nil {
		return nil, err
	}
	defer w.cl.Close()
	if err := cmp.Or(w.pace(ctx, 1000, time.Second), w.flush(ctx)); err != nil {
		return nil, err
	}
	_, refused := w.results()
	seen := net.State()
	o := &deliverySeen{of: d, written: w.next, refused: refused, swallowed: seen.Swallowed, voided: seen.Voided}
	if x.s.Break == BreakTwice && d == deliverSafe {
		if err := w.again(ctx); err != nil {
			return nil, err
		}
	}
	if err := x.replicated(ctx, w.topic); err != nil {
		return nil, err
	}
	o.Contents, err = x.readBack(ctx, w.topic, o.written)
	return o, err
}

// replicated waits until every replica has what the leaders have. Consumers are shown no more
// than that, and a producer with acks=1 has not waited for it: what is on its way to the
// followers is not lost. A record in each partition that all have acknowledged comes after
// whatever was there.
func (x *run) replicated(ctx context.Context, topic string) error {
	cl, err := x.e.Kafka.NewClient(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer cl.Close()
	var last []*kgo.Record
	for p := range int32(topicPartitions) {
		last = append(last, &kgo.Record{Topic: topic, Partition: p})
	}
	if err := cl.ProduceSync(ctx, last...).FirstErr(); err != nil {
		return fmt.Errorf("wait for the replicas of %s: %w", topic, err)
	}
	return nil
}

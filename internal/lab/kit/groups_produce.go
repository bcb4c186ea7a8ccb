package kit

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// producer writes events at a rate until it is stopped.
type producer struct {
	cancel context.CancelFunc
	ended  chan struct{}
	once   sync.Once
	err    error
}

// produce starts it. What is acknowledged is noted as what there is.
func (g *groupsRun) produce(ctx context.Context, events []payload) (*producer, error) {
	cl, err := g.kafka.NewClient(kgo.DefaultProduceTopic(groupsTopic), kgo.ProducerLinger(5*time.Millisecond), kgo.MaxBufferedRecords(1<<20))
	if err != nil {
		return nil, err
	}
	p := &producer{ended: make(chan struct{})}
	writing, cancel := context.WithCancel(ctx)
	p.cancel = cancel
	go func() {
		defer close(p.ended)
		defer cl.Close()
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		start, sent := time.Now(), 0
		for {
			select {
			case <-writing.Done():
				flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
				defer cancel()
				p.fail(cl.Flush(flush))
				return
			case <-tick.C:
			}
			for due := int(time.Since(start).Seconds() * g.s.Rate); sent < due; sent++ {
				x := &events[sent%len(events)]
				cl.Produce(context.WithoutCancel(ctx), &kgo.Record{Key: x.key, Value: x.value}, func(r *kgo.Record, err error) {
					if err != nil {
						p.fail(err)
						return
					}
					g.mu.Lock()
					defer g.mu.Unlock()
					g.sent++
					g.truth[x.kind]++
					g.ends[r.Partition] = max(g.ends[r.Partition], r.Offset+1)
				})
			}
		}
	}()
	return p, nil
}

// fail keeps the first error.
func (p *producer) fail(err error) {
	if err != nil {
		p.once.Do(func() { p.err = fmt.Errorf("write events: %w", err) })
	}
}

// stop ends it once everything is acknowledged. It may be called again.
func (p *producer) stop() error {
	p.cancel()
	<-p.ended
	return p.err
}

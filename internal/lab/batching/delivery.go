package batching

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-project/weir/internal/lab/kit"
)

// errCut is what a client sees of a connection that was cut.
var errCut = errors.New("the lab has cut this connection")

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
	n := &cutter{every: 6}
	if x.s.Break == kit.BreakIdle {
		n.every = 0
	}
	w, err := x.numbered(ctx, append(d.setting().options(), kit.Dialed(n.dialed))...)
	if err != nil {
		return nil, err
	}
	defer w.cl.Close()
	if err := cmp.Or(w.pace(ctx, 1000, time.Second), w.flush(ctx)); err != nil {
		return nil, err
	}
	_, refused := w.results()
	o := &deliverySeen{of: d, written: w.next, refused: refused}
	n.mu.Lock()
	o.swallowed, o.voided = n.swallowed, n.voided
	n.mu.Unlock()
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

// cutter is a network that cuts a connection at every so many Produce requests: in turns
// it swallows the request, and loses the response.
type cutter struct {
	every int // 0: never

	mu                sync.Mutex
	requests          int
	swallow           bool // the last one was swallowed
	swallowed, voided int64
}

func (n *cutter) dialed(c net.Conn) (net.Conn, error) { return &cutConn{Conn: c, n: n}, nil }

type cutConn struct {
	net.Conn
	n    *cutter
	mute bool // the next response does not arrive; n.mu guards it
}

// Write implements net.Conn. A client writes each request in one call.
func (c *cutConn) Write(p []byte) (int, error) {
	if kit.APIKey(p) != kmsg.Produce {
		return c.Conn.Write(p)
	}
	c.n.mu.Lock()
	c.n.requests++
	cut := c.n.every > 0 && c.n.requests%c.n.every == 0
	if cut {
		c.n.swallow = !c.n.swallow
		if c.n.swallow {
			c.n.swallowed++
			c.n.mu.Unlock()
			_ = c.Close() // as if the cable had been pulled: the client believes it was sent
			return len(p), nil
		}
		c.mute = true
	}
	c.n.mu.Unlock()
	return c.Conn.Write(p)
}

// Read implements net.Conn.
func (c *cutConn) Read(p []byte) (int, error) {
	k, err := c.Conn.Read(p)
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	if c.mute && k > 0 {
		c.n.voided++
		_ = c.Close() // the response is there, and no client may see it
		return 0, errCut
	}
	return k, err
}

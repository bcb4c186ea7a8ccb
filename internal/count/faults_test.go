package count

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-project/weir/internal/redisd"
)

// snapshot and restore of Redis, as an operator or a failover does it.
func (r *rig) snapshot() map[string]map[string]string {
	out := map[string]map[string]string{}
	for _, k := range r.raw.Keys(ctx, "*").Val() {
		out[k] = r.raw.HGetAll(ctx, k).Val()
	}
	return out
}

func (r *rig) restore(snap map[string]map[string]string) {
	r.t.Helper()
	if _, err := r.raw.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.FlushDB(ctx)
		for k, h := range snap {
			p.HSet(ctx, k, h)
		}
		return nil
	}); err != nil {
		r.t.Fatal(err)
	}
}

func TestAnOlderRedisIsCountedUpAgain(t *testing.T) {
	t.Parallel()
	for name, idle := range map[string]bool{"idle": true, "busy": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			m := r.start("")
			r.produce(20)
			r.counted("first")
			old := r.snapshot()
			r.produce(20)
			r.counted("second")
			if idle {
				r.settled(m)
			}
			r.restore(old)
			if !idle {
				r.produce(20)
			}
			r.counted("after the restore")
			r.restore(nil) // everything gone
			if !idle {
				r.produce(20)
			}
			r.counted("after a flush")
			r.settled(m)
			if m.Stats().Refusals == 0 {
				t.Error("the restore was not noticed: the fault did not fire")
			}
		})
	}
}

func TestRestoreUnderLoadWithTwoMembers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.produce(4)
	a, b := r.start(""), r.start("")
	r.eventually("both have partitions", func() bool {
		return len(a.Stats().Partitions) == 2 && len(b.Stats().Partitions) == 2
	})
	var old map[string]map[string]string
	for i := range 60 {
		r.produce(50)
		switch i {
		case 10, 30:
			old = r.snapshot()
		case 20, 40:
			r.restore(old)
		case 50:
			r.restore(nil)
		}
	}
	r.counted("after the load")
	if a.Stats().Refusals+b.Stats().Refusals == 0 {
		t.Error("no restore was noticed: the fault did not fire")
	}
	a.stop()
	r.produce(10)
	r.counted("by the other member")
	r.settled(b)
}

func TestMembersComeAndGo(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	halt := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-halt:
				return
			default:
				r.produce(25)
			}
		}
	})
	a := r.start("")
	r.eventually("alone", func() bool { return len(a.Stats().Partitions) == parts })
	b := r.start("")
	r.eventually("shared", func() bool {
		return len(a.Stats().Partitions) == 2 && len(b.Stats().Partitions) == 2
	})
	a.stop() // swaps all partitions to b
	r.eventually("all at b", func() bool { return len(b.Stats().Partitions) == parts })
	c := r.start("")
	r.eventually("shared again", func() bool { return len(c.Stats().Partitions) == 2 })
	close(halt)
	wg.Wait()
	r.counted("all once")
	<-time.After(3 * quick.check)
	r.counted("and still")
	for _, m := range []*running{a, b, c} {
		if m.Stats().Rebalances < 1 {
			t.Error("a member never had an assignment")
		}
	}
}

// A member that is cut off from Kafka, and does not know that it was replaced,
// still has a batch for Redis: the compare-and-set refuses it.
func TestLateBatchOfALostPartition(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	relay := newRelay(t, r.redis.Addr())
	zombie := r.start(relay.addr())
	r.produce(20)
	r.counted("first")
	relay.hold(true) // Redis is slow for the zombie alone
	r.produce(20)
	r.eventually("the batch is on its way", func() bool { return relay.waiting() > 0 })
	heir := r.start("")
	r.eventually("the heir has partitions", func() bool { return len(heir.Stats().Partitions) > 0 })
	r.eventually("the heir has counted its part", func() bool { return heir.Stats().Events == 10 })
	if zombie.Stats().Events != 20 || relay.waiting() == 0 {
		t.Fatal("the late batch was not late: the fault did not fire")
	}
	r.gate.set(true) // and Kafka gives it up
	r.gate.set(false)
	relay.hold(false)
	r.produce(20)
	r.counted("once")
	zombie.stop()
	r.produce(20)
	r.counted("by the heir")
	r.settled(heir)
}

func TestLostReplies(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	y := newRelay(t, r.redis.Addr())
	m := r.start(y.addr())
	for range 5 {
		y.lose.Store(1)
		r.produce(40)
		r.counted("once")
		r.eventually("the reply was lost", func() bool { return y.lose.Load() == 0 })
	}
	r.settled(m)
	if y.lost.Load() != 5 || m.Stats().Refusals == 0 {
		t.Errorf("%d replies lost, %d refusals", y.lost.Load(), m.Stats().Refusals)
	}
}

func TestRedisAndKafkaAwayForAWhile(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	y := newRelay(t, r.redis.Addr())
	m := r.start(y.addr())
	r.produce(10)
	r.counted("first")

	addr := r.redis.Addr()
	old := r.snapshot()
	_ = r.redis.Close() // memory only: what it knew is gone
	r.produce(10)
	r.eventually("the error is shown", func() bool { return m.Stats().RedisError != "" })
	srv, err := redisd.Open(redisd.Config{Addr: addr})
	if err != nil {
		t.Fatal(err)
	}
	r.redis = srv
	t.Cleanup(func() { _ = srv.Close() })
	r.restore(old)
	r.counted("after Redis came back")
	r.eventually("the error is gone", func() bool { return m.Stats().RedisError == "" })

	r.gate.set(true)
	r.produce(10)
	r.eventually("the error is shown", func() bool { return m.Stats().KafkaError != "" })
	r.gate.set(false)
	r.counted("after Kafka came back")
	r.eventually("the error is gone", func() bool { return m.Stats().KafkaError == "" })
	r.settled(m)
	for _, want := range []string{"server=redis", "server=kafka", "counting goes on"} {
		if !strings.Contains(m.log.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, m.log)
		}
	}
}

// A group that refuses its member leaves the topic as readable as ever, so that only
// the group's own error shows that nothing is counted.
func TestAGroupThatRefusesIsTold(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var refused atomic.Int64
	var allow atomic.Bool
	r.cluster.ControlKey(int16(kmsg.JoinGroup), func(req kmsg.Request) (kmsg.Response, error, bool) {
		r.cluster.KeepControl()
		if allow.Load() {
			return nil, nil, false
		}
		refused.Add(1)
		resp := req.ResponseKind().(*kmsg.JoinGroupResponse)
		resp.ErrorCode = kerr.GroupAuthorizationFailed.Code
		return resp, nil, true
	})
	m := r.start(r.redis.Addr())
	r.produce(10)
	r.eventually("the error is shown", func() bool {
		e := m.Stats().KafkaError
		return strings.Contains(e, "GROUP_AUTHORIZATION_FAILED") && strings.Contains(e, "group "+group) && strings.Contains(e, "weir preflight")
	})
	r.eventually("it is logged", func() bool { return strings.Contains(m.log.String(), "GROUP_AUTHORIZATION_FAILED") })
	allow.Store(true)
	r.counted("after the group was opened")
	r.eventually("the error is gone", func() bool { return m.Stats().KafkaError == "" })
	r.settled(m)
	if refused.Load() == 0 {
		t.Error("nothing was refused")
	}
}

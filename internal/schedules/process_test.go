package schedules

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-project/weir/internal/count"
	"github.com/weir-project/weir/internal/ingest"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/redisd"
	"github.com/weir-project/weir/internal/tally"
)

// process is one that works: an ingester or a member of a group that counts.
type process struct {
	kafka, other *link // other: upstream of an ingester, Redis of a counter
	topic        string
	counter      atomic.Pointer[count.Counter]
	cancel       context.CancelFunc
	done         chan struct{} // closed after err and point are set
	err          error
	point        string // where it died
	killed       atomic.Bool
	stopping     bool
	left         bool // its end is noted
	leftAt       time.Time
	evicted      bool
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// kill ends the process as SIGKILL does: nothing of it reaches anybody any more.
func (p *process) kill() {
	p.killed.Store(true)
	p.kafka.set(true)
	p.other.set(true)
	p.cancel()
}

// died is what a crash point panics with.
type died struct{ point string }

func (s *stage) newProcess() (*process, context.Context) {
	ctx, cancel := context.WithCancel(context.Background())
	return &process{kafka: newLink(s.net.DialContext), other: newLink(s.net.DialContext), cancel: cancel, done: make(chan struct{})}, ctx
}

func (s *stage) config(p *process) kafka.Config {
	return kafka.Config{Brokers: s.brokers, Log: s.log, Opts: []kgo.Opt{kgo.Dialer(p.kafka.DialContext)}}
}

// ingest starts an ingester.
func (s *stage) ingest() {
	p, ctx := s.newProcess()
	i, err := ingest.New(ingest.Config{
		Kafka: s.config(p), Source: s.up.source(s, p.other.DialContext), Pace: s.pace, Log: s.log,
		Topics: ingest.Topics{Data: s.src.data, Account: s.src.account, DeadLetter: kafka.TopicDeadLetters},
	})
	s.check(err)
	s.ingesters = append(s.ingesters, p)
	s.latest.Store(p)
	go func() {
		defer close(p.done)
		defer func() {
			if d := recover(); d != nil {
				at, ok := d.(died)
				if !ok {
					panic(d)
				}
				p.point = at.point
				p.kill()
			}
		}()
		p.err = i.Run(ctx)
	}()
}

// supervise notes who has ended, and starts an ingester where none is left.
func (s *stage) supervise() {
	alive := 0
	for _, p := range s.ingesters {
		if !p.ended() {
			if !p.killed.Load() {
				alive++
			}
			continue
		}
		if p.left {
			continue
		}
		p.left = true
		var fenced *ingest.FencedError
		switch {
		case p.point != "":
			s.cov.points[p.point]++
			s.went(pathCrash, p.point)
		case p.killed.Load():
		case errors.As(p.err, &fenced):
			if len(s.ingesters) == 1 {
				s.errorf("the only ingester ended with %v", p.err)
			}
			s.went(pathTakeover, "")
		case p.stopping && p.err == nil:
			s.went(pathStop, "")
		default:
			s.errorf("an ingester ended with %v", p.err)
		}
	}
	if alive == 0 && !s.over {
		s.ingest()
	}
	for _, p := range s.members {
		if p.left && !p.evicted && time.Since(p.leftAt) > sessionTimeout {
			p.evicted = true
			s.evict(p)
		}
		if !p.ended() || p.left {
			continue
		}
		p.left, p.leftAt = true, time.Now()
		if p.err != nil {
			s.errorf("a counter ended with %v", p.err)
		}
		if !p.killed.Load() {
			s.went(pathLeave, "")
		}
	}
	for _, topic := range []string{s.src.data, s.src.account} {
		if s.redis != nil && !s.over && topic != "" && len(s.counting(topic)) == 0 {
			s.count(topic)
		}
	}
}

// sessionTimeout is more than that of a counter, after which brokers remove it from its group.
const sessionTimeout = 8 * time.Second

// evict removes an ended counter from its group. kfake forgets to where the connection of a new
// member ends while it waits for its first assignment: its session has no end then.
func (s *stage) evict(p *process) {
	c := p.counter.Load()
	if c == nil || c.MemberID() == "" {
		return
	}
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group = group(p.topic)
	req.Members = []kmsg.LeaveGroupRequestMember{{MemberID: c.MemberID()}}
	for _, addr := range s.brokers { // one of them coordinates the group
		_, err := s.obs.kafka.ask(addr, req, 3)
		s.check(err)
	}
}

// counting are the members that count a topic.
func (s *stage) counting(topic string) (out []*process) {
	for _, p := range s.members {
		if p.topic == topic && !p.killed.Load() && !p.stopping && !p.ended() {
			out = append(out, p)
		}
	}
	return out
}

func (s *stage) working() (out []*process) {
	for _, p := range s.ingesters {
		if !p.killed.Load() && !p.stopping && !p.ended() {
			out = append(out, p)
		}
	}
	return out
}

func group(topic string) string { return "counter." + topic }

// count starts a counter of a topic.
func (s *stage) count(topic string) *process {
	p, ctx := s.newProcess()
	p.topic = topic
	s.members = append(s.members, p)
	go func() {
		defer close(p.done)
		var store *tally.Store
		for {
			var err error
			if store, err = tally.Open(ctx, "redis://"+redisAddr+"/1", p.other.DialContext); err == nil {
				break
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(500 * time.Millisecond):
			}
		}
		defer store.Close()
		cfg := s.config(p)
		if s.gather > 0 {
			cfg.Opts = append(cfg.Opts, kgo.FetchMinBytes(1<<20), kgo.FetchMaxWait(s.gather))
		}
		c, err := count.New(count.Config{Kafka: cfg, Store: store, Topic: topic, Group: group(topic),
			Classify: s.src.classify, Log: s.log})
		if err == nil {
			p.counter.Store(c)
			err = c.Run(ctx)
		}
		p.err = err
	}()
	return p
}

const redisAddr = "127.0.0.1:6379"

// redisProcess is the embedded Redis, whose files can be put back.
type redisProcess struct {
	dir    string
	server *redisd.Server
	stop   context.CancelFunc
	ended  chan struct{}
	raw    *rawRedis
	older  map[string][]byte
}

func (s *stage) startRedis() {
	r := s.redis
	var err error
	r.server, err = redisd.Open(redisd.Config{Addr: redisAddr, Dir: r.dir, Listen: s.net.Listen})
	s.check(err)
	ctx, cancel := context.WithCancel(context.Background())
	r.stop, r.ended = cancel, make(chan struct{})
	go func() {
		defer close(r.ended)
		_ = r.server.Run(ctx)
	}()
	r.raw, err = dialRedis(s.net.DialContext, redisAddr)
	s.check(err)
}

func (r *redisProcess) close(s *stage) {
	_ = r.raw.c.Close()
	r.stop()
	<-r.ended
	s.check(r.server.Close())
}

// keep remembers the files as they are; putBack is a machine that lost what was written since.
func (r *redisProcess) keep(s *stage) {
	r.older = map[string][]byte{}
	entries, err := os.ReadDir(r.dir)
	s.check(err)
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(r.dir, e.Name()))
		s.check(err)
		r.older[e.Name()] = b
	}
}

func (r *redisProcess) putBack(s *stage) {
	entries, err := os.ReadDir(r.dir)
	s.check(err)
	for _, e := range entries {
		s.check(os.Remove(filepath.Join(r.dir, e.Name())))
	}
	for name, b := range r.older {
		s.check(os.WriteFile(filepath.Join(r.dir, name), b, 0o600))
	}
}

// counts reads all hashes of counts.
func (r *redisProcess) counts(s *stage) map[place]counts {
	out := map[place]counts{}
	for at := range s.obs.kafka.logs {
		if at.topic != s.src.data && at.topic != s.src.account {
			continue
		}
		c, err := r.raw.counts(group(at.topic), at.topic, at.partition)
		s.check(err)
		out[at] = c
	}
	return out
}

// foreign writes records in a transaction of another program, which is aborted after a while.
func (s *stage) foreign(hold time.Duration) {
	cfg := kafka.Config{Brokers: s.brokers, Opts: []kgo.Opt{kgo.Dialer(s.net.DialContext)}}
	cl, err := cfg.NewClient(kgo.TransactionalID("another program"))
	s.check(err)
	s.wait.Go(func() {
		defer cl.Close()
		ctx := context.Background()
		err := cl.BeginTransaction()
		for n := range 10 {
			if err == nil {
				err = cl.ProduceSync(ctx, &kgo.Record{Topic: s.src.data, Key: fmt.Append(nil, n), Value: []byte(`{}`),
					Headers: []kgo.RecordHeader{{Key: "kind", Value: []byte("create")}, {Key: "foreign"}}}).FirstErr()
			}
		}
		time.Sleep(hold)
		if err == nil {
			err = cl.EndTransaction(ctx, kgo.TryAbort)
		}
		if err != nil {
			s.errorf("another program's transaction: %v", err)
		}
	})
}

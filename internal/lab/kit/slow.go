package kit

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/ingest"
)

// workers are the slow stage: each is busy with one event for a fixed time. Two
// events of one key are never worked on at once nor out of order.
type Workers struct {
	Number atomic.Int64          // of workers, 1 to MaxWorkers: from the next batch on
	Work   atomic.Int64          // how long one is busy, a Duration
	Paused atomic.Bool           // nobody begins with another event
	free   [MaxWorkers]time.Time // of each worker: when it was, or will be, done
	fired  [MaxWorkers]time.Time // when the timer of its last work has fired
	Done   atomic.Int64
}

func NewWorkers(n int, work time.Duration) *Workers {
	w := &Workers{}
	w.Number.Store(int64(n))
	w.Work.Store(int64(work))
	return w
}

// pauseLook is how often a paused worker looks whether it may go on.
const pauseLook = 20 * time.Millisecond

// do works through events, which are in order.
func (w *Workers) Do(ctx context.Context, events []event.Event) {
	before := make([]int, len(events)) // the event before with the same key, or -1
	last := make(map[string]int, len(events))
	ended := make([]chan struct{}, len(events))
	for i := range events {
		before[i], ended[i] = -1, make(chan struct{})
		if n, ok := last[string(events[i].Key)]; ok {
			before[i] = n
		}
		last[string(events[i].Key)] = i
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for n := range int(w.Number.Load()) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(events) && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				if p := before[i]; p >= 0 { // taken before, so somebody is at it
					select {
					case <-ended[p]:
					case <-ctx.Done():
						return
					}
				}
				w.One(ctx, n)
				if ctx.Err() == nil {
					w.Done.Add(1)
				}
				close(ended[i])
			}
		})
	}
	wg.Wait()
}

// lateMost is how late a timer may be for a worker to make up for it, and idleAfter how
// long after the end of its work a worker that has not begun another one was idle.
const (
	lateMost  = 200 * time.Millisecond
	idleAfter = 2 * time.Millisecond
)

// one is the work on one event. A timer that fires late, as on a machine that is busy
// with other things, must not make the worker slower than it claims to be: the next
// work begins when this one should have ended, unless the worker was idle in between.
func (w *Workers) One(ctx context.Context, n int) {
	for w.Paused.Load() && Wait(ctx, pauseLook) == nil {
		continue
	}
	work := time.Duration(w.Work.Load())
	start := time.Now()
	if late := start.Sub(w.free[n]); late > 0 && (late < work/2 || late < lateMost && start.Sub(w.fired[n]) < idleAfter) {
		start = w.free[n]
	}
	w.free[n] = start.Add(work)
	t := time.NewTimer(time.Until(w.free[n]))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
	w.fired[n] = time.Now()
}

// startControl starts a worker that has nothing to do with the pipeline: what it does
// less than it should, the machine's clock does to all workers.
func StartControl(ctx context.Context, work time.Duration) (w *Workers, stop func()) {
	w = NewWorkers(1, work)
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			w.One(ctx, 0)
			w.Done.Add(1)
		}
	}()
	return w, func() {
		cancel()
		<-done
	}
}

// socketBuffer bounds in bytes what the kernel may hold on each side of the
// stream. Its own limits are megabytes on loopback: thousands of events that would
// wait there unseen.
const socketBuffer = 64 << 10

// sockets notes how long the upstream's server could not write because its client
// did not read.
type sockets struct {
	net.Listener
	first   net.Conn // accepted by await, not yet by Accept
	mu      sync.Mutex
	blocked time.Duration // in writes that took over a millisecond, together
	longest time.Duration
	writing time.Time // when the write under way began; zero where none is
	server  *net.TCPConn
	client  *net.TCPConn
}

// await returns when somebody has dialled. The connection is Accept's.
func (s *sockets) await(ctx context.Context) error {
	done := make(chan error, 1)
	go func() {
		c, err := s.Listener.Accept()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.first = c
		done <- err
	}()
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		_ = s.Listener.Close() // ends Accept
		return errors.Join(ctx.Err(), <-done)
	}
}

// end closes what is not closed by who serves.
func (s *sockets) end() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first != nil {
		_ = s.first.Close()
	}
	_ = s.Listener.Close() // again, where it was served
	return nil
}

// Accept implements net.Listener.
func (s *sockets) Accept() (net.Conn, error) {
	s.mu.Lock()
	c := s.first
	s.first = nil
	s.mu.Unlock()
	if c == nil {
		var err error
		if c, err = s.Listener.Accept(); err != nil {
			return nil, err
		}
	}
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetWriteBuffer(socketBuffer) // without it more waits in the kernel: a difference in degree
		s.mu.Lock()
		s.server = t
		s.mu.Unlock()
	}
	return &timed{c, s}, nil
}

type timed struct {
	net.Conn
	s *sockets
}

func (t *timed) Write(p []byte) (int, error) {
	start := time.Now()
	t.s.mu.Lock()
	t.s.writing = start
	t.s.mu.Unlock()
	n, err := t.Conn.Write(p)
	d := time.Since(start)
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	t.s.writing = time.Time{}
	if d > time.Millisecond {
		t.s.blocked += d
		t.s.longest = max(t.s.longest, d)
	}
	return n, err
}

func (s *sockets) Times() (blocked, longest time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.blocked, s.longest
}

// kernel is what waits in the kernel between upstream and the reader.
type Kernel struct {
	// sending and receiving are the bytes that wait in the buffers of the writing
	// and of the reading side; 0 where the system does not tell.
	Sending, Receiving int64
	// stopped is how long the write under way has been going on.
	Stopped time.Duration
}

func (s *sockets) Kernel() Kernel {
	s.mu.Lock()
	defer s.mu.Unlock()
	var k Kernel
	k.Sending, k.Receiving = unsent(s.server), unread(s.client)
	if !s.writing.IsZero() {
		k.Stopped = time.Since(s.writing)
	}
	return k
}

// dial connects with a small receive buffer.
func (s *sockets) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetReadBuffer(socketBuffer)
		s.mu.Lock()
		s.client = t
		s.mu.Unlock()
	}
	return c, nil
}

// lossy is a source that loses one event in a hundred and tells nobody: what the
// lab must find.
type lossy struct {
	ingest.Source
	seen, Lost atomic.Int64
}

// Stream implements ingest.Source.
func (l *lossy) Stream(ctx context.Context, from event.Cursor, emit func(*event.Batch) error) error {
	return l.Source.Stream(ctx, from, func(b *event.Batch) error {
		left := b.Events[:0]
		for _, e := range b.Events {
			if l.seen.Add(1)%100 == 0 {
				l.Lost.Add(1)
				continue
			}
			left = append(left, e)
		}
		clear(b.Events[len(left):])
		b.Events = left
		return emit(b)
	})
}

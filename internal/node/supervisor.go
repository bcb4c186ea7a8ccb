package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// task is one thing that runs until it is stopped: an ingester, a counter, the
// housekeeping of the brokers.
type task struct {
	name string
	run  func(context.Context) error

	mu      sync.Mutex
	err     error // why it ended by itself
	removed bool  // it was taken out of its supervisor, which reports no end of it
	cancel  context.CancelFunc
	done    chan struct{}
}

// failure is why the task ended by itself; nil while it runs or after it was stopped.
func (t *task) failure() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// supervisor runs tasks side by side. A task that fails never stops the others: one
// stream must not take the other with it.
type supervisor struct {
	mu      sync.Mutex
	tasks   []*task
	stopped bool

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	ends   chan *task
}

// maxAdded is how many ends of tasks that were added later can wait to be noticed.
const maxAdded = 64

// supervise starts the tasks. They do not end with ctx but with stop, because events
// that were produced must still be counted after a signal.
func supervise(ctx context.Context, tasks ...*task) *supervisor {
	s := &supervisor{ends: make(chan *task, len(tasks)+maxAdded)}
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	for _, t := range tasks {
		s.start(t)
	}
	return s
}

// start adds a task and runs it. It reports false where the supervisor was stopped.
func (s *supervisor) start(t *task) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return false
	}
	ctx, cancel := context.WithCancel(s.ctx)
	t.cancel, t.done = cancel, make(chan struct{})
	s.tasks = append(s.tasks, t)
	s.wg.Go(func() {
		defer cancel()
		err := t.run(ctx)
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			err = nil
		}
		if err == nil && ctx.Err() == nil {
			err = fmt.Errorf("%s ended without a reason", t.name)
		}
		t.mu.Lock()
		t.err = err
		removed := t.removed
		t.mu.Unlock()
		close(t.done)
		if removed {
			return
		}
		select {
		case s.ends <- t:
		default: // so many ends wait already
		}
	})
	return true
}

// remove stops one task, waits for it and forgets it.
func (s *supervisor) remove(t *task) {
	t.mu.Lock()
	t.removed = true
	t.mu.Unlock()
	t.cancel()
	<-t.done
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tasks = slices.DeleteFunc(s.tasks, func(x *task) bool { return x == t })
}

// stop tells the tasks to drain and waits for them.
func (s *supervisor) stop() {
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	s.cancel()
	s.wg.Wait()
}

// failed reports whether no task runs any more although nobody stopped them.
func (s *supervisor) failed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tasks {
		select {
		case <-t.done:
		default:
			return false
		}
	}
	return len(s.tasks) > 0
}

// err joins the failures of the tasks.
func (s *supervisor) err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all failures
	for _, t := range s.tasks {
		if err := t.failure(); err != nil {
			all = append(all, err)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all
}

// failures are several errors on one line.
type failures []error

func (f failures) Error() string {
	texts := make([]string, len(f))
	for i, err := range f {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

// Unwrap returns the errors.
func (f failures) Unwrap() []error { return f }

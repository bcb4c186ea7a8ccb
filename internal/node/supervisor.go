package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// task is one thing that runs until it is stopped: an ingester, a counter, the
// housekeeping of the brokers.
type task struct {
	name   string
	run    func(context.Context) error
	cancel context.CancelFunc
	done   chan struct{}
	err    error // why it ended by itself; valid when done is closed
}

func newTask(name string, run func(context.Context) error) *task {
	return &task{name: name, run: run, done: make(chan struct{})}
}

// ended reports whether the task has run.
func (t *task) ended() bool {
	select {
	case <-t.done:
		return true
	default:
		return false
	}
}

// failure is why the task ended by itself; nil while it runs or after it was stopped.
func (t *task) failure() error {
	if !t.ended() {
		return nil
	}
	return t.err
}

// supervisor runs tasks side by side. A task that fails never stops the others: one
// stream must not take the other with it.
type supervisor struct {
	mu    sync.Mutex
	tasks []*task

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	ends   chan *task // those that ended by themselves
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
	if s.ctx.Err() != nil {
		return false
	}
	ctx, cancel := context.WithCancel(s.ctx)
	t.cancel = cancel
	s.tasks = append(s.tasks, t)
	s.wg.Go(func() {
		defer cancel()
		err := t.run(ctx)
		stopped := ctx.Err() != nil
		switch {
		case stopped && errors.Is(err, context.Canceled):
			err = nil
		case !stopped && err == nil:
			err = fmt.Errorf("%s ended without a reason", t.name)
		}
		t.err = err
		close(t.done)
		if stopped {
			return
		}
		select {
		case s.ends <- t:
		default: // many ends wait already
		}
	})
	return true
}

// remove stops one task, waits for it and forgets it.
func (s *supervisor) remove(t *task) {
	t.cancel()
	<-t.done
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tasks = slices.DeleteFunc(s.tasks, func(x *task) bool { return x == t })
}

// stop makes the tasks drain and waits for them.
func (s *supervisor) stop() {
	s.mu.Lock()
	s.cancel()
	s.mu.Unlock()
	s.wg.Wait()
}

// failed reports whether all tasks have ended by themselves.
func (s *supervisor) failed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.tasks) > 0 && !slices.ContainsFunc(s.tasks, func(t *task) bool { return !t.ended() })
}

// err joins the failures of the tasks.
func (s *supervisor) err() (all error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tasks {
		all = errors.Join(all, t.failure())
	}
	return all
}

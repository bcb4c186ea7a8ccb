package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// part is one thing that runs until it is told to stop: an ingester, a counter,
// the cluster's housekeeping.
type part struct {
	name string
	run  func(context.Context) error

	mu  sync.Mutex
	err error // why it ended by itself
	end bool
}

// failure is why the part ended by itself; nil while it runs or after it was stopped.
func (p *part) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// ended reports whether the part does not run any more.
func (p *part) ended() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.end
}

// group runs parts side by side under one context. A part that fails never stops
// the others: one stream must not take the other with it.
type group struct {
	parts  []*part
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	ends   chan *part
}

// startGroup starts the parts. They do not end with ctx but with stop, because
// what was produced is still to be counted when a signal has come.
func startGroup(ctx context.Context, parts ...*part) *group {
	g := &group{parts: parts, ends: make(chan *part, len(parts))}
	g.ctx, g.cancel = context.WithCancel(context.WithoutCancel(ctx))
	for _, p := range parts {
		g.wg.Go(func() {
			err := p.run(g.ctx)
			if g.ctx.Err() != nil && errors.Is(err, context.Canceled) {
				err = nil
			}
			if err == nil && g.ctx.Err() == nil {
				err = fmt.Errorf("%s ended without a reason", p.name)
			}
			p.mu.Lock()
			p.err, p.end = err, true
			p.mu.Unlock()
			g.ends <- p
		})
	}
	return g
}

// stop tells the parts to drain and waits for them.
func (g *group) stop() {
	g.cancel()
	g.wg.Wait()
}

// failed reports whether no part runs any more although nobody stopped them.
func (g *group) failed() bool {
	for _, p := range g.parts {
		if !p.ended() {
			return false
		}
	}
	return len(g.parts) > 0
}

// err joins the failures of the parts.
func (g *group) err() error {
	var all failures
	for _, p := range g.parts {
		if err := p.failure(); err != nil {
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

// catchUpTime bounds how long draining waits until what was produced is counted.
// What is not counted by then is counted at the next start.
const catchUpTime = 5 * time.Second

// catchUp waits until lag says that nothing is left, lag fails, or the time is over.
func catchUp(ctx context.Context, lag func(context.Context) (int64, error)) {
	ctx, cancel := context.WithTimeout(ctx, catchUpTime)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		left, err := lag(ctx)
		if err != nil || left == 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// part is one thing that runs until it is told to stop: an ingester, a counter,
// the cluster's housekeeping.
type part struct {
	name string
	run  func(context.Context) error

	mu      sync.Mutex
	err     error // why it ended by itself
	end     bool
	removed bool // it was taken out of its group: its end is no news
	cancel  context.CancelFunc
	done    chan struct{}
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
	mu      sync.Mutex
	parts   []*part
	stopped bool

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	ends   chan *part
}

// startGroup starts the parts. They do not end with ctx but with stop, because
// what was produced is still to be counted when a signal has come.
func startGroup(ctx context.Context, parts ...*part) *group {
	g := &group{ends: make(chan *part, len(parts)+maxAdded)}
	g.ctx, g.cancel = context.WithCancel(context.WithoutCancel(ctx))
	for _, p := range parts {
		g.start(p)
	}
	return g
}

// maxAdded is how many ends of parts that came later can wait to be noticed.
const maxAdded = 64

// start adds a part and runs it. It reports false where the group was stopped.
func (g *group) start(p *part) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stopped {
		return false
	}
	ctx, cancel := context.WithCancel(g.ctx)
	p.cancel, p.done = cancel, make(chan struct{})
	g.parts = append(g.parts, p)
	g.wg.Go(func() {
		defer close(p.done)
		defer cancel()
		err := p.run(ctx)
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			err = nil
		}
		if err == nil && ctx.Err() == nil {
			err = fmt.Errorf("%s ended without a reason", p.name)
		}
		p.mu.Lock()
		p.err, p.end = err, true
		silent := p.removed
		p.mu.Unlock()
		if silent {
			return
		}
		select {
		case g.ends <- p:
		default: // so many ends wait already
		}
	})
	return true
}

// remove tells one part to drain, waits for it and forgets it.
func (g *group) remove(p *part) {
	p.mu.Lock()
	p.removed = true
	p.mu.Unlock()
	p.cancel()
	<-p.done
	g.mu.Lock()
	defer g.mu.Unlock()
	g.parts = slices.DeleteFunc(g.parts, func(x *part) bool { return x == p })
}

// all are the parts now.
func (g *group) all() []*part {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.parts)
}

// stop tells the parts to drain and waits for them.
func (g *group) stop() {
	g.mu.Lock()
	g.stopped = true
	g.mu.Unlock()
	g.cancel()
	g.wg.Wait()
}

// failed reports whether no part runs any more although nobody stopped them.
func (g *group) failed() bool {
	parts := g.all()
	for _, p := range parts {
		if !p.ended() {
			return false
		}
	}
	return len(parts) > 0
}

// err joins the failures of the parts.
func (g *group) err() error {
	var all failures
	for _, p := range g.all() {
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

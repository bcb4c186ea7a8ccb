package node

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"
)

// How often a lasting problem is logged again: at first after limitFirst, then after
// twice as long each time. One that was not reported for limitOver is a new one.
const (
	limitFirst = 10 * time.Second
	limitMost  = 5 * time.Minute
	limitOver  = 2 * limitMost
	// limitKept bounds how many are remembered.
	limitKept = 64
)

// logLimit logs one problem once, whichever parts of the program meet it and
// however often: lines with the same message and the same error.
type logLimit struct {
	slog.Handler
	seen *problems
}

type problems struct {
	mu  sync.Mutex
	all map[[2]string]*problem // by message and error
}

type problem struct {
	next, heard time.Time
	wait        time.Duration
}

func (p *problem) over(now time.Time) bool { return now.Sub(p.heard) > limitOver }

// LimitLog returns a handler that passes on each lasting problem ever more seldom.
func LimitLog(h slog.Handler) slog.Handler {
	return logLimit{h, &problems{all: map[[2]string]*problem{}}}
}

// Handle implements slog.Handler.
func (h logLimit) Handle(ctx context.Context, r slog.Record) error {
	text := ""
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "error" {
			text = a.Value.String()
		}
		return text == ""
	})
	if text != "" && r.Level >= slog.LevelWarn && !h.seen.due([2]string{r.Message, text}, r.Time) {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h logLimit) WithAttrs(attrs []slog.Attr) slog.Handler {
	return logLimit{h.Handler.WithAttrs(attrs), h.seen}
}

// WithGroup implements slog.Handler.
func (h logLimit) WithGroup(name string) slog.Handler {
	return logLimit{h.Handler.WithGroup(name), h.seen}
}

// due reports whether it is time to log this.
func (m *problems) due(key [2]string, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.all[key]
	if p == nil || p.over(now) {
		if len(m.all) >= limitKept {
			maps.DeleteFunc(m.all, func(_ [2]string, x *problem) bool { return x.over(now) })
		}
		if len(m.all) >= limitKept {
			clear(m.all)
		}
		p = &problem{wait: limitFirst / 2}
		m.all[key] = p
	}
	p.heard = now
	if now.Before(p.next) {
		return false
	}
	p.wait = min(2*p.wait, limitMost)
	p.next = now.Add(p.wait)
	return true
}

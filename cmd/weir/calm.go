package main

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// How often a lasting trouble is told again: at first after calmFirst, then after
// twice as long each time. One that has not been heard of for calmOver is a new one.
const (
	calmFirst = 10 * time.Second
	calmMost  = 5 * time.Minute
	calmOver  = 2 * calmMost
	// calmKept bounds how many are remembered.
	calmKept = 64
)

// calmHandler tells one trouble once, whichever of the program's parts meet it and
// however often: lines with the same message and the same error.
type calmHandler struct {
	slog.Handler
	told *calmMemory
}

type calmMemory struct {
	mu  sync.Mutex
	all map[[2]string]*calmEntry
}

type calmEntry struct {
	next, heard time.Time
	wait        time.Duration
}

func newCalmHandler(h slog.Handler) calmHandler {
	return calmHandler{h, &calmMemory{all: map[[2]string]*calmEntry{}}}
}

// Handle implements slog.Handler.
func (h calmHandler) Handle(ctx context.Context, r slog.Record) error {
	text := ""
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "error" {
			text = a.Value.String()
		}
		return text == ""
	})
	if text != "" && r.Level >= slog.LevelWarn && !h.told.due([2]string{r.Message, text}, r.Time) {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h calmHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return calmHandler{h.Handler.WithAttrs(attrs), h.told}
}

// WithGroup implements slog.Handler.
func (h calmHandler) WithGroup(name string) slog.Handler {
	return calmHandler{h.Handler.WithGroup(name), h.told}
}

// due reports whether it is time to tell this.
func (m *calmMemory) due(key [2]string, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.all[key]
	if e == nil || now.Sub(e.heard) > calmOver {
		if len(m.all) >= calmKept {
			m.forget(now)
		}
		e = &calmEntry{wait: calmFirst / 2}
		m.all[key] = e
	}
	e.heard = now
	if now.Before(e.next) {
		return false
	}
	e.wait = min(2*e.wait, calmMost)
	e.next = now.Add(e.wait)
	return true
}

// forget drops what is over, or everything where nothing is.
func (m *calmMemory) forget(now time.Time) {
	n := len(m.all)
	for key, e := range m.all {
		if now.Sub(e.heard) > calmOver {
			delete(m.all, key)
		}
	}
	if len(m.all) == n {
		clear(m.all)
	}
}

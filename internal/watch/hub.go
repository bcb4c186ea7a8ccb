package watch

import (
	"context"
	"encoding/json"
)

// Update is what a subscriber is handed: a whole state or the difference from
// the version before, and the log entries since the last update.
type Update struct {
	Version int64
	// Snapshot is the whole state as JSON, nil where Patch is enough.
	Snapshot []byte
	// Patch is an RFC 7396 merge patch from the version before, nil where there is nothing new.
	Patch []byte
	Log   []Entry
}

// Subscription follows the state. A subscriber that is slow is not waited for: it
// gets a snapshot instead of what it missed.
type Subscription struct {
	w    *Watcher
	wake chan struct{}
	// Guarded by w.mu.
	seen   int64 // version; 0: nothing yet
	logged int64 // id of the last entry
	patch  []byte
	closed bool
}

// Subscribe begins to follow; Close ends it.
func (w *Watcher) Subscribe() *Subscription {
	s := &Subscription{w: w, wake: make(chan struct{}, 1)}
	w.mu.Lock()
	defer w.mu.Unlock()
	s.logged = w.entries
	w.clients[s] = struct{}{}
	s.wake <- struct{}{}
	return s
}

// Close ends the subscription.
func (s *Subscription) Close() {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	delete(s.w.clients, s)
}

// Next waits for news. It returns false when ctx or the watch ends.
func (s *Subscription) Next(ctx context.Context) (Update, bool) {
	for {
		select {
		case <-ctx.Done():
			return Update{}, false
		case <-s.wake:
		}
		if u, ok, open := s.take(); ok || !open {
			return u, open
		}
	}
}

func (s *Subscription) take() (u Update, ok, open bool) {
	w := s.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.closed {
		return Update{}, false, false
	}
	u.Version = w.version
	switch {
	case s.seen == w.version && s.seen != 0:
	case s.seen == w.version-1 && s.patch != nil:
		u.Patch = s.patch
	case w.version > 0:
		u.Snapshot = w.encoded()
	}
	s.seen, s.patch = w.version, nil
	for i := len(w.log) - 1; i >= 0 && w.log[i].ID > s.logged; i-- {
		u.Log = w.log[i:]
	}
	u.Log = append([]Entry(nil), u.Log...)
	s.logged = w.entries
	return u, u.Snapshot != nil || u.Patch != nil || len(u.Log) > 0, true
}

// encoded is the newest state as JSON. w.mu is held.
func (w *Watcher) encoded() []byte {
	if w.full == nil {
		w.full = encode(w.state)
	}
	return w.full
}

func encode(s *State) []byte {
	b, err := json.Marshal(s)
	if err != nil { // no state of plain maps and numbers comes here
		return []byte("{}")
	}
	return b
}

// Snapshot returns the newest state as JSON.
func (w *Watcher) Snapshot() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.encoded()
}

// publish makes a version current and wakes the subscribers. Without any, it makes no
// patch.
func (w *Watcher) publish(next *State, entries []Entry) {
	w.mu.Lock()
	var old []byte
	if len(w.clients) > 0 {
		old = w.encoded()
	}
	w.mu.Unlock()
	var full, patch []byte
	if old != nil {
		full = encode(next)
		patch = diff(old, full)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state, w.full = next, full
	w.version++
	w.append(entries)
	for s := range w.clients {
		s.patch = nil
		if s.seen == w.version-1 && s.seen != 0 {
			s.patch = patch
		}
	}
	w.wake()
}

// wake wakes all subscribers. w.mu is held.
func (w *Watcher) wake() {
	for s := range w.clients {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

func (w *Watcher) closeAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for s := range w.clients {
		s.closed = true
	}
	w.wake()
}

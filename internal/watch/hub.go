package watch

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"time"
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
	w *Watcher
	// Guarded by w.mu.
	seen   int64 // version; 0: nothing yet
	logged int64 // id of the last entry
}

// Subscribe begins to follow; Close ends it.
func (w *Watcher) Subscribe() *Subscription {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.look()
	s := &Subscription{w: w, logged: w.entries}
	w.clients[s] = struct{}{}
	return s
}

// Close ends the subscription.
func (s *Subscription) Close() {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.w.looked = time.Now()
	delete(s.w.clients, s)
}

// Next waits for news. It returns false when ctx or the watch ends.
func (s *Subscription) Next(ctx context.Context) (Update, bool) {
	for {
		u, ok, changed := s.take()
		if ok {
			return u, true
		}
		select {
		case <-ctx.Done():
			return Update{}, false
		case <-s.w.ended:
			return Update{}, false
		case <-changed:
		}
	}
}

// take returns what is new, false for nothing, and a channel that is closed when there is more.
func (s *Subscription) take() (u Update, ok bool, changed <-chan struct{}) {
	w := s.w
	w.mu.Lock()
	defer w.mu.Unlock()
	u.Version = w.version
	switch {
	case s.seen == w.version:
	case s.seen == w.version-1 && s.seen != 0 && w.patch != nil:
		u.Patch = w.patch
	default:
		u.Snapshot = w.encoded()
	}
	s.seen = w.version
	u.Log = slices.Clone(w.log[max(0, len(w.log)-int(w.entries-s.logged)):])
	s.logged = w.entries
	return u, u.Snapshot != nil || u.Patch != nil || len(u.Log) > 0, w.changed
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
	w.look()
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
	w.state, w.full, w.patch = next, full, patch
	w.version++
	w.append(entries)
	w.wake()
}

// wake wakes all subscribers. w.mu is held.
func (w *Watcher) wake() {
	close(w.changed)
	w.changed = make(chan struct{})
}

// diff returns the RFC 7396 merge patch that turns one JSON value into another, nil where
// they are equal. Members stay bytes, so that numbers keep all their digits and what did not
// change is not taken apart.
func diff(from, to json.RawMessage) json.RawMessage {
	if bytes.Equal(from, to) {
		return nil
	}
	before, after := members(from), members(to)
	if before == nil || after == nil {
		return to
	}
	patch := map[string]json.RawMessage{}
	for name, now := range after {
		if p := diff(before[name], now); p != nil {
			patch[name] = p
		}
	}
	for name, was := range before {
		if _, ok := after[name]; !ok && string(was) != "null" { // null and absent are one to a merge patch
			patch[name] = json.RawMessage("null")
		}
	}
	if len(patch) == 0 {
		return nil
	}
	b, err := json.Marshal(patch)
	if err != nil { // no patch of valid JSON comes here
		return to
	}
	return b
}

// members takes an object apart, nil for other values.
func members(v json.RawMessage) (m map[string]json.RawMessage) {
	if len(v) > 0 && v[0] == '{' {
		_ = json.Unmarshal(v, &m) // what encoding/json wrote
	}
	return m
}

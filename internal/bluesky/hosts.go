package bluesky

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/weir-project/weir/internal/event"
)

// hosts chooses among servers: stay with one while it delivers, since only there
// sequence numbers mean anything, and take the next one when it does not.
type hosts struct {
	list []*host
	at   int // the one whose turn it is; -1 = none has been tried
}

// pick returns the server to connect to. The first time it is the one that a
// position belongs to. It is a permanent error when every one has refused for
// good, and one with RetryAfter while all have asked to be left alone.
func (hs *hosts) pick(last string) (*host, error) {
	if hs.at < 0 {
		hs.at = max(slices.IndexFunc(hs.list, func(h *host) bool { return h.addr == last }), 0)
	}
	var wait time.Duration
	for i := range hs.list {
		at := (hs.at + i) % len(hs.list)
		h := hs.list[at]
		if h.refused != nil {
			continue
		}
		left := time.Until(h.until)
		if left <= 0 {
			hs.at = at
			return h, nil
		}
		if wait == 0 || left < wait {
			wait = left
		}
	}
	if wait > 0 {
		return nil, &event.StreamError{RetryAfter: wait, Err: fmt.Errorf("asked to wait %s by every server", wait.Round(time.Second))}
	}
	return nil, hs.refusal()
}

// failed notes why no stream could be opened at h, and returns what this means
// for all servers together.
func (hs *hosts) failed(h *host, err error) error {
	var se *event.StreamError
	if errors.As(err, &se) {
		if se.Permanent {
			h.refused = err
		} else if se.RetryAfter > 0 {
			h.until = time.Now().Add(min(se.RetryAfter, event.MaxRetryAfter))
		}
	}
	hs.next()
	if se == nil {
		return err
	}
	if se.Permanent {
		return hs.refusal()
	}
	if _, alone := hs.pick(""); alone != nil {
		return err // no other server: wait as asked
	}
	return &event.StreamError{Err: se.Err}
}

// next gives the turn to the next server.
func (hs *hosts) next() { hs.at = (hs.at + 1) % len(hs.list) }

// refusal returns the error of servers that refused for good: permanent when it
// is all of them, and otherwise a reason to try the next.
func (hs *hosts) refusal() error {
	var all []error
	for _, h := range hs.list {
		if h.refused != nil {
			all = append(all, h.refused)
		}
	}
	return &event.StreamError{Permanent: len(all) == len(hs.list), Err: errors.Join(all...)}
}

package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// writeTimeout is how long one write to a live stream may take: a reader that
// does not read is let go, and gets a snapshot when it returns.
const writeTimeout = 10 * time.Second

// answerTime is how long a client may take for any other answer, from its request on.
const answerTime = 2 * time.Minute

// aliveEvery is how often an idle stream sends a sign of life, so that pages can
// distinguish a slow cluster from a weir that has ended.
const aliveEvery = 2 * time.Second

// stream is a Server-Sent Events answer.
type stream struct {
	w  http.ResponseWriter
	rc *http.ResponseController
	b  bytes.Buffer
}

func newStream(w http.ResponseWriter) (*stream, error) {
	s := &stream{w: w, rc: http.NewResponseController(w)}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	if err := s.rc.Flush(); err != nil {
		return nil, &statusError{http.StatusInternalServerError, fmt.Errorf("stream events: %w", err)}
	}
	return s, nil
}

// event adds an event; data has no newlines, as JSON from encoding/json has none.
func (s *stream) event(name, id string, data []byte) {
	fmt.Fprintf(&s.b, "event: %s\n", name)
	if id != "" {
		fmt.Fprintf(&s.b, "id: %s\n", id)
	}
	fmt.Fprintf(&s.b, "data: %s\n\n", data)
}

// send writes the events that were added.
func (s *stream) send() error {
	if s.b.Len() == 0 {
		return nil
	}
	if err := s.rc.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	_, err := s.w.Write(s.b.Bytes())
	s.b.Reset()
	if err != nil {
		return err
	}
	return s.rc.Flush()
}

// live follows the state for as long as the browser listens.
func (s *Server) live(w http.ResponseWriter, r *http.Request) error {
	out, err := newStream(w)
	if err != nil {
		return err
	}
	sub := s.cfg.Watch.Subscribe()
	defer sub.Close()
	for {
		wait, cancel := context.WithTimeout(r.Context(), aliveEvery)
		u, ok := sub.Next(wait)
		quiet := wait.Err() != nil
		cancel()
		id := strconv.FormatInt(u.Version, 10)
		switch {
		case r.Context().Err() != nil || !ok && !quiet:
			return nil
		case !ok:
			out.event("alive", "", []byte("{}"))
		case u.Snapshot != nil:
			out.event("snapshot", id, u.Snapshot)
		case u.Patch != nil:
			out.event("patch", id, u.Patch)
		}
		for _, e := range u.Log {
			if b, err := json.Marshal(e); err == nil {
				out.event("log", "", b)
			}
		}
		if out.send() != nil {
			return nil // the browser is gone
		}
	}
}

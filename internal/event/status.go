package event

import (
	"sync"
	"time"
)

// SourceStatus is what a source can say about itself at one moment. Counters
// count since the process started.
type SourceStatus struct {
	// Connected says whether a stream is open now.
	Connected bool
	// Host is the upstream of the current, or else of the last, connection, as
	// host:port; empty before the first attempt.
	Host string
	// Since is when Connected last changed.
	Since time.Time
	// LastEvent is when the last event was handed on; zero before the first.
	LastEvent time.Time
	// Reconnects counts the streams opened after the first one.
	Reconnects int64
	// LastError says in words why the last connection ended or could not be
	// made; empty after an end that is normal operation.
	LastError string
	// Origin is where the events come from, as in Cursor.Origin.
	Origin string
	// Frames counts the messages received, Bytes their payload in bytes.
	Frames, Bytes int64
	// Rejects counts the messages among them that were rejected, Canaries those
	// that upstream sent to itself and that are not stored.
	Rejects, Canaries int64
	// Gaps counts the ranges of events that were missing after a resume.
	Gaps int64
}

// SourceMeter keeps a SourceStatus. A source writes to it once a batch, anybody
// reads it. The zero value is ready to use.
type SourceMeter struct {
	mu     sync.Mutex
	status SourceStatus
	opened int64
}

// Dialing notes the host of the attempt that begins.
func (m *SourceMeter) Dialing(host string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.status.Host = host
}

// Opened notes that a stream from host is open.
func (m *SourceMeter) Opened(host, origin string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.status.Connected, m.status.Host, m.status.Origin = true, host, origin
	m.status.Since = time.Now()
	m.opened++
	m.status.Reconnects = m.opened - 1
}

// Closed notes that a stream ended, or could not be opened. err may be nil.
func (m *SourceMeter) Closed(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.status.Connected || m.status.Since.IsZero() {
		m.status.Since = time.Now()
	}
	m.status.Connected, m.status.LastError = false, ""
	if err != nil {
		m.status.LastError = err.Error()
	}
}

// Received counts a batch that is about to be handed on, and the bytes of the
// frames that it was made of.
func (m *SourceMeter) Received(b *Batch, bytes int64) {
	var frames, rejects, canaries, gaps int64
	for i := range b.Events {
		switch b.Events[i].Route {
		case Gap:
			gaps++
			continue // no frame of upstream's
		case Reject:
			rejects++
		case Skip:
			canaries++
		}
		frames++
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.status.LastEvent = time.Now()
	m.status.Frames += frames
	m.status.Bytes += bytes
	m.status.Rejects += rejects
	m.status.Canaries += canaries
	m.status.Gaps += gaps
}

// Status returns the status now.
func (m *SourceMeter) Status() SourceStatus {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.status
}

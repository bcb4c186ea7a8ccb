package event

import (
	"errors"
	"math/rand/v2"
	"time"
)

// Bounds of a Backoff's waits where it names none.
const (
	// DefaultBackoffMin is the ceiling of the first wait.
	DefaultBackoffMin = 250 * time.Millisecond
	// DefaultBackoffMax is the ceiling that the waits grow to.
	DefaultBackoffMax = 30 * time.Second
	// MaxRetryAfter bounds what an upstream can ask for: a mistaken or hostile
	// answer must not silence a source for days.
	MaxRetryAfter = time.Hour
)

// Backoff says how long to wait between two connections of a source: jittered
// exponential, from the start again after a connection that delivered data. The
// zero value is ready to use. It is for one goroutine.
type Backoff struct {
	// Min and Max bound the waits; 0 means the defaults.
	Min, Max time.Duration
	// Rand returns a number in [0, 1); nil means the runtime's source.
	Rand func() float64

	failures int
}

// Next returns how long to wait after a connection that ended with err, and
// whether another one is pointless. delivered says whether the connection
// brought any event. A StreamError anywhere in err's chain steers: Permanent is
// passed on, and the wait is never shorter than RetryAfter (up to MaxRetryAfter).
func (b *Backoff) Next(err error, delivered bool) (wait time.Duration, permanent bool) {
	var se *StreamError
	if errors.As(err, &se) && se.Permanent {
		return 0, true
	}
	if delivered {
		b.failures = 0
	}
	wait = b.jitter(b.ceiling())
	b.failures++
	if se != nil && se.RetryAfter > 0 {
		// A little later than asked, and each client a different little: a server
		// that names a moment must not meet all of them in it.
		asked := min(se.RetryAfter, MaxRetryAfter)
		wait = max(wait, asked+b.jitter(min(asked/10, 5*time.Second)))
	}
	return wait, false
}

func (b *Backoff) ceiling() time.Duration {
	low, high := b.Min, b.Max
	if low <= 0 {
		low = DefaultBackoffMin
	}
	if high <= 0 {
		high = DefaultBackoffMax
	}
	for range b.failures {
		if low >= high {
			break
		}
		low *= 2
	}
	return min(low, high)
}

// jitter returns a duration in [d/2, d).
func (b *Backoff) jitter(d time.Duration) time.Duration {
	f := rand.Float64
	if b.Rand != nil {
		f = b.Rand
	}
	return d/2 + time.Duration(f()*float64(d/2))
}

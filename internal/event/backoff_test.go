package event

import (
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

func TestBackoffGrowsAndResets(t *testing.T) {
	// The jitter is pinned to its lower end: half of the ceiling.
	b := Backoff{Min: 100 * time.Millisecond, Max: time.Second, Rand: func() float64 { return 0 }}
	for i, step := range []struct {
		delivered bool
		want      time.Duration
	}{
		{false, 50 * time.Millisecond},
		{false, 100 * time.Millisecond},
		{false, 200 * time.Millisecond},
		{false, 400 * time.Millisecond},
		{false, 500 * time.Millisecond}, // 1.6 s is over the maximum of 1 s
		{false, 500 * time.Millisecond},
		{true, 50 * time.Millisecond},
		{false, 100 * time.Millisecond},
	} {
		if wait, permanent := b.Next(io.EOF, step.delivered); wait != step.want || permanent {
			t.Errorf("step %d: wait %v, permanent %v; want %v, false", i, wait, permanent, step.want)
		}
	}
}

func TestBackoffStaysBoundedForEver(t *testing.T) {
	var b Backoff
	for range 10_000 {
		if wait, _ := b.Next(io.EOF, false); wait <= 0 || wait > DefaultBackoffMax {
			t.Fatalf("wait %v outside (0, %v]", wait, DefaultBackoffMax)
		}
	}
}

func TestBackoffJitters(t *testing.T) {
	seen := map[time.Duration]bool{}
	for range 50 {
		var b Backoff
		wait, _ := b.Next(io.EOF, false)
		if wait < DefaultBackoffMin/2 || wait > DefaultBackoffMin {
			t.Fatalf("first wait %v outside [%v, %v]", wait, DefaultBackoffMin/2, DefaultBackoffMin)
		}
		seen[wait] = true
	}
	if len(seen) < 10 {
		t.Errorf("50 first waits took %d values only: clients would come in step", len(seen))
	}
}

func TestBackoffObeysStreamError(t *testing.T) {
	for _, tt := range []struct {
		name      string
		err       error
		least     time.Duration
		most      time.Duration
		permanent bool
	}{
		{"permanent", &StreamError{Err: io.EOF, Permanent: true}, 0, 0, true},
		{"permanent, wrapped", fmt.Errorf("bluesky: %w", &StreamError{Err: io.EOF, Permanent: true}), 0, 0, true},
		{"retry after", &StreamError{Err: io.EOF, RetryAfter: 20 * time.Second}, 20 * time.Second, 22 * time.Second, false},
		{"retry after, wrapped", fmt.Errorf("x: %w", &StreamError{Err: io.EOF, RetryAfter: 20 * time.Second}), 20 * time.Second, 22 * time.Second, false},
		{"retry after a month", &StreamError{Err: io.EOF, RetryAfter: 720 * time.Hour}, MaxRetryAfter, MaxRetryAfter + 5*time.Second, false},
		{"temporary", &StreamError{Err: io.EOF}, DefaultBackoffMin / 2, DefaultBackoffMin, false},
		{"any error", errors.New("x"), DefaultBackoffMin / 2, DefaultBackoffMin, false},
		{"clean end", nil, DefaultBackoffMin / 2, DefaultBackoffMin, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b Backoff
			wait, permanent := b.Next(tt.err, true)
			if permanent != tt.permanent || wait < tt.least || wait > tt.most {
				t.Errorf("wait %v, permanent %v; want %v to %v, %v", wait, permanent, tt.least, tt.most, tt.permanent)
			}
		})
	}
}

// A source that cannot connect must not spin, and must not take for ever to
// notice that upstream is back.
func TestBackoffOverAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b Backoff
		start, attempts := time.Now(), 0
		for time.Since(start) < time.Hour {
			wait, _ := b.Next(io.EOF, false)
			time.Sleep(wait)
			attempts++
		}
		if attempts < 120 || attempts > 260 {
			t.Errorf("%d attempts in an hour, want 120 to 260 (one in 15 to 30 s)", attempts)
		}
	})
}

package watch

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-project/weir/internal/inspect"
)

// Questions are asked every 500 ms while somebody watches, every 2 s while nobody does, and at
// once when somebody comes.
func TestWhatNobodyWatchesIsAskedLessOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, err := New(Config{Inspector: new(inspect.Inspector)})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		rests := func(took, every, want time.Duration) {
			t.Helper()
			asked := time.Now()
			time.Sleep(took)
			w.rest(t.Context(), asked, took, every, nil)
			if got := time.Since(asked); got != want {
				t.Errorf("at %v: the next question is %v after this one, want %v", time.Since(start), got, want)
			}
		}
		const ms = time.Millisecond
		rests(10*ms, 0, 500*ms) // the first seconds count as watched
		rests(300*ms, 0, 1500*ms)
		rests(10*ms, time.Second, time.Second)
		time.Sleep(restAfter)
		rests(10*ms, 0, 2*time.Second)
		rests(10*ms, 5*time.Second, 5*time.Second)
		rests(time.Second, 0, 5*time.Second)
		w.Recent()
		rests(10*ms, 0, 2*time.Second)

		for name, look := range map[string]func(){"state": func() { w.State() }, "snapshot": func() { w.Snapshot() }, "subscriber": func() { w.Subscribe().Close() }} {
			time.AfterFunc(700*ms, look)
			rests(10*ms, 0, 700*ms)
			rests(10*ms, 0, 500*ms)
			time.Sleep(restAfter)
			t.Log(name)
			rests(10*ms, 0, 2*time.Second)
		}
		sub := w.Subscribe()
		time.Sleep(2 * restAfter)
		rests(10*ms, 0, 500*ms)
		sub.Close()

		over, end := context.WithCancel(t.Context())
		end()
		asked := time.Now()
		w.rest(over, asked, 0, time.Hour, nil)
		if time.Since(asked) != 0 {
			t.Error("the watch does not end while it rests")
		}
	})
}

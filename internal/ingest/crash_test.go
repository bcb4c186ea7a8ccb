package ingest_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-project/weir/internal/crash"
	"github.com/weir-project/weir/internal/ingest"
)

// hook sets the hook of the crash points for the rest of the test.
func hook(t *testing.T, h func(string)) {
	old := crash.SetHook(h)
	t.Cleanup(func() { crash.SetHook(old) })
}

// plan is one death: at which pass of which point.
type plan struct {
	point string
	pass  int
}

// arm makes the process die as planned, once.
func arm(p plan) (fired func() bool) {
	passes := 0
	var dead atomic.Bool
	crash.SetHook(func(point string) {
		if point != p.point || dead.Load() {
			return
		}
		if passes++; passes == p.pass {
			dead.Store(true)
			panic(died{point})
		}
	})
	return dead.Load
}

// points returns every crash point that a run passes when it starts on existing data.
func points(t *testing.T) []string {
	found := map[string]bool{}
	bubble(t, func(t *testing.T, w *world) {
		hook(t, func(p string) { found[p] = true })
		for n := 2000; n <= 4000; n += 2000 {
			w.run(w.ingester(&script{n: n, size: 50, margin: 10})).drain(t, n)
		}
	})
	list := slices.Sorted(maps.Keys(found))
	if len(list) < 10 {
		t.Fatalf("only the crash points %q were passed", list)
	}
	return list
}

// baseSeed returns the seed to begin with, and how many follow: n, or 1 where one is replayed.
func baseSeed(t *testing.T, n int) (base uint64, seeds int) {
	t.Helper()
	base, seeds = rand.Uint64(), n
	if v := os.Getenv("WEIR_TEST_SEED"); v != "" { // replay one
		var err error
		if base, err = strconv.ParseUint(v, 10, 64); err != nil {
			t.Fatal(err)
		}
		seeds = 1
	}
	t.Logf("base seed %d; replay one with WEIR_TEST_SEED", base)
	return base, seeds
}

// TestCrashSchedule lets ingesters die at random places, again and again, while
// the source breaks its connection and sends events again: what is in Kafka is
// the truth each time.
func TestCrashSchedule(t *testing.T) {
	seeds := 60
	if testing.Short() {
		seeds = 10
	}
	base, seeds := baseSeed(t, seeds)
	all := points(t)
	fired := map[string]int{}
	for n := range seeds {
		seed := base + uint64(n)
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { crashRun(t, seed, all, fired) })
	}
	t.Logf("deaths: %v", fired)
	for _, p := range all {
		if fired[p] == 0 && seeds >= 60 && p != "ingest: filter half rebuilt" {
			t.Errorf("nobody ever died at %q", p)
		}
	}
}

func crashRun(t *testing.T, seed uint64, points []string, fired map[string]int) {
	bubble(t, func(t *testing.T, w *world) {
		hook(t, nil)
		rnd := rand.New(rand.NewPCG(seed, 1))
		n := 200 + rnd.IntN(800)
		base := script{n: n, size: 1 + rnd.IntN(40), margin: rnd.IntN(200), host: "h:1",
			pause: time.Duration(rnd.IntN(30)) * time.Millisecond}
		if rnd.IntN(2) == 0 {
			base.cut = base.margin + 1 + rnd.IntN(200)
		}
		for deaths := 1 + rnd.IntN(6); deaths > 0; deaths-- {
			p := plan{points[rnd.IntN(len(points))], 1 + rnd.IntN(6)*rnd.IntN(2)}
			hit := arm(p)
			src := base
			r := w.run(w.ingester(&src))
			done := false
			for !done && !hit() {
				time.Sleep(10 * time.Millisecond)
				done = r.Stats().Cursor.Seq >= int64(n)
			}
			r.cancel()
			if err := r.end(t); err != nil && !errors.Is(err, errDied) {
				t.Fatalf("run with a death at %+v: %v", p, err)
			}
			if hit() {
				fired[p.point]++
			}
		}
		crash.SetHook(nil)
		src := base
		w.run(w.ingester(&src)).drain(t, n)
		w.verify(&src, n)
	})
}

// TestZombieCannotCommit has a predecessor that is alive and does not know of its
// successor: between the successor's first step and its read of the cursor it
// tries to commit.
func TestZombieCannotCommit(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		hook(t, nil)
		gate := make(chan struct{})
		slow := &gated{script: script{n: 200, size: 100}, gate: gate}
		zombie := w.run(w.ingester(slow))
		until(t, "the zombie has committed its first batch", func() bool { return zombie.Stats().Cursor.Seq == 100 })

		opened := false
		crash.SetHook(func(point string) {
			if point == "ingest: cursor read" && !opened {
				opened = true
				crash.SetHook(nil)
				close(gate) // the zombie's second batch
				time.Sleep(2 * time.Second)
			}
		})
		src := &script{n: 200, size: 50}
		heir := w.run(w.ingester(src))
		heir.drain(t, 200)
		if !opened {
			t.Fatal("the heir never passed the point where the zombie acts")
		}
		var fenced *ingest.FencedError
		if err := zombie.end(t); !errors.As(err, &fenced) {
			t.Errorf("the zombie ended with %v, want a FencedError", err)
		} else {
			t.Log(fenced)
		}
		w.verify(src, 200)
	})
}

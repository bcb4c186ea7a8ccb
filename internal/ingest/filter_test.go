package ingest

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"
)

func id(n int) []byte { return fmt.Appendf(nil, "did:plc:%d/app.bsky.feed.post/%d", n%1000, n) }

func TestFilterForgetsByUpstreamsClock(t *testing.T) {
	f := newFilter(10*time.Second, 1000)
	for second := range 60 {
		f.advance(int64(second) * 1e6)
		if !f.fresh(id(second)) {
			t.Fatalf("event %d is not fresh", second)
		}
	}
	for second := range 60 {
		// The clock is at 59 s: what came since second 49 is within the window.
		if got, want := f.fresh(id(second)), second < 49; got != want {
			t.Errorf("event of second %d: fresh %v, want %v", second, got, want)
		}
	}
}

func TestFilterClockDoesNotGoBack(t *testing.T) {
	f := newFilter(10*time.Second, 1000)
	f.advance(100e6)
	f.advance(50e6) // a reconnect starts before the last position
	f.fresh(id(1))
	f.advance(105e6)
	f.fresh(id(2))
	f.advance(106e6)
	if f.fresh(id(1)) || f.fresh(id(2)) {
		t.Error("forgot what is within the window")
	}
}

func TestFilterPassesWhatHasNoIdentity(t *testing.T) {
	f := newFilter(time.Hour, 1000)
	for range 3 {
		if !f.fresh(nil) {
			t.Error("an event without identity was taken for a duplicate")
		}
	}
}

// TestFilterAgainstAModel compares it with a plain list.
func TestFilterAgainstAModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	const limit, window = 3000, int64(5e6)
	f := newFilter(time.Duration(window)*time.Microsecond, limit)
	type entry struct {
		n     int
		clock int64
	}
	var model []entry
	var clock int64
	for range 20_000 {
		clock += int64(rnd.IntN(5000)) * int64(rnd.IntN(2))
		f.advance(clock)
		for len(model) > 0 && clock-model[0].clock > window {
			model = model[1:]
		}
		n := rnd.IntN(6000)
		want := true
		for _, e := range model {
			want = want && e.n != n
		}
		if want {
			if len(model) == limit {
				model = model[1:]
			}
			model = append(model, entry{n, clock})
		}
		if got := f.fresh(id(n)); got != want {
			t.Fatalf("event %d at %d: fresh %v, want %v", n, clock, got, want)
		}
		if f.n != len(model) {
			t.Fatalf("holds %d, want %d", f.n, len(model))
		}
	}
}

func TestFilterIsBounded(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	f := newFilter(time.Hour, maxFiltered)
	short := func(n int) []byte { return binary.LittleEndian.AppendUint32(nil, uint32(n)) }
	for n := range maxFiltered + 100_000 {
		f.fresh(short(n))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if f.n != maxFiltered || f.early != 100_000 {
		t.Errorf("holds %d, forgot %d early", f.n, f.early)
	}
	if used := int64(after.HeapAlloc) - int64(before.HeapAlloc); used > 132<<20 {
		t.Errorf("takes %d MiB, want at most 132", used>>20)
	} else {
		t.Logf("%d identities take %d MiB", f.n, used>>20)
	}
	if !f.fresh(short(0)) || f.fresh(short(maxFiltered+99_999)) {
		t.Error("it is not the oldest that were forgotten")
	}
	runtime.KeepAlive(f)
}

func BenchmarkFilter(b *testing.B) {
	f := newFilter(time.Hour, maxFiltered)
	ids := make([][]byte, 1<<16)
	for n := range ids {
		ids[n] = id(n)
	}
	b.ReportAllocs()
	for n := range b.N {
		v := ids[n%len(ids)]
		v[4], v[5] = byte(n>>16), byte(n>>24)
		f.fresh(v)
	}
}

// On a quiet stream a server that repeats by number repeats hours.
func TestFilterKeepsTheNewestHoweverOld(t *testing.T) {
	f := newFilter(10*time.Second, 1000)
	f.keep = 50
	for hour := range 200 {
		f.advance(int64(hour) * 3600e6)
		if !f.fresh(id(hour)) {
			t.Fatalf("event %d is not fresh", hour)
		}
	}
	for hour := 199; hour >= 150; hour-- {
		if f.fresh(id(hour)) {
			t.Errorf("event of hour %d is forgotten, of the newest 50", hour)
		}
	}
	if !f.fresh(id(140)) {
		t.Error("more is kept than was asked for")
	}
}

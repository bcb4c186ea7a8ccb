package simulate

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestSegmentsConvertBothWays(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 1))
		segs := Segments{{StartUS: r.Int64N(1e15), Index: r.Int64N(1e6), Rate: anyRate(r)}}
		for range r.IntN(6) {
			last := segs[len(segs)-1]
			start := last.StartUS + 1 + r.Int64N(5e6)
			segs = append(segs, Segment{StartUS: start, Index: segs.Until(start - 1), Rate: anyRate(r)})
		}
		if err := segs.validate(); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		i, before := segs[0].Index, int64(-1)
		for range 20_000 {
			at := segs.Time(i)
			if at <= before {
				t.Fatalf("seed %d: event %d at %d, the one before at %d", seed, i, at, before)
			}
			if got, had := segs.Until(at), segs.Until(at-1); got != i+1 || had != i {
				t.Fatalf("seed %d: event %d at %d: %d before, %d then; %+v", seed, i, at, had, got, segs)
			}
			before = at
			i++
		}
	}
}

func anyRate(r *rand.Rand) float64 {
	return [...]float64{0.5, 1, 3, 7.25, 60, 333.333, 1000, 99_999, 120_000, 1_000_000}[r.IntN(10)]
}

func TestSegmentsReachFar(t *testing.T) {
	s := Segments{{StartUS: 1_700_000_000_000_000, Rate: MaxRate}}
	const day = 86_400_000_000
	for _, days := range []int64{1, 365, 36_500} {
		i := days * day // one each µs
		if got := s.Time(i); got != s[0].StartUS+days*day {
			t.Errorf("%d days: %d", days, got)
		}
		if got := s.Until(s[0].StartUS + days*day); got != i+1 {
			t.Errorf("%d days: %d events", days, got)
		}
	}
	slow := Segments{{StartUS: 0, Rate: MinRate}}
	if got := slow.Time(1); got != 1_000_000_000 {
		t.Errorf("second event of the slowest stream at %d", got)
	}
	slow.Time(1 << 62) // far beyond: no panic
	s.Until(1<<63 - 1)
}

// Whatever crashes, clocks and changes do: an index and a stamp that anyone can
// have seen stay together for good, and time without the program is no backlog.
func TestTimelineNeverGivesAnIndexOrAStampTwice(t *testing.T) {
	for seed := range uint64(rounds(40)) {
		synctest.Test(t, func(t *testing.T) { crashTimeline(t, seed) })
	}
}

func crashTimeline(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 2))
	path := filepath.Join(t.TempDir(), "timeline.json")
	const maxRate = 400
	rate, variant := float64(1+r.IntN(maxRate)), "a"
	type fact struct {
		stamp   int64
		variant string
	}
	var seen []fact // by index
	look := func(tl *Timeline) {
		v := tl.Now()
		n := v.Until(v.NowUS)
		if n < int64(len(seen)) {
			return // the clock went back
		}
		for i := int64(len(seen)); i < n; i++ {
			seen = append(seen, fact{v.Segments.Time(i), v.Segments.Of(i).Variant})
		}
		for range 50 {
			if n == 0 {
				return
			}
			i := r.Int64N(n)
			if got := (fact{v.Segments.Time(i), v.Segments.Of(i).Variant}); got != seen[i] {
				t.Fatalf("seed %d: event %d was %+v, is %+v", seed, i, seen[i], got)
			}
		}
	}
	for range 12 {
		tl, err := OpenTimeline(TimelineConfig{Path: path, World: "x:1", Rate: rate, Variant: variant})
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		had := len(seen)
		look(tl)
		if had > 0 && float64(len(seen)-had) > 4*maxRate { // 3 s of promise, 0.9 s of not looking
			t.Fatalf("seed %d: %d events of backlog at %v/s", seed, len(seen)-had, rate)
		}
		for range r.IntN(8) {
			time.Sleep(time.Duration(r.Int64N(int64(900 * time.Millisecond))))
			if r.IntN(4) == 0 {
				look(tl) // an event may happen at the very moment of the change
				rate, variant = float64(1+r.IntN(maxRate)), string(rune('a'+r.IntN(3)))
				if err := tl.Change(rate, variant); err != nil {
					t.Fatal(err)
				}
			}
			old, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			look(tl)
			synctest.Wait()
			if r.IntN(6) == 0 { // killed while the lease was being renewed
				half := old[:r.IntN(len(old))]
				if os.WriteFile(path, old, 0o600) != nil || os.WriteFile(path+".new", half, 0o600) != nil {
					t.Fatal("cannot write")
				}
				break
			}
		}
		_ = tl.Close() // only waits for the disk
		if r.IntN(3) == 0 {
			rate = float64(1 + r.IntN(maxRate))
		}
		time.Sleep(time.Duration(r.Int64N(int64(10 * time.Second))))
	}
	if len(seen) == 0 {
		t.Fatalf("seed %d: nothing happened", seed)
	}
	for i := 1; i < len(seen); i++ {
		if seen[i].stamp <= seen[i-1].stamp {
			t.Fatalf("seed %d: event %d at %d, the one before at %d", seed, i, seen[i].stamp, seen[i-1].stamp)
		}
	}
}

func TestTimelinePromisesNothingItCannotWriteDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "gone")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		tl, err := OpenTimeline(TimelineConfig{Path: filepath.Join(dir, "t.json"), World: "x", Rate: 100, Variant: "v"})
		if err != nil {
			t.Fatal(err)
		}
		defer tl.Close()
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		for range 20 {
			time.Sleep(500 * time.Millisecond)
			tl.Now()
			synctest.Wait()
		}
		v := tl.Now()
		if n := v.Until(v.NowUS); n != 301 { // the 3 s of the first promise
			t.Errorf("%d events are shown after 10 s without a disk, want 301", n)
		}
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		tl.Now()
		synctest.Wait()
		v = tl.Now()
		if n := v.Until(v.NowUS); n != 1201 {
			t.Errorf("%d events after the disk has come back, want 1201", n)
		}
	})
}

func TestTimelineGoesOnAfterTheSameRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := TimelineConfig{Path: filepath.Join(t.TempDir(), "t.json"), World: "x", Rate: 10, Variant: "v"}
		for k, pause := range []time.Duration{0, time.Second, time.Hour} {
			time.Sleep(pause)
			tl, err := OpenTimeline(cfg)
			if err != nil {
				t.Fatal(err)
			}
			// A pause within the promise needs no new segment, a longer one does.
			if got, want := len(tl.Now().Segments), max(k, 1); got != want {
				t.Errorf("after %v: %d segments, want %d", pause, got, want)
			}
			tl.Close()
		}
	})
}

func TestTimelineHasAHistoryAndAnEnd(t *testing.T) {
	tl, err := OpenTimeline(TimelineConfig{Rate: 1000, Variant: "v", History: time.Minute, Limit: 500})
	if err != nil {
		t.Fatal(err)
	}
	defer tl.Close()
	v := tl.Now()
	if n := v.Until(v.NowUS); n != 500 || v.Ended(499) || !v.Ended(500) {
		t.Errorf("%d events, want 500", n)
	}
}

func TestTimelineFilesThatAreRefused(t *testing.T) {
	good := `{"version":1,"world":"bluesky:1","segments":[{"start_us":5,"index":0,"rate":10,"variant":"*"}],"horizon_us":9}`
	for name, c := range map[string]struct{ file, want string }{
		"another seed":    {strings.Replace(good, "bluesky:1", "bluesky:2", 1), "belongs to"},
		"a newer version": {strings.Replace(good, `"version":1`, `"version":2`, 1), "version 2"},
		"half a file":     {good[:40], "damaged"},
		"nothing in it":   {"", "damaged"},
		"no segments":     {`{"version":1,"world":"bluesky:1"}`, "no segments"},
		"a rate of none":  {strings.Replace(good, `"rate":10`, `"rate":0`, 1), "rate 0"},
		"going back":      {strings.Replace(good, `}],`, `},{"start_us":5,"index":0,"rate":1}],`, 1), "begins before"},
		"before the sea":  {strings.Replace(good, `"start_us":5`, `"start_us":-5`, 1), "negative"},
	} {
		path := filepath.Join(t.TempDir(), "t.json")
		if err := os.WriteFile(path, []byte(c.file), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := OpenTimeline(TimelineConfig{Path: path, World: "bluesky:1", Rate: 1, Variant: "*"})
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want the path and %q", name, err, c.want)
		}
		if left, _ := os.ReadFile(path); string(left) != c.file {
			t.Errorf("%s: the file was changed", name)
		}
	}
	for _, rate := range []float64{0, -1, MaxRate + 1, MinRate / 2} {
		if _, err := OpenTimeline(TimelineConfig{Rate: rate}); err == nil {
			t.Errorf("rate %v", rate)
		}
	}
	if _, err := OpenTimeline(TimelineConfig{Path: "/proc/no/such/place", World: "x", Rate: 1}); err == nil {
		t.Error("a directory that is not there")
	}
}

// An event that happens at the very microsecond of a change, and was shown,
// stays what it was.
func TestTimelineChangesNothingThatWasShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tl := timeline(t, TimelineConfig{Rate: 10, Variant: "a"})
		time.Sleep(100 * time.Millisecond)
		v := tl.Now()
		n := v.Until(v.NowUS)
		if err := tl.Change(10, "b"); err != nil {
			t.Fatal(err)
		}
		segs := tl.Now().Segments
		for i := range n {
			if segs.Of(i).Variant != "a" || segs.Time(i) != v.Segments.Time(i) {
				t.Errorf("event %d is of variant %s, at %d", i, segs.Of(i).Variant, segs.Time(i))
			}
		}
		if n != 2 || segs.Of(n).Variant != "b" {
			t.Errorf("%d events, the next of variant %s", n, segs.Of(n).Variant)
		}
	})
}

// One wrong word on the command line must not spoil a data directory.
func TestServersForgiveOldVariantsThatAreNone(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		variant string
		bad     bool
	}{{"net.nobody.*", true}, {"*", false}} {
		tl := timeline(t, TimelineConfig{Path: filepath.Join(dir, "b.json"), World: "x", Rate: 1, Variant: c.variant})
		if s, err := NewBluesky(ServerConfig{World: NewWorld(1), Timeline: tl}); (err != nil) != c.bad {
			t.Errorf("bluesky %q: %v", c.variant, err)
		} else if !c.bad {
			s.At(0)
			s.Close()
		}
		tl = timeline(t, TimelineConfig{Path: filepath.Join(dir, "w.json"), World: "x", Rate: 1, Variant: strings.ReplaceAll(c.variant, "*", Eqiad)})
		if s, err := NewWikipedia(ServerConfig{World: NewWorld(1), Timeline: tl}); (err != nil) != c.bad {
			t.Errorf("wikipedia %q: %v", c.variant, err)
		} else if !c.bad {
			s.At(0)
			s.Close()
		}
	}
}

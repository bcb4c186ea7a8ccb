package schedules

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400) // little is alive at any time
	}
	goleak.VerifyTestMain(m)
}

// coverage counts what schedules have reached.
type coverage struct {
	points, faults, pairs map[string]int
	answered, refused     int // by the page
}

func newCoverage() *coverage {
	return &coverage{points: map[string]int{}, faults: map[string]int{}, pairs: map[string]int{}}
}

// unreachable are pairs that cannot happen, with the reason.
var unreachable = map[string]string{}

// judge fails the test where enough seeds did not reach something that the kind has.
func (c *coverage) judge(t *testing.T, k *kind, n int) {
	t.Helper()
	want := newCoverage()
	for _, turn := range k.turns {
		for _, p := range turn.points {
			want.points[p]++
		}
		for _, f := range turn.faults {
			want.faults[f.name]++
			for _, path := range turn.paths {
				if p := pair(f.name, path); unreachable[p] == "" {
					want.pairs[p]++
				}
			}
		}
	}
	for _, x := range []struct {
		what      string
		want, got map[string]int
	}{{"crash point", want.points, c.points}, {"fault", want.faults, c.faults}, {"pair", want.pairs, c.pairs}} {
		least := 1 << 30
		rarest := ""
		for _, name := range slices.Sorted(maps.Keys(x.want)) {
			if x.got[name] < least {
				least, rarest = x.got[name], name
			}
			if x.got[name] == 0 && n >= enough {
				t.Errorf("no schedule reached the %s %q", x.what, name)
			}
		}
		t.Logf("%s: %d of %d reached, the rarest %d times: %s", x.what, len(x.got), len(x.want), least, rarest)
	}
	if k.counts {
		t.Logf("the page answered %d times, and with %d errors", c.answered, c.refused)
		if n >= enough && c.refused == 0 {
			t.Error("no fault has reached the page")
		}
	}
}

// enough is the number of seeds from which on the coverage has to be complete.
const enough = 1000

// seeds returns the first seed and how many follow: WEIR_TEST_SEED=N is the first one, and the only
// one unless WEIR_TEST_SEEDS says how many.
func seeds(t *testing.T, usual int) (base uint64, n int) {
	t.Helper()
	base, n = rand.Uint64()>>1, usual
	if testing.Short() {
		n = usual / 5
	}
	number := func(name string) (v uint64, ok bool) {
		text := os.Getenv(name)
		if text == "" {
			return 0, false
		}
		v, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return v, true
	}
	if v, ok := number("WEIR_TEST_SEED"); ok {
		base, n = v, 1
	}
	if v, ok := number("WEIR_TEST_SEEDS"); ok {
		n = int(v)
	}
	t.Logf("base seed %d, %d seeds", base, n)
	return base, n
}

// schedules runs seeds of a kind.
func schedules(t *testing.T, k kind, usual int) {
	k.test = t.Name()
	if k.counts && !durable {
		t.Skipf("needs a build tag of the Kafka client: go test -tags synctests -run '^%s$' ./internal/schedules", k.test)
	}
	base, n := seeds(t, usual)
	cov := newCoverage()
	failed := 0
	for i := range n {
		seed := base + uint64(i)
		if !t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { run(t, &k, seed, cov) }) {
			t.Logf("replay it: WEIR_TEST_SEED=%d go test -tags synctests -count=1 -v -run '^%s$' ./internal/schedules", seed, k.test)
			if failed++; failed == 5 {
				t.Fatalf("%d of %d seeds failed: the others are not run", failed, i+1)
			}
		}
	}
	cov.judge(t, &k, n)
}

// TestIngesterSchedules has upstreams and brokers fail under ingesters that are stopped, killed,
// taken over, or die at a crash point meanwhile.
func TestIngesterSchedules(t *testing.T) { schedules(t, kind{turns: []turn{ingestTurn}}, 200) }

// TestCounterSchedules has Redis and brokers fail under counters that join, leave and die meanwhile.
func TestCounterSchedules(t *testing.T) {
	schedules(t, kind{counts: true, turns: []turn{countTurn}}, 40)
}

// TestPipelineSchedules has everything fail, from the wire to the counts.
func TestPipelineSchedules(t *testing.T) {
	schedules(t, kind{counts: true, turns: []turn{ingestTurn, countTurn}}, 40)
}

// TestTheSameSeedIsTheSameSchedule compares the traces of two runs of a seed byte by byte.
func TestTheSameSeedIsTheSameSchedule(t *testing.T) {
	for _, k := range []kind{{turns: []turn{ingestTurn}}, {counts: true, turns: []turn{ingestTurn, countTurn}}} {
		if k.counts && !durable {
			continue // as TestPipelineSchedules
		}
		base, n := seeds(t, 10)
		for i := range n {
			seed := base + uint64(i)
			t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
				one, two := run(t, &k, seed, newCoverage()), run(t, &k, seed, newCoverage())
				if len(one) < 10 {
					t.Errorf("the trace has %d lines", len(one))
				}
				for i := range max(len(one), len(two)) {
					if i >= len(one) || i >= len(two) || one[i] != two[i] {
						t.Fatalf("the traces differ from line %d on:\n%s\nand\n%s", i+1,
							strings.Join(one[min(i, len(one)):], "\n"), strings.Join(two[min(i, len(two)):], "\n"))
					}
				}
			})
		}
	}
}

// elsewhere are crash points that schedules of other packages reach: those of the brokers' own files.
var elsewhere = []string{"archive: begun", "archive: half a batch written", "archive: merged", "archive: not yet deleted from the brokers",
	"archive: written", "cluster: commit noted", "cluster: transaction ended"}

// TestEveryCrashPointIsScheduled finds the crash points of the program in its source.
func TestEveryCrashPointIsScheduled(t *testing.T) {
	call := regexp.MustCompile(`crash\.Here\("([^"]+)"\)`)
	found := map[string]bool{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		for _, m := range call.FindAllSubmatch(b, -1) {
			found[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	listed := slices.Sorted(slices.Values(slices.Concat(ingestPoints, elsewhere)))
	if got := slices.Sorted(maps.Keys(found)); !slices.Equal(got, listed) {
		t.Errorf("the program has the crash points\n%q\nand schedules reach\n%q", got, listed)
	}
}

// digest sums lines up.
type digest struct{ hash.Hash }

func newDigest() digest { return digest{sha256.New()} }

func (d digest) add(format string, args ...any) { fmt.Fprintf(d, format+"\n", args...) }

func (d digest) String() string { return fmt.Sprintf("%x", d.Sum(nil)[:8]) }

// sorted is a map as text, always in the same order.
func sorted(m map[string]int64) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, fmt.Sprintf("%s %d", k, m[k]))
	}
	return strings.Join(out, ", ")
}

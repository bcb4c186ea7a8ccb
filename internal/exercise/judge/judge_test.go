package judge

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/weir-project/weir/internal/exercise"
)

// check runs the program of this test binary that does the words wrong. A program that is small
// may use 1 MiB.
func check(t *testing.T, name, words string) *exercise.Report {
	t.Helper()
	memory := int64(0)
	if words == "small" {
		memory = 1 << 20
	}
	r, err := Run(t.Context(), Config{Exercise: name, Memory: memory, Args: []string{os.Args[0]}, Environ: append(os.Environ(),
		"LEARNER=right "+words),
		Self: os.Args[0], FreePorts: true, Progress: func(s string) { t.Log(s) }})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// mustSay checks the verdict and that the headline and the reason have some words.
func mustSay(t *testing.T, r *exercise.Report, v exercise.Verdict, words ...string) {
	t.Helper()
	if r.Verdict != v {
		t.Errorf("verdict %s, want %s", r.Verdict, v)
	}
	for _, w := range words {
		if !strings.Contains(r.Headline+" "+r.Why, w) {
			t.Errorf("neither the headline nor the reason says %q", w)
		}
	}
	if t.Failed() {
		t.Logf("%s\n%s\n%s\n%+v\n%+v\n%s", r.Headline, r.Why, r.Hint, r.Evidence, r.Checks, r.Output)
	}
}

// tier is the variable that switches on the checks that take long.
const tier = "WEIR_TEST_EXERCISES"

// rows checks programs: by the words of what they do wrong, the verdict and what the headline must
// say. Without the tier only the quick ones are checked.
func rows(t *testing.T, name string, quick []string, programs map[string][]string) {
	t.Parallel()
	for words, want := range programs {
		t.Run(words, func(t *testing.T) {
			t.Parallel()
			if os.Getenv(tier) == "" && !slices.Contains(quick, words) {
				t.Skip("takes long: run it with " + tier + "=1")
			}
			mustSay(t, check(t, name, words), exercise.Verdict(want[0]), want[1:]...)
		})
	}
}

func TestCount(t *testing.T) {
	rows(t, "count", []string{"", "crash", "small"}, map[string][]string{
		"":              {"passed", "all 2000 events"},
		"one-partition": {"wrong", "only partition 2"},
		"latest":        {"wrong", "none of the 1500 events that were in the topic before it started"},
		"kind":          {"wrong", "counts the field", "commit = 2000"},
		"crash":         {"wrong", "ended by itself", "exit code 1", "no module named kafka"},
		"small":         {"wrong", "MiB of memory; the limit is 1 MiB"},
		"loud":          {"wrong", "the program printed"},
		"database-1":    {"wrong", "the counts are in database 1 of Redis"},
		"deaf":          {"wrong", "the program did not end within 10s after SIGTERM"},
		"elsewhere":     {"inconclusive", "did not connect to the private cluster"},
	})
}

func TestProduce(t *testing.T) {
	rows(t, "produce", []string{"blind"}, map[string][]string{
		"":             {"passed", "account and identity events did no harm"},
		"blind":        {"wrong", "crashed at an", "of the stream", "panic: runtime error"},
		"rev":          {"wrong", "has the key", "not its author's DID"},
		"drop":         {"wrong", "posts are missing"},
		"no-flush":     {"wrong", "the program ended too early", "did not wait until Kafka had them"},
		"deaf":         {"wrong", "the program did not end within 10s after SIGTERM"},
		"silent":       {"wrong", "is empty: the program wrote no record"},
		"other-topic":  {"wrong", "is empty; the topic exercise-output has"},
		"creates-only": {"wrong", "no event of type update or delete is stored"},
	})
}

func TestShare(t *testing.T) {
	rows(t, "share", nil, map[string][]string{
		"":              {"passed", "counted once, by one copy or the other"},
		"stranger":      {"wrong", "different groups"},
		"never-commit":  {"wrong", "counted twice when the second copy joined", "had committed nothing"},
		"one-partition": {"wrong", "only partition 2"},
	})
}

func TestSurvive(t *testing.T) {
	rows(t, "survive", nil, map[string][]string{
		"":             {"passed", "counted twice, which the exercise once forbids: "},
		"commit-first": {"wrong", "the first kill lost", "does not wait for Redis before it commits"},
		"auto-commit":  {"wrong", "the first kill lost"},
		"never-commit": {"wrong", "the program commits nothing", "counts the whole topic again"},
	})
}

func TestOnce(t *testing.T) {
	rows(t, "once", []string{""}, map[string][]string{
		"offsets-in-redis":            {"passed", "each exactly once"},
		"offsets-in-redis impatient":  {"passed", "each exactly once"},
		"offsets-in-redis one-offset": {"wrong", "the program counted"}, // which partitions are whole depends on how fast it is
		"":                            {"wrong", "counted twice because of the"},
		"commit-first":                {"wrong", "the first kill lost", "does not wait for Redis before it commits"},
		"careless impatient":          {"wrong", "the first kill lost", "commits first and counts afterwards, or it ignores an error"},
	})
}

func TestPoison(t *testing.T) {
	rows(t, "poison", nil, map[string][]string{
		"crash":     {"wrong", "ended by itself", "no module named kafka"},
		"elsewhere": {"inconclusive", "did not connect to the private cluster"},
	})
}

func TestKeepUp(t *testing.T) {
	rows(t, "keep-up", nil, map[string][]string{
		"elsewhere": {"inconclusive", "did not join a group of the private cluster"},
	})
}

func TestResume(t *testing.T) {
	rows(t, "resume", nil, map[string][]string{
		"elsewhere":             {"wrong", "did not connect to the stream"}, // the stream has no default address
		"patient other-cluster": {"inconclusive", "nothing of the program was seen in the private cluster"},
	})
}

func TestWindow(t *testing.T) {
	rows(t, "window", nil, map[string][]string{
		"elsewhere": {"inconclusive", "nothing of the program was seen in the private cluster"},
	})
}

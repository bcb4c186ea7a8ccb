package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weir-project/weir/docs"
	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/web"
)

// smallLab is the quickest experiment that shows something; what is exact in it
// does not depend on the machine.
var smallLab = []string{"lab", "backpressure", "--policies", "drop-newest", "--queue", "512", "--rate", "1300", "--time", "1200ms"}

func TestLabFindsWhatIsBroken(t *testing.T) {
	if os.Getenv("WEIR_TEST_LAB") == "" {
		t.Skip("measures for seconds: WEIR_TEST_LAB=1 go test -run TestLab ./cmd/weir")
	}
	env := testEnv(t, "WEIR_DATA="+t.TempDir())
	stdout, stderr, code := weir(t, env, append(smallLab, "--break", "lose", "-o", "json")...)
	if code != cli.ExitFailed || !strings.Contains(stderr, "the claim does not hold: drop-newest: every loss is counted") {
		t.Fatalf("exit code %d, stderr:\n%s", code, stderr)
	}
	var r struct {
		Directory, Lab, Verdict string
		Checks                  []struct{ Verdict string }
	}
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatal(err)
	}
	if r.Lab != "backpressure" || r.Verdict != "does not hold" || len(r.Checks) < 5 {
		t.Errorf("report = %+v", r)
	}
	for _, name := range []string{"report.json", "plot.svg"} {
		if s, err := os.Stat(filepath.Join(r.Directory, name)); err != nil || s.Size() < 1000 {
			t.Errorf("%s: %v, %v", name, s, err)
		}
	}
	name := filepath.Base(r.Directory)
	stdout, _, code = weir(t, env, "lab", "list")
	if code != cli.ExitOK || !strings.Contains(stdout, name+"  does not hold") {
		t.Errorf("list: exit code %d\n%s", code, stdout)
	}
	stdout, _, code = weir(t, env, "lab", "compare", name, r.Directory)
	if code != cli.ExitOK || !strings.Contains(stdout, "1.00") {
		t.Errorf("compare: exit code %d\n%s", code, stdout)
	}
}

func TestLabStoppedIsInconclusive(t *testing.T) {
	data := t.TempDir()
	c := start(t, testEnv(t, "WEIR_DATA="+data), "", smallLab...)
	c.stderr.waitFor(t, "upstream begins", startPatience)
	_, stderr, code := weir(t, testEnv(t, "WEIR_DATA="+data), smallLab...)
	if code != cli.ExitRuntime || !strings.Contains(stderr, "another lab is running (backpressure, process") {
		t.Errorf("a second lab: exit code %d, stderr:\n%s", code, stderr)
	}
	if code := c.stop(t); code != cli.ExitUnclear {
		t.Errorf("exit code %d, stderr:\n%s", code, c.stderr)
	}
	entries, err := os.ReadDir(filepath.Join(data, labsDir))
	if err != nil || len(entries) != 1 || entries[0].Name() != "lock" {
		t.Errorf("left are %v, %v", entries, err)
	}
}

func TestLabWrongUse(t *testing.T) {
	for want, args := range map[string][]string{
		"offer at least 480/s":        {"lab", "backpressure", "--rate", "400"},
		`policy "keep" is unknown`:    {"lab", "backpressure", "--policies", "keep"},
		"there is no report":          {"lab", "compare", "no-such", "other"},
		"--short contradict":          {"lab", "backpressure", "--short", "--preset", "io"},
		"add --from-topic":            {"lab", "batching", "--kafka", "127.0.0.1:1"},
		"is not between 512 and 2000": {"lab", "backpressure", "--queue", "10"},
	} {
		data := t.TempDir()
		_, stderr, code := weir(t, testEnv(t, "WEIR_DATA="+data, "WEIR_RATE=5"), args...)
		if code != cli.ExitUsage || !strings.Contains(stderr, want) {
			t.Errorf("%v: exit code %d, stderr:\n%s", args, code, stderr)
		}
		if entries, _ := os.ReadDir(data); len(entries) != 0 {
			t.Errorf("%v leaves %v", args, entries)
		}
	}
}

// labPatience is how long a loaded machine may take for a lab's short form.
const labPatience = 3 * time.Minute

// TestLabPersistence kills real processes, and removes a file of the log under them.
func TestLabPersistence(t *testing.T) {
	if os.Getenv("WEIR_TEST_LAB") == "" {
		t.Skip("kills processes for seconds: WEIR_TEST_LAB=1 go test -run TestLab ./cmd/weir")
	}
	for _, tt := range []struct {
		args []string
		says string
		code int
	}{
		{nil, "HOLDS: all 10", cli.ExitOK},
		{[]string{"--break", "forget", "--kills", "1"}, "DOES NOT HOLD: kill everything: every committed record", cli.ExitFailed},
		{[]string{"--break", "spare", "--kills", "1"}, "INCONCLUSIVE", cli.ExitUnclear},
	} {
		// A process of its own: the lab starts others of the same program.
		c := spawn(t, testEnv(t, "WEIR_DATA="+t.TempDir()), append([]string{"lab", "persistence", "--short"}, tt.args...)...)
		code := c.exitWithin(t, labPatience)
		if code != tt.code && code != cli.ExitUnclear || code == tt.code && !strings.Contains(c.out.String(), tt.says) {
			t.Errorf("%v: exit code %d\n%s", tt.args, code, c.out)
		}
	}
}

// TestLabEndsWithItsControl has a standard input that changes what there is not, and ends.
func TestLabEndsWithItsControl(t *testing.T) {
	data := t.TempDir()
	c := start(t, testEnv(t, "WEIR_DATA="+data), `{"set":"colour","value":"blue"}`+"\n", append(smallLab, "--control", "-o", "jsonl")...)
	code := c.wait(t)
	if code != cli.ExitUnclear || !strings.Contains(c.stderr.String(), "not changed: colour:") {
		t.Errorf("exit code %d, stderr:\n%s", code, c.stderr)
	}
	lines := strings.Split(strings.TrimSpace(c.stdout.String()), "\n")
	var last struct {
		At  float64
		End struct{ Error string }
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || last.End.Error == "" {
		t.Errorf("the last line is %s (%v)", lines[len(lines)-1], err)
	}
	if entries, err := os.ReadDir(filepath.Join(data, labsDir)); err != nil || len(entries) != 1 {
		t.Errorf("left are %v, %v", entries, err)
	}
}

// TestEveryLabRunsFromThePages: a page starts labs by their flags, and reads and
// controls them.
func TestEveryLabRunsFromThePages(t *testing.T) {
	l := (&app{}).labsForUI(t.TempDir())
	if len(l.List) < len(labs()) {
		t.Errorf("%d labs of %d have a command", len(l.List), len(labs()))
	}
	commands := newLab(&app{})
	for _, x := range l.List {
		if d, err := docs.Read("labs/" + x.Name); err != nil || len(d.Body) < 10 || len(x.Fields) == 0 {
			t.Errorf("%s: %d nodes of text, %v, %d settings", x.Name, len(d.Body), err, len(x.Fields))
		}
		c, _, err := commands.Find([]string{x.Name})
		if err != nil || c.Flags().Lookup(labControl) == nil || !strings.Contains(c.Flags().Lookup("output").Usage, cli.FormatJSONL) {
			t.Errorf("%s cannot be followed or controlled", x.Name)
		}
	}
}

// TestFormsKnowBoundsAndPresets: a form says what a field takes, and what the preset makes
// of one that is left alone.
func TestFormsKnowBoundsAndPresets(t *testing.T) {
	t.Parallel()
	field := func(lab, name string) (f web.LabField) {
		for _, x := range (&app{}).labsForUI(t.TempDir()).List {
			for _, f := range x.Fields {
				if x.Name == lab && f.Name == name {
					return f
				}
			}
		}
		t.Fatalf("%s has no %s", lab, name)
		return f
	}
	if f := field("backpressure", "queue"); f.Kind != "number" || f.Min != "512" || f.Max != "200000" || !f.Whole || f.Presets["short"] != "1000" || f.Presets["play"] != "2000" || f.Default != "10000" {
		t.Errorf("queue: %+v", f)
	}
	if f := field("backpressure", "policies"); f.Presets["play"] != "block" || f.Default != "block,drop-newest,drop-oldest,sample,spill" {
		t.Errorf("policies: %+v", f)
	}
	if f := field("backpressure", "work"); f.Kind != "text" || f.Min != "1ms" || f.Max != "1s" {
		t.Errorf("work: %+v", f)
	}
	if f := field("groups", "rate"); f.Whole || f.Presets["short"] != "600" || f.Default != "1000" {
		t.Errorf("rate: %+v", f)
	}
	if f := field("replay", "source"); f.Kind != "choice" || len(f.Values) != 3 {
		t.Errorf("source: %+v", f)
	}
}

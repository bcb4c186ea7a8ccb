// Package weir_test holds the conventions of the repository that are checked as tests.
package weir_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/weir-project/weir"

// arrow forbids production code of the packages that match from (a path.Match
// pattern below the module) to depend on those that match to, at any depth.
type arrow struct {
	from, to, why string
	except        []string
}

var arrows = []arrow{
	{from: "internal/*", to: "cmd/*", why: "only cmd wires"},
	{from: "*/*", to: "internal/oracle", why: "tests only"},
	{from: "internal/*", to: "internal/cluster", why: "the engine boundary is the Kafka protocol", except: []string{"internal/cluster", "internal/lab", "internal/node"}},
	{from: "internal/*", to: "internal/cluster/*", why: "one interface for both engines", except: []string{"internal/cluster", "internal/lab", "internal/node"}},
	{from: "internal/cluster/*", to: "internal/cluster", why: "an engine does not know what it has in common with the other"},
	{from: "internal/*", to: "internal/redisd", why: "the boundary is the Redis protocol", except: []string{"internal/redisd", "internal/lab", "internal/node"}},
	{from: "internal/*", to: "internal/simulate", why: "production code cannot tell a simulated stream", except: []string{"internal/simulate", "internal/lab", "internal/node"}},
	{from: "internal/*", to: "internal/node", why: "only cmd runs a weir"},
	{from: "internal/event", to: "internal/*", why: "event is the bottom of the house", except: []string{"internal/event"}},
	{from: "internal/queue", to: "internal/*", why: "a queue knows batches only", except: []string{"internal/queue", "internal/event"}},
	{from: "internal/jsonscan", to: "internal/*", why: "a scanner knows bytes only", except: []string{"internal/jsonscan"}},
	{from: "internal/sse", to: "internal/*", why: "a wire format knows no source", except: []string{"internal/sse"}},
	{from: "internal/bluesky", to: "internal/kafka", why: "a source knows no Kafka"},
	{from: "internal/bluesky", to: "internal/wikipedia", why: "sources are independent"},
	{from: "internal/wikipedia", to: "internal/kafka", why: "a source knows no Kafka"},
	{from: "internal/wikipedia", to: "internal/bluesky", why: "sources are independent"},
	{from: "internal/upstream", to: "internal/bluesky", why: "what sources share knows no source"},
	{from: "internal/upstream", to: "internal/wikipedia", why: "what sources share knows no source"},
	{from: "internal/watch", to: "internal/web", why: "the live picture knows no HTTP"},
	{from: "internal/inspect", to: "internal/web", why: "what is looked up has no presentation"},
	{from: "internal/learn", to: "internal/web", why: "stations know no HTTP"},
	{from: "internal/learn", to: "internal/kafka", why: "checks look at the cluster as a learner's own program does"},
	{from: "internal/web", to: "internal/kafka", why: "pages are made of what inspect and watch say"},
	{from: "internal/web", to: "internal/ingest", why: "pages show the pipelines of any process"},
	{from: "internal/ingest", to: "internal/count", why: "producers and consumers are independent"},
	{from: "internal/ingest", to: "internal/tally", why: "ingest knows no Redis"},
	{from: "internal/count", to: "internal/ingest", why: "producers and consumers are independent"},
	{from: "internal/count", to: "internal/bluesky", why: "a counter counts any topic"},
	{from: "internal/count", to: "internal/wikipedia", why: "a counter counts any topic"},
	{from: "internal/tally", to: "internal/kafka", why: "the store knows no Kafka"},
	{from: "internal/web", to: "internal/exercise/*", why: "pages show exercises; a command checks programs"},
	{from: "internal/exercise", to: "internal/kafka", why: "texts and reports know no Kafka"},
	{from: "internal/exercise/program", to: "internal/*", why: "processes know nothing of what they do"},
	{from: "internal/verify", to: "internal/ingest", why: "a proof shares no code with what it proves"},
	{from: "internal/verify", to: "internal/count", why: "a proof shares no code with what it proves"},
}

// standardOnly are the packages whose production code depends on the standard library alone.
var standardOnly = []string{"internal/event", "internal/queue", "internal/jsonscan", "internal/sse", "internal/upstream", "internal/crash", "internal/intake", "internal/certs", "internal/visible", "internal/atomicfile", "internal/disk"}

func match(pattern, pkg string) bool {
	ok, err := path.Match(pattern, pkg)
	if err != nil {
		panic(err)
	}
	return ok
}

// TestArrows checks that dependencies run one way only.
func TestArrows(t *testing.T) {
	packages := list(t)
	if len(packages) < 10 {
		t.Fatalf("go list named %d packages of this module: the check would prove nothing", len(packages))
	}
	used := make([]bool, len(arrows))
	for pkg, deps := range packages {
		for i, a := range arrows {
			if !match(a.from, pkg) {
				continue
			}
			used[i] = true
			for _, dep := range deps {
				below, ours := strings.CutPrefix(dep, module+"/")
				if ours && match(a.to, below) && !slices.Contains(a.except, pkg) && below != pkg {
					t.Errorf("%s depends on %s: %s", pkg, below, a.why)
				}
			}
		}
		if slices.Contains(standardOnly, pkg) {
			for _, dep := range deps {
				if first, _, _ := strings.Cut(dep, "/"); strings.Contains(first, ".") && !strings.HasPrefix(dep, module) {
					t.Errorf("%s depends on %s: the standard library alone is enough there", pkg, dep)
				}
			}
		}
	}
	for i, a := range arrows {
		if !used[i] {
			t.Errorf("no package matches %q: the rule %q is dead", a.from, a.why)
		}
	}
	for _, pkg := range standardOnly {
		if _, ok := packages[pkg]; !ok {
			t.Errorf("%s does not exist", pkg)
		}
	}
}

// list returns the packages of the module, without its path, with all that they depend on.
func list(t *testing.T) map[string][]string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Deps,Doc", "./...").Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatalf("go list: %v", err)
	}
	packages := map[string][]string{}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath, Doc string
			Deps            []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		name, ours := strings.CutPrefix(p.ImportPath, module+"/")
		if !ours {
			continue // the root package holds tests only
		}
		if p.Doc == "" {
			t.Errorf("%s has no package comment", name)
		}
		packages[name] = p.Deps
	}
}

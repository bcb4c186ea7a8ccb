package conformance

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/weir-project/weir/internal/cluster"
)

var rewrite = flag.Bool("rewrite", false, "write the table of differences into DESIGN.md")

// Every entry of the list is what a test asserts: an id that no test names is one
// that nobody would notice to be mended.
func TestDifferencesAreExercised(t *testing.T) {
	named := make(map[string]bool)
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) != 2 {
				return true
			}
			if fn, ok := call.Fun.(*ast.Ident); !ok || fn.Name != "differs" {
				return true
			}
			lit, ok := call.Args[1].(*ast.BasicLit)
			if !ok {
				return true
			}
			id, err := strconv.Unquote(lit.Value)
			if err != nil {
				t.Error(err)
			}
			named[id] = true
			return true
		})
	}
	seen := make(map[string]bool)
	for _, d := range cluster.Differences() {
		if !named[d.ID] {
			t.Errorf("no test asserts the difference %q", d.ID)
		}
		if seen[d.ID] {
			t.Errorf("%q is listed twice", d.ID)
		}
		seen[d.ID] = true
		if d.Behaviour == "" || d.Apache == "" || d.Embedded == "" || d.Learner == "" {
			t.Errorf("%q says too little: %+v", d.ID, d)
		}
	}
	for id := range named {
		if !seen[id] {
			t.Errorf("a test names %q, which is not listed", id)
		}
	}
}

// The table of DESIGN.md is the list.
func TestDifferencesInDesign(t *testing.T) {
	const file, begin, end = "../../DESIGN.md", "<!-- differences -->\n", "<!-- /differences -->\n"
	var table strings.Builder
	table.WriteString("| | Apache Kafka | embedded | what follows |\n|---|---|---|---|\n")
	for _, d := range cluster.Differences() {
		fmt.Fprintf(&table, "| %s | %s | %s | %s |\n", d.Behaviour, d.Apache, d.Embedded, d.Learner)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(raw), begin)
	have, tail, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s has no %q ... %q", file, begin, end)
	}
	if *rewrite {
		if err := os.WriteFile(file, []byte(head+begin+table.String()+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if have != table.String() {
		t.Errorf("%s differs from cluster.Differences: go test ./internal/conformance -run TestDifferencesInDesign -rewrite", file)
	}
}

package docs

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// fuzzed is the heading of the table of fuzz targets, which is the last one.
const fuzzed = "## Any bytes at all"

// badInput is a row of reference/bad-input.md.
type badInput struct{ input, promise, pkg, test, in string }

var (
	inputRow = regexp.MustCompile("^\\| (.+) \\| (.+) \\| `(.+)` \\|$")
	testName = regexp.MustCompile(`^([a-z/]+)\.(Test\w+)(?:/(.+))?$`)
)

func badInputs(t *testing.T) (rows []badInput) {
	t.Helper()
	text, err := Files.ReadFile("reference/bad-input.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == fuzzed {
			break
		}
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|---") || line == "| input | what weir promises | test |" {
			continue
		}
		cells := inputRow.FindStringSubmatch(line)
		if cells == nil {
			t.Errorf("a row that cannot be read: %s", line)
			continue
		}
		name := testName.FindStringSubmatch(cells[3])
		if name == nil {
			t.Errorf("%q does not name a test as package.TestName/case", cells[3])
			continue
		}
		rows = append(rows, badInput{cells[1], cells[2], name[1], name[2], name[3]})
	}
	return rows
}

// TestBadInputs: each row names another input, and a test that exists, with a case that stands in it.
func TestBadInputs(t *testing.T) {
	rows := badInputs(t)
	if len(rows) < 120 {
		t.Errorf("%d rows, want 120", len(rows))
	}
	sources := map[string]*testSource{}
	inputs, tests := map[string]bool{}, map[string]bool{}
	for _, r := range rows {
		name := fmt.Sprintf("%s.%s/%s", r.pkg, r.test, r.in)
		if inputs[r.input] {
			t.Errorf("the input %q is there twice", r.input)
		}
		if tests[name] {
			t.Errorf("the test %s is there twice", name)
		}
		inputs[r.input], tests[name] = true, true
		s := sources[r.pkg]
		if s == nil {
			s = readTests(t, r.pkg)
			sources[r.pkg] = s
		}
		switch texts, ok := s.texts(r.test); {
		case !ok:
			t.Errorf("%s does not exist", name)
		case r.in != "" && !slices.ContainsFunc(texts, func(text string) bool { return text == r.in || len(r.in) >= 8 && strings.Contains(text, r.in) }):
			t.Errorf("%s: no text of the test has %q", name, r.in)
		}
	}
	t.Logf("%d inputs in %d packages", len(rows), len(sources))
}

// testSource is the test files of a package: its functions and variables by their name.
type testSource struct{ decls map[string]ast.Node }

func readTests(t *testing.T, pkg string) *testSource {
	t.Helper()
	dir := filepath.Join("..", "internal", filepath.FromSlash(pkg))
	if pkg == "weir" {
		dir = filepath.Join("..", "cmd", "weir")
	}
	s := &testSource{map[string]ast.Node{}}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Error(err)
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, e.Name()), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil {
					s.decls[d.Name.Name] = d
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if v, ok := spec.(*ast.ValueSpec); ok {
						s.decls[v.Names[0].Name] = v
					}
				}
			}
		}
	}
	return s
}

// texts returns the texts in a test, and in the functions and variables of its package that it names.
func (s *testSource) texts(test string) (list []string, ok bool) {
	d, ok := s.decls[test]
	if !ok {
		return nil, false
	}
	var named []string
	collect := func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Ident:
			named = append(named, n.Name)
		case *ast.BasicLit:
			if text, err := strconv.Unquote(n.Value); err == nil && n.Kind == token.STRING {
				list = append(list, text)
			}
		}
		return true
	}
	ast.Inspect(d, collect)
	for _, name := range slices.Compact(slices.Sorted(slices.Values(named))) {
		if below, ok := s.decls[name]; ok && name != test {
			ast.Inspect(below, collect)
		}
	}
	return list, true
}

// TestFuzzTargets: the page lists every fuzz target, and no other one.
func TestFuzzTargets(t *testing.T) {
	text, err := Files.ReadFile("reference/bad-input.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), fuzzed)
	var listed, exist []string
	for _, m := range regexp.MustCompile("`([a-z/]+)\\.(Fuzz\\w+)`").FindAllStringSubmatch(table, -1) {
		listed = append(listed, m[1]+"."+m[2])
	}
	for _, root := range []string{filepath.Join("..", "internal"), filepath.Join("..", "cmd")} {
		err = errors.Join(err, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, "_test.go") {
				return err
			}
			src, err := os.ReadFile(path)
			pkg, _ := filepath.Rel(root, filepath.Dir(path))
			for _, m := range regexp.MustCompile(`(?m)^func (Fuzz\w+)\(`).FindAllStringSubmatch(string(src), -1) {
				exist = append(exist, filepath.ToSlash(pkg)+"."+m[1])
			}
			return err
		}))
	}
	if err != nil || len(exist) < 20 {
		t.Fatalf("%d targets, %v", len(exist), err)
	}
	slices.Sort(listed)
	slices.Sort(exist)
	if !slices.Equal(listed, exist) {
		t.Errorf("listed are\n%q, there are\n%q", listed, exist)
	}
}

package weir_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// units of the quantities in SECURITY.md: bytes, and nanoseconds.
var units = map[string]int64{"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "s": 1e9, "minute": 60e9, "minutes": 60e9}

// durations are those of Go's package time.
var durations = map[string]int64{"Millisecond": 1e6, "Second": 1e9, "Minute": 60e9, "Hour": 3600e9}

// source is the constants of a package and the settings of its literals, by their name.
type source map[string]ast.Expr

// readSource reads a package. pattern names its files.
func readSource(t *testing.T, pattern string) source {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %d files, %v", pattern, len(files), err)
	}
	s := source{}
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		test := strings.HasSuffix(file, "_test.go")
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GenDecl:
				for _, spec := range n.Specs {
					if c, ok := spec.(*ast.ValueSpec); ok && n.Tok == token.CONST {
						for i, v := range c.Values {
							s[c.Names[i].Name] = v
						}
					}
				}
			case *ast.KeyValueExpr:
				if key, ok := n.Key.(*ast.Ident); ok && !test {
					s[filepath.Base(file)+":"+key.Name] = n.Value
				}
			case *ast.BinaryExpr: // a comparison with what a test allows
				if left, ok := n.X.(*ast.SelectorExpr); ok && n.Op == token.GTR && test {
					s[filepath.Base(file)+":"+left.Sel.Name] = n.Y
				}
			}
			return true
		})
	}
	return s
}

// value evaluates a constant.
func (s source) value(e ast.Expr) (int64, error) {
	switch e := e.(type) {
	case *ast.BasicLit:
		return strconv.ParseInt(e.Value, 0, 64)
	case *ast.Ident:
		if s[e.Name] != nil {
			return s.value(s[e.Name])
		}
	case *ast.SelectorExpr:
		if d, ok := durations[e.Sel.Name]; ok {
			return d, nil
		}
	case *ast.BinaryExpr:
		x, err := s.value(e.X)
		if err != nil {
			return 0, err
		}
		y, err := s.value(e.Y)
		switch e.Op {
		case token.MUL:
			return x * y, err
		case token.SHL:
			return x << y, err
		case token.ADD:
			return x + y, err
		default:
		}
	}
	return 0, fmt.Errorf("%T is not a constant that this test knows", e)
}

// constants returns the values of constants, each named as directory.name, or as directory.file:name. Those with
// a + between them are added.
func constants(t *testing.T, sources map[string]source, names ...string) (values []int64) {
	t.Helper()
	for _, sum := range names {
		total := int64(0)
		for name := range strings.SplitSeq(sum, "+") {
			dir, constant, _ := strings.Cut(name, ".")
			if sources[dir] == nil {
				sources[dir] = readSource(t, filepath.Join(filepath.FromSlash(dir), "*.go"))
			}
			e := sources[dir][constant]
			if e == nil {
				t.Errorf("%s does not exist", name)
				continue
			}
			v, err := sources[dir].value(e)
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			total += v
		}
		values = append(values, total)
	}
	return values
}

var quantity = regexp.MustCompile(`(?:([0-9][0-9,]*)|each) ?(KiB|MiB|GiB|minutes?|s\b)?`)

// quantities are the numbers of a cell, with their units: "each MiB" is one.
func quantities(cell string) (values []int64) {
	for _, m := range quantity.FindAllStringSubmatch(cell, -1) {
		if m[1] == "" && m[2] == "" {
			continue // "each" of something else
		}
		n, _ := strconv.ParseInt(strings.ReplaceAll(m[1], ",", ""), 10, 64)
		if m[1] == "" {
			n = 1
		}
		values = append(values, n*units[m[2]])
	}
	return values
}

// bounds are the constants that rule the cells of a row: its label, then Kafka, Redis and the web server.
var bounds = map[string][4][]string{
	"connections, for strangers": {nil, {"internal/cluster/embedded.maxConns"}, {"internal/redisd.maxClients"}, {"internal/web.maxVisitors"}},
	"one request": {nil, {"internal/cluster/embedded.maxProduceFrame", "internal/cluster/embedded.maxFrame"}, {"internal/redisd.maxRequest"},
		{"internal/web.web.go:MaxHeaderBytes", "internal/web.maxBody"}},
	"all unanswered requests, and 16 KiB each": {{"internal/intake.Free"}, {"internal/cluster/embedded.maxHeld"}, {"internal/redisd.maxHeld"},
		{"internal/web.maxBodies"}},
	"a request that is too slow": {nil, {"internal/intake.Deadline"}, {"internal/intake.Deadline"},
		{"internal/web.web.go:ReadHeaderTimeout", "internal/web.web.go:ReadTimeout"}},
	"an answer that is not read": {nil, {"internal/intake.Deadline+internal/cluster/embedded.sendSlack", "internal/cluster/embedded.sendBytes"},
		{"internal/redisd.writeTimeout"}, {"internal/web.answerTime", "internal/web.writeTimeout"}},
	"a batch that is decompressed": {nil, {"internal/scan.MaxBatch"}, nil, nil},
	"a script":                     {nil, nil, {"internal/redisd.scriptLimit", "internal/redisd.scriptMemory"}, nil},
	"what is stored":               {nil, {"internal/cluster/local.DefaultLogSize"}, {"internal/redisd.DefaultMaxMemory"}, nil},
}

// TestSecurityBounds: each cell of the table of bounds in SECURITY.md has what the code's constants have.
func TestSecurityBounds(t *testing.T) {
	text, err := os.ReadFile("SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "\n## Bounds\n")
	sources, left := map[string]source{}, maps.Clone(bounds)
	for line := range strings.Lines(table) {
		if strings.HasPrefix(line, "Where a process") {
			break
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 4 || strings.HasPrefix(cells[0], "---") || cells[1] == " Kafka port " {
			continue
		}
		label := strings.TrimSpace(cells[0])
		rules, ok := bounds[label]
		if !ok {
			t.Errorf("no constant is named for the row %q", label)
			continue
		}
		delete(left, label)
		for i, names := range rules {
			if got, want := quantities(cells[i]), constants(t, sources, names...); !slices.Equal(got, want) {
				t.Errorf("%s, %q has %d, and the code %d (%s)", label, strings.TrimSpace(cells[i]), got, want, strings.Join(names, ", "))
			}
		}
	}
	if len(left) > 0 {
		t.Errorf("the table has no rows %q", slices.Sorted(maps.Keys(left)))
	}
	words := strings.Join(strings.Fields(string(text)), " ")
	for sentence, names := range map[string][]string{
		`a token of at least ([0-9]+) bytes`: {"internal/node.minToken"},
		`The tests fail beyond ([0-9]+ MiB)\. Run them with .\.ci/r`: {
			"cmd/weir.maxUnderAttack", "internal/redisd.stall_test.go:Sys", "internal/web.visitors_test.go:Sys", "internal/cluster/embedded.frame_test.go:Sys"},
	} {
		m := regexp.MustCompile(sentence).FindStringSubmatch(words)
		if m == nil {
			t.Errorf("SECURITY.md does not have the sentence %q", sentence)
			continue
		}
		for i, v := range constants(t, sources, names...) {
			if got := quantities(m[1]); !slices.Equal(got, []int64{v}) {
				t.Errorf("%s: %d, and %s is %d", m[0], got, names[i], v)
			}
		}
	}
	inputs, err := os.ReadFile("docs/reference/bad-input.md")
	m := regexp.MustCompile(`lists more than ([0-9]+) inputs`).FindStringSubmatch(words)
	rows := len(regexp.MustCompile("(?m)^\\| .+ \\| .+ \\| `[a-z/]+\\.Test.+` \\|$").FindAll(inputs, -1))
	if err != nil || m == nil || quantities(m[1])[0] >= int64(rows) || quantities(m[1])[0]+100 < int64(rows) {
		t.Errorf("%q: the page has %d, %v", m, rows, err)
	}
	ci, err := os.ReadFile(".ci/run")
	if err != nil || !strings.Contains(words, "with 10,000 connections") || !strings.Contains(string(ci), "WEIR_TEST_CONNECTIONS=10000 ") {
		t.Errorf("what is measured is not what .ci/run connections does, %v", err)
	}
}

// TestPermissionsOfFiles: whatever the program creates has the permissions that SECURITY.md promises.
func TestPermissionsOfFiles(t *testing.T) {
	text, err := os.ReadFile("SECURITY.md")
	m := regexp.MustCompile(`user alone \((0[0-7]{3})\), and its files too\s+\((0[0-7]{3})\)`).FindStringSubmatch(string(text))
	if err != nil || m == nil {
		t.Fatalf("SECURITY.md names no permissions, %v", err)
	}
	directory, file := m[1], m[2]
	promised := map[string]string{"Mkdir": directory, "MkdirAll": directory,
		"OpenFile": file, "WriteFile": file, "Chmod": file, "Write": file, "Perm": file}
	// The directory of a starter program is the learner's, where the learner wants it.
	theirs := map[string]bool{filepath.Join("cmd", "weir", "exercise.go") + ":0750": true}
	calls := 0
	for _, root := range []string{"cmd", "internal"} {
		err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(f, func(n ast.Node) bool {
				name, mode := permission(n)
				if want := promised[name]; mode != "" && want != "" {
					if calls++; mode != want && !theirs[path+":"+mode] {
						t.Errorf("%s: %s with %s, and SECURITY.md promises %s", path, name, mode, want)
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if calls < 30 {
		t.Errorf("%d calls with permissions were found, want 30", calls)
	}
}

// permission is what a call, an assignment or a member of a literal says of a file's permissions, and the name
// of the function or the field.
func permission(n ast.Node) (name, mode string) {
	var to, from ast.Expr
	switch n := n.(type) {
	case *ast.CallExpr:
		if len(n.Args) > 0 {
			to, from = n.Fun, n.Args[len(n.Args)-1]
		}
	case *ast.AssignStmt:
		to, from = n.Lhs[0], n.Rhs[0]
	case *ast.KeyValueExpr:
		to, from = n.Key, n.Value
	}
	switch to := to.(type) {
	case *ast.SelectorExpr:
		name = to.Sel.Name
	case *ast.Ident:
		name = to.Name
	}
	if value, ok := from.(*ast.BasicLit); ok {
		if octal, ok := strings.CutPrefix(value.Value, "0o"); ok {
			mode = "0" + octal
		}
	}
	return name, mode
}

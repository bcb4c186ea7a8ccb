package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// mutant is one change of the code, and the test that has to notice it. In the catalogue
// it looks like this:
//
//	cursor-before-fence
//	  The cursor is read before the fence: a predecessor can commit in between.
//	  file internal/ingest/session.go
//	  test TestZombieCannotCommit
//	- the old text, which is in the file exactly once
//	+ the new text, which takes its place
//
// Several lines with - or + are one text of several lines. A test is a pattern of `go test
// -run` in the package that is being changed, or in the one before the pattern: `test
// ./internal/count TestX`. Instead of it, `equivalent` gives the reason why no test can
// notice the change. Lines with # are comments.
type mutant struct {
	Name       string `json:"name"` // with the catalogue's file before it: ingest/cursor-before-fence
	Why        string `json:"-"`
	File       string `json:"file"`
	Package    string `json:"package"` // that the changed file is in
	Tests      string `json:"-"`       // the package with the tests
	Pattern    string `json:"test,omitempty"`
	Equivalent string `json:"equivalent,omitempty"`

	changed []byte // the whole file
}

// readCatalogue reads all of it and applies each mutant to its file, in memory.
func readCatalogue(root string) (all []mutant, err error) {
	files, err := filepath.Glob(filepath.Join(root, "tools", "mutants", "*.txt"))
	if err == nil && len(files) == 0 {
		err = errors.New("tools/mutants has no catalogue")
	}
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	var wrong []error
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		group := strings.TrimSuffix(filepath.Base(name), ".txt")
		for block := range strings.SplitSeq(string(text), "\n\n") {
			m, err := parse(root, block)
			switch {
			case m.Name == "" && err == nil:
				continue
			case err == nil && seen[group+"/"+m.Name]:
				err = errors.New("the name is there twice")
			}
			m.Name = group + "/" + m.Name
			seen[m.Name] = true
			if err != nil {
				wrong = append(wrong, fmt.Errorf("%s: %w", m.Name, err))
			}
			all = append(all, m)
		}
	}
	return all, errors.Join(wrong...)
}

// parse reads one mutant and applies it. A block of nothing but comments has no name.
func parse(root, block string) (m mutant, err error) {
	var before, after, why []string
	for line := range strings.SplitSeq(strings.Trim(block, "\n"), "\n") {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '-':
			before = append(before, strings.TrimPrefix(line[1:], " "))
		case line[0] == '+':
			after = append(after, strings.TrimPrefix(line[1:], " "))
		case line[0] != ' ':
			m.Name = cmp.Or(m.Name, line)
			if m.Name != line {
				return m, fmt.Errorf("%q has no empty line before it", line)
			}
		case word == "file":
			m.File = rest
		case word == "test":
			m.Pattern = rest
		case word == "equivalent":
			m.Equivalent = rest
		default:
			why = append(why, strings.TrimSpace(line))
		}
	}
	if m.Name == "" && m.File == "" {
		return m, nil
	}
	m.Why, m.Package = strings.Join(why, " "), path.Dir(m.File)
	m.Tests = m.Package
	if dir, pattern, ok := strings.Cut(m.Pattern, " "); ok {
		m.Tests, m.Pattern = path.Clean(dir), pattern
	}
	switch {
	case m.Name == "" || m.Why == "" || m.File == "" || before == nil || (m.Pattern == "") == (m.Equivalent == ""):
		return m, errors.New("it needs a name, a sentence, file, the old text, and either test or equivalent")
	}
	return m, m.apply(root, strings.Join(before, "\n"), strings.Join(after, "\n"))
}

// apply makes the changed file.
func (m *mutant) apply(root, before, after string) error {
	text, err := os.ReadFile(filepath.Join(root, m.File))
	if err != nil {
		return err
	}
	if n := bytes.Count(text, []byte(before)); n != 1 {
		return fmt.Errorf("its old text is in %s %d times and has to be there exactly once: %q", m.File, n, before)
	}
	m.changed = bytes.Replace(text, []byte(before), []byte(after), 1)
	return nil
}

// Package doctest keeps the parts of the documents current that are made from the code: a test
// compares a page with what it generates, and rewrites it with -update.
package doctest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Page compares a document, by its path below docs, with the text that it should have, or writes
// it with update. docs is the path of the directory from the package under test.
func Page(t testing.TB, docs, page, want string, update bool) {
	t.Helper()
	path := filepath.Join(docs, filepath.FromSlash(page))
	if update {
		if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; the same test with -update writes it", err)
	}
	if string(got) != want {
		t.Errorf("%s is not current; go test . -run '^%s$' -update rewrites it", path, t.Name())
	}
}

// Row is a row of a table. A bar in a cell does not end it.
func Row(cells ...string) string {
	for i, c := range cells {
		cells[i] = strings.ReplaceAll(strings.Join(strings.Fields(c), " "), "|", `\|`)
	}
	return "| " + strings.Join(cells, " | ") + " |\n"
}

// Code is a text as code, where there is one.
func Code(text string) string {
	if text == "" {
		return ""
	}
	return "`" + text + "`"
}

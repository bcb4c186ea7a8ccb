package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A directory of the version before, which had no archive, is opened and goes on; from then on that
// version refuses it. interop's TestArchive does the same with the older program itself.
func TestTheVersionBeforeIsOpened(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	dir := t.TempDir()
	c := open(t, Config{Dir: dir})
	createTopic(t, c.Addrs(), "t", 1, nil)
	truth := written(t, c.Addrs(), 150, seed, hourAgo())
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, archiveName)); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("there is an archive: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, formatName), []byte(`{"format":1,"wrote":"weir"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	c = tuned(t, small(dir))
	if raw, err := os.ReadFile(filepath.Join(dir, formatName)); err != nil || !strings.Contains(string(raw), `"format":2`) {
		t.Errorf("%s, %v", raw, err)
	}
	holds(t, c.Addrs(), truth, seed)
	truth = append(truth, written(t, c.Addrs(), 50, seed+1, hourAgo())...)
	enforce(t, c)
	archivedTo(t, c)
	holds(t, c.Addrs(), truth, seed)
}

func TestADirectoryHasOneOwner(t *testing.T) {
	dir := t.TempDir()
	p := start(t, dir, nil, "")
	_, err := Open(testCtx(t), Config{Dir: dir})
	locked := func(err error, pid int) bool {
		return err != nil && strings.Contains(err.Error(), dir) && strings.Contains(err.Error(), fmt.Sprintf("(process %d) uses it", pid))
	}
	if !locked(err, p.cmd.Process.Pid) {
		t.Fatalf("error %v does not name process %d", err, p.cmd.Process.Pid)
	}
	p.kill()
	c := open(t, Config{Dir: dir})
	if !c.dir.unclean {
		t.Error("the death of the owner was not noticed")
	}
	if _, err := Open(testCtx(t), Config{Dir: dir}); !locked(err, os.Getpid()) {
		t.Errorf("a second cluster in this process: %v", err)
	}
}

func TestDirectoriesThatCannotBeOpened(t *testing.T) {
	write := func(name, content string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, tc := range []struct {
		name, says string
		newer      bool
		prepare    []func(*testing.T, string)
	}{
		{"a newer version's", "format 3 is from a newer version of weir (this one reads up to 2); update weir", true, []func(*testing.T, string){write(formatName, `{"format":3}`)}},
		{"damaged format", "damaged", false, []func(*testing.T, string){write(formatName, `{"for`)}},
		{"somebody's documents", "letter.txt", false, []func(*testing.T, string){write("letter.txt", "dear")}},
		{"no list of topics", "topics.json", false, []func(*testing.T, string){
			write(formatName, `{"format":1}`), write("log/meta.json", `{"version":1}`), write("log/partitions/t-0/0.dat", "")}},
		{"torn list of topics", "topics.json", false, []func(*testing.T, string){
			write(formatName, `{"format":1}`), write("log/meta.json", `{"version":1}`), write("log/topics.json", `{"ver`), write("log/partitions/t-0/0.dat", "")}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			for _, p := range tc.prepare {
				p(t, dir)
			}
			c, err := Open(testCtx(t), Config{Dir: dir})
			if err == nil {
				_ = c.Close()
			}
			if err == nil || strings.Contains(err.Error(), "newer version") != tc.newer || !strings.Contains(err.Error(), tc.says) || !strings.Contains(err.Error(), dir) {
				t.Errorf("error %v does not say %q", err, tc.says)
			}
		})
	}
	t.Run("a file", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(testCtx(t), Config{Dir: path}); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("not writable", func(t *testing.T) {
		if os.Getuid() == 0 {
			// Permissions do not bind root; a place where nobody can write does.
			if _, err := Open(testCtx(t), Config{Dir: "/proc/weir"}); err == nil || !strings.Contains(err.Error(), "/proc/weir") {
				t.Errorf("error %v", err)
			}
			return
		}
		dir := t.TempDir()
		if err := os.Chmod(dir, 0o555); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(testCtx(t), Config{Dir: dir}); err == nil || !strings.Contains(err.Error(), "not writable") {
			t.Errorf("error %v", err)
		}
	})
}

// Creation interrupted after any of its steps is taken up again.
func TestCreationCanBeInterrupted(t *testing.T) {
	whole := t.TempDir()
	c := open(t, Config{Dir: whole})
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	read := func(name string) []byte {
		raw, err := os.ReadFile(filepath.Join(whole, name))
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	steps := []struct {
		name    string
		content []byte
	}{
		{lockName, nil},
		{formatName + ".tmp", []byte(`{"f`)},
		{formatName, read(formatName)},
		{uncleanName, nil},
		{journalName, nil},
		{"log/meta.json.tmp", []byte(`{`)},
		{"log/meta.json", read("log/meta.json")},
		{"log/topics.json.tmp", []byte(`{`)},
		{"log/topics.json", read("log/topics.json")},
	}
	for n := range len(steps) + 1 {
		dir := t.TempDir()
		for _, s := range steps[:n] {
			path := filepath.Join(dir, s.name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, s.content, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		c, err := Open(testCtx(t), Config{Dir: dir})
		if err != nil {
			t.Errorf("interrupted after %d steps: %v", n, err)
			continue
		}
		createTopic(t, c.Addrs(), "t", 1, nil)
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestIntentsAreReadToTheLastWholeLine(t *testing.T) {
	for _, end := range []string{`{"pid":9,"epoch":9`, `{"pid":9,"epoch":9}`} {
		got := readIntents([]byte(`{"pid":1,"epoch":2}
{"pid":3,"epoch":4,"offsets":[{"group":"g","topic":"t","partition":1,"offset":5}]}
not json
{"pid":1,"epoch":2,"done":true}
` + end))
		if len(got) != 1 || len(got[producer{3, 4}].Offsets) != 1 {
			t.Errorf("after %s: %+v", end, got)
		}
	}
}

package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/weir-project/weir/internal/cli"
)

// TestDataDirectoryIsPrivate: no other user of the machine reads what weir keeps. The brokers' log is
// written by their module, and lies in a directory that nobody else can enter.
func TestDataDirectoryIsPrivate(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("permissions are those of the directory above there")
	}
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	env := testEnv(t, "WEIR_RATE=300", "WEIR_DATA="+data)
	up := start(t, env, "", "up", "--listen", "127.0.0.1:0")
	up.stderr.waitFor(t, "Ctrl-C stops", startPatience)
	waitCounted(t, env, 100)
	if _, stderr, code := weir(t, env, "learn", "answer", "independent", "a"); code != cli.ExitOK {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	check := func(when string) (names []string) {
		t.Helper()
		err := filepath.WalkDir(data, func(path string, d fs.DirEntry, err error) error {
			if os.IsNotExist(err) {
				return nil // a temporary file
			}
			if err != nil {
				return err
			}
			info, err := d.Info()
			if os.IsNotExist(err) {
				return nil
			}
			if err != nil {
				return err
			}
			name := filepath.ToSlash(strings.TrimPrefix(path, data))
			names = append(names, name)
			if name == "/simulated/kafka/log" {
				return fs.SkipDir
			}
			if info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s: %s has %v", when, name, info.Mode())
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	check("while it runs")
	if code := up.stop(t); code != cli.ExitOK {
		t.Errorf("exit code %d:\n%s", code, up.stderr)
	}
	names := strings.Join(check("after its end"), " ")
	for _, want := range []string{"/simulated/kafka/FORMAT", "/simulated/redis/", "/simulated/kafka/log", "/learn.json"} {
		if !strings.Contains(names, want) {
			t.Errorf("there is no %s: %s", want, names)
		}
	}
}

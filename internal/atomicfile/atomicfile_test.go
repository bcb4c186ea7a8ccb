package atomicfile

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A file is the old one or the new one whatever fails, and nothing else is left.
func TestWrite(t *testing.T) {
	for _, tc := range []struct {
		op  string
		err error
	}{{"create", syscall.ENOSPC}, {"write", syscall.ENOSPC}, {"write", nil}, {"sync", syscall.EIO}, {"close", syscall.EDQUOT}, {"rename", syscall.EIO}, {"rename f.tmp", syscall.EIO}} {
		dir := t.TempDir()
		path := filepath.Join(dir, "f")
		w := Writer{Faults: &Faults{Op: tc.op, Err: tc.err}}
		if err := w.Write(path, []byte("first"), []byte(" file")); err != nil {
			t.Fatal(err)
		}
		w.Faults.On.Store(true)
		want := tc.err
		if want == nil {
			want = io.ErrShortWrite
		}
		if err := w.Write(path, []byte("second file")); !errors.Is(err, want) || w.Faults.Fired.Load() != 1 {
			t.Errorf("%s: %v after %d faults, want %v", tc.op, err, w.Faults.Fired.Load(), want)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != "first file" {
			t.Errorf("%s: %q %v", tc.op, got, err)
		}
		w.Faults.On.Store(false)
		w.Previous = filepath.Join(dir, "before")
		if err := w.Write(path, []byte("third")); err != nil {
			t.Error(err)
		}
		for name, want := range map[string]string{"f": "third", "before": "first file"} {
			if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
				t.Errorf("%s: %s holds %q %v", tc.op, name, got, err)
			}
		}
		if files, err := os.ReadDir(dir); err != nil || len(files) != 2 {
			t.Errorf("%s: %v %v", tc.op, files, err)
		}
	}
}

func TestExplain(t *testing.T) {
	for err, want := range map[error]string{
		syscall.ENOSPC: "the disk of /d is full: free some space, or enlarge the disk (",
		syscall.EDQUOT: "the disk of /d is full: free some space, or enlarge the disk (",
		syscall.EMFILE: "weir can open no file in /d: raise the limit with ulimit -n 4096 and start it again (",
		syscall.EIO:    "a write to the disk of /d failed: check the disk (",
	} {
		if got := Explain("/d", err); !errors.Is(got, err) || !strings.HasPrefix(got.Error(), want) {
			t.Errorf("%v: %v", err, got)
		}
	}
	if Explain("/d", nil) != nil {
		t.Error("nil is explained")
	}
}

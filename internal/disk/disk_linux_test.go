package disk_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/weir-project/weir/internal/disk"
)

// A program that is being started has the file for a moment.
func TestUnlockIsAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	open := func() *os.File {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	f, other := open(), open()
	if held, err := disk.Lock(f); held || err != nil {
		t.Fatal(held, err)
	}
	child, err := syscall.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Close(child) }()
	if held, err := disk.Lock(other); !held || err != nil {
		t.Errorf("locked twice: %v, %v", held, err)
	}
	if err := disk.Unlock(f); err != nil {
		t.Error(err)
	}
	if held, err := disk.Lock(other); held || err != nil {
		t.Errorf("still locked: %v, %v", held, err)
	}
}

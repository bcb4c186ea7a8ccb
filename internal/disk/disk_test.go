package disk

import (
	"os"
	"path/filepath"
	"testing"
)

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	open := func() *os.File {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	first, second := open(), open()
	defer second.Close()
	if held, err := Lock(first); held || err != nil {
		t.Fatal(held, err)
	}
	if held, err := Lock(second); !held || err != nil {
		t.Fatalf("locked twice: %t %v", held, err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if held, err := Lock(second); held || err != nil {
		t.Fatalf("after a close: %t %v", held, err)
	}
}

func TestSpace(t *testing.T) {
	total, free, err := Space(t.TempDir())
	if err != nil || total <= 0 || free < 0 || free > total {
		t.Errorf("total %d, free %d, %v", total, free, err)
	}
	if _, _, err := Space(filepath.Join(t.TempDir(), "missing")); err == nil {
		t.Error("a missing directory has room")
	}
}

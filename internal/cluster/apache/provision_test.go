package apache

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestSweep leaves alone what may be in use, and what is not a fetch's.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	for name, age := range map[string]time.Duration{"fetch-left": 25 * time.Hour, "fetch-now": time.Minute, "4.0.0": 1000 * time.Hour} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Join(path, "libs"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, now.Add(-age), now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	if err := sweep(dir, now.Add(-staleAfter)); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"fetch-left": false, "fetch-now": true, "4.0.0": true} {
		if got := exists(filepath.Join(dir, name)); got != want {
			t.Errorf("%s is there: %v, want %v", name, got, want)
		}
	}
}

package redisd

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/weir-project/weir/internal/atomicfile"
)

// breakDisk makes one operation fail, and returns how often it did and what mends it.
func breakDisk(s *Server, op string, fault error) (fired *atomic.Int32, mend func()) {
	s.saving.Lock()
	defer s.saving.Unlock()
	f := &atomicfile.Faults{Op: op, Err: fault}
	f.On.Store(true)
	s.writer.Faults = f
	return &f.Fired, func() { f.On.Store(false) }
}

// Whatever fails while a snapshot is written: what was saved stays, nothing is left
// lying about, commands go on in memory, the log has one line, and INFO says it.
func TestSnapshotsOnADiskThatFails(t *testing.T) {
	for _, tc := range []struct {
		op    string
		err   error
		wants string
	}{
		{"create", syscall.ENOSPC, "is full: free some space, or enlarge the disk"},
		{"write", syscall.ENOSPC, "is full: free some space, or enlarge the disk"},
		{"write", syscall.EDQUOT, "is full: free some space, or enlarge the disk"},
		{"write", syscall.EIO, "check the disk"},
		{"write", nil, "short write"},
		{"sync", syscall.EIO, "check the disk"},
		{"close", syscall.ENOSPC, "is full"},
		{"rename " + currentName, syscall.EIO, "check the disk"},
		{"rename " + partialName, syscall.ENOSPC, "is full"},
	} {
		t.Run(fmt.Sprint(tc.op, " ", tc.err), func(t *testing.T) { failingDisk(t, tc.op, tc.err, tc.wants) })
	}
}

func failingDisk(t *testing.T, op string, fault error, wants string) {
	dir := t.TempDir()
	var log bytes.Buffer
	s, err := Open(Config{Addr: "127.0.0.1:0", Dir: dir, Log: slog.New(slog.NewTextHandler(&log, nil)), SnapshotEvery: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	c := dial(t, s, 0, 2)
	for range 2 { // so that there is a snapshot before the newest
		must[int64](t)(c.Incr(ctx, "n").Result())
		if err := s.save(false); err != nil {
			t.Fatal(err)
		}
	}
	fired, mend := breakDisk(s, op, fault)
	for range 5 {
		must[int64](t)(c.Incr(ctx, "n").Result())
		if err := s.save(false); err == nil || !strings.Contains(err.Error(), wants) || !strings.Contains(err.Error(), dir) {
			t.Errorf("error %v, want %q and the directory", err, wants)
		}
		if _, err := os.Stat(filepath.Join(dir, partialName)); !errors.Is(err, os.ErrNotExist) {
			t.Error("a file that is not whole is left")
		}
	}
	if fired.Load() < 5 {
		t.Fatalf("the fault fired %d times", fired.Load())
	}
	if n := strings.Count(log.String(), "could not be written"); n != 1 {
		t.Errorf("%d lines, want 1:\n%s", n, log.String())
	}
	if info := must[string](t)(c.Info(ctx, "persistence").Result()); !strings.Contains(info, "rdb_last_bgsave_status:err") || !strings.Contains(info, "rdb_changes_since_last_save:5") {
		t.Errorf("INFO persistence: %s", info)
	}
	if err := c.Do(ctx, "BGSAVE").Err(); err == nil || !strings.Contains(err.Error(), wants) {
		t.Errorf("BGSAVE: %v", err)
	}
	if got := stored(t, dir); got != "2" {
		t.Errorf("after a crash n is %s, want what was saved", got)
	}
	mend()
	must[int64](t)(c.Incr(ctx, "n").Result())
	for range 2 {
		if err := s.save(false); err != nil {
			t.Error(err)
		}
	}
	if n := strings.Count(log.String(), "written again"); n != 1 {
		t.Errorf("%d lines, want 1:\n%s", n, log.String())
	}
	if got := stored(t, dir); got != "8" {
		t.Errorf("n is %s after the disk was mended", got)
	}
	if info := must[string](t)(c.Info(ctx, "persistence").Result()); !strings.Contains(info, "rdb_last_bgsave_status:ok") {
		t.Errorf("INFO persistence: %s", info)
	}
}

// stored is what a server that begins with a copy of the directory has in n.
func stored(t *testing.T, dir string) string {
	t.Helper()
	again := t.TempDir()
	if err := os.CopyFS(again, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	s, _ := open(t, Config{Dir: again, SnapshotEvery: time.Hour})
	return must[string](t)(dial(t, s, 0, 2).Get(ctx, "n").Result())
}

package simulate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// faultyFile fails in one operation while broken is set.
type faultyFile struct {
	timelineFile
	op     string
	err    error
	broken *atomic.Bool
	fired  *atomic.Int32
}

func (f *faultyFile) fails(op string) bool {
	if f.op != op || !f.broken.Load() {
		return false
	}
	f.fired.Add(1)
	return true
}

func (f *faultyFile) Write(p []byte) (int, error) {
	if f.fails("write") {
		n, err := f.timelineFile.Write(p[:len(p)/2])
		return n, errors.Join(f.err, err) // without an error: a short write
	}
	return f.timelineFile.Write(p)
}

func (f *faultyFile) Sync() error {
	if f.fails("sync") {
		return f.err
	}
	return f.timelineFile.Sync()
}

func (f *faultyFile) Close() error {
	err := f.timelineFile.Close()
	if f.fails("close") {
		return f.err
	}
	return err
}

// While the file cannot be written, no event is shown that the file does not promise;
// the log has one line for the failure and one for its end.
func TestTimelineOnADiskThatFails(t *testing.T) {
	for _, tc := range []struct {
		op    string
		err   error
		wants string
	}{
		{"write", syscall.ENOSPC, "the disk is full: free some space, or enlarge it"},
		{"write", syscall.EIO, "input/output error"},
		{"write", nil, "short write"},
		{"sync", syscall.EIO, "input/output error"},
		{"close", syscall.EDQUOT, "the disk is full"},
	} {
		t.Run(fmt.Sprint(tc.op, " ", tc.err), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { failingTimeline(t, tc.op, tc.err, tc.wants) })
		})
	}
}

func failingTimeline(t *testing.T, op string, fault error, wants string) {
	path := filepath.Join(t.TempDir(), "t.json")
	var log bytes.Buffer
	var broken atomic.Bool
	var fired atomic.Int32
	tl, err := OpenTimeline(TimelineConfig{
		Path: path, World: "x", Rate: 100, Variant: "v", Log: slog.New(slog.NewTextHandler(&log, nil)),
		create: func(path string) (timelineFile, error) {
			f, err := os.Create(path)
			return &faultyFile{f, op, fault, &broken, &fired}, err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer tl.Close()
	pass := func(d time.Duration) {
		for range d / (500 * time.Millisecond) {
			time.Sleep(500 * time.Millisecond)
			v := tl.Now()
			if promised := promise(t, path); v.NowUS > promised {
				t.Fatalf("shows %d, the file promises %d", v.NowUS, promised)
			}
			synctest.Wait()
		}
	}
	pass(10 * time.Second)
	for round := range 2 {
		broken.Store(true)
		before := fired.Load()
		pass(20 * time.Second)
		if n := fired.Load() - before; n < 10 {
			t.Fatalf("the fault fired %d times", n)
		}
		if v := tl.Now(); v.NowUS != promise(t, path) {
			t.Errorf("shows %d, the file promises %d", v.NowUS, promise(t, path))
		}
		if err := tl.Change(200, ""); err == nil || !strings.Contains(err.Error(), wants) || tl.Rate() != 100 {
			t.Errorf("a change: %v, rate %v", err, tl.Rate())
		}
		if _, err := os.Stat(path + ".new"); !errors.Is(err, os.ErrNotExist) {
			t.Error("a file that is not whole is left")
		}
		broken.Store(false)
		pass(5 * time.Second)
		if v := tl.Now(); v.Until(v.NowUS) < 100*int64(30+25*round) {
			t.Errorf("%d events after the disk was mended", v.Until(v.NowUS))
		}
		if a, b := strings.Count(log.String(), "cannot be saved"), strings.Count(log.String(), "saved again"); a != round+1 || b != round+1 {
			t.Errorf("round %d: %d lines about the failure, %d about its end:\n%s", round, a, b, log.String())
		}
	}
	if !strings.Contains(log.String(), wants) {
		t.Errorf("the log lacks %q:\n%s", wants, log.String())
	}
}

// promise is up to when the file promises events.
func promise(t *testing.T, path string) int64 {
	t.Helper()
	p, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var saved savedTimeline
	if err := json.Unmarshal(p, &saved); err != nil {
		t.Fatal(err)
	}
	return saved.Horizon
}

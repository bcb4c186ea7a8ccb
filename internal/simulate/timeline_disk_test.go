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
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-project/weir/internal/atomicfile"
)

// While the file cannot be written, no event is shown that the file does not promise;
// the log has one line for the failure and one for its end.
func TestTimelineOnADiskThatFails(t *testing.T) {
	for _, tc := range []struct {
		op    string
		err   error
		wants string
	}{
		{"write", syscall.ENOSPC, "is full: free some space, or enlarge the disk"},
		{"write", syscall.EIO, "input/output error"},
		{"write", nil, "short write"},
		{"sync", syscall.EIO, "input/output error"},
		{"close", syscall.EDQUOT, "is full: free some space"},
	} {
		t.Run(fmt.Sprint(tc.op, " ", tc.err), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { failingTimeline(t, tc.op, tc.err, tc.wants) })
		})
	}
}

func failingTimeline(t *testing.T, op string, fault error, wants string) {
	path := filepath.Join(t.TempDir(), "t.json")
	var log bytes.Buffer
	disk := &atomicfile.Faults{Op: op, Err: fault}
	tl, err := OpenTimeline(TimelineConfig{
		Path: path, World: "x", Rate: 100, Variant: "v", Log: slog.New(slog.NewTextHandler(&log, nil)),
		disk: disk,
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
		disk.On.Store(true)
		before := disk.Fired.Load()
		pass(20 * time.Second)
		if n := disk.Fired.Load() - before; n < 10 {
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
		disk.On.Store(false)
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

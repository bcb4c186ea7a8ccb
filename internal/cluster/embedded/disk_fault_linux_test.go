package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sys/unix"
)

// Devices of the system whose writes fail: with ENOSPC, and at offset 0 with EIO.
const (
	fullDevice   = "/dev/full"
	brokenDevice = "/proc/self/mem"
)

// breakFile puts a device in place of a file that this process has open, so that
// every further write to it fails. The module has no other place to inject a fault.
func breakFile(t *testing.T, path, device string) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("needs /proc")
	}
	dev, err := os.OpenFile(device, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	found := false
	for _, fd := range fds {
		if to, err := os.Readlink("/proc/self/fd/" + fd.Name()); err != nil || to != path {
			continue
		}
		var n int
		if _, err := fmt.Sscan(fd.Name(), &n); err != nil {
			t.Fatal(err)
		}
		if err := unix.Dup3(int(dev.Fd()), n, unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		found = true
	}
	if !found {
		t.Fatalf("%s is not open", path)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for ctx := testCtx(t); !ok(); {
		select {
		case <-ctx.Done():
			t.Fatalf("never: %s", what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// ledger is what transactions were told: the truth that a reader must agree with.
type ledger struct {
	committed, unknown []string
}

// run makes one transaction that writes its name to partitions 0 and 1; sabotage is
// called before the end.
func (l *ledger) run(t *testing.T, addrs []string, name string, end kgo.TransactionEndTry, sabotage func()) {
	t.Helper()
	cl := client(t, addrs, manual(), kgo.TransactionalID("tx"))
	defer cl.Close()
	ctx := testCtx(t)
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	for part := range int32(2) {
		if err := cl.ProduceSync(ctx, &kgo.Record{Topic: "t", Partition: part, Value: []byte(name)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	if sabotage != nil {
		sabotage()
	}
	err := cl.EndTransaction(ctx, end)
	switch {
	case err == nil && end == kgo.TryCommit:
		l.committed = append(l.committed, name)
	case err != nil && end == kgo.TryCommit:
		l.unknown = append(l.unknown, name)
	}
}

// check reads both partitions: each committed name once, an unknown one in both or
// in none, nothing else.
func (l *ledger) check(t *testing.T, addrs []string, when string) {
	t.Helper()
	a, b := consume(t, addrs, "t", 0), consume(t, addrs, "t", 1)
	if !slices.Equal(a, b) {
		t.Errorf("%s: a transaction is torn: %q and %q", when, a, b)
	}
	for _, name := range l.unknown {
		a = slices.DeleteFunc(a, func(v string) bool { return v == name })
	}
	want := slices.Clone(l.committed)
	slices.Sort(a)
	slices.Sort(want)
	if !slices.Equal(a, want) {
		t.Errorf("%s: the log shows %q, and %q was committed", when, a, want)
	}
}

// Whatever file a write fails on, at whatever step of a transaction: the brokers
// stop, repair the log and come back, and what was acknowledged is what is there.
func TestAFailedWriteIsACrash(t *testing.T) {
	segment := func(part int, ext string) string {
		return strings.TrimSuffix(segmentPath("t", int32(part), 0), ".dat") + ext
	}
	for _, f := range []struct{ name, file, device string }{
		{"segment full", segment(1, ".dat"), fullDevice},
		{"segment EIO", segment(1, ".dat"), brokenDevice},
		{"first segment", segment(0, ".dat"), fullDevice},
		{"index", segment(1, ".idx"), fullDevice},
		{"producers", filepath.Join(logName, "pids.log"), fullDevice},
		{"intents", journalName, fullDevice},
		{"intents EIO", journalName, brokenDevice},
	} {
		for _, end := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort} {
			if end == kgo.TryAbort && strings.HasPrefix(f.name, "intents") {
				continue // an abort is not noted
			}
			t.Run(fmt.Sprintf("%s, commit %v", f.name, end), func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				c := open(t, Config{Dir: dir})
				addrs := c.Addrs()
				createTopic(t, addrs, "t", 2, nil)
				var l ledger
				l.run(t, addrs, "first", kgo.TryCommit, nil)
				l.run(t, addrs, "aborted", kgo.TryAbort, nil)
				l.run(t, addrs, "struck", end, func() { breakFile(t, filepath.Join(dir, f.file), f.device) })
				if c.faults.Load() == 0 {
					t.Fatal("no write failed")
				}
				eventually(t, "the brokers come back", func() bool { return c.Fault() == nil })
				if !slices.Equal(c.Addrs(), addrs) {
					t.Errorf("the brokers moved to %v from %v", c.Addrs(), addrs)
				}
				l.check(t, addrs, "after the fault")
				if strings.HasPrefix(f.name, "intents") && slices.Contains(consume(t, addrs, "t", 0), "struck") {
					t.Error("a commit that could not be noted was carried out")
				}
				l.run(t, addrs, "later", kgo.TryCommit, nil)
				l.run(t, addrs, "aborted later", kgo.TryAbort, nil)
				if n := len(l.committed); l.committed[n-1] != "later" {
					t.Fatalf("a transaction after the fault was not committed: %+v", l)
				}
				l.check(t, addrs, "after more transactions")
				if err := c.Close(); err != nil {
					t.Fatal(err)
				}
				c = open(t, Config{Dir: dir})
				l.check(t, c.Addrs(), "after a restart")
			})
		}
	}
}

// A plain producer, idempotent, meets a full disk and goes on: each record once.
// A committed position is there after it, or its commit was not acknowledged.
func TestAFailedWriteIsNotAcknowledged(t *testing.T) {
	for _, file := range []string{segmentPath("t", 0, 0), filepath.Join(logName, "groups.log")} {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			c := open(t, Config{Dir: dir})
			createTopic(t, c.Addrs(), "t", 1, nil)
			cl := client(t, c.Addrs(), manual())
			adm := kadm.NewClient(cl)
			commit := func(at int64) error {
				os := make(kadm.Offsets)
				os.AddOffset("t", 0, at, -1)
				return adm.CommitAllOffsets(testCtx(t), "g", os)
			}
			produce(t, cl, "t", 0, "a", "b")
			if err := commit(1); err != nil {
				t.Fatal(err)
			}
			breakFile(t, filepath.Join(dir, file), fullDevice)
			produce(t, cl, "t", 0, "c")
			err := commit(2)
			produce(t, cl, "t", 0, "d")
			if c.faults.Load() == 0 {
				t.Fatal("no write failed")
			}
			eventually(t, "the brokers come back", func() bool { return c.Fault() == nil })
			if got := consume(t, c.Addrs(), "t", 0); !slices.Equal(got, []string{"a", "b", "c", "d"}) {
				t.Errorf("the log shows %q", got)
			}
			got, e := adm.FetchOffsets(testCtx(t), "g")
			if e != nil {
				t.Fatal(e)
			}
			if o, _ := got.Lookup("t", 0); err == nil && o.At != 2 {
				t.Errorf("position %d, and 2 was acknowledged", o.At)
			}
		})
	}
}

// A write that fails while the log is repaired keeps the brokers down, and a start
// meets one error that names the disk. Both go on once there is room.
func TestAFullDiskDuringRepair(t *testing.T) {
	dir := t.TempDir()
	tries := new(countLog)
	c := open(t, Config{Dir: dir, Log: slog.New(tries)})
	createTopic(t, c.Addrs(), "t", 2, nil)
	var l ledger
	l.run(t, c.Addrs(), "first", kgo.TryCommit, nil)
	tmp := filepath.Join(dir, filepath.Dir(segmentPath("t", 0, 0)), "snapshot.json.tmp")
	ctx, cancel := context.WithCancel(testCtx(t))
	defer cancel()
	go func() {
		for tries.cannot.Load() == 0 && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		_ = os.Remove(tmp)
	}()
	l.run(t, c.Addrs(), "struck", kgo.TryCommit, func() {
		if err := os.Symlink(fullDevice, tmp); err != nil {
			t.Fatal(err)
		}
		breakFile(t, filepath.Join(dir, segmentPath("t", 1, 0)), fullDevice)
	})
	eventually(t, "the brokers come back", func() bool { return c.Fault() == nil })
	if tries.cannot.Load() == 0 {
		t.Error("no repair failed")
	}
	l.check(t, c.Addrs(), "after the fault")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}

	mark := filepath.Join(dir, uncleanName+".tmp")
	if err := os.Symlink(fullDevice, mark); err != nil {
		t.Fatal(err)
	}
	_, err := Open(testCtx(t), Config{Dir: dir})
	var full *DiskError
	if !errors.As(err, &full) || !full.Full() || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), dir) {
		t.Errorf("a start on a full disk ends with %v", err)
	}
	if _, err := os.Lstat(mark); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not whole is left: %v", err)
	}
	l.check(t, open(t, Config{Dir: dir}).Addrs(), "after a start")
}

// countLog counts the attempts to start again that failed.
type countLog struct{ cannot atomic.Int64 }

func (l *countLog) Enabled(context.Context, slog.Level) bool { return true }
func (l *countLog) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *countLog) WithGroup(string) slog.Handler            { return l }
func (l *countLog) Handle(_ context.Context, r slog.Record) error {
	if strings.HasPrefix(r.Message, "the brokers cannot start again yet") {
		l.cannot.Add(1)
	}
	return nil
}

// While less than the reserve is free, producers are told to wait and transactions
// can still be ended.
func TestTheReserve(t *testing.T) {
	var free atomic.Int64
	free.Store(1 << 30)
	c := tuned(t, config{Config: Config{Dir: t.TempDir()}, space: func(string) (int64, int64, error) { return 1 << 40, free.Load(), nil }})
	createTopic(t, c.Addrs(), "t", 2, nil)
	var l ledger
	l.run(t, c.Addrs(), "first", kgo.TryCommit, func() { free.Store(maxReserve / 2) })
	if len(l.committed) != 1 {
		t.Error("a transaction could not be ended")
	}
	time.Sleep(2 * measureEvery)
	cl := client(t, c.Addrs(), manual(), kgo.RecordRetries(1), kgo.DisableIdempotentWrite())
	err := cl.ProduceSync(testCtx(t), &kgo.Record{Topic: "t", Value: []byte("x")}).FirstErr()
	if !errors.Is(err, kerr.KafkaStorageError) {
		t.Errorf("a producer gets %v", err)
	}
	if c.Fault() == nil || !strings.Contains(c.Fault().Error(), "almost full") {
		t.Errorf("the state is %v", c.Fault())
	}
	free.Store(1 << 30)
	if c.Fault() != nil {
		t.Errorf("the state is %v, and there is room", c.Fault())
	}
	l.run(t, c.Addrs(), "second", kgo.TryCommit, nil)
	l.check(t, c.Addrs(), "after it")
	if c.faults.Load() != 0 || len(l.committed) != 2 {
		t.Errorf("%d faults, %+v", c.faults.Load(), l)
	}
}

// A client whose request does not fit waits, even where a smaller request of another
// client would fit: that is a fault until there is room for the larger one.
func TestTheReserveIsShortOfARequest(t *testing.T) {
	free := int64(maxReserve + 100)
	c := Cluster{dir: &dataDir{path: "/data"}}
	c.cfg.space = func(string) (int64, int64, error) { return 1 << 40, free, nil }
	r := &c.room
	r.dir, r.space = c.dir.path, c.cfg.space
	if e := c.Fault(); e != nil {
		t.Errorf("before any request the fault is %v", e)
	}
	if r.take(1000) {
		t.Fatal("a request that does not fit was accepted")
	}
	if !r.take(10) {
		t.Fatal("a request that fits was rejected")
	}
	if e := c.Fault(); e == nil || !strings.Contains(e.Error(), "/data") {
		t.Errorf("while the larger request waits the fault is %v", e)
	}
	free = maxReserve + 1000
	if e := c.Fault(); e != nil {
		t.Errorf("there is room for it, and the fault is %v", e)
	}
	if !r.take(1000) {
		t.Error("there is room for it, and it is rejected")
	}
}

package embedded

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sys/unix"
)

// alone runs the test in a process of its own, and reports whether this is it: a
// limit on the size of files also applies to what the testing package writes.
func alone(t *testing.T) bool {
	t.Helper()
	const inside = "WEIR_TEST_ALONE"
	if os.Getenv(inside) != "" {
		return true
	}
	cmd := exec.CommandContext(testCtx(t), os.Args[0], "-test.run", "^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), inside+"=1")
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "PASS") {
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

// limitFiles lets no file of this process grow beyond size bytes: a write across
// the limit is short, and the next one fails with EFBIG. lift ends it.
func limitFiles(t *testing.T, size int64) (lift func()) {
	t.Helper()
	signal.Ignore(unix.SIGXFSZ)
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: uint64(size), Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	lift = func() {
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &before); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(func() {
		lift()
		signal.Reset(unix.SIGXFSZ)
	})
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if n, err := f.Write(make([]byte, size+10)); int64(n) != size || !errors.Is(err, unix.EFBIG) {
		t.Fatalf("a write is not short: %d bytes, %v", n, err)
	}
	return lift
}

// liftAtFault lifts the limit after a write has failed, and returns how it failed.
func liftAtFault(t *testing.T, c *Cluster, lift func()) (fault func() string) {
	text := make(chan string, 1)
	ctx := testCtx(t)
	go func() {
		for c.faults.Load() == 0 && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		if e := c.Fault(); e != nil {
			text <- e.Error()
		}
		lift()
		close(text)
	}()
	return func() string { return <-text }
}

func sizeOf(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// The marker that ends a transaction is written in part. The transaction is then
// whole or not there.
func TestAShortWriteOfASegment(t *testing.T) {
	if !alone(t) {
		return
	}
	for _, end := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort} {
		dir := t.TempDir()
		c := open(t, Config{Dir: dir})
		createTopic(t, c.Addrs(), "t", 2, nil)
		var l ledger
		// The segments are the largest files of the directory.
		l.run(t, c.Addrs(), "first "+strings.Repeat("x", 64<<10), kgo.TryCommit, nil)
		fault := func() string { return "" }
		l.run(t, c.Addrs(), "struck", end, func() {
			fault = liftAtFault(t, c, limitFiles(t, sizeOf(t, filepath.Join(dir, segmentPath("t", 1, 0)))+20))
		})
		if text := fault(); !strings.Contains(text, unix.EFBIG.Error()) {
			t.Errorf("the fault is %q", text)
		}
		eventually(t, "the brokers come back", func() bool { return c.Fault() == nil })
		l.check(t, c.Addrs(), "after the fault")
		l.run(t, c.Addrs(), "later", kgo.TryCommit, nil)
		l.check(t, c.Addrs(), "after another transaction")
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		l.check(t, open(t, Config{Dir: dir}).Addrs(), "after a restart")
	}
}

// A commit of an offset is written in part. Either it was not acknowledged, or the
// offset is there.
func TestAShortWriteOfAStateFile(t *testing.T) {
	if !alone(t) {
		return
	}
	dir := t.TempDir()
	c := open(t, Config{Dir: dir})
	createTopic(t, c.Addrs(), "t", 1, nil)
	cl := client(t, c.Addrs(), manual())
	adm := kadm.NewClient(cl)
	commit := func(at int64) error {
		os := make(kadm.Offsets)
		os.Add(kadm.Offset{Topic: "t", At: at, LeaderEpoch: -1, Metadata: strings.Repeat("m", 4000)})
		return adm.CommitAllOffsets(testCtx(t), "g", os)
	}
	produce(t, cl, "t", 0, "a", "b")
	for at := range int64(10) {
		if err := commit(at); err != nil {
			t.Fatal(err)
		}
	}
	fault := liftAtFault(t, c, limitFiles(t, sizeOf(t, filepath.Join(dir, logName, "groups.log"))+1000))
	err := commit(20)
	if text := fault(); !strings.Contains(text, unix.EFBIG.Error()) {
		t.Errorf("the fault is %q", text)
	}
	eventually(t, "the brokers come back", func() bool { return c.Fault() == nil })
	got, e := adm.FetchOffsets(testCtx(t), "g")
	if e != nil {
		t.Fatal(e)
	}
	if o, _ := got.Lookup("t", 0); o.At != 20 && (err == nil || o.At != 9) {
		t.Errorf("the committed offset is %d; the commit of 20 after 9 ended with %v", o.At, err)
	}
	produce(t, cl, "t", 0, "c")
	if got := consume(t, c.Addrs(), "t", 0); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("the log shows %q", got)
	}
}

// The limit that DESIGN.md states: the module ignores the result of fsync of a segment. If
// this test fails, the module has learned it, and the text can be corrected.
func TestAFailedSyncOfASegmentIsNotNoticed(t *testing.T) {
	dir := t.TempDir()
	c := tuned(t, config{Config: Config{Dir: dir}, options: []kfake.Opt{kfake.SyncWrites()}})
	createTopic(t, c.Addrs(), "t", 1, nil)
	cl := client(t, c.Addrs(), manual())
	produce(t, cl, "t", 0, "a")
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if err := null.Sync(); err == nil {
		t.Fatal("fsync of the device does not fail")
	}
	breakFile(t, filepath.Join(dir, segmentPath("t", 0, 0)), os.DevNull)
	produce(t, cl, "t", 0, "b")
	if n := c.faults.Load(); n != 0 {
		t.Errorf("%d faults: fsync is noticed", n)
	}
}

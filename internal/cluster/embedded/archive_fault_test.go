package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/atomicfile"
)

// plan makes operations on files fail.
type plan struct {
	op    string
	err   error
	short bool // of two writes only the second fails
	on    atomic.Bool
	fired atomic.Int32
	n     atomic.Int32
}

func (p *plan) step(op, path string) error {
	if !p.on.Load() || op != p.op || !strings.Contains(path, archiveName) {
		return nil
	}
	if p.short && p.n.Add(1)%2 == 1 {
		return nil
	}
	p.fired.Add(1)
	return &os.PathError{Op: op, Path: path, Err: p.err}
}

// logged counts the lines of a log by their level.
type logged struct {
	mu sync.Mutex
	n  map[slog.Level][]string
}

func (l *logged) Enabled(context.Context, slog.Level) bool { return true }
func (l *logged) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *logged) WithGroup(string) slog.Handler            { return l }
func (l *logged) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.n == nil {
		l.n = make(map[slog.Level][]string)
	}
	l.n[r.Level] = append(l.n[r.Level], r.Message)
	return nil
}

func (l *logged) at(level slog.Level) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.n[level])
}

// reads compares all committed records of t/0 from an offset on with what was written.
func reads(t *testing.T, addrs []string, what string, from int64, truth []told) {
	t.Helper()
	want := truth[slices.IndexFunc(truth, func(w told) bool { return w.offset >= from }):]
	got := readFrom(t, addrs, from, len(want))
	for i := range min(len(got), len(want)) {
		if !got[i].equal(want[i]) {
			t.Fatalf("%s: record %d is %+v, want %+v", what, i, got[i], want[i])
		}
	}
	if len(got) != len(want) {
		t.Errorf("%s: %d records, want %d", what, len(got), len(want))
	}
}

// copyDir is a death: what another process would find of a directory now.
func copyDir(t *testing.T, dir string) string {
	t.Helper()
	to, err := os.MkdirTemp(t.TempDir(), "")
	if err == nil {
		err = os.CopyFS(to, os.DirFS(dir))
	}
	if err != nil {
		t.Error(err)
	}
	return to
}

// Whatever operation on the archive's files fails, and however: clients go on and read everything,
// weir reports it once and does not try all the time, and when the disk works again the archive
// goes on, also after a death at any of these moments.
func TestTheArchivesDiskFails(t *testing.T) {
	for _, p := range []*plan{
		{op: "write", err: syscall.ENOSPC},
		{op: "write", err: syscall.ENOSPC, short: true},
		{op: "open", err: syscall.ENOSPC},
		{op: "truncate", err: syscall.EIO},
		{op: "sync", err: syscall.EIO},
		{op: "sync directory", err: syscall.EIO},
		{op: "make directory", err: syscall.ENOSPC},
		{op: "create", err: syscall.ENOSPC},
		{op: "rename", err: syscall.EIO},
		{op: "remove", err: syscall.EIO},
	} {
		name := fmt.Sprintf("%s %v", p.op, p.err)
		if p.short {
			name = "short " + name
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { archiveFails(t, p) })
		})
	}
}

func archiveFails(t *testing.T, p *plan) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	ctx, cancel := context.WithCancel(t.Context())
	dir := t.TempDir()
	log := new(logged)
	cfg := config{Config: Config{Dir: dir, HotBatches: 50}} // memory is not short
	cfg.Log, cfg.archiveFile, cfg.faults = slog.New(log), 20_000, &atomicfile.Faults{Step: p.step}
	c := virtual(t, cfg)
	ran := make(chan error, 1)
	go func() { ran <- c.Run(ctx) }()
	createTopic(t, c.Addrs(), "t", 1, nil)
	var truth []told
	for round := range uint64(2) { // without an archive, and with one
		p.on.Store(true)
		before := p.fired.Load()
		truth = append(truth, written(t, c.Addrs(), 110, seed+round, hourAgo())...)
		_, had, _ := c.archive.bounds(partition{"t", 0})
		time.Sleep(5 * time.Minute)
		tries := p.fired.Load() - before
		once := p.op == "make directory" || p.op == "create" || p.op == "rename" || p.op == "remove"
		if round == 1 && once { // not needed any more
			p.on.Store(false)
		} else if fault := c.Fault(); tries == 0 || tries > 30 || fault == nil || !strings.Contains(fault.Error(), dir) {
			t.Errorf("round %d: after %d failures the fault is %v", round, tries, fault)
		} else if _, end, _ := c.archive.bounds(partition{"t", 0}); end != had {
			t.Errorf("round %d: %d offsets were archived", round, end-had)
		}
		if said := log.at(slog.LevelError); p.on.Load() && len(said) != int(round)+1 {
			t.Errorf("round %d: logged %q", round, said)
		}
		reads(t, c.Addrs(), "while the disk fails", 0, truth)
		dead := cfg
		dead.Dir, dead.faults, dead.Log = copyDir(t, dir), nil, nil
		d := virtual(t, dead)
		enforce(t, d)
		reads(t, d.Addrs(), "after a death", 0, truth)
		archivedTo(t, d)
		if damage := d.Damage(); len(damage) > 0 {
			t.Errorf("round %d: a death while the disk fails: %q", round, damage)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}

		p.on.Store(false)
		time.Sleep(2 * time.Minute)
		archivedTo(t, c)
		if err := c.Fault(); err != nil {
			t.Errorf("round %d: the disk works, and the fault is %v", round, err)
		}
		reads(t, c.Addrs(), "after the disk works again", 0, truth)
	}
	cancel()
	if err := <-ran; err != nil {
		t.Error(err)
	}
	if warned := log.at(slog.LevelWarn); len(warned) > 0 {
		t.Errorf("warnings: %q", warned)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	cfg.faults = nil
	c = virtual(t, cfg)
	reads(t, c.Addrs(), "after a restart", 0, truth)
}

// A write that fails gives a full disk its room back.
func TestAFailedWriteToTheArchiveLeavesNothing(t *testing.T) {
	p := &plan{op: "sync", err: syscall.ENOSPC}
	d := files{&atomicfile.Faults{Step: p.step}}
	path := filepath.Join(t.TempDir(), archiveName)
	if err := d.writeAt(path, 0, [][]byte{[]byte("first"), []byte("second")}); err != nil {
		t.Fatal(err)
	}
	p.on.Store(true)
	if err := d.writeAt(path, 5, [][]byte{make([]byte, 1000)}); err == nil || p.fired.Load() != 1 {
		t.Errorf("%v after %d faults", err, p.fired.Load())
	}
	if raw, err := os.ReadFile(path); err != nil || string(raw) != "first" {
		t.Errorf("the file holds %.30q, %v", raw, err)
	}
}

// A client that reads what cannot be read waits. It must not get what follows, nor an offset that
// skips it: that would look like the next record.
func TestAnArchiveThatCannotBeRead(t *testing.T) {
	for _, err := range []error{syscall.EIO, syscall.EMFILE} {
		t.Run(err.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { archiveUnread(t, &plan{op: "read", err: err}) })
		})
	}
}

func archiveUnread(t *testing.T, p *plan) {
	log := new(logged)
	cfg := small(t.TempDir())
	cfg.Log, cfg.faults = slog.New(log), &atomicfile.Faults{Step: p.step}
	c := virtual(t, cfg)
	createTopic(t, c.Addrs(), "t", 1, nil)
	truth := written(t, c.Addrs(), 150, 7, time.Now().Add(time.Hour)) // later than the markers, which have times, too
	enforce(t, c)
	end := archivedTo(t, c)
	p.on.Store(true)
	adm := kadm.NewClient(client(t, c.Addrs(), kgo.RequestRetries(2)))
	cl := client(t, c.Addrs(), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"t": {0: kgo.NewOffset().At(0)}}))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	fs := cl.PollFetches(ctx)
	for _, r := range fs.Records() {
		t.Fatalf("got record %d; archived up to %d", r.Offset, end)
	}
	if p.fired.Load() == 0 {
		t.Error("nothing was read")
	}
	at := truth[3].at
	offsets, err := adm.ListOffsetsAfterMilli(t.Context(), at, "t")
	if got, _ := offsets.Lookup("t", 0); err == nil && got.Err == nil {
		t.Errorf("the first record from %d on is said to be at %d", at, got.Offset)
	}
	if fault := c.Fault(); fault == nil || !strings.Contains(fault.Error(), "read") {
		t.Errorf("the fault is %v", fault)
	}
	if said := log.at(slog.LevelError); len(said) != 1 {
		t.Errorf("logged %q", said)
	}
	p.on.Store(false)
	reads(t, c.Addrs(), "after the disk works again", 0, truth)
	times(t, c.Addrs(), truth)
	time.Sleep(readAgain)
	if err := c.Fault(); err != nil || len(c.Damage()) > 0 {
		t.Errorf("the disk works, and the fault is %v, the damage %q", err, c.Damage())
	}
}

// What a client has deleted stays deleted when the process dies, with an archive and without one:
// the brokers' own note of where a log begins is written when they are closed.
func TestDeletedRecordsStayDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config{Config: Config{Dir: t.TempDir()}}
		for _, archived := range []bool{false, true} {
			c := virtual(t, cfg)
			if !archived {
				createTopic(t, c.Addrs(), "t", 1, nil)
			}
			truth := written(t, c.Addrs(), 110, 9, hourAgo())
			if archived {
				enforce(t, c)
				archivedTo(t, c)
			}
			cut := truth[len(truth)-5].offset
			answer, err := kadm.NewClient(client(t, c.Addrs())).DeleteRecords(t.Context(), kadm.Offsets{"t": {0: {Topic: "t", At: cut}}})
			if low, _ := answer.Lookup("t", 0); err != nil || low.Err != nil || low.LowWatermark != cut {
				t.Fatalf("deleted to %+v (%v), want %d", low, err, cut)
			}
			dead := cfg
			dead.Dir = copyDir(t, cfg.Dir)
			d := virtual(t, dead)
			if s, _ := window(t, d, "t", 0); s != cut {
				t.Errorf("archived %v: the log begins at %d, and %d was deleted", archived, s, cut)
			}
			reads(t, d.Addrs(), "after a death", cut, truth)
			if damage := d.Damage(); len(damage) > 0 {
				t.Errorf("archived %v: reported %q", archived, damage)
			}
			if err := errors.Join(c.Close(), d.Close()); err != nil {
				t.Fatal(err)
			}
			cfg.maxBatches = small("").maxBatches
		}
	})
}

// The process dies when it has noted where the log begins, and the brokers have not deleted anything.
// Files that hold deleted records alone must not mislead the retention.
func TestADeathBeforeTheBrokersDelete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config{Config: Config{Dir: t.TempDir()}, segmentBytes: 16 << 10}
		c := virtual(t, cfg)
		createTopic(t, c.Addrs(), "t", 1, nil)
		truth := written(t, c.Addrs(), 110, 9, hourAgo())
		cut := truth[len(truth)-20].offset
		if err := c.archive.saveStart(c.dir.file(filepath.Dir(segmentPath("t", 0, 0))), cut); err != nil {
			t.Fatal(err)
		}
		cfg.Dir = copyDir(t, cfg.Dir)
		d := virtual(t, cfg)
		for range 2 {
			if s, _ := window(t, d, "t", 0); s != cut {
				t.Errorf("the log begins at %d, and %d was deleted", s, cut)
			}
			reads(t, d.Addrs(), "after a death", cut, truth)
			enforce(t, d)
		}
	})
}

// A delete that cannot be noted in the archive is not acknowledged, and deletes nothing.
func TestADeleteThatFailsDeletesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, op := range []string{"write", "sync", "rename"} {
			p := &plan{op: op, err: syscall.EIO}
			cfg := small(t.TempDir())
			cfg.faults = &atomicfile.Faults{Step: p.step}
			c := virtual(t, cfg)
			createTopic(t, c.Addrs(), "t", 1, nil)
			truth := written(t, c.Addrs(), 120, 9, hourAgo())
			enforce(t, c)
			cut := archivedTo(t, c) / 2
			p.on.Store(true)
			answer, err := kadm.NewClient(client(t, c.Addrs(), kgo.RequestRetries(1))).DeleteRecords(t.Context(), kadm.Offsets{"t": {0: {Topic: "t", At: cut}}})
			if low, _ := answer.Lookup("t", 0); err == nil && low.Err == nil || p.fired.Load() == 0 {
				t.Errorf("%s: deleted to %+v after %d faults", op, low, p.fired.Load())
			}
			reads(t, c.Addrs(), op, 0, truth)
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// The same for records that the brokers have, where all that is archived is before them.
func TestADeleteBeyondTheArchiveThatFailsDeletesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &plan{op: "remove", err: syscall.EIO}
		cfg := small(t.TempDir())
		cfg.faults = &atomicfile.Faults{Step: p.step}
		c := virtual(t, cfg)
		createTopic(t, c.Addrs(), "t", 1, nil)
		truth := written(t, c.Addrs(), 120, 9, hourAgo())
		enforce(t, c)
		cut := archivedTo(t, c) + 5
		p.on.Store(true)
		adm := kadm.NewClient(client(t, c.Addrs(), kgo.RequestRetries(1)))
		answer, err := adm.DeleteRecords(t.Context(), kadm.Offsets{"t": {0: {Topic: "t", At: cut}}})
		if low, _ := answer.Lookup("t", 0); err == nil && low.Err == nil || p.fired.Load() == 0 {
			t.Errorf("deleted to %+v after %d faults", low, p.fired.Load())
		}
		if s, _ := window(t, c, "t", 0); s != 0 {
			t.Errorf("the log begins at %d", s)
		}
		reads(t, c.Addrs(), "while the disk fails", 0, truth)
		p.on.Store(false)
		answer, err = adm.DeleteRecords(t.Context(), kadm.Offsets{"t": {0: {Topic: "t", At: cut}}})
		if low, _ := answer.Lookup("t", 0); err != nil || low.Err != nil || low.LowWatermark != cut || !c.archive.empty() {
			t.Errorf("deleted to %+v (%v), want %d", low, err, cut)
		}
	})
}

// The page Topics asks for the first record of every partition all the time: a batch of the archive is
// unpacked for that once.
func TestTheFirstRecordIsReadOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := small(t.TempDir())
		var n atomic.Int32
		cfg.faults = &atomicfile.Faults{Step: func(op, _ string) error {
			if op == "read" {
				n.Add(1)
			}
			return nil
		}}
		c := virtual(t, cfg)
		createTopic(t, c.Addrs(), "t", 1, nil)
		truth := written(t, c.Addrs(), 120, 9, time.Now().Add(time.Hour))
		enforce(t, c)
		end := archivedTo(t, c)
		adm := kadm.NewClient(client(t, c.Addrs()))
		ask := func(want told) {
			t.Helper()
			before := n.Load()
			for range 3 {
				offsets, err := adm.ListOffsetsAfterMilli(t.Context(), 1, "t")
				if got, _ := offsets.Lookup("t", 0); err != nil || got.Err != nil || got.Offset != want.offset || got.Timestamp != want.at {
					t.Errorf("the first record is %+v (%v), want %d of %d", got, err, want.offset, want.at)
				}
			}
			if read := n.Load() - before; read != 1 {
				t.Errorf("asked three times, %d batches were read", read)
			}
		}
		ask(truth[0])
		i := slices.IndexFunc(truth, func(w told) bool { return w.offset >= end/2 })
		if _, err := adm.DeleteRecords(t.Context(), kadm.Offsets{"t": {0: {Topic: "t", At: truth[i].offset}}}); err != nil {
			t.Fatal(err)
		}
		ask(truth[i])
		times(t, c.Addrs(), truth[i:])
	})
}

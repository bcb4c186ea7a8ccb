package embedded

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-project/weir/internal/atomicfile"
	"github.com/weir-project/weir/internal/crash"
)

// Nobody looks in the archive for what is superseded, so a compacted topic stays with the brokers.
func TestACompactedTopicIsNotArchived(t *testing.T) {
	c := tuned(t, small(t.TempDir()))
	createTopic(t, c.Addrs(), "t", 1, map[string]*string{"cleanup.policy": ptr("compact")})
	cl := client(t, c.Addrs(), manual())
	for i := range 300 {
		if err := cl.ProduceSync(testCtx(t), &kgo.Record{Topic: "t", Key: fmt.Append(nil, i)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	enforce(t, c)
	if _, _, archived := c.archive.bounds(partition{"t", 0}); archived {
		t.Error("records of a compacted topic are archived")
	}
}

// The brokers deliver to share groups what they have themselves. What a group has not done with is not archived.
func TestShareGroupsHoldTheArchiveBack(t *testing.T) {
	c := tuned(t, config{Config: Config{Dir: t.TempDir(), HotBatches: 50}})
	createTopic(t, c.Addrs(), "t", 1, nil)
	adm := kadm.NewClient(client(t, c.Addrs()))
	produce(t, client(t, c.Addrs(), manual(), kgo.MaxProduceRequestsInflightPerBroker(1)), "t", 0, slices.Repeat([]string{"x"}, 300)...)
	const at = 100
	var offsets kadm.Offsets
	offsets.Add(kadm.Offset{Topic: "t", At: at})
	if rs, err := adm.AlterShareGroupOffsets(testCtx(t), "g", offsets); err != nil || rs.Error() != nil {
		t.Fatal(err, rs.Error())
	}
	enforce(t, c)
	if info := c.partitionInfo(partition{"t", 0}); info.LogStartOffset > at || info.LogStartOffset < at/2 {
		t.Errorf("the brokers begin at %d, and the group stands at %d", info.LogStartOffset, at)
	}
}

// deadInTheMove is a directory after a death between the two halves of the move: records are archived, and
// the brokers have them, too.
func deadInTheMove(t *testing.T) (dead config, truth []told) {
	t.Helper()
	cfg := config{Config: Config{Dir: t.TempDir(), HotBatches: 50}}
	c := virtual(t, cfg)
	createTopic(t, c.Addrs(), "t", 1, nil)
	truth = written(t, c.Addrs(), 150, 3, hourAgo())
	dead = cfg
	dead.Dir = ""
	before := crash.SetHook(func(point string) {
		if point == "archive: not yet deleted from the brokers" && dead.Dir == "" {
			dead.Dir = copyDir(t, cfg.Dir)
		}
	})
	defer func() { crash.SetHook(before) }()
	enforce(t, c)
	if dead.Dir == "" {
		t.Fatal("nothing was moved")
	}
	return dead, truth
}

// After a death in the move, what is archived may be in memory only. It is made to last before the
// brokers delete it.
func TestADeathInTheMoveIsSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dead, truth := deadInTheMove(t)
		p := &plan{op: "sync", err: syscall.EIO}
		dead.faults = &atomicfile.Faults{Step: p.step}
		c := virtual(t, dead)
		p.on.Store(true)
		enforce(t, c)
		if info := c.partitionInfo(partition{"t", 0}); info.LogStartOffset != 0 || p.fired.Load() == 0 {
			t.Errorf("the brokers begin at %d after %d faults", info.LogStartOffset, p.fired.Load())
		}
		p.on.Store(false)
		time.Sleep(2 * maxRest)
		enforce(t, c)
		archivedTo(t, c)
		reads(t, c.Addrs(), "after the death", 0, truth)
	})
}

// After the death of a machine, the end of the archive may have its size and not its bytes. The brokers have
// them still, so they are archived anew.
func TestAnUnsoundEndIsArchivedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dead, truth := deadInTheMove(t)
		path := filepath.Join(dead.Dir, archiveName, "t-0", "0"+archiveExt)
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if b, sound := parseBatch(raw); !sound || b.size() > len(raw) {
			t.Fatalf("a batch of %d bytes in a file of %d", b.size(), len(raw))
		}
		clear(raw[len(raw)-100:])
		if err := os.WriteFile(path, raw, 0o644); err != nil {
			t.Fatal(err)
		}
		c := virtual(t, dead)
		for range 2 {
			reads(t, c.Addrs(), "after the death", 0, truth)
			if damage := c.Damage(); len(damage) > 0 {
				t.Errorf("reported: %q", damage)
			}
			enforce(t, c)
			archivedTo(t, c)
		}
	})
}

// Files of the archive that are gone are reported, whichever they are.
func TestALostFileOfTheArchive(t *testing.T) {
	dir := t.TempDir()
	cfg := small(dir)
	cfg.archiveFile = 20_000
	c := tuned(t, cfg)
	createTopic(t, c.Addrs(), "t", 1, nil)
	for i := range uint64(5) {
		written(t, c.Addrs(), 80, i, hourAgo())
		enforce(t, c)
	}
	end := archivedTo(t, c)
	var bases []int64
	for _, s := range c.archive.segments(partition{"t", 0}) {
		bases = append(bases, s.base)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if len(bases) < 3 || bases[0] != 0 {
		t.Fatalf("the files begin at %v", bases)
	}
	last := bases[len(bases)-1]
	for name, tc := range map[string]struct {
		gone     []int64
		from, to int64
	}{
		"the first":  {bases[:1], 0, bases[1]},
		"the second": {bases[1:2], bases[1], bases[2]},
		"the last":   {[]int64{last}, last, end},
		"all":        {bases, 0, end},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := cfg
			cfg.Dir = copyDir(t, dir)
			for _, base := range tc.gone {
				if err := os.Remove(filepath.Join(cfg.Dir, archiveName, "t-0", fmt.Sprint(base, archiveExt))); err != nil {
					t.Fatal(err)
				}
			}
			c := tuned(t, cfg)
			if got := c.mlog.list(); len(got) != 1 || got[0].Topic != "t" || got[0].From != tc.from || got[0].To != tc.to {
				t.Errorf("%d to %d are lost; reported: %+v", tc.from, tc.to, got)
			}
		})
	}
}

// The offset of a batch is under no checksum. One that does not follow the batch before it is damage.
func TestAFlippedOffsetInTheArchive(t *testing.T) {
	dir := t.TempDir()
	cfg := small(dir)
	c := tuned(t, cfg)
	createTopic(t, c.Addrs(), "t", 1, nil)
	var truth []told
	for i := range uint64(3) { // a batch each, and more
		truth = append(truth, written(t, c.Addrs(), 80, i, hourAgo())...)
		enforce(t, c)
	}
	archivedTo(t, c)
	batches := c.archive.parts[partition{"t", 0}].files[0].batches
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if len(batches) < 2 {
		t.Fatalf("the archive has %d batches", len(batches))
	}
	for i, b := range batches[:2] {
		for _, byteOf := range []int64{4, 7} {
			cfg := cfg
			cfg.Dir = copyDir(t, dir)
			path := filepath.Join(cfg.Dir, archiveName, "t-0", "0"+archiveExt)
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			raw[b.pos+byteOf] ^= 1
			if err := os.WriteFile(path, raw, 0o644); err != nil {
				t.Fatal(err)
			}
			c := tuned(t, cfg)
			if len(c.Damage()) == 0 {
				t.Errorf("batch %d, byte %d: nothing is reported", i, byteOf)
			}
			readsWhatIsSound(t, c, fmt.Sprintf("batch %d, byte %d", i, byteOf), truth)
		}
	}
}

// Aborted records, however many, do not keep what follows them from being archived.
func TestWhatFollowsManyAbortedRecordsIsArchived(t *testing.T) {
	c := tuned(t, config{Config: Config{Dir: t.TempDir(), HotBatches: 50}})
	createTopic(t, c.Addrs(), "t", 1, nil)
	r := rand.New(rand.NewPCG(9, 10))
	tx := client(t, c.Addrs(), manual(), kgo.TransactionalID("tx"))
	if err := tx.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	size := 0
	for size <= maxMerged+8<<20 {
		rec := &kgo.Record{Topic: "t", Value: noise(r, 900<<10)}
		if err := tx.ProduceSync(testCtx(t), rec).FirstErr(); err != nil {
			t.Fatal(err)
		}
		size += len(rec.Value)
	}
	if err := tx.EndTransaction(testCtx(t), kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
	plain := client(t, c.Addrs(), manual(), kgo.DisableIdempotentWrite(), kgo.MaxProduceRequestsInflightPerBroker(1))
	produce(t, plain, "t", 0, slices.Repeat([]string{"x"}, 150)...)
	enforce(t, c)
	archivedTo(t, c)
	if got := consume(t, c.Addrs(), "t", 0); len(got) != 150 {
		t.Errorf("%d records are there", len(got))
	}
}

// A file of the archive goes as a whole, so it stays while one of its records is young.
func TestYoungRecordsKeepTheirFile(t *testing.T) {
	c := tuned(t, small(t.TempDir()))
	createTopic(t, c.Addrs(), "t", 1, nil)
	truth := written(t, c.Addrs(), 100, 1, hourAgo())
	truth = append(truth, written(t, c.Addrs(), 100, 2, time.Now())...)
	enforce(t, c)
	if end := archivedTo(t, c); end <= truth[len(truth)/2].offset {
		t.Fatalf("archived up to %d", end)
	}
	setTopic(t, c.Addrs(), "retention.ms", "600000")
	enforce(t, c)
	if s, _ := window(t, c, "t", 0); s != 0 {
		t.Errorf("the log begins at %d", s)
	}
	holds(t, c.Addrs(), truth, 1)
}

// Of the archive's files those go that are over age, and the first young one stays.
func TestOldFilesGoBeforeYoungOnes(t *testing.T) {
	cfg := small(t.TempDir())
	cfg.archiveFile = 10_000
	c := tuned(t, cfg)
	createTopic(t, c.Addrs(), "t", 1, nil)
	var truth []told
	for i := range uint64(4) { // a pass goes on in the file of the one before while that is small
		truth = append(truth, written(t, c.Addrs(), 100, i, hourAgo().Add(time.Duration(i/2)*time.Hour))...)
		enforce(t, c)
	}
	archivedTo(t, c)
	young := truth[slices.IndexFunc(truth, func(w told) bool { return w.at > hourAgo().Add(30*time.Minute).UnixMilli() })].offset
	setTopic(t, c.Addrs(), "retention.ms", "600000")
	want := int64(0)
	for _, s := range c.archive.segments(partition{"t", 0}) {
		if s.base <= young {
			want = s.base
		}
	}
	if want == 0 {
		t.Fatal("the archive has one file")
	}
	enforce(t, c)
	if s, _ := window(t, c, "t", 0); s != want {
		t.Errorf("the log begins at %d, want %d", s, want)
	}
	files, err := filepath.Glob(filepath.Join(cfg.Dir, archiveName, "t-0", "*"+archiveExt))
	if n := len(c.archive.segments(partition{"t", 0})); err != nil || len(files) != n || n == 0 {
		t.Errorf("%d files are on the disk, and %d are read (%v)", len(files), n, err)
	}
}

// A client that reads what the brokers have hears that the log begins in the archive.
func TestAFetchSaysWhereTheLogBegins(t *testing.T) {
	c := tuned(t, small(t.TempDir()))
	createTopic(t, c.Addrs(), "t", 1, nil)
	written(t, c.Addrs(), 200, 1, hourAgo())
	enforce(t, c)
	part := kmsg.NewFetchRequestTopicPartition()
	part.FetchOffset, part.PartitionMaxBytes = archivedTo(t, c), 1000
	resp, err := rawFetch(t, c, &kmsg.FetchRequest{Version: 11, ReplicaID: -1, MaxBytes: 1 << 20, SessionEpoch: -1,
		Topics: []kmsg.FetchRequestTopic{{Topic: "t", Partitions: []kmsg.FetchRequestTopicPartition{part}}}})
	if err != nil {
		t.Fatal(err)
	}
	if p := resp.Topics[0].Partitions[0]; p.ErrorCode != 0 || p.LogStartOffset != 0 || len(p.RecordBatches) == 0 {
		t.Errorf("error %d, %d bytes; the log begins at %d, want 0", p.ErrorCode, len(p.RecordBatches), p.LogStartOffset)
	}
}

// The record with the greatest time may be archived, however late others were written.
func TestTheGreatestTimeIsInTheArchive(t *testing.T) {
	cfg := small(t.TempDir())
	cfg.segmentBytes = 4 << 10 // the brokers delete the file with that record
	c := tuned(t, cfg)
	createTopic(t, c.Addrs(), "t", 1, nil)
	cl := client(t, c.Addrs(), manual(), kgo.MaxProduceRequestsInflightPerBroker(1))
	const greatest = 7
	for i := range 200 {
		at := hourAgo().Add(time.Duration(i) * time.Second)
		if i == greatest {
			at = at.Add(30 * time.Minute)
		}
		if err := cl.ProduceSync(testCtx(t), &kgo.Record{Topic: "t", Timestamp: at}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	enforce(t, c)
	archivedTo(t, c)
	for range 2 { // after a restart the brokers have forgotten it
		offsets, err := kadm.NewClient(client(t, c.Addrs())).ListMaxTimestampOffsets(testCtx(t), "t")
		if got, _ := offsets.Lookup("t", 0); err != nil || got.Err != nil || got.Offset != greatest {
			t.Errorf("the greatest time is at %+v (%v), want %d", got, err, greatest)
		}
		cl.Close()
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		c = tuned(t, cfg)
	}
}

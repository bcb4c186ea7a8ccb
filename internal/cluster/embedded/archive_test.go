package embedded

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-project/weir/internal/crash"
)

// small makes a cluster that archives nearly everything.
func small(dir string) config { return config{Config: Config{Dir: dir}, maxBatches: 150} }

// told is what a test knows of a record that was acknowledged.
type told struct {
	offset     int64
	at         int64
	key, value []byte
	headers    []kgo.RecordHeader
}

func tell(r *kgo.Record) told {
	return told{r.Offset, r.Timestamp.UnixMilli(), r.Key, r.Value, r.Headers}
}

func (a told) equal(b told) bool {
	null := func(x, y []byte) bool { return (x == nil) == (y == nil) && bytes.Equal(x, y) }
	return a.offset == b.offset && a.at == b.at && null(a.key, b.key) && null(a.value, b.value) &&
		slices.EqualFunc(a.headers, b.headers, func(x, y kgo.RecordHeader) bool { return x.Key == y.Key && null(x.Value, y.Value) })
}

// written makes small batches of every kind in t/0 and returns what was committed of them. Its time
// stamps rise from a time on, with some that are late.
func written(t *testing.T, addrs []string, n int, seed uint64, from time.Time) (truth []told) {
	t.Helper()
	ctx := testCtx(t)
	r := rand.New(rand.NewPCG(seed, 1))
	plain := client(t, addrs, manual(), kgo.DisableIdempotentWrite(), kgo.MaxProduceRequestsInflightPerBroker(1),
		kgo.ProducerBatchCompression(kgo.NoCompression()))
	idempotent := client(t, addrs, manual(), kgo.ProducerBatchCompression(kgo.GzipCompression()))
	tx := client(t, addrs, manual(), kgo.TransactionalID(fmt.Sprint("tx", seed)), kgo.ProducerBatchCompression(kgo.SnappyCompression()))
	record := func(i int) *kgo.Record {
		rec := &kgo.Record{Topic: "t", Timestamp: from.Add(time.Duration(i)*100*time.Millisecond - time.Duration(r.IntN(500))*time.Millisecond), Value: fmt.Appendf(nil, "%d-%d", seed, i)}
		switch r.IntN(6) {
		case 0:
			rec.Key = []byte{}
		case 1:
			rec.Key, rec.Value = fmt.Appendf(nil, "key %d", i), nil
		case 2:
			rec.Headers = []kgo.RecordHeader{{Key: "h", Value: []byte("v")}, {Key: "", Value: nil}, {Key: "h", Value: []byte{}}}
		case 3:
			rec.Value = noise(r, 1+r.IntN(20_000))
		}
		return rec
	}
	for i := 0; i < n; i++ {
		cl, commit := []*kgo.Client{plain, idempotent, tx}[r.IntN(3)], r.IntN(3) > 0
		var rs []*kgo.Record
		for range 1 + r.IntN(3) {
			rs = append(rs, record(i))
		}
		if cl == tx {
			if err := tx.BeginTransaction(); err != nil {
				t.Fatal(err)
			}
		}
		if err := cl.ProduceSync(ctx, rs...).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if cl == tx {
			if err := tx.EndTransaction(ctx, kgo.TransactionEndTry(commit)); err != nil {
				t.Fatal(err)
			}
			if !commit {
				continue
			}
		}
		for _, rec := range rs {
			truth = append(truth, tell(rec))
		}
	}
	slices.SortFunc(truth, func(a, b told) int { return int(a.offset - b.offset) })
	return truth
}

func hourAgo() time.Time { return time.Now().Add(-time.Hour) }

// holds compares what clients read of t/0 with what was written, from its beginning and from offsets in
// the middle.
func holds(t *testing.T, addrs []string, truth []told, seed uint64) {
	t.Helper()
	ends, err := kadm.NewClient(client(t, addrs)).ListEndOffsets(testCtx(t), "t")
	if err != nil {
		t.Fatal(err)
	}
	end, _ := ends.Lookup("t", 0)
	r := rand.New(rand.NewPCG(seed, 2))
	for i := range 8 {
		from := truth[0].offset
		if i > 0 {
			from += r.Int64N(end.Offset - from)
		}
		want := truth[slices.IndexFunc(append(truth, told{offset: end.Offset}), func(w told) bool { return w.offset >= from }):]
		got := readFrom(t, addrs, from, len(want))
		for k := range min(len(got), len(want)) {
			if !got[k].equal(want[k]) {
				t.Fatalf("from %d: record %d is %+v, want %+v", from, k, got[k], want[k])
			}
		}
		if len(got) != len(want) {
			t.Errorf("from %d: %d records, want %d", from, len(got), len(want))
		}
	}
}

// readFrom reads committed records of t/0 until there are n, and what comes with the last of them.
func readFrom(t *testing.T, addrs []string, from int64, n int) (got []told) {
	t.Helper()
	ctx := testCtx(t)
	cl := client(t, addrs, kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxPartitionBytes(50_000),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"t": {0: kgo.NewOffset().At(from)}}))
	defer cl.Close()
	for len(got) < n {
		fs := cl.PollFetches(ctx)
		if err := fs.Err(); err != nil {
			t.Fatalf("from %d, after %d of %d records: %v", from, len(got), n, err)
		}
		fs.EachRecord(func(r *kgo.Record) { got = append(got, tell(r)) })
	}
	return got
}

// archivedTo is the offset up to which t/0 is archived, of which there has to be much.
func archivedTo(t *testing.T, c *Cluster) int64 {
	t.Helper()
	_, end, ok := c.archive.bounds(partition{"t", 0})
	info := c.partitionInfo(partition{"t", 0})
	if !ok || end != info.LogStartOffset || end < info.HighWatermark/2 {
		t.Fatalf("archived up to %d (%v), the brokers have %d to %d", end, ok, info.LogStartOffset, info.HighWatermark)
	}
	return end
}

// Offsets, keys, values, headers and times stay what they were; aborted records do not appear; after a
// clean stop, after a death, and after one between the two halves of the move.
func TestWhatIsArchivedStaysAsItWas(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	from := time.Now().Add(time.Hour) // later than the markers, which have times, too
	dir := t.TempDir()
	c := tuned(t, small(dir))
	createTopic(t, c.Addrs(), "t", 1, nil)
	truth := written(t, c.Addrs(), 150, seed, from)
	if err := c.Kill(testCtx(t), 0); err != nil { // other epochs
		t.Fatal(err)
	}
	if err := c.Restart(testCtx(t), 0); err != nil {
		t.Fatal(err)
	}
	truth = append(truth, written(t, c.Addrs(), 150, seed+1, from.Add(1*time.Minute))...)
	holds(t, c.Addrs(), truth, seed)
	enforce(t, c)
	end := archivedTo(t, c)
	holds(t, c.Addrs(), truth, seed)
	times(t, c.Addrs(), truth)
	truth = append(truth, written(t, c.Addrs(), 150, seed+2, from.Add(2*time.Minute))...)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	before := filepath.Join(t.TempDir(), "before")
	if err := os.CopyFS(before, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	c = tuned(t, small(dir))
	holds(t, c.Addrs(), truth, seed)
	enforce(t, c)
	if now := archivedTo(t, c); now <= end {
		t.Errorf("archived up to %d, then up to %d", end, now)
	}
	holds(t, c.Addrs(), truth, seed)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	// A death between the two halves: archived, and not yet deleted from the brokers.
	if err := errors.Join(os.RemoveAll(filepath.Join(before, archiveName)),
		os.CopyFS(filepath.Join(before, archiveName), os.DirFS(filepath.Join(dir, archiveName))),
		os.WriteFile(filepath.Join(before, uncleanName), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	c = tuned(t, small(before))
	holds(t, c.Addrs(), truth, seed)
	truth = append(truth, written(t, c.Addrs(), 100, seed+3, from.Add(3*time.Minute))...)
	enforce(t, c)
	archivedTo(t, c)
	holds(t, c.Addrs(), truth, seed)
	times(t, c.Addrs(), truth)
}

// A process that dies at any moment of the move, with an archive and without one, loses nothing and doubles nothing.
func TestTheMoveToTheArchiveIsKilled(t *testing.T) {
	for _, point := range []string{"archive: merged", "archive: begun", "archive: half a batch written", "archive: written", "archive: not yet deleted from the brokers"} {
		t.Run(strings.TrimPrefix(point, "archive: "), func(t *testing.T) {
			t.Parallel()
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			dir := t.TempDir()
			var truth []told
			for round := range uint64(2) {
				c := tuned(t, small(dir))
				if round == 0 {
					createTopic(t, c.Addrs(), "t", 1, nil)
				}
				truth = append(truth, written(t, c.Addrs(), 150, seed+round, hourAgo())...)
				if err := c.Close(); err != nil {
					t.Fatal(err)
				}
				if round == 0 || point != "archive: begun" { // which is passed once
					start(t, dir, nil, point).wait()
				}
				c = tuned(t, small(dir))
				holds(t, c.Addrs(), truth, seed)
				if d := c.Damage(); len(d) > 0 {
					t.Errorf("reported: %q", d)
				}
				enforce(t, c)
				archivedTo(t, c)
				holds(t, c.Addrs(), truth, seed)
				if err := c.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// times compares what ListOffsets says of times, and of where the log begins, with what was written.
func times(t *testing.T, addrs []string, truth []told) {
	t.Helper()
	adm := kadm.NewClient(client(t, addrs))
	starts, err := adm.ListStartOffsets(testCtx(t), "t")
	if s, ok := starts.Lookup("t", 0); err != nil || !ok || s.Err != nil || s.Offset > truth[0].offset {
		t.Errorf("the log begins at %+v (%v), the first committed record is %d", s, err, truth[0].offset)
	}
	for i := 0; i < len(truth); i += len(truth) / 25 {
		at := truth[i].at - 1
		want := slices.IndexFunc(truth, func(w told) bool { return w.at >= at })
		offsets, err := adm.ListOffsetsAfterMilli(testCtx(t), at, "t")
		got, ok := offsets.Lookup("t", 0)
		// An aborted record that was not archived yet counts, in Kafka too.
		if err != nil || !ok || got.Err != nil || got.Offset > truth[want].offset || want > 0 && got.Offset <= truth[want-1].offset-5 {
			t.Errorf("first record from %d on: %+v (%v), want %d", at, got, err, truth[want].offset)
		}
	}
}

// A consumer in a group reads while records come and are archived under it: each one once, in order.
func TestAGroupReadsWhileRecordsAreArchived(t *testing.T) {
	c := tuned(t, small(t.TempDir()))
	createTopic(t, c.Addrs(), "t", 1, nil)
	const n = 1500
	ctx, cancel := context.WithCancel(testCtx(t))
	done := make(chan error, 2)
	go func() {
		var err error
		for ctx.Err() == nil && err == nil {
			if err = c.Enforce(ctx); ctx.Err() != nil {
				err = nil
			}
		}
		done <- err
	}()
	go func() {
		cl, err := kgo.NewClient(kgo.SeedBrokers(c.Addrs()...), manual())
		for i := 0; i < n && err == nil; i++ {
			err = cl.ProduceSync(ctx, &kgo.Record{Topic: "t", Value: fmt.Append(nil, i)}).FirstErr()
		}
		cl.Close()
		done <- err
	}()
	for { // the consumer is late
		if _, end, _ := c.archive.bounds(partition{"t", 0}); end > n/3 {
			break
		}
		if ctx.Err() != nil {
			t.Fatal("nothing was archived")
		}
		runtime.Gosched()
	}
	group := client(t, c.Addrs(), kgo.ConsumerGroup("g"), kgo.ConsumeTopics("t"), kgo.FetchMaxPartitionBytes(600),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()), kgo.ConsumeResetOffset(kgo.NoResetOffset()))
	archivedRead := 0
	for next := 0; next < n; {
		fs := group.PollFetches(ctx)
		if err := fs.Err(); err != nil {
			t.Fatalf("at %d: %v", next, err)
		}
		fs.EachRecord(func(r *kgo.Record) {
			if string(r.Value) != fmt.Sprint(next) {
				t.Fatalf("record %q at offset %d, want %d", r.Value, r.Offset, next)
			}
			if r.ProducerID == -1 { // the producer's has one
				archivedRead++
			}
			next++
		})
	}
	cancel()
	for range 2 {
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	_, end, _ := c.archive.bounds(partition{"t", 0})
	t.Logf("archived up to %d of %d; %d records were read from there", end, n, archivedRead)
	if end < n/2 || archivedRead < n/3 {
		t.Errorf("only %d of %d records were archived, or not read from there", end, n)
	}
}

// A pass that is stopped, as weir is, before it has archived everything, deletes nothing instead.
func TestAStoppedPassDeletesNothing(t *testing.T) {
	c := tuned(t, small(t.TempDir()))
	createTopic(t, c.Addrs(), "t", 2, nil)
	const n = 200
	cl := client(t, c.Addrs(), manual())
	for i := range n {
		for p := range int32(2) {
			if err := cl.ProduceSync(testCtx(t), &kgo.Record{Topic: "t", Partition: p, Value: fmt.Append(nil, i)}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	ctx, cancel := context.WithCancel(testCtx(t))
	defer cancel()
	old := crash.SetHook(func(point string) {
		if point == "archive: merged" { // of the first partition
			cancel()
		}
	})
	err := c.Enforce(ctx)
	crash.SetHook(old)
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("the pass was not stopped in between: %v", err)
	}
	starts, err := kadm.NewClient(cl).ListStartOffsets(testCtx(t), "t")
	if err != nil {
		t.Fatal(err)
	}
	for p := range int32(2) {
		if s, ok := starts.Lookup("t", p); !ok || s.Err != nil || s.Offset != 0 {
			t.Errorf("partition %d begins at %+v, want 0", p, s)
		}
	}
}

// Every cut and many a flipped bit in the archive: what is sound is read, what is not is reported,
// and nothing that is wrong is returned.
func TestADamagedArchive(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 3))
	dir := t.TempDir()
	cfg := small(dir)
	cfg.archiveFile = 20_000 // several files
	c := tuned(t, cfg)
	createTopic(t, c.Addrs(), "t", 1, nil)
	var truth []told
	for i := range 6 {
		truth = append(truth, written(t, c.Addrs(), 80, seed+uint64(i), hourAgo())...)
		enforce(t, c)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, archiveName, "t-0", "*"+archiveExt))
	if err != nil || len(files) < 2 {
		t.Fatal(files, err)
	}
	for round := range 18 {
		hurt := filepath.Join(t.TempDir(), "hurt")
		if err := os.CopyFS(hurt, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(hurt, archiveName, "t-0", filepath.Base(files[r.IntN(len(files))]))
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		at := r.IntN(len(raw))
		if round%2 == 0 {
			at = r.IntN(min(batchHeader, len(raw))) // a header
		}
		what := fmt.Sprintf("round %d: %s, byte %d of %d", round, filepath.Base(path), at, len(raw))
		if round%3 == 0 {
			raw = raw[:at]
		} else {
			raw[at] ^= 1 << r.IntN(8)
		}
		if err := os.WriteFile(path, raw, 0o644); err != nil {
			t.Fatal(err)
		}
		cfg.Dir = hurt
		c := tuned(t, cfg)
		readsWhatIsSound(t, c, what, truth)
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// readsWhatIsSound reads all of t/0, of which a part is damaged: nothing that is wrong is returned, and where
// something is missing it is reported.
func readsWhatIsSound(t *testing.T, c *Cluster, what string, truth []told) {
	t.Helper()
	byOffset := make(map[int64]told)
	for _, w := range truth {
		byOffset[w.offset] = w
	}
	var got []told
	start, _ := window(t, c, "t", 0)
	last := truth[len(truth)-1].offset
	for next := start; len(got) == 0 || got[len(got)-1].offset < last; {
		more := readFrom(t, c.Addrs(), next, 1)
		got = append(got, more...)
		next = got[len(got)-1].offset + 1
	}
	seen := int64(-1)
	for _, g := range got {
		if w, ok := byOffset[g.offset]; !ok || !g.equal(w) || g.offset <= seen {
			t.Fatalf("%s: read %+v, want %+v", what, g, w)
		}
		seen = g.offset
	}
	if len(got) < len(truth) && len(c.Damage()) == 0 {
		t.Errorf("%s: %d of %d records are there, and nothing is reported", what, len(got), len(truth))
	}
}

func TestRetentionReachesTheArchive(t *testing.T) {
	dir := t.TempDir()
	cfg := small(dir)
	cfg.archiveFile = 10_000
	c := tuned(t, cfg)
	createTopic(t, c.Addrs(), "t", 1, nil)
	adm := kadm.NewClient(client(t, c.Addrs()))
	var truth []told
	for i := range 5 {
		truth = append(truth, written(t, c.Addrs(), 80, uint64(i), hourAgo())...)
		enforce(t, c)
	}
	from := func(offset int64) []told {
		return truth[slices.IndexFunc(truth, func(w told) bool { return w.offset >= offset }):]
	}
	// DeleteRecords in the middle of a file, and what it answers.
	cut := truth[len(truth)/3].offset
	answer, err := adm.DeleteRecords(testCtx(t), kadm.Offsets{"t": {0: {Topic: "t", At: cut}}})
	if low, _ := answer.Lookup("t", 0); err != nil || low.Err != nil || low.LowWatermark != cut {
		t.Fatalf("deleted to %+v (%v), want %d", low, err, cut)
	}
	if s, _ := window(t, c, "t", 0); s != cut {
		t.Errorf("the log begins at %d, want %d", s, cut)
	}
	holds(t, c.Addrs(), from(cut), 1)
	cl := client(t, c.Addrs(), kgo.ConsumeResetOffset(kgo.NoResetOffset()), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"t": {0: kgo.NewOffset().At(cut - 1)}}))
	if err := cl.PollFetches(testCtx(t)).Err(); !errors.Is(err, kerr.OffsetOutOfRange) {
		t.Errorf("an offset that was deleted: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = tuned(t, cfg)
	if s, _ := window(t, c, "t", 0); s != cut {
		t.Errorf("after a restart the log begins at %d, want %d", s, cut)
	}
	holds(t, c.Addrs(), from(cut), 2)
	// retention.bytes: whole files of the archive.
	setTopic(t, c.Addrs(), "retention.bytes", "30000")
	enforce(t, c)
	s, _ := window(t, c, "t", 0)
	if s <= cut {
		t.Fatalf("retention.bytes deleted nothing: the log begins at %d", s)
	}
	holds(t, c.Addrs(), from(s), 3)
	// retention.ms: all is an hour old.
	setTopic(t, c.Addrs(), "retention.bytes", "-1")
	setTopic(t, c.Addrs(), "retention.ms", "60000")
	enforce(t, c)
	if s, _ := window(t, c, "t", 0); s < c.partitionInfo(partition{"t", 0}).LogStartOffset || !c.archive.empty() {
		t.Errorf("the log begins at %d, in the archive", s) // the brokers keep what follows a marker, which is young
	}
	if _, err := os.Stat(filepath.Join(dir, archiveName, "t-0")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("files of the archive stay: %v", err)
	}
}

func setTopic(t *testing.T, addrs []string, name, value string) {
	t.Helper()
	r, err := kadm.NewClient(client(t, addrs)).AlterTopicConfigs(testCtx(t), []kadm.AlterConfig{{Name: name, Value: &value}}, "t")
	if err != nil || r[0].Err != nil {
		t.Fatal(err, r[0].Err)
	}
}

// A topic that is made anew under the same name has nothing of the one before, also when a
// death came in between.
func TestADeletedTopicLeavesNoArchive(t *testing.T) {
	dir := t.TempDir()
	c := tuned(t, small(dir))
	createTopic(t, c.Addrs(), "t", 1, nil)
	written(t, c.Addrs(), 200, 1, hourAgo())
	enforce(t, c)
	archivedTo(t, c)
	saved := filepath.Join(t.TempDir(), "saved")
	if err := os.CopyFS(saved, os.DirFS(filepath.Join(dir, archiveName))); err != nil {
		t.Fatal(err)
	}
	if _, err := kadm.NewClient(client(t, c.Addrs())).DeleteTopics(testCtx(t), "t"); err != nil {
		t.Fatal(err)
	}
	if !c.archive.empty() {
		t.Error("the topic is deleted, and what was archived of it is not")
	}
	createTopic(t, c.Addrs(), "t", 1, nil)
	if s, e := window(t, c, "t", 0); s != 0 || e != 0 {
		t.Errorf("made anew, the log holds %d to %d", s, e)
	}
	truth := written(t, c.Addrs(), 20, 2, hourAgo())
	holds(t, c.Addrs(), truth, 1)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(dir, archiveName), os.DirFS(saved)); err != nil && !errors.Is(err, fs.ErrExist) {
		t.Fatal(err)
	}
	c = tuned(t, small(dir))
	enforce(t, c)
	if !c.archive.empty() {
		t.Error("the archive of the topic before came back")
	}
	holds(t, c.Addrs(), truth, 2)
}

// What cannot be archived stays with the brokers.
func TestAnArchiveThatCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	c := tuned(t, config{Config: Config{Dir: dir}, maxBatches: 600})
	createTopic(t, c.Addrs(), "t", 1, nil)
	if err := os.WriteFile(filepath.Join(dir, archiveName), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	truth := written(t, c.Addrs(), 300, 5, hourAgo())
	enforce(t, c)
	if err := c.Fault(); err == nil || !strings.Contains(err.Error(), archiveName) {
		t.Errorf("%v", err)
	}
	holds(t, c.Addrs(), truth, 5)
	if err := os.Remove(filepath.Join(dir, archiveName)); err != nil {
		t.Fatal(err)
	}
	enforce(t, c)
	holds(t, c.Addrs(), truth, 6)
}

// A client from before zstd hears that it cannot read this, instead of bytes that it does not know.
func TestAnOldClientCannotReadTheArchive(t *testing.T) {
	c := tuned(t, small(t.TempDir()))
	createTopic(t, c.Addrs(), "t", 1, nil)
	written(t, c.Addrs(), 200, 1, hourAgo())
	enforce(t, c)
	archivedTo(t, c)
	info := c.partitionInfo(partition{"t", 0})
	for version, want := range map[int16]int16{9: kerr.UnsupportedCompressionType.Code, 11: 0} {
		rt := kmsg.NewFetchRequestTopic()
		rp := kmsg.NewFetchRequestTopicPartition()
		rp.PartitionMaxBytes = 1000
		rt.Topic, rt.Partitions = "t", append(rt.Partitions, rp)
		req := &kmsg.FetchRequest{Version: version, ReplicaID: -1, MaxBytes: 1 << 20, SessionEpoch: -1, Topics: []kmsg.FetchRequestTopic{rt}}
		resp, err := rawFetch(t, c, req)
		if err != nil {
			t.Fatal(err)
		}
		p := resp.Topics[0].Partitions[0]
		if p.ErrorCode != want {
			t.Errorf("version %d: %v, want %v", version, kerr.ErrorForCode(p.ErrorCode), kerr.ErrorForCode(want))
		}
		if want == 0 && (p.LogStartOffset != 0 || p.HighWatermark != info.HighWatermark || len(p.RecordBatches) == 0) {
			t.Errorf("version %d: %d bytes, from %d, high watermark %d", version, len(p.RecordBatches), p.LogStartOffset, p.HighWatermark)
		}
	}
}

// A fetch session remembers offsets that its requests do not repeat. When one of them goes to the
// archive the client hears that its session is over, and not that the offset is out of range.
func TestAFetchSessionMeetsTheArchive(t *testing.T) {
	c := tuned(t, small(t.TempDir()))
	createTopic(t, c.Addrs(), "t", 1, nil)
	written(t, c.Addrs(), 200, 1, hourAgo())
	part := kmsg.NewFetchRequestTopicPartition()
	part.FetchOffset, part.PartitionMaxBytes = 3, 100
	req := &kmsg.FetchRequest{Version: 11, ReplicaID: -1, MaxBytes: 1 << 20, Topics: []kmsg.FetchRequestTopic{{Topic: "t", Partitions: []kmsg.FetchRequestTopicPartition{part}}}}
	resp, err := rawFetch(t, c, req)
	if err != nil || resp.SessionID == 0 {
		t.Fatalf("no session: %+v, %v", resp, err)
	}
	enforce(t, c)
	archivedTo(t, c)
	more := &kmsg.FetchRequest{Version: 11, ReplicaID: -1, MaxBytes: 1 << 20, SessionID: resp.SessionID, SessionEpoch: 1}
	if resp, err = rawFetch(t, c, more); err != nil || resp.ErrorCode != kerr.FetchSessionIDNotFound.Code || resp.SessionID != 0 || len(resp.Topics) != 0 {
		t.Errorf("%+v, %v", resp, err)
	}
	if resp, err = rawFetch(t, c, req); err != nil || resp.ErrorCode != 0 || len(resp.Topics[0].Partitions[0].RecordBatches) == 0 {
		t.Errorf("%+v, %v", resp, err)
	}
}

// rawFetch sends a Fetch to the leader of t/0.
func rawFetch(t *testing.T, c *Cluster, req *kmsg.FetchRequest) (*kmsg.FetchResponse, error) {
	t.Helper()
	nc, err := net.Dial("tcp", c.Addrs()[c.leader(t, "t", 0)])
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := nc.Write(kmsg.NewRequestFormatter(kmsg.FormatterClientID("raw")).AppendRequest(nil, req, 1)); err != nil {
		return nil, err
	}
	frame := make([]byte, 4)
	if _, err := io.ReadFull(nc, frame); err != nil {
		return nil, err
	}
	frame = append(frame, make([]byte, binary.BigEndian.Uint32(frame))...)
	if _, err := io.ReadFull(nc, frame[4:]); err != nil {
		return nil, err
	}
	resp := req.ResponseKind().(*kmsg.FetchResponse)
	return resp, decodeResponse(frame, resp)
}

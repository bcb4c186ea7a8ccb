package embedded

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func ptr(s string) *string { return &s }

// noise is a value that does not compress.
func noise(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func window(t *testing.T, c *Cluster, topic string, part int32) (start, end int64) {
	t.Helper()
	info := c.partitionInfo(partition{topic, part})
	if info == nil {
		t.Fatalf("no partition %s/%d", topic, part)
	}
	if archived, _, ok := c.archive.bounds(partition{topic, part}); ok {
		return archived, info.HighWatermark
	}
	return info.LogStartOffset, info.HighWatermark
}

func enforce(t *testing.T, c *Cluster) {
	t.Helper()
	if err := c.Enforce(testCtx(t)); err != nil {
		t.Fatal(err)
	}
}

// retention.ms holds after a restart, when the module has forgotten it, and never
// empties a partition: it would start again at offset 0.
func TestOldRecordsGoAndThePartitionKeepsItsPlace(t *testing.T) {
	dir := t.TempDir()
	c := open(t, Config{Dir: dir})
	createTopic(t, c.Addrs(), "t", 1, map[string]*string{"retention.ms": ptr("60000")})
	createTopic(t, c.Addrs(), "forever", 1, map[string]*string{"retention.ms": ptr("-1")})
	cl := client(t, c.Addrs(), manual())
	old := time.Now().Add(-time.Hour)
	for i := range 10 {
		for _, topic := range []string{"t", "forever"} {
			r := &kgo.Record{Topic: topic, Value: []byte(fmt.Sprint(i)), Timestamp: old}
			if topic == "t" && i >= 7 {
				r.Timestamp = time.Now()
			}
			if err := cl.ProduceSync(testCtx(t), r).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	createTopic(t, c.Addrs(), "all-old", 1, map[string]*string{"retention.ms": ptr("60000")})
	for i := range 5 {
		if err := cl.ProduceSync(testCtx(t), &kgo.Record{Topic: "all-old", Value: []byte(fmt.Sprint(i)), Timestamp: old}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	cl.Close()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = open(t, Config{Dir: dir})
	enforce(t, c)
	if s, e := window(t, c, "t", 0); s != 7 || e != 10 {
		t.Errorf("t holds %d to %d, want 7 to 10", s, e)
	}
	if s, e := window(t, c, "forever", 0); s != 0 || e != 10 {
		t.Errorf("forever holds %d to %d, want 0 to 10", s, e)
	}
	if s, e := window(t, c, "all-old", 0); s != 4 || e != 5 {
		t.Errorf("all-old holds %d to %d, want 4 to 5", s, e)
	}
	for range 2 { // and now everybody is told to delete everything
		adm := kadm.NewClient(client(t, c.Addrs()))
		var o kadm.Offsets
		o.Add(kadm.Offset{Topic: "t", At: -1})
		o.Add(kadm.Offset{Topic: "all-old", At: 5})
		if r, err := adm.DeleteRecords(testCtx(t), o); err != nil || r.Error() != nil {
			t.Fatal(err, r.Error())
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		c = open(t, Config{Dir: dir})
		if s, e := window(t, c, "t", 0); s != 9 || e != 10 {
			t.Errorf("emptied, t holds %d to %d, want 9 to 10", s, e)
		}
		if s, e := window(t, c, "all-old", 0); s != 4 || e != 5 {
			t.Errorf("emptied, all-old holds %d to %d, want 4 to 5", s, e)
		}
	}
}

func TestRunAppliesRetention(t *testing.T) {
	c := open(t, Config{CheckEvery: time.Millisecond})
	createTopic(t, c.Addrs(), "t", 1, map[string]*string{"retention.ms": ptr("1000")})
	ctx := testCtx(t)
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	cl := client(t, c.Addrs(), manual())
	for range 3 {
		r := &kgo.Record{Topic: "t", Timestamp: time.Now().Add(-time.Hour)}
		if err := cl.ProduceSync(ctx, r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	for {
		if s, _ := window(t, c, "t", 0); s == 2 {
			break
		}
		if ctx.Err() != nil {
			t.Fatal("nothing was deleted")
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("Run after Close: %v", err)
	}
}

func TestTheLogHasACap(t *testing.T) {
	const total = 1 << 20
	dir := t.TempDir()
	cfg := config{Config: Config{Dir: dir, LogSize: total}, segmentBytes: 64 << 10}
	c := tuned(t, cfg)
	createTopic(t, c.Addrs(), "big", 2, nil)
	createTopic(t, c.Addrs(), "cursors", 1, map[string]*string{"cleanup.policy": ptr("compact")})
	cl := client(t, c.Addrs(), manual())
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 300 {
		rs := []*kgo.Record{
			{Topic: "big", Partition: int32(i % 2), Value: noise(r, 8<<10)},
			{Topic: "cursors", Key: []byte{byte(i)}, Value: noise(r, 512)},
		}
		if err := cl.ProduceSync(testCtx(t), rs...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	before := logOf(t, c.dir.path)
	enforce(t, c)
	after := logOf(t, c.dir.path)
	var was, is int64
	for i := range before {
		was, is = was+before[i].bytes(), is+after[i].bytes()
		t.Logf("%s/%d: %d bytes in %d files, then %d in %d", before[i].topic, before[i].id,
			before[i].bytes(), len(before[i].segments), after[i].bytes(), len(after[i].segments))
	}
	if was < 2*total || is > total || is < total/2 {
		t.Errorf("%d bytes became %d, the cap is %d", was, is, total)
	}
	for i := range after {
		switch s := after[i]; s.topic {
		case "cursors":
			if s.bytes() != before[i].bytes() {
				t.Errorf("the compacted topic shrank from %d to %d bytes", before[i].bytes(), s.bytes())
			}
		case "big":
			if a, b := window(t, c, "big", s.id); a == 0 || a >= b {
				t.Errorf("big/%d holds %d to %d", s.id, a, b)
			}
		}
	}
	// What was deleted stays deleted when the process dies.
	first, _ := window(t, c, "big", 0)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, uncleanName), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"big-0", "big-1"} {
		if err := os.Remove(filepath.Join(dir, logName, "partitions", p, "snapshot.json")); err != nil {
			t.Fatal(err)
		}
	}
	c = tuned(t, cfg)
	if again, _ := window(t, c, "big", 0); again != first {
		t.Errorf("after a death the log begins at %d, not at %d", again, first)
	}
}

func TestAPartitionHasACap(t *testing.T) {
	const segment, limit = 32 << 10, 200_000
	c := tuned(t, config{Config: Config{Dir: t.TempDir()}, segmentBytes: segment})
	createTopic(t, c.Addrs(), "t", 1, map[string]*string{"retention.bytes": ptr(fmt.Sprint(limit))})
	cl := client(t, c.Addrs(), manual())
	r := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		if err := cl.ProduceSync(testCtx(t), &kgo.Record{Topic: "t", Value: noise(r, 2<<10)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	enforce(t, c)
	sizes := logOf(t, c.dir.path)
	if len(sizes) != 1 {
		t.Fatal(sizes)
	}
	if b := sizes[0].bytes(); b < limit || b > limit+2*segment {
		t.Errorf("retention.bytes of %d left %d", limit, b)
	}
}

// A week of small transactions must not fill the memory: the module keeps an entry for each batch,
// so what is old goes to the archive, and nothing is deleted for it.
func TestBatchesHaveACap(t *testing.T) {
	c := tuned(t, config{Config: Config{Dir: t.TempDir()}, maxBatches: 1000})
	createTopic(t, c.Addrs(), "t", 2, nil)
	createTopic(t, c.Addrs(), "quiet", 1, nil)
	cl := client(t, c.Addrs(), manual(), kgo.MaxProduceRequestsInflightPerBroker(1), kgo.DisableIdempotentWrite())
	produce(t, cl, "quiet", 0, "a", "b")
	for i := range 3000 {
		produce(t, cl, "t", int32(i%2), "x")
	}
	for range 2 {
		enforce(t, c)
		kept := int64(0)
		for p := range int32(2) {
			if s, e := window(t, c, "t", p); s != 0 || e != 1500 {
				t.Errorf("t/%d holds %d to %d, want 0 to 1500", p, s, e)
			}
			info := c.partitionInfo(partition{"t", p})
			kept += info.HighWatermark - info.LogStartOffset
		}
		if kept > 1000 || kept < 150 {
			t.Errorf("%d batches stay in memory, the cap is 1000", kept)
		}
		if _, _, archived := c.archive.bounds(partition{"quiet", 0}); archived {
			t.Error("two batches were archived")
		}
	}
}

// What an open transaction holds cannot be archived, nor deleted for its size.
func TestTheCapOfBatchesSparesAnOpenTransaction(t *testing.T) {
	c := tuned(t, config{Config: Config{Dir: t.TempDir()}, maxBatches: 200})
	createTopic(t, c.Addrs(), "t", 1, nil)
	tx := client(t, c.Addrs(), manual(), kgo.TransactionalID("tx"))
	if err := tx.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	produce(t, tx, "t", 0, "first")
	produce(t, client(t, c.Addrs(), manual(), kgo.DisableIdempotentWrite()), "t", 0, slices.Repeat([]string{"x"}, 500)...)
	enforce(t, c)
	if s, _ := window(t, c, "t", 0); s != 0 {
		t.Fatalf("the log begins at %d", s)
	}
	if err := tx.EndTransaction(testCtx(t), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	enforce(t, c)
	if got := consume(t, c.Addrs(), "t", 0); len(got) != 501 || got[0] != "first" || c.archive.empty() {
		t.Errorf("%d records, first %q", len(got), got[0])
	}
}

// Cursors are written all the time and read at each start: the newest of every key
// stays, an aborted one does not count, and what an open transaction holds stays.
func TestACompactedTopicIsTrimmedAtItsHead(t *testing.T) {
	c := open(t, Config{Dir: t.TempDir()})
	createTopic(t, c.Addrs(), "cursors", 1, map[string]*string{"cleanup.policy": ptr("compact"), "retention.ms": ptr("1")})
	cl := client(t, c.Addrs(), manual(), kgo.DisableIdempotentWrite(), kgo.MaxProduceRequestsInflightPerBroker(1))
	put := func(cl *kgo.Client, key string, n int) {
		t.Helper()
		var rs []*kgo.Record
		for i := range n {
			rs = append(rs, &kgo.Record{Topic: "cursors", Key: []byte(key), Value: []byte(fmt.Sprint(key, i)), Timestamp: time.Unix(1, 0)})
		}
		if err := cl.ProduceSync(testCtx(t), rs...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	put(cl, "a", 1000) // 0 to 999
	enforce(t, c)
	if s, _ := window(t, c, "cursors", 0); s != 0 {
		t.Errorf("a short partition was trimmed to %d", s)
	}
	put(cl, "b", 3000) // 1000 to 3999
	enforce(t, c)
	if s, _ := window(t, c, "cursors", 0); s != 999 {
		t.Errorf("the log begins at %d, the newest record of a is 999", s)
	}
	put(cl, "a", 1) // 4000
	tx := client(t, c.Addrs(), manual(), kgo.TransactionalID("tx"))
	if err := tx.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	put(tx, "b", 10) // 4001 to 4010, and a marker
	if err := tx.EndTransaction(testCtx(t), kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
	put(cl, "c", 2500)
	enforce(t, c)
	if s, _ := window(t, c, "cursors", 0); s != 3999 {
		t.Errorf("the log begins at %d, the newest committed record of b is 3999", s)
	}
	if err := tx.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	put(tx, "b", 1)
	_, open := window(t, c, "cursors", 0)
	put(cl, "a", 1)
	put(cl, "c", 2500)
	enforce(t, c)
	if s, _ := window(t, c, "cursors", 0); s > open-1 || s != 3999 {
		t.Errorf("the log begins at %d, b is open since %d and committed at 3999", s, open-1)
	}
	if err := tx.EndTransaction(testCtx(t), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	put(cl, "c", 1)
	enforce(t, c)
	if s, _ := window(t, c, "cursors", 0); s != open-1 {
		t.Errorf("the log begins at %d, b was committed at %d", s, open-1)
	}
	// The topic made anew under the same name begins anew, however soon it is as long as it was.
	for _, n := range []int{3000, 9000} {
		if _, err := kadm.NewClient(cl).DeleteTopics(testCtx(t), "cursors"); err != nil {
			t.Fatal(err)
		}
		createTopic(t, c.Addrs(), "cursors", 1, map[string]*string{"cleanup.policy": ptr("compact")})
		anew := client(t, c.Addrs(), manual())
		put(anew, "z", 1)
		put(anew, "y", n)
		enforce(t, c)
		if s, e := window(t, c, "cursors", 0); s != 0 || e != int64(n)+1 {
			t.Errorf("made anew the log holds %d to %d, and the newest record of z is 0", s, e)
		}
		put(anew, "z", 2)
		enforce(t, c)
		if s, e := window(t, c, "cursors", 0); s != int64(n) || e != int64(n)+3 {
			t.Errorf("made anew the log holds %d to %d, and the newest record of y is %d", s, e, n)
		}
	}
}

func TestPolicyOf(t *testing.T) {
	for _, tc := range []struct {
		values map[string]string
		want   policy
	}{
		{map[string]string{"cleanup.policy": "delete", "retention.ms": "604800000", "retention.bytes": "-1"}, policy{delete: true, ms: 604800000, bytes: -1}},
		{map[string]string{"cleanup.policy": "delete", "retention.ms": "5", "log.retention.ms": "9", "retention.bytes": "-1"}, policy{delete: true, ms: 5, bytes: -1}},
		{map[string]string{"cleanup.policy": "delete", "retention.ms": "604800000", "log.retention.ms": "9", "retention.bytes": "-1", "log.retention.bytes": "7"}, policy{delete: true, ms: 9, bytes: 7}},
		{map[string]string{"cleanup.policy": "compact"}, policy{compact: true, ms: -1, bytes: -1}},
		{map[string]string{"cleanup.policy": "compact,delete", "retention.ms": "x"}, policy{compact: true, delete: true, ms: -1, bytes: -1}},
	} {
		if got := policyOf(tc.values); got != tc.want {
			t.Errorf("%v: %+v, want %+v", tc.values, got, tc.want)
		}
	}
}

func TestLogDirsTellTheDisk(t *testing.T) {
	dir := t.TempDir()
	c := open(t, Config{Dir: dir})
	createTopic(t, c.Addrs(), "a.b-c_d", 2, nil)
	cl := client(t, c.Addrs(), manual(), kgo.ProducerBatchCompression(kgo.NoCompression()))
	produce(t, cl, "a.b-c_d", 1, strings.Repeat("x", 5000))
	var want int64
	for _, f := range []string{"0.dat", "0.idx"} {
		info, err := os.Stat(filepath.Join(dir, "log", "partitions", "a.b-c_d-1", f))
		if err != nil {
			t.Fatal(err)
		}
		want += info.Size()
	}
	req := kmsg.NewPtrDescribeLogDirsRequest()
	raw, err := cl.Broker(0).Request(testCtx(t), req) // a sharded request loses the totals
	if err != nil {
		t.Fatal(err)
	}
	resp := raw.(*kmsg.DescribeLogDirsResponse)
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		t.Fatal(err)
	}
	found := false
	for _, d := range resp.Dirs {
		if d.Dir != filepath.Join(dir, "log") || d.TotalBytes <= 0 || d.UsableBytes == 32<<30 {
			t.Errorf("directory %q of %d bytes, %d usable", d.Dir, d.TotalBytes, d.UsableBytes)
		}
		for _, rt := range d.Topics {
			for _, p := range rt.Partitions {
				found = found || p.Size == want && p.Partition == 1
			}
		}
	}
	sizes := logOf(t, c.dir.path)
	if len(sizes) != 1 || sizes[0].partition != (partition{"a.b-c_d", 1}) || sizes[0].bytes() != want ||
		len(sizes[0].segments) != 1 || sizes[0].segments[0].batches != 1 {
		t.Errorf("sizes %+v, want %d bytes", sizes, want)
	}
	if !found {
		t.Errorf("%d bytes of a.b-c_d/1 are not in %+v", want, resp.Dirs)
	}
}

// The brokers' retention rules topics that have none of their own.
func TestTheBrokersRetention(t *testing.T) {
	c := open(t, Config{Dir: t.TempDir(), Retention: time.Minute})
	createTopic(t, c.Addrs(), "brokers", 1, nil)
	createTopic(t, c.Addrs(), "own", 1, map[string]*string{"retention.ms": ptr("36000000")})
	cl := client(t, c.Addrs(), manual())
	for _, topic := range []string{"brokers", "own"} {
		for _, age := range []time.Duration{time.Hour, 0} {
			if err := cl.ProduceSync(testCtx(t), &kgo.Record{Topic: topic, Timestamp: time.Now().Add(-age)}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	enforce(t, c)
	for topic, want := range map[string]int64{"brokers": 1, "own": 0} {
		if s, e := window(t, c, topic, 0); s != want || e != 2 {
			t.Errorf("%s holds %d to %d, want %d to 2", topic, s, e, want)
		}
	}
	described, err := kadm.NewClient(cl).DescribeTopicConfigs(testCtx(t), "brokers")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range described[0].Configs {
		if s.Key == "retention.ms" && s.MaybeValue() != "60000" {
			t.Errorf("retention.ms of the topic is %s", s.MaybeValue())
		}
	}
}

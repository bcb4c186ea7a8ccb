package scan_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/scan"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newCluster(t *testing.T, opts ...kgo.Opt) (*kfake.Cluster, *kgo.Client) {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(3), kfake.SeedTopics(2, "t"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, newClient(t, c, opts...)
}

func newClient(t *testing.T, c *kfake.Cluster, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(c.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func write(t *testing.T, cl *kgo.Client, values ...string) {
	t.Helper()
	for _, v := range values {
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "t", Value: []byte(v)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

func read(t *testing.T, r *scan.Reader, from, to int64) (values []string, next, trimmed int64) {
	t.Helper()
	next = from
	err := r.Read(t.Context(), scan.Range{TopicPartition: scan.TopicPartition{Topic: "t"}, From: from, To: to}, func(c scan.Chunk) error {
		if c.Next <= next {
			t.Errorf("a chunk goes from %d to %d", next, c.Next)
		}
		for _, rec := range c.Records {
			if rec.Offset < next || rec.Offset >= c.Next {
				t.Errorf("offset %d in a chunk from %d to %d", rec.Offset, next, c.Next)
			}
			values = append(values, string(rec.Value))
		}
		next, trimmed = c.Next, trimmed+c.Trimmed
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return values, next, trimmed
}

func TestExactRange(t *testing.T) {
	_, cl := newCluster(t)
	// One batch of ten, and single ones.
	var batch []*kgo.Record
	for n := range 10 {
		batch = append(batch, &kgo.Record{Topic: "t", Value: fmt.Append(nil, n)})
	}
	if err := cl.ProduceSync(t.Context(), batch...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	write(t, cl, "10", "11", "12")
	for _, ahead := range []int{-1, 0, 3} {
		r := scan.New(cl, scan.Options{Ahead: ahead})
		for from := range int64(14) {
			for to := from; to <= 13; to++ {
				var want []string
				for n := from; n < to; n++ {
					want = append(want, fmt.Sprint(n))
				}
				if got, next, _ := read(t, r, from, to); !slices.Equal(got, want) || next != to {
					t.Fatalf("[%d,%d): %v up to %d", from, to, got, next)
				}
			}
		}
	}
}

// TestTailWithoutRecords: the stretch ends in an aborted transaction and its marker.
func TestTailWithoutRecords(t *testing.T) {
	c, cl := newCluster(t)
	write(t, cl, "a")
	txn := newClient(t, c, kgo.TransactionalID("x"))
	if err := txn.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	write(t, txn, "b", "c")
	if err := txn.EndTransaction(t.Context(), kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
	if got, next, _ := read(t, scan.New(cl, scan.Options{}), 0, 4); !slices.Equal(got, []string{"a"}) || next != 4 {
		t.Errorf("%v up to %d", got, next)
	}
	if got, next, _ := read(t, scan.New(cl, scan.Options{Uncommitted: true}), 0, 4); !slices.Equal(got, []string{"a", "b", "c"}) || next != 4 {
		t.Errorf("uncommitted: %v up to %d", got, next)
	}
}

func TestTrimmedMeanwhile(t *testing.T) {
	c, cl := newCluster(t)
	write(t, cl, "0", "1", "2", "3", "4", "5")
	if err := c.DeleteRecords("t", 0, 4); err != nil {
		t.Fatal(err)
	}
	r := scan.New(cl, scan.Options{})
	if got, next, trimmed := read(t, r, 1, 6); !slices.Equal(got, []string{"4", "5"}) || next != 6 || trimmed != 3 {
		t.Errorf("%v up to %d, %d trimmed", got, next, trimmed)
	}
	if got, next, trimmed := read(t, r, 0, 2); len(got) > 0 || next != 2 || trimmed != 2 {
		t.Errorf("%v up to %d, %d trimmed", got, next, trimmed)
	}
}

func TestNotThere(t *testing.T) {
	_, cl := newCluster(t)
	write(t, cl, "a")
	r := scan.New(cl, scan.Options{})
	none := func(scan.Chunk) error { return nil }
	for want, s := range map[error]scan.Range{
		scan.ErrNoTopic:   {TopicPartition: scan.TopicPartition{Topic: "nope"}, To: 1},
		scan.ErrTruncated: {TopicPartition: scan.TopicPartition{Topic: "t"}, From: 5, To: 9},
	} {
		if err := r.Read(t.Context(), s, none); !errors.Is(err, want) {
			t.Errorf("%+v: %v", s, err)
		}
	}
	if err := r.Read(t.Context(), scan.Range{TopicPartition: scan.TopicPartition{Topic: "t", Partition: 7}, To: 1}, none); !errors.Is(err, scan.ErrNoTopic) {
		t.Error(err)
	}
	// Records that were promised and do not come are waited for until ctx ends.
	ctx, cancel := context.WithCancel(t.Context())
	seen := 0
	err := r.Read(ctx, scan.Range{TopicPartition: scan.TopicPartition{Topic: "t"}, To: 2}, func(scan.Chunk) error { seen++; cancel(); return nil })
	if !errors.Is(err, context.Canceled) || seen != 1 {
		t.Errorf("%v after %d chunks", err, seen)
	}
	mine := errors.New("mine")
	if err := r.Read(t.Context(), scan.Range{TopicPartition: scan.TopicPartition{Topic: "t"}, To: 1}, func(scan.Chunk) error { return mine }); err != mine {
		t.Error(err)
	}
}

// TestLeaderMoves: a broker that no longer leads, and one that breaks the
// connection, are asked again.
func TestLeaderMoves(t *testing.T) {
	c, cl := newCluster(t)
	write(t, cl, "0", "1", "2", "3")
	var moved, broke atomic.Int32
	r := scan.New(cl, scan.Options{FetchBytes: 1, Ahead: -1}) // a batch at a time
	var got []string
	err := r.Read(t.Context(), scan.Range{TopicPartition: scan.TopicPartition{Topic: "t"}, To: 4}, func(chunk scan.Chunk) error {
		for _, rec := range chunk.Records {
			got = append(got, string(rec.Value))
		}
		switch chunk.Next {
		case 1:
			moved.Add(1)
			return c.MoveTopicPartition("t", 0, (c.LeaderFor("t", 0)+1)%3)
		case 2:
			c.ControlKey(1, func(kmsg.Request) (kmsg.Response, error, bool) {
				broke.Add(1)
				return nil, errors.New("broken"), true
			})
		case 3:
			c.ControlKey(1, func(req kmsg.Request) (kmsg.Response, error, bool) {
				broke.Add(1)
				resp := req.ResponseKind().(*kmsg.FetchResponse)
				resp.ErrorCode = kerr.BrokerNotAvailable.Code
				return resp, nil, true
			})
		}
		return nil
	})
	if err != nil || !slices.Equal(got, []string{"0", "1", "2", "3"}) {
		t.Errorf("%v %v", got, err)
	}
	if moved.Load() != 1 || broke.Load() != 2 {
		t.Errorf("moved %d, broke %d", moved.Load(), broke.Load())
	}
}

// TestCompression: every codec is read, and none makes more than it may.
func TestCompression(t *testing.T) {
	for name, codec := range map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()} {
		t.Run(name, func(t *testing.T) {
			_, cl := newCluster(t, kgo.ProducerBatchCompression(codec), kgo.ProducerBatchMaxBytes(100<<20), kgo.MaxBufferedBytes(1<<30))
			value := bytes.Repeat([]byte("abc "), 100_000)
			write(t, cl, string(value), "b")
			if got, _, _ := read(t, scan.New(cl, scan.Options{}), 0, 2); len(got) != 2 || got[0] != string(value) || got[1] != "b" {
				t.Errorf("%d records", len(got))
			}
		})
	}
}

func TestKind(t *testing.T) {
	header := func(k, v string) kgo.RecordHeader { return kgo.RecordHeader{Key: k, Value: []byte(v)} }
	classify := func(v []byte) string { return string(v) }
	long := string(bytes.Repeat([]byte("k"), event.MaxKind+1))
	for name, test := range map[string]struct {
		r    kgo.Record
		want string
	}{
		"header":            {kgo.Record{Headers: []kgo.RecordHeader{header("seq", "1"), header("kind", "create")}, Value: []byte("x")}, "create"},
		"first of two":      {kgo.Record{Headers: []kgo.RecordHeader{header("kind", "a"), header("kind", "b")}}, "a"},
		"empty header":      {kgo.Record{Headers: []kgo.RecordHeader{header("kind", "")}, Value: []byte("x")}, "x"},
		"value":             {kgo.Record{Value: []byte("x")}, "x"},
		"no value":          {kgo.Record{}, event.MalformedKind},
		"long":              {kgo.Record{Value: []byte(long)}, event.OtherKind},
		"as long as may be": {kgo.Record{Value: []byte(long[1:])}, long[1:]},
		"not UTF-8":         {kgo.Record{Headers: []kgo.RecordHeader{header("kind", "\xff")}}, event.MalformedKind},
	} {
		if got := scan.Kind(&test.r, classify); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
	if got := scan.Kind(&kgo.Record{Value: []byte("x")}, func([]byte) string { return "" }); got != event.MalformedKind {
		t.Error(got)
	}
}

// TestCompactedTail: offsets at the end of a stretch that compaction emptied.
func TestCompactedTail(t *testing.T) {
	c, cl := newCluster(t)
	compact, small := "compact", "100"
	if _, err := kadm.NewClient(cl).CreateTopic(t.Context(), 1, 1, map[string]*string{"cleanup.policy": &compact, "segment.bytes": &small, "min.cleanable.dirty.ratio": &[]string{"0"}[0]}, "c"); err != nil {
		t.Fatal(err)
	}
	for n := range 20 {
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "c", Key: []byte{byte(n % 2)}, Value: fmt.Append(nil, n)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	c.Compact()
	var got []string
	next := int64(0)
	err := scan.New(cl, scan.Options{}).Read(t.Context(), scan.Range{TopicPartition: scan.TopicPartition{Topic: "c"}, To: 18}, func(chunk scan.Chunk) error {
		for _, rec := range chunk.Records {
			got = append(got, string(rec.Value))
		}
		next = chunk.Next
		return nil
	})
	if err != nil || next != 18 || len(got) == 18 {
		t.Errorf("%v up to %d: %v", got, next, err)
	}
}

package verify_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/bluesky"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/verify"
)

// BenchmarkRun verifies a topic of Bluesky events as the sources decode them, with
// a plain consumer of the same topic as the peer. ns/op is per record.
func BenchmarkRun(b *testing.B) {
	const records, partitions = 300_000, 6
	cluster, err := kfake.NewCluster(kfake.NumBrokers(3), kfake.SeedTopics(partitions, dataTopic), kfake.SeedTopics(2, "weir.dead-letters", "weir.cursors"))
	if err != nil {
		b.Fatal(err)
	}
	defer cluster.Close()
	cfg := kafka.Config{Brokers: cluster.ListenAddrs()}
	cl, err := cfg.NewClient(kgo.ProducerBatchCompression(kgo.SnappyCompression()))
	if err != nil {
		b.Fatal(err)
	}
	defer cl.Close()
	for n := range records {
		cl.Produce(b.Context(), &kgo.Record{Topic: dataTopic, Key: fmt.Appendf(nil, "did:plc:%022d", n%5000), Value: post(n),
			Headers: []kgo.RecordHeader{{Key: "kind", Value: []byte("create")}, {Key: "seq", Value: strconv.AppendInt(nil, int64(n), 10)}, {Key: "host", Value: []byte("jetstream1.us-east.bsky.network:443")}}}, nil)
	}
	rec := kafka.CursorRecord{Version: 1, Source: "bluesky", Seqs: map[string]int64{dataTopic: records}, Counts: map[string]map[string]int64{dataTopic: {"create": records}}}
	v, err := rec.Encode()
	if err != nil {
		b.Fatal(err)
	}
	if err := cl.ProduceSync(b.Context(), &kgo.Record{Topic: "weir.cursors", Partition: 0, Key: []byte("bluesky"), Value: v}).FirstErr(); err != nil {
		b.Fatal(err)
	}
	if err := cl.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	config := func(skip bool) verify.Config {
		return verify.Config{Kafka: cfg, SkipValues: skip, Sources: []verify.Source{{Name: "bluesky",
			Topics: []verify.Topic{{Name: dataTopic, Classify: bluesky.Classify, NewExamine: newExamine}}}}}
	}
	for _, variant := range []struct {
		name string
		skip bool
	}{{"headers", true}, {"values", false}} {
		b.Run(variant.name, func(b *testing.B) {
			before := cpuTime()
			for b.Loop() {
				report, err := verify.Run(b.Context(), config(variant.skip), nil)
				if err != nil || !report.OK || report.Scanned < records {
					b.Fatalf("%+v %v", report, err)
				}
			}
			perRecord(b, records, before)
		})
	}
	b.Run("kgo alone", func(b *testing.B) {
		before := cpuTime()
		for b.Loop() {
			consume(b, cfg, records)
		}
		perRecord(b, records, before)
	})
}

func newExamine() verify.Examine { return bluesky.NewDecoder().Examine }

func perRecord(b *testing.B, records int, before time.Duration) {
	total := float64(records) * float64(b.N)
	b.ReportMetric(b.Elapsed().Seconds()*1e9/total, "ns/record")
	b.ReportMetric(float64(cpuTime()-before)/total, "cpu-ns/record")
	b.ReportMetric(total/b.Elapsed().Seconds(), "records/s")
}

func consume(b *testing.B, cfg kafka.Config, records int) {
	cl, err := cfg.NewClient(kgo.ConsumeTopics(dataTopic), kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		b.Fatal(err)
	}
	defer cl.Close()
	for n := 0; n < records; {
		f := cl.PollFetches(b.Context())
		if err := f.Err(); err != nil {
			b.Fatal(err)
		}
		n += f.NumRecords()
	}
}

// post is an event in the form of the public stream, 680 bytes long.
func post(n int) []byte {
	return fmt.Appendf(nil, `{"did":"did:plc:%022d","time_us":%d,"kind":"commit","commit":{"rev":"3l%011d","operation":"create","collection":"app.bsky.feed.post","rkey":"3m%011d","record":{"$type":"app.bsky.feed.post","createdAt":"2026-01-02T03:04:05.678Z","langs":["en"],"reply":{"parent":{"cid":"bafyreib2rxk3rybk3aobmv5cjuql3bm2twh4jo5uxg","uri":"at://did:plc:w4xbfzo7kqfes5zb7r6qv3rw/app.bsky.feed.post/3l3qo2vuowo2b"},"root":{"cid":"bafyreib2rxk3rybk3aobmv5cjuql3bm2twh4jo5uxg","uri":"at://did:plc:w4xbfzo7kqfes5zb7r6qv3rw/app.bsky.feed.post/3l3qo2vuowo2b"}},"text":"a text of a usual length, number %08d"},"cid":"bafyreidhjq4xbfzo7kqfes5zb7r6qv3rwtwh4jo5uxgovsn6x"}}`, n%5000, 1767323045000000+int64(n)*50, n, n, n)
}

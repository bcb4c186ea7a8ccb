package ingest_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/ingest"
	"github.com/weir-project/weir/internal/kafka"
)

// brokerVariable makes the test binary a broker, so that a benchmark can tell the
// client's CPU time from the broker's.
const brokerVariable = "WEIR_TEST_BROKER"

// brokerProcess runs a cluster until standard input ends, if that is what this
// process is for.
func brokerProcess() bool {
	if os.Getenv(brokerVariable) == "" {
		return false
	}
	c, err := kfake.NewCluster()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(strings.Join(c.ListenAddrs(), ","))
	_, _ = io.Copy(io.Discard, os.Stdin)
	c.Close()
	return true
}

// outside returns a cluster in a process of its own.
func outside(b *testing.B) kafka.Config {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), brokerVariable+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { in.Close(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return withTopics(b, kafka.Config{Brokers: strings.Split(strings.TrimSpace(line), ",")})
}

// inside returns a cluster in this process.
func inside(b *testing.B) kafka.Config {
	b.Helper()
	c, err := kfake.NewCluster()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(c.Close)
	return withTopics(b, kafka.Config{Brokers: c.ListenAddrs()})
}

func withTopics(b *testing.B, cfg kafka.Config) kafka.Config {
	b.Helper()
	cl, err := cfg.NewClient()
	if err != nil {
		b.Fatal(err)
	}
	defer cl.Close()
	if err := kafka.EnsureTopics(b.Context(), cl, kafka.Topics()...); err != nil {
		b.Fatal(err)
	}
	return cfg
}

// post is one event as Bluesky sends it.
type post struct {
	key, value, id []byte
	kind           string
}

// posts makes up events of 680 bytes on average that compress like real ones.
func posts() []post {
	rnd := rand.New(rand.NewPCG(1, 2))
	text := func(n int, alphabet string) string {
		out := make([]byte, n)
		for i := range out {
			out[i] = alphabet[rnd.IntN(len(alphabet))]
		}
		return string(out)
	}
	const base32 = "abcdefghijklmnopqrstuvwxyz234567"
	words := make([]string, 3000)
	for i := range words {
		words[i] = text(2+rnd.IntN(8), base32[:26])
	}
	out := make([]post, 8192)
	for i := range out {
		did := "did:plc:" + text(24, base32)
		rev, rkey := text(13, base32), text(13, base32)
		var sentence []string
		for range 10 + rnd.IntN(30) {
			sentence = append(sentence, words[rnd.IntN(len(words))])
		}
		value := fmt.Sprintf(`{"did":%q,"time_us":%d,"kind":"commit","commit":{"rev":%q,"operation":"create","collection":"app.bsky.feed.post","rkey":%q,"record":{"$type":"app.bsky.feed.post","createdAt":"2026-11-01T12:34:56.%03dZ","langs":["en"],"reply":{"parent":{"cid":"bafyrei%s","uri":"at://did:plc:%s/app.bsky.feed.post/%s"}},"text":%q},"cid":"bafyrei%s"}}`,
			did, 1791110060549000+i, rev, rkey, rnd.IntN(1000), text(52, base32), text(24, base32), text(13, base32), strings.Join(sentence, " "), text(52, base32))
		out[i] = post{[]byte(did), []byte(value), []byte(did + rev + rkey), kinds[i%len(kinds)]}
	}
	return out
}

// flood is a source of n posts as fast as they are taken, or at a rate.
type flood struct {
	script
	posts []post
	n     int
	every time.Duration // between batches; 0 means none
	batch int
}

func (f *flood) Window() time.Duration { return time.Minute }

func (f *flood) Stream(ctx context.Context, from event.Cursor, emit func(*event.Batch) error) error {
	id := make([]byte, 0, 128)
	start := time.Now()
	for n, batch := int(from.Seq), 0; n < f.n; batch++ {
		if f.every > 0 {
			time.Sleep(time.Until(start.Add(f.every * time.Duration(batch))))
		}
		b := event.NewBatch()
		b.Received = time.Now()
		for range min(f.batch, f.n-n) {
			p := &f.posts[n%len(f.posts)]
			id = fmt.Appendf(append(id[:0], p.id...), "%d", n/len(f.posts)) // the text comes again, the event does not
			*b.Add() = event.Event{Route: event.Data, Kind: p.kind, Key: b.Copy(p.key), Value: b.Copy(p.value), ID: b.Copy(id), TimeUS: b.Received.UnixMicro()}
			n++
		}
		b.Cursor = event.Cursor{Host: "jetstream.us-east.bsky.network:443", Seq: int64(n), TimeUS: b.Received.UnixMicro()}
		if err := emit(b); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return ctx.Err()
}

// measured runs f and reports its CPU and wall time for each of n events.
func measured(b *testing.B, n int, f func()) {
	b.Helper()
	b.ReportAllocs()
	b.ResetTimer()
	before, start := cpu(), time.Now()
	f()
	used, took := cpu()-before, time.Since(start)
	b.StopTimer()
	b.ReportMetric(float64(used.Nanoseconds())/float64(n), "cpu-ns/event")
	b.ReportMetric(float64(n)/took.Seconds(), "events/s")
}

func ingestAll(b *testing.B, cfg kafka.Config, src *flood, tune func(*ingest.Config)) ingest.Stats {
	c := ingest.Config{Kafka: cfg, Source: src, Topics: topics, Log: discard()}
	if tune != nil {
		tune(&c)
	}
	i, err := ingest.New(c)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error)
	measured(b, src.n, func() {
		go func() { ended <- i.Run(ctx) }()
		for i.Stats().Cursor.Seq < int64(src.n) {
			time.Sleep(time.Millisecond)
		}
		cancel()
		if err := <-ended; err != nil {
			b.Fatal(err)
		}
	})
	return i.Stats()
}

// BenchmarkIngest is the client's CPU time, the broker being elsewhere; the peer
// is BenchmarkKgo in the same run.
func BenchmarkIngest(b *testing.B) {
	cfg := outside(b)
	s := ingestAll(b, cfg, &flood{posts: posts(), n: b.N, batch: 96}, nil)
	b.ReportMetric(float64(s.Events)/float64(s.Commits), "events/commit")
}

// BenchmarkIngestInside has the broker in the same process.
func BenchmarkIngestInside(b *testing.B) {
	ingestAll(b, inside(b), &flood{posts: posts(), n: b.N, batch: 96}, nil)
}

// BenchmarkKgo produces the same events with the library alone: idempotent, the
// same headers, compression, partitioner and batches.
func BenchmarkKgo(b *testing.B) { peer(b, outside(b), b.N) }

// BenchmarkKgoInside has the broker in the same process.
func BenchmarkKgoInside(b *testing.B) { peer(b, inside(b), b.N) }

func peer(b *testing.B, cfg kafka.Config, n int) {
	cl, err := cfg.NewClient(kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)), kgo.ProducerLinger(5*time.Millisecond),
		kgo.MaxBufferedRecords(10_000))
	if err != nil {
		b.Fatal(err)
	}
	defer cl.Close()
	all := posts()
	host, received := []byte("jetstream.us-east.bsky.network:443"), fmt.Append(nil, time.Now().UnixMicro())
	measured(b, n, func() {
		for i := range n {
			p := &all[i%len(all)]
			r := &kgo.Record{Topic: topics.Data, Key: p.key, Value: p.value, Headers: []kgo.RecordHeader{
				{Key: "kind", Value: []byte(p.kind)}, {Key: "seq", Value: fmt.Append(nil, i)}, {Key: "host", Value: host},
				{Key: "received", Value: received},
			}}
			cl.Produce(b.Context(), r, func(_ *kgo.Record, err error) {
				if err != nil {
					b.Error(err)
				}
			})
		}
		if err := cl.Flush(b.Context()); err != nil {
			b.Fatal(err)
		}
	})
}

// BenchmarkPace is a live stream: 1,000 events a second, one by one. It reports
// the share of a core that client and broker take together.
func BenchmarkPace(b *testing.B) {
	all := posts()
	const ms = time.Millisecond
	for _, pace := range []time.Duration{20 * ms, 50 * ms, 100 * ms, 200 * ms, 500 * ms} {
		b.Run(fmt.Sprint(pace), func(b *testing.B) {
			cfg := inside(b)
			const n = 4000
			for range b.N {
				s := ingestAll(b, cfg, &flood{posts: all, n: n, batch: 1, every: time.Millisecond}, func(c *ingest.Config) { c.Pace = pace })
				b.ReportMetric(s.Latency.Seconds*1000/float64(s.Latency.Count), "ms-latency")
				b.ReportMetric(float64(s.Commits)/4, "commits/s")
			}
		})
	}
}

package ingest_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/ingest"
	"github.com/weir-project/weir/internal/kafka"
)

func TestMain(m *testing.M) {
	if brokerProcess() {
		return
	}
	goleak.VerifyTestMain(m)
}

var topics = ingest.Topics{Data: kafka.TopicBluesky, Account: kafka.TopicBlueskyAccounts, DeadLetter: kafka.TopicDeadLetters}

// world is a cluster on a virtual network, and the truth about a source.
type world struct {
	t       *testing.T
	cluster *kfake.Cluster
	network *kfake.VirtualNetwork
	cfg     kafka.Config
	running []running
}

// bubble runs f with a cluster that has weir's topics, on fake time.
func bubble(t *testing.T, f func(t *testing.T, w *world), opts ...kfake.Opt) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, network: new(kfake.VirtualNetwork)}
		var err error
		w.cluster, err = kfake.NewCluster(append(opts, kfake.Ports(9001, 9002, 9003), kfake.ListenFn(w.network.Listen))...)
		if err != nil {
			t.Fatal(err)
		}
		defer w.cluster.Close()
		w.cfg = kafka.Config{Brokers: []string{"127.0.0.1:9001", "127.0.0.1:9002"}, Opts: []kgo.Opt{kgo.Dialer(w.network.DialContext)}}
		cl := w.client()
		err = kafka.EnsureTopics(t.Context(), cl, kafka.Topics()...)
		cl.Close()
		if err != nil {
			t.Fatal(err)
		}
		defer w.stopAll()
		f(t, w)
	})
}

// stopAll ends what a failed test has left running.
func (w *world) stopAll() {
	for _, r := range w.running {
		r.cancel()
		<-r.done
	}
}

func (w *world) client(opts ...kgo.Opt) *kgo.Client {
	w.t.Helper()
	cl, err := w.cfg.NewClient(opts...)
	if err != nil {
		w.t.Fatal(err)
	}
	return cl
}

func (w *world) config(src ingest.Source) ingest.Config {
	return ingest.Config{Kafka: w.cfg, Source: src, Topics: topics, Log: discard()}
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func (w *world) ingester(src ingest.Source) *ingest.Ingester {
	w.t.Helper()
	i, err := ingest.New(w.config(src))
	if err != nil {
		w.t.Fatal(err)
	}
	return i
}

// running is an ingester at work.
type running struct {
	*ingest.Ingester
	cancel context.CancelFunc
	ended  chan error
	done   chan struct{}
}

// errDied is how an ingester ends that dies at a crash point.
var errDied = errors.New("the process died")

// died is what a crash point panics with.
type died struct{ point string }

// run starts an ingester, which may die at a crash point; nothing of it goes on then.
func (w *world) run(i *ingest.Ingester) running {
	ctx, cancel := context.WithCancel(w.t.Context())
	r := running{i, cancel, make(chan error, 1), make(chan struct{})}
	w.running = append(w.running, r)
	go func() {
		defer close(r.done)
		defer cancel()
		defer func() {
			if p := recover(); p != nil {
				if _, ok := p.(died); !ok {
					panic(p)
				}
				r.ended <- errDied
			}
		}()
		r.ended <- i.Run(ctx)
	}()
	return r
}

// until waits, on fake time, until a condition holds.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for start := time.Now(); !cond(); time.Sleep(10 * time.Millisecond) {
		if time.Since(start) > 10*time.Minute {
			t.Fatalf("still not after 10 minutes: %s", what)
		}
	}
}

// drain stops the ingester once it has committed up to the source's n-th event.
func (r running) drain(t *testing.T, n int) {
	t.Helper()
	until(t, fmt.Sprintf("event %d is committed", n), func() bool { return r.Stats().Cursor.Seq >= int64(n) })
	r.stop(t)
}

// end waits, on fake time, for the ingester's end.
func (r running) end(t *testing.T) error {
	t.Helper()
	select {
	case err := <-r.ended:
		return err
	case <-time.After(10 * time.Minute):
		t.Fatalf("still running after 10 minutes: %+v", r.Stats())
		return nil
	}
}

func (r running) stop(t *testing.T) {
	t.Helper()
	r.cancel()
	if err := r.end(t); err != nil {
		t.Fatalf("run: %v", err)
	}
}

// script is a source of numbered events, whose truth is a function of the number.
type script struct {
	n       int           // events there are; then the stream stays open and quiet
	margin  int           // how many events before the cursor are sent again
	size    int           // events per batch
	cut     int           // the connection breaks after so many events; 0 means never
	pause   time.Duration // before each batch
	window  time.Duration // of the filter; 0 means an hour
	origin  string
	host    string
	sender  string           // of the batches; empty means host
	item    func(n int) item // nil means plain
	streams int
	err     error // what Stream returns when it is cut
}

// item is one event as the test thinks of it.
type item struct {
	route event.Route
	kind  string
	key   string
	value string
	us    int64
}

// epoch is the time of event 0: a bubble begins at the start of the year 2000.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()

var kinds = []string{"create", "create", "create", "update", "delete"}

func plain(n int) item {
	it := item{route: event.Data, kind: kinds[n%len(kinds)], key: "did:plc:" + strconv.Itoa(n%17), us: epoch + int64(n)*1000}
	switch {
	case n%50 == 7:
		it.route, it.kind = event.Account, "identity"
	case n%50 == 23:
		it.route, it.kind = event.Reject, event.ReasonMalformed
	case n%50 == 31:
		it.route = event.Skip
	case n%500 == 99:
		it.route, it.kind = event.Gap, event.KindGap
	}
	it.value = fmt.Sprintf(`{"n":%d,"kind":%q}`, n, it.kind)
	return it
}

func (s *script) at(n int) item {
	if s.item != nil {
		return s.item(n)
	}
	return plain(n)
}

func (s *script) Name() string { return "bluesky" }

func (s *script) Window() time.Duration {
	if s.window > 0 {
		return s.window
	}
	return time.Hour
}

func (s *script) Status() event.SourceStatus { return event.SourceStatus{Connected: true} }

func (s *script) Stream(ctx context.Context, from event.Cursor, emit func(*event.Batch) error) error {
	s.streams++
	first := max(0, int(from.Seq)-s.margin)
	size := max(1, s.size)
	for n := first; n < s.n; {
		if s.pause > 0 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(s.pause):
			}
		}
		b := event.NewBatch()
		b.Received, b.Host = time.Now(), s.sender
		for range size {
			if n == s.n || s.cut > 0 && n-first == s.cut {
				break
			}
			s.append(b, n)
			n++
		}
		b.Cursor = event.Cursor{Host: s.host, Seq: int64(n), TimeUS: epoch + int64(n)*1000, Origin: s.origin}
		if err := emit(b); err != nil {
			return err
		}
		if s.cut > 0 && n-first == s.cut {
			return s.err
		}
	}
	<-ctx.Done()
	return ctx.Err()
}

func (s *script) append(b *event.Batch, n int) {
	it := s.at(n)
	if it.route == event.Reject {
		b.RejectFrame(it.kind, "broken", b.CopyString(it.value), it.us)
		return
	}
	e := event.Event{Route: it.route, Kind: it.kind, TimeUS: it.us, Value: b.CopyString(it.value)}
	if it.key != "" {
		e.Key = b.CopyString(it.key)
	}
	if it.route != event.Gap {
		e.ID = b.CopyString("id " + strconv.Itoa(n))
	}
	*b.Add() = e
}

func (s *script) Identify(value []byte, b *event.Batch) ([]byte, int64, bool) {
	var v struct{ N *int }
	if json.Unmarshal(value, &v) != nil || v.N == nil {
		return nil, 0, false
	}
	return b.CopyString("id " + strconv.Itoa(*v.N)), s.at(*v.N).us, true
}

// stored is what a plain client of Kafka sees in a topic.
type stored struct {
	topic, kind, seq, value, key string
	partition                    int32
	rec                          *kgo.Record
}

// read returns all committed records of weir's topics except the cursors, with a
// client of its own.
func (w *world) read() []stored {
	w.t.Helper()
	names := []string{topics.Data, topics.Account, topics.DeadLetter}
	cl := w.client(kgo.ConsumeTopics(names...), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100*time.Millisecond))
	defer cl.Close()
	var out []stored
	for quiet := 0; quiet < 3; {
		ctx, cancel := context.WithTimeout(w.t.Context(), time.Second)
		fetches := cl.PollFetches(ctx)
		cancel()
		quiet++
		fetches.EachError(func(topic string, p int32, err error) {
			if !errors.Is(err, context.DeadlineExceeded) {
				w.t.Fatalf("read %s/%d: %v", topic, p, err)
			}
		})
		fetches.EachRecord(func(r *kgo.Record) {
			quiet = 0
			s := stored{topic: r.Topic, partition: r.Partition, value: string(r.Value), key: string(r.Key), rec: r}
			var received int64
			for _, h := range r.Headers {
				switch h.Key {
				case "kind":
					s.kind = string(h.Value)
				case "seq":
					s.seq = string(h.Value)
				case "received":
					received, _ = strconv.ParseInt(string(h.Value), 10, 64)
				}
			}
			if age := time.Since(time.UnixMicro(received)); age < 0 || age > time.Hour {
				w.t.Errorf("%s/%d@%d says that it was received at %d, %v ago", r.Topic, r.Partition, r.Offset, received, age)
			}
			out = append(out, s)
		})
	}
	return out
}

// verify compares what is in Kafka with the first n events of the source: each
// exactly once, in the right topic, in order per key, numbered without a hole.
// gaps says how often each gap may occur: it has no identity.
func (w *world) verify(s *script, n int) {
	w.t.Helper()
	type place struct{ topic, kind string }
	want := map[string]place{}
	counts := map[string]map[string]int64{}
	for i := range n {
		it := s.at(i)
		p := place{topics.Data, it.kind}
		switch it.route {
		case event.Account:
			p.topic = topics.Account
		case event.Reject, event.Gap:
			p.topic = topics.DeadLetter
		case event.Skip:
			continue
		}
		if it.route == event.Gap {
			continue // compared below
		}
		want[it.value] = p
		if counts[p.topic] == nil {
			counts[p.topic] = map[string]int64{}
		}
		counts[p.topic][p.kind]++
	}
	got := w.read()
	seqs := map[string][]int{}
	seen := map[string]int{}
	var gaps int64
	for _, r := range got {
		seq, err := strconv.Atoi(r.seq)
		if err != nil {
			w.t.Fatalf("record %s/%d/%d has the seq %q", r.topic, r.partition, r.rec.Offset, r.seq)
		}
		seqs[r.topic] = append(seqs[r.topic], seq)
		if r.kind == event.KindGap {
			gaps++
			continue
		}
		seen[r.value]++
		if p, ok := want[r.value]; !ok || p.topic != r.topic || p.kind != r.kind {
			w.t.Errorf("record %q of kind %s in %s is not the truth (%+v)", r.value, r.kind, r.topic, p)
		}
	}
	var lost, doubled []string
	for v := range want {
		switch seen[v] {
		case 0:
			lost = append(lost, v)
		case 1:
		default:
			doubled = append(doubled, fmt.Sprintf("%s ×%d", v, seen[v]))
		}
	}
	if len(lost)+len(doubled) > 0 {
		slices.SortFunc(lost, func(a, b string) int { return cmp.Compare(len(a), len(b)) })
		w.t.Errorf("%d events: %d lost %q ..., %d doubled %q ...", len(want), len(lost), lost[:min(len(lost), 5)], len(doubled), doubled[:min(len(doubled), 5)])
	}
	for topic, got := range seqs {
		slices.Sort(got)
		for i, seq := range got {
			if seq != i {
				w.t.Errorf("%s: number %d of %d is %d", topic, i, len(got), seq)
				break
			}
		}
	}
	w.verifyCursor(counts, seqs, gaps, n)
}

// verifyCursor compares the committed cursor with the truth.
func (w *world) verifyCursor(counts map[string]map[string]int64, seqs map[string][]int, gaps int64, n int) {
	w.t.Helper()
	rec, found, err := kafka.ReadCursor(w.t.Context(), w.cfg, "bluesky")
	if err != nil || !found {
		w.t.Fatalf("cursor: found %v, %v", found, err)
	}
	if rec.Gaps != gaps {
		w.t.Errorf("cursor counts %d gaps, and %d are in the topic", rec.Gaps, gaps)
	}
	if gaps > 0 {
		if counts[topics.DeadLetter] == nil {
			counts[topics.DeadLetter] = map[string]int64{}
		}
		counts[topics.DeadLetter][event.KindGap] = gaps
	}
	if rec.Cursor.Seq != int64(n) {
		w.t.Errorf("cursor is at %d, want %d", rec.Cursor.Seq, n)
	}
	for topic, want := range counts {
		for kind, n := range want {
			if got := rec.Counts[topic][kind]; got != n {
				w.t.Errorf("cursor counts %d of %s in %s, want %d", got, kind, topic, n)
			}
		}
		if len(rec.Counts[topic]) != len(want) {
			w.t.Errorf("cursor counts %v in %s, want %v", rec.Counts[topic], topic, want)
		}
		if rec.Seqs[topic] != int64(len(seqs[topic])) {
			w.t.Errorf("next number of %s is %d, and there are %d records", topic, rec.Seqs[topic], len(seqs[topic]))
		}
	}
}

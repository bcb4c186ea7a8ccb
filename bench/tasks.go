//go:build unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/bluesky"
	"github.com/weir-project/weir/internal/cluster/embedded"
	"github.com/weir-project/weir/internal/count"
	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/ingest"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/redisd"
	"github.com/weir-project/weir/internal/tally"
)

// patience bounds a measurement.
const patience = 2 * time.Minute

// result is one measurement.
type result struct {
	Events    int
	CPU, Wall time.Duration
	// Brokers is the CPU time of the brokers, where they are processes.
	Brokers time.Duration
}

// cpu is the CPU time that this process has used, user and system.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// meter measures from its making to its end.
type meter struct {
	cpu  time.Duration
	wall time.Time
}

func begin() meter { runtime.GC(); return meter{cpu(), time.Now()} }

func (m meter) end(events int) result {
	return result{Events: events, CPU: cpu() - m.cpu, Wall: time.Since(m.wall)}
}

// measure is a child process: it prints its result as JSON.
func measure(ctx context.Context, s settings, stdout io.Writer) error {
	if s.profile != "" {
		f, err := os.Create(filepath.Join(s.profile, s.task+".prof"))
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	task, ok := tasks[s.task]
	if !ok {
		return fmt.Errorf("no measurement %q", s.task)
	}
	if s.task != "serve" && s.task != "grow" {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, patience)
		defer cancel()
	}
	r, err := task(ctx, s)
	if err != nil {
		return fmt.Errorf("%s: %w", s.task, err)
	}
	return json.NewEncoder(stdout).Encode(r)
}

var tasks = map[string]func(context.Context, settings) (result, error){
	"decode-bluesky":   func(_ context.Context, s settings) (result, error) { return decodeAll(s, sourceBS) },
	"decode-wikipedia": func(_ context.Context, s settings) (result, error) { return decodeAll(s, sourceWP) },
	"json-bluesky":     func(_ context.Context, s settings) (result, error) { return jsonAll[frame](s, sourceBS) },
	"json-wikipedia":   func(_ context.Context, s settings) (result, error) { return jsonAll[change](s, sourceWP) },
	"ingest-bluesky":   func(ctx context.Context, s settings) (result, error) { return ingestMemory(ctx, s, sourceBS) },
	"ingest-wikipedia": func(ctx context.Context, s settings) (result, error) { return ingestMemory(ctx, s, sourceWP) },
	"ingest-websocket": ingestWebSocket,
	"kgo-produce":      func(ctx context.Context, s settings) (result, error) { return produce(ctx, s, 0) },
	"kgo-transactions": func(ctx context.Context, s settings) (result, error) { return produce(ctx, s, ingest.DefaultMaxEvents) },
	"count":            countTopic,
	"kgo-consume":      consume,
	"one-ingest":       func(ctx context.Context, s settings) (result, error) { return oneProcess(ctx, s, false) },
	"one-count":        func(ctx context.Context, s settings) (result, error) { return oneProcess(ctx, s, true) },
	"serve":            serve,
	"grow":             grow,
}

func decodeAll(s settings, stream string) (result, error) {
	lines, err := load(s.file(stream))
	if err != nil {
		return result{}, err
	}
	decode := decoder(stream)
	b := event.NewBatch()
	m := begin()
	for _, line := range lines {
		if err := decode(b, b.Copy(line)); err != nil {
			return result{}, err
		}
		if b.Bytes() >= 64<<10 {
			b.Release()
			b = event.NewBatch()
		}
	}
	return m.end(len(lines)), nil
}

// frame and change are the fields that weir decodes.
type frame struct {
	DID    string `json:"did"`
	TimeUS int64  `json:"time_us"`
	Kind   string `json:"kind"`
	Commit struct {
		Rev        string `json:"rev"`
		Operation  string `json:"operation"`
		Collection string `json:"collection"`
		RKey       string `json:"rkey"`
	} `json:"commit"`
}

type change struct {
	Type  string `json:"type"`
	Wiki  string `json:"wiki"`
	Title string `json:"title"`
	Meta  struct {
		ID     string `json:"id"`
		DT     string `json:"dt"`
		Domain string `json:"domain"`
	} `json:"meta"`
}

// jsonAll decodes the same fields with the standard library.
func jsonAll[T any](s settings, stream string) (result, error) {
	lines, err := load(s.file(stream))
	if err != nil {
		return result{}, err
	}
	m := begin()
	for _, line := range lines {
		var v T
		if err := json.Unmarshal(line, &v); err != nil {
			return result{}, err
		}
	}
	return m.end(len(lines)), nil
}

// ingestAll runs an ingester until all events are committed.
func ingestAll(ctx context.Context, s settings, src ingest.Source, n int) (result, error) {
	return ingestTo(ctx, s, src, ingest.Topics{Data: s.topic, Account: s.topic + accounts, DeadLetter: s.topic + dead}, n)
}

func ingestTo(ctx context.Context, s settings, src ingest.Source, topics ingest.Topics, n int) (result, error) {
	i, err := ingest.New(ingest.Config{
		Kafka: kafka.Config{Brokers: s.brokers()}, Source: src, Log: logger(), Topics: topics, MaxEvents: s.transaction, EagerEvents: s.transaction,
	})
	if err != nil {
		return result{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	m := begin()
	go func() { ended <- i.Run(ctx) }()
	var restarts int64
	// Taking over from a predecessor takes its time, once, and none of the CPU's.
	if err := poll(ctx, ended, func() bool { return i.Stats().State == ingest.StateRunning }); err != nil {
		return result{}, fmt.Errorf("%w: not running: %q", err, i.Stats().LastError)
	}
	m.wall, restarts = time.Now(), i.Stats().Restarts
	done := func(st ingest.Stats) int64 { return st.Events + st.Skipped } // a canary is not stored
	if err := poll(ctx, ended, func() bool { return done(i.Stats()) >= int64(n) }); err != nil {
		st := i.Stats()
		return result{}, fmt.Errorf("%w: %d events of %d, %d duplicates, %d rejects, last error %q", err, done(st), n, st.Duplicates, st.Rejects, st.LastError)
	}
	r := m.end(n)
	if st := i.Stats(); st.Restarts > restarts || done(st) != int64(n) || st.Rejects+st.Gaps > 0 {
		return result{}, fmt.Errorf("%d events, %d rejects, %d gaps, %d restarts (%s)", st.Events, st.Rejects, st.Gaps, st.Restarts, st.LastError)
	}
	cancel()
	return r, <-ended
}

func logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// poll waits for a condition, or until what should go on has ended.
func poll(ctx context.Context, ended <-chan error, done func() bool) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case err := <-ended:
			return fmt.Errorf("ended early: %w", err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func ingestMemory(ctx context.Context, s settings, stream string) (result, error) {
	lines, err := load(s.file(stream))
	if err != nil {
		return result{}, err
	}
	return ingestAll(ctx, s, &memory{s, stream, lines}, len(lines))
}

func countTopic(ctx context.Context, s settings) (result, error) {
	store, err := tally.Open(ctx, s.redis)
	if err != nil {
		return result{}, err
	}
	defer store.Close()
	c, err := count.New(count.Config{Kafka: kafka.Config{Brokers: s.brokers()}, Store: store, Topic: s.topic,
		Group: fmt.Sprintf("bench-%d", time.Now().UnixNano()), Classify: bluesky.Classify, Log: logger()})
	if err != nil {
		return result{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	m := begin()
	go func() { ended <- c.Run(ctx) }()
	// Joining the group takes its time, and none of the CPU's.
	if err := poll(ctx, ended, func() bool { return c.Stats().Events > 0 }); err != nil {
		return result{}, fmt.Errorf("%w: nothing counted: %+v", err, c.Stats())
	}
	first := c.Stats().Events
	m.wall = time.Now()
	if err := poll(ctx, ended, func() bool { return c.Stats().Events >= int64(s.stored) }); err != nil {
		return result{}, fmt.Errorf("%w: %d of %d counted: %+v", err, c.Stats().Events, s.stored, c.Stats())
	}
	r := m.end(s.stored)
	if n := c.Stats().Events; n != int64(s.stored) {
		return result{}, fmt.Errorf("counted %d of %d", n, s.stored)
	}
	r.Wall = time.Duration(float64(r.Wall) * float64(s.stored) / float64(max(1, int64(s.stored)-first)))
	cancel()
	return r, <-ended
}

func consume(ctx context.Context, s settings) (result, error) {
	m := begin()
	cl, err := kafka.Config{Brokers: s.brokers()}.NewClient(kgo.ConsumeTopics(s.topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		return result{}, err
	}
	defer cl.Close()
	for n := 0; n < s.stored; {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return result{}, fmt.Errorf("%d of %d records: %w", n, s.stored, err)
		}
		n += fetches.NumRecords()
	}
	return m.end(s.stored), nil
}

// produce writes the records that weir writes with the library alone.
func produce(ctx context.Context, s settings, perTransaction int) (result, error) {
	lines, err := load(s.file(sourceBS))
	if err != nil {
		return result{}, err
	}
	keys := make([][]byte, len(lines))
	for i, line := range lines { // found beforehand: the peer decodes nothing
		var f frame
		if err := json.Unmarshal(line, &f); err != nil {
			return result{}, err
		}
		keys[i] = []byte(f.DID)
	}
	opts := []kgo.Opt{kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)), kgo.ProducerBatchCompression(kgo.SnappyCompression()),
		kgo.ProducerLinger(5 * time.Millisecond), kgo.MaxBufferedRecords(max(10_000, perTransaction))}
	if perTransaction > 0 {
		opts = append(opts, kgo.TransactionalID("bench"))
	}
	m := begin()
	cl, err := kafka.Config{Brokers: s.brokers()}.NewClient(opts...)
	if err != nil {
		return result{}, err
	}
	defer cl.Close()
	if perTransaction > 0 { // as weir's measurement: the first answers are not in it
		if _, _, err := cl.ProducerID(ctx); err != nil {
			return result{}, err
		}
		m.wall = time.Now()
	}
	kind, host, received := []byte("create"), []byte("bench:443"), fmt.Append(nil, time.Now().UnixMicro())
	var failed error
	promise := func(_ *kgo.Record, err error) {
		if err != nil {
			failed = err
		}
	}
	for i, line := range lines {
		if perTransaction > 0 && i%perTransaction == 0 {
			if err := turn(ctx, cl, i > 0, true); err != nil {
				return result{}, err
			}
		}
		cl.Produce(ctx, &kgo.Record{Topic: s.topic, Key: keys[i], Value: line, Headers: []kgo.RecordHeader{
			{Key: kafka.HeaderKind, Value: kind}, {Key: kafka.HeaderSeq, Value: fmt.Append(nil, i)}, {Key: kafka.HeaderHost, Value: host},
			{Key: kafka.HeaderReceived, Value: received},
		}}, promise)
	}
	if err := cl.Flush(ctx); err != nil {
		return result{}, err
	}
	if perTransaction > 0 {
		if err := turn(ctx, cl, true, false); err != nil {
			return result{}, err
		}
	}
	return m.end(len(lines)), failed
}

// turn ends a transaction, begins one, or both.
func turn(ctx context.Context, cl *kgo.Client, end, start bool) error {
	if end {
		if err := cl.Flush(ctx); err != nil {
			return err
		}
		if err := cl.EndTransaction(ctx, kgo.TryCommit); err != nil {
			return err
		}
	}
	if start {
		return cl.BeginTransaction()
	}
	return nil
}

// oneProcess has brokers, ingester and, with counting, Redis and counter in this
// process, on two cores.
func oneProcess(ctx context.Context, s settings, counting bool) (_ result, err error) {
	runtime.GOMAXPROCS(2)
	lines, err := load(s.file(sourceBS))
	if err != nil {
		return result{}, err
	}
	dir, err := os.MkdirTemp(s.dir, "one")
	if err != nil {
		return result{}, err
	}
	c, err := embedded.Open(ctx, embedded.Config{Dir: filepath.Join(dir, "kafka")})
	if err != nil {
		return result{}, err
	}
	defer func() { err = errors.Join(err, c.Close(), os.RemoveAll(dir)) }()
	s.kafka, s.topic = c.Addrs()[0], "bench-one"
	if err := createTopics(ctx, s, s.topic); err != nil {
		return result{}, err
	}
	if !counting {
		return ingestAll(ctx, s, &memory{s, sourceBS, lines}, len(lines))
	}
	r, err := redisd.Open(redisd.Config{Addr: "127.0.0.1:0", Dir: filepath.Join(dir, "redis")})
	if err != nil {
		return result{}, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	s.redis, s.stored = r.URL(), 0
	for _, line := range lines {
		if isData(sourceBS, line) {
			s.stored++
		}
	}
	m := begin()
	counted := make(chan error, 1)
	go func() { _, err := countTopic(ctx, s); counted <- err }()
	if _, err := ingestAll(ctx, s, &memory{s, sourceBS, lines}, len(lines)); err != nil {
		return result{}, err
	}
	if err := <-counted; err != nil {
		return result{}, err
	}
	return m.end(len(lines)), nil
}

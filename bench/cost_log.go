//go:build unix

package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/weir-project/weir/internal/bluesky"
	"github.com/weir-project/weir/internal/cluster/embedded"
	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/ingest"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/simulate"
)

const (
	// logSize is the limit of the log that is measured: retention must not shorten it.
	logSize = 64 << 30
	// logTransaction is how many events a transaction of the log holds. It is small, as
	// those of a live stream are: most of the log is then in the archive, as after a day.
	logTransaction = 500
	// lookups is how often each read of ten messages is measured.
	lookups = 3
)

// logCost is what a log of one length costs.
type logCost struct {
	Records   int
	Bytes     int64         // on the disk
	Start     time.Duration // until the brokers and Redis answer
	StartCPU  time.Duration
	Memory    int64  // of the cluster when it has started
	First     result // ten messages from the beginning
	Newest    result // the newest ten
	Verify    time.Duration
	VerifyCPU time.Duration // verify's own
	BrokerCPU time.Duration // the cluster's meanwhile
	Peak      int64         // of verify's memory
	After     int64         // the cluster's memory when all was read
}

// measureLogs grows one log to each length in turn, and measures it.
func (s settings) measureLogs(ctx context.Context, lengths []int, stderr io.Writer) (all []logCost, err error) {
	data := filepath.Join(s.dir, "log")
	for _, n := range lengths {
		began := time.Now()
		s.topic, s.stored, s.events = data, n, lengths[len(lengths)-1]
		res, err := s.measured(ctx, row{task: "grow"})
		if err != nil {
			return nil, fmt.Errorf("make a log of %d records: %w", n, err)
		}
		fmt.Fprintf(stderr, "log of %d records made: %.0f s, %.0f s of CPU\n", n, time.Since(began).Seconds(), res.CPU.Seconds())
		c, err := s.measureLog(ctx, data, n)
		if err != nil {
			return nil, fmt.Errorf("log of %d records: %w", n, err)
		}
		fmt.Fprintf(stderr, "%+v\n", c)
		all, s.have = append(all, c), n
	}
	return all, nil
}

// measureLog starts the cluster on a log, and reads it.
func (s settings) measureLog(ctx context.Context, data string, n int) (c logCost, err error) {
	c = logCost{Records: n}
	began := time.Now()
	stop, err := s.startWeir(ctx, data)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	c.Start, c.StartCPU, c.Memory = time.Since(began), cpuOf(s.cluster), peakOf(s.cluster)
	if c.Bytes, err = sizeOf(data); err != nil {
		return c, err
	}
	if err := s.rest(ctx); err != nil {
		return c, err
	}
	messages := func(args ...string) (result, error) {
		var all []result
		for range lookups {
			r, _, out, err := s.weirs(ctx, append([]string{"messages", kafka.TopicBluesky, "--data", data, "-n", "10", "-o", "jsonl"}, args...)...)
			if err == nil && bytes.Count(out, []byte("\n")) != 10 {
				err = fmt.Errorf("messages printed %q", out)
			}
			if err != nil {
				return result{}, err
			}
			all = append(all, r)
		}
		slices.SortFunc(all, func(a, b result) int { return cmp.Compare(a.Wall, b.Wall) })
		return all[len(all)/2], nil
	}
	if c.First, err = messages("--offset", "oldest"); err != nil {
		return c, err
	}
	if c.Newest, err = messages(); err != nil {
		return c, err
	}
	before := cpuOf(s.cluster)
	r, peak, out, err := s.weirs(ctx, "verify", "--data", data, "-o", "json")
	if err != nil {
		return c, err
	}
	var report struct {
		OK      bool
		Scanned int
		Bluesky struct{ Events, Lost, Doubled, Trimmed, Unverifiable, Foreign int }
	}
	if err := json.Unmarshal(out, &report); err != nil {
		return c, err
	}
	if b := report.Bluesky; !report.OK || report.Scanned < n || b.Events == 0 || b.Lost+b.Doubled+b.Trimmed+b.Unverifiable+b.Foreign != 0 {
		return c, fmt.Errorf("verify of %d records: %s", n, out)
	}
	c.Verify, c.VerifyCPU, c.Peak, c.Records = r.Wall, r.CPU, peak, report.Scanned
	c.BrokerCPU, c.After = cpuOf(s.cluster)-before, peakOf(s.cluster)
	return c, nil
}

// startWeir starts weir cluster on a data directory.
func (s *settings) startWeir(ctx context.Context, data string) (func() error, error) {
	ctx, cancel := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, s.weir, "cluster", "--data", data, "--ports", "0", "--source", "simulated", "--listen", "off",
		"--log-size", fmt.Sprint(logSize))
	_, stop, err := started(cmd, cancel, func(line string) (string, bool) { return line, strings.HasPrefix(line, "redis") })
	if err != nil {
		return nil, err
	}
	s.cluster = cmd.Process.Pid
	return stop, nil
}

// weirs runs a command of weir, and measures its most memory, too.
func (s settings) weirs(ctx context.Context, args ...string) (r result, peak int64, out []byte, err error) {
	cmd := exec.CommandContext(ctx, s.weir, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return r, 0, nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			if err != nil {
				return r, 0, nil, fmt.Errorf("weir %s: %w: %s%s", strings.Join(args, " "), err, stdout.Bytes(), stderr.Bytes())
			}
			r = result{CPU: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), Wall: time.Since(began)}
			return r, peak, stdout.Bytes(), nil
		case <-tick.C: // getrusage would report the memory of this process, where that is larger
			peak = max(peak, peakOf(cmd.Process.Pid))
		}
	}
}

// grow is a process of its own: embedded brokers on the data directory s.topic, and an
// ingester of a simulated stream, until the log has s.stored events.
func grow(ctx context.Context, s settings) (_ result, err error) {
	if _, err := os.Stat(s.topic); errors.Is(err, os.ErrNotExist) { // weir makes directory and topics
		stop, err := s.startWeir(ctx, s.topic)
		if err == nil {
			err = stop()
		}
		if err != nil {
			return result{}, err
		}
	}
	c, err := embedded.Open(ctx, embedded.Config{Dir: filepath.Join(s.topic, "simulated", "kafka"), LogSize: logSize})
	if err != nil {
		return result{}, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	posts, err := simulate.NewWorld(seed).Bluesky("app.bsky.feed.post")
	if err != nil {
		return result{}, err
	}
	src, err := bluesky.New(bluesky.Config{})
	if err != nil {
		return result{}, err
	}
	s.kafka, s.transaction = c.Addrs()[0], cmp.Or(s.transaction, logTransaction)
	from := &endless{Source: src, settings: s, posts: posts, archive: c.Enforce}
	topics := ingest.Topics{Data: kafka.TopicBluesky, Account: kafka.TopicBlueskyAccounts, DeadLetter: kafka.TopicDeadLetters}
	r, err := ingestTo(ctx, s, from, topics, s.stored-s.have)
	if err != nil {
		return result{}, err
	}
	return r, from.settle(ctx, s.topic)
}

// archiveEvery is after how many events the brokers archive.
const archiveEvery = 200_000

// endless is a simulated Bluesky, as fast as its events are taken, up to s.stored.
type endless struct {
	*bluesky.Source
	settings
	posts   *simulate.Bluesky
	archive func(context.Context) error
}

// Status implements ingest.Source.
func (e *endless) Status() event.SourceStatus { return event.SourceStatus{Connected: true} }

// Stream goes on at the cursor. The brokers archive at the same time, and it waits for them:
// a backlog of batches would make them delete the oldest.
func (e *endless) Stream(ctx context.Context, from event.Cursor, emit func(*event.Batch) error) error {
	d := bluesky.NewDecoder()
	archived := make(chan error, 1)
	archived <- nil
	var frame []byte
	for i := from.Seq; i < int64(e.stored); {
		b := event.NewBatch()
		b.Received = time.Now()
		for ; i < int64(e.stored) && len(b.Events) < 256 && b.Bytes() < 64<<10; i++ {
			frame = e.posts.AppendFrame(frame[:0], i, e.at(sourceBS, i), i+1)
			if _, err := d.Decode(b, b.Copy(frame)); err != nil {
				return &event.StreamError{Err: err, Permanent: true}
			}
			if i%archiveEvery == archiveEvery-1 {
				if err := <-archived; err != nil {
					return &event.StreamError{Err: err, Permanent: true}
				}
				go func() { archived <- e.archive(ctx) }()
			}
		}
		b.Cursor = event.Cursor{Host: "bench:443", Seq: i, TimeUS: e.at(sourceBS, i), Origin: event.OriginSimulated + ":1"}
		if err := emit(b); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return errors.Join(ctx.Err(), <-archived)
}

// settle archives until nothing is left to.
func (e *endless) settle(ctx context.Context, dir string) error {
	for before := int64(-1); ; {
		if err := e.archive(ctx); err != nil {
			return err
		}
		now, err := sizeOf(filepath.Join(dir, "simulated", "kafka", "archive"))
		if err != nil || now == before {
			return err
		}
		before = now
	}
}

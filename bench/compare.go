//go:build unix

package main

import (
	"bufio"
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

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-project/weir/internal/kafka"
)

const (
	accounts = ".accounts"
	dead     = ".dead"
)

// row is a line of the table: a measurement, and the peer that it is compared with.
type row struct {
	task, label, peer string
	makes             bool // a topic, to be read by those that read one
	reads             bool
	target            time.Duration // of CPU for each event; 0 is none
	goals             []goal        // on Apache Kafka
}

// goal is how many times the peer's events per second there have to be.
type goal struct {
	peer  string
	least float64
}

// onApache is what is measured on Apache Kafka, where the brokers take most of the
// machine: those that are compared stand side by side.
var onApache = []row{
	{task: "kgo-transactions", label: "franz-go alone: transactions of 20,000, nothing decoded", makes: true},
	{task: "ingest-bluesky", label: "weir: ingest Bluesky from memory", makes: true, goals: []goal{{"kgo-transactions", 1}, {"script-produce", 20}}},
	{task: "kgo-consume", label: "franz-go alone: consume read_committed", reads: true},
	{task: "count", label: "weir: count", reads: true, goals: []goal{{"kgo-consume", 0.8}, {"script-consume", 500}}},
	{task: "kgo-produce", label: "franz-go alone: no transactions", makes: true},
	{task: "kcat-produce", label: "kcat -P from a file", makes: true},
	{task: "send-produce", label: "weir send from a file", makes: true, goals: []goal{{"kcat-produce", 0.8}}},
	{task: "kcat-consume", label: "kcat -C into nothing", reads: true},
	{task: "script-produce", label: "script: confluent-kafka, a flush for each event", makes: true},
	{task: "script-consume", label: "script: quixstreams, a Redis connection and INCR for each event", reads: true},
}

var rows = []row{
	{task: "decode-bluesky", label: "weir: decode a Bluesky event", peer: "json-bluesky", target: 1200},
	{task: "json-bluesky", label: "encoding/json into a struct, the same fields"},
	{task: "decode-wikipedia", label: "weir: decode a Wikipedia event", peer: "json-wikipedia", target: 2500},
	{task: "json-wikipedia", label: "encoding/json into a struct, the same fields"},
	{task: "ingest-bluesky", label: "weir: ingest Bluesky from memory", peer: "kgo-transactions", makes: true, target: 5500},
	{task: "ingest-websocket", label: "weir: ingest Bluesky from a WebSocket", peer: "kgo-transactions", makes: true, target: 7000},
	{task: "ingest-wikipedia", label: "weir: ingest Wikipedia from memory", makes: true},
	{task: "kgo-produce", label: "kgo alone: produce, nothing decoded", makes: true},
	{task: "kgo-transactions", label: "kgo alone: produce in transactions of 20,000", makes: true},
	{task: "kcat-produce", label: "kcat -P from a file", peer: "kgo-produce", makes: true},
	{task: "send-produce", label: "weir send from a file", peer: "kcat-produce", makes: true},
	{task: "kgo-consume", label: "kgo alone: consume read_committed", reads: true},
	{task: "kcat-consume", label: "kcat -C into nothing", peer: "kgo-consume", reads: true},
	{task: "count", label: "weir: count", peer: "kgo-consume", reads: true, target: 2000},
	{task: "one-ingest", label: "one process on two cores: brokers, ingest"},
	{task: "one-count", label: "one process on two cores: brokers, ingest, count, Redis"},
}

// compare is the parent: broker, events, measurements in turns, table.
func compare(ctx context.Context, s settings, stdout, stderr io.Writer) (err error) {
	if err := generate(s); err != nil {
		return fmt.Errorf("make the events: %w", err)
	}
	stored, sizes, err := s.survey()
	if err != nil {
		return err
	}
	if s.kafka == "" {
		stop, err := s.startCluster(ctx)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, stop()) }()
	} else if err := s.notWeirs(ctx); err != nil {
		return err
	}
	got := map[string][]result{}
	for round := range s.rounds + s.warmUp() {
		for _, r := range s.rows() {
			wanted := strings.Contains(r.task, s.only) || r.task == "ingest-bluesky" && s.only != ""
			if !wanted || s.skips(r) {
				continue
			}
			s.topic, s.stored = topicOf(r, round), stored
			began := time.Now()
			res, err := s.one(ctx, r)
			if err != nil {
				return fmt.Errorf("%s, round %d: %w", r.task, round+1, err)
			}
			if round >= s.warmUp() {
				got[r.task] = append(got[r.task], res)
			}
			fmt.Fprintf(stderr, "round %d  %-17s %8.0f ns of CPU  %9.0f with the brokers'  %9.0f events/s  (%.1f s)\n", round+1, r.task,
				perEvent(res), total(res), rate(res), time.Since(began).Seconds())
		}
		s.topic = topicOf(row{task: "ingest-bluesky"}, round)
		if err := s.deleteTopics(ctx); err != nil {
			return err
		}
	}
	if s.engine == apache {
		apacheTable(stdout, s, got, sizes)
	} else {
		table(stdout, s, got, sizes)
	}
	return nil
}

const apache = "apache"

func (s settings) rows() []row {
	if s.engine == apache {
		return onApache
	}
	return rows
}

// warmUp is how many rounds are not in the table: Java compiles while it runs.
func (s settings) warmUp() int {
	if s.engine == apache {
		return 1
	}
	return 0
}

// topicOf names the topic of a measurement. The readers' is the one that weir
// ingested from memory.
func topicOf(r row, round int) string {
	task := r.task
	if r.reads {
		task = "ingest-bluesky"
	}
	return fmt.Sprintf("bench-%s-%d", task, round)
}

// skips reports whether what a measurement needs is not there.
func (s settings) skips(r row) bool {
	if strings.HasPrefix(r.task, "kcat") {
		_, err := exec.LookPath("kcat")
		return err != nil
	}
	if strings.HasPrefix(r.task, "script") {
		return s.python == "" || s.redis == ""
	}
	return r.task == "count" && s.redis == ""
}

// one runs a measurement, and makes and removes its topics.
func (s settings) one(ctx context.Context, r row) (result, error) {
	if r.makes {
		if err := createTopics(ctx, s, s.topic); err != nil {
			return result{}, err
		}
	}
	res, err := s.withBrokers(ctx, r)
	if err == nil && r.makes && r.task != "ingest-bluesky" {
		err = s.deleteTopics(ctx)
	}
	return res, err
}

// withBrokers runs a measurement when the brokers rest, and measures them, too.
func (s settings) withBrokers(ctx context.Context, r row) (result, error) {
	if err := s.rest(ctx); err != nil {
		return result{}, err
	}
	before := s.brokersCPU()
	res, err := s.measured(ctx, r)
	res.Brokers = s.brokersCPU() - before
	return res, err
}

// rest waits until the brokers do next to nothing, and at most ten seconds: topics that
// were made or deleted just now keep them busy, which is no measurement's.
func (s settings) rest(ctx context.Context) error {
	const window = 250 * time.Millisecond
	for range 40 {
		before := s.brokersCPU()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(window):
		}
		if s.brokersCPU()-before < window/10 {
			return nil
		}
	}
	return nil
}

func (s settings) measured(ctx context.Context, r row) (result, error) {
	switch r.task {
	case "kcat-produce":
		return peer(ctx, s.events, "kcat", "-b", s.kafka, "-P", "-t", s.topic, "-K", "\t", "-z", "snappy", "-l", s.file(sourceBS)+".keyed")
	case "send-produce":
		return peer(ctx, s.events, s.weir, "send", s.topic, "--kafka", s.kafka, "--key-separator", "\t", "--compression", "snappy", "-q",
			"--file", s.file(sourceBS)+".keyed")
	case "kcat-consume":
		return peer(ctx, s.stored, "kcat", "-b", s.kafka, "-C", "-t", s.topic, "-o", "beginning", "-e", "-q", "-X", "isolation.level=read_committed")
	}
	cmd, err := s.child(ctx, r.task)
	if what, ok := strings.CutPrefix(r.task, "script-"); ok {
		n := map[string]int{"produce": scriptProduces, "consume": scriptConsumes}[what]
		cmd, err = exec.CommandContext(ctx, s.python, "-W", "ignore", s.script, what, s.kafka, s.redis, s.topic, fmt.Sprint(n), s.file(sourceBS)+".keyed"), nil
	}
	if err != nil {
		return result{}, err
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return result{}, fmt.Errorf("%w: %s", err, stderr.Bytes())
	}
	var res result
	return res, json.Unmarshal(out, &res)
}

// The scripts are so slow that they are measured with fewer events.
const (
	scriptProduces = 2000
	scriptConsumes = 2000
)

func (s settings) child(ctx context.Context, task string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return exec.CommandContext(ctx, self, "-task", task, "-dir", s.dir, "-kafka", s.kafka, "-redis", s.redis, "-topic", s.topic,
		"-stored", fmt.Sprint(s.stored), "-have", fmt.Sprint(s.have), "-events", fmt.Sprint(s.events), "-weir", s.weir,
		"-transaction", fmt.Sprint(s.transaction),
		"-profile", s.profile, "-end", fmt.Sprint(s.end)), nil
}

// peer runs a program that reads or writes n records, as a user would start it.
func peer(ctx context.Context, n int, program string, args ...string) (result, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return result{}, fmt.Errorf("%s: %w: %s", filepath.Base(program), err, stderr.Bytes())
	}
	return result{Events: n, CPU: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), Wall: time.Since(start)}, nil
}

// server starts the WebSocket server, and returns its URL and how to stop it.
func (s settings) server(ctx context.Context) (string, func() error, error) {
	ctx, cancel := context.WithCancel(ctx)
	s.profile = ""
	cmd, err := s.child(ctx, "serve")
	if err != nil {
		cancel()
		return "", nil, err
	}
	return started(cmd, cancel, func(line string) (string, bool) { return line, strings.HasPrefix(line, "ws://") })
}

// started starts a process and reads its output until find has found something.
func started(cmd *exec.Cmd, cancel context.CancelFunc, find func(string) (string, bool)) (string, func() error, error) {
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 60 * time.Second // three brokers take a while
	out, in, err := os.Pipe()
	if err != nil {
		cancel()
		return "", nil, err
	}
	cmd.Stdout, cmd.Stderr = in, in
	err = cmd.Start()
	_ = in.Close() // the child has its own
	if err != nil {
		cancel()
		return "", nil, err
	}
	stop := func() error { cancel(); _ = cmd.Wait(); return nil } // it was told to end
	var said []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		said = append(said, lines.Text())
		if found, ok := find(strings.TrimSpace(lines.Text())); ok {
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return found, stop, nil
		}
	}
	return "", nil, errors.Join(fmt.Errorf("%s did not start: %s", filepath.Base(cmd.Path), strings.Join(said, "\n")), stop())
}

// startCluster starts weir cluster.
func (s *settings) startCluster(ctx context.Context) (func() error, error) {
	ctx, cancel := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, s.weir, "cluster", "--data", filepath.Join(s.dir, "cluster"), "--ports", "0", "--source", "simulated",
		"--engine", s.engine, "--listen", "off")
	redis, stop, err := started(cmd, cancel, func(line string) (string, bool) {
		if addrs, ok := strings.CutPrefix(line, "kafka"); ok {
			s.kafka, _, _ = strings.Cut(strings.TrimSpace(addrs), " ") // the engine follows
		}
		url, ok := strings.CutPrefix(line, "redis")
		return strings.TrimSpace(url), ok && s.kafka != ""
	})
	if err != nil {
		return nil, err
	}
	s.redis, s.cluster = redis, cmd.Process.Pid
	return stop, s.deleteTopics(ctx) // of weir.cursors, which weir cluster makes
}

// notWeirs refuses a cluster that holds weir's data: the cursors would be lost.
func (s settings) notWeirs(ctx context.Context) error {
	return s.admin(func(cl *kgo.Client) error {
		topics, err := kadm.NewClient(cl).ListTopics(ctx)
		if err != nil {
			return err
		}
		if topics.Has(kafka.TopicCursors) {
			return fmt.Errorf("the cluster at %s has the topic %s: give the benchmark one that weir does not use", s.kafka, kafka.TopicCursors)
		}
		return nil
	})
}

func (s settings) admin(f func(*kgo.Client) error) error {
	cl, err := kafka.Config{Brokers: s.brokers()}.NewClient()
	if err != nil {
		return err
	}
	defer cl.Close()
	return f(cl)
}

func createTopics(ctx context.Context, s settings, name string) error {
	cl, err := kafka.Config{Brokers: s.brokers()}.NewClient()
	if err != nil {
		return err
	}
	defer cl.Close()
	specs := slices.DeleteFunc(kafka.Topics(), func(t kafka.TopicSpec) bool { return t.Name != kafka.TopicCursors })
	for suffix, partitions := range map[string]int32{"": cmp.Or(s.partitions, 6), accounts: 3, dead: 2} {
		specs = append(specs, kafka.TopicSpec{Name: name + suffix, Partitions: partitions})
	}
	return kafka.EnsureTopics(ctx, cl, specs...)
}

// deleteTopics removes a measurement's topics and the cursors, so that the next
// one begins anew and the broker's memory does not grow.
func (s settings) deleteTopics(ctx context.Context) error {
	return s.admin(func(cl *kgo.Client) error {
		adm := kadm.NewClient(cl)
		topics, err := adm.ListTopics(ctx)
		if err != nil {
			return err
		}
		names := slices.DeleteFunc(topics.Names(), func(n string) bool {
			return n != kafka.TopicCursors && (s.topic == "" || n != s.topic && !strings.HasPrefix(n, s.topic+"."))
		})
		if len(names) == 0 {
			return nil
		}
		if _, err := adm.DeleteTopics(ctx, names...); err != nil {
			return err
		}
		return gone(ctx, cl, names)
	})
}

// gone waits until every broker has forgotten the topics: Apache Kafka's learn of it
// one by one, and one that has not would call a topic there that is to be made again.
func gone(ctx context.Context, cl *kgo.Client, names []string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, b := range cl.DiscoveredBrokers() {
		for {
			resp, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, b) // of all topics
			if err != nil {
				return fmt.Errorf("wait for the end of %q: %w", names, err)
			}
			if !slices.ContainsFunc(resp.Topics, func(t kmsg.MetadataResponseTopic) bool { return slices.Contains(names, *t.Topic) }) {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("wait for the end of %q: %w", names, ctx.Err())
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	return nil
}

// survey counts what becomes a record of the data topic, measures events, and
// writes the file that kcat reads.
func (s settings) survey() (stored int, sizes map[string]int, err error) {
	sizes = map[string]int{}
	for _, stream := range []string{sourceBS, sourceWP} {
		if stream == sourceWP && s.engine == apache {
			continue
		}
		lines, err := load(s.file(stream))
		if err != nil {
			return 0, nil, err
		}
		for _, line := range lines {
			sizes[stream] += len(line)
			if stream == sourceBS && isData(stream, line) {
				stored++
			}
		}
		sizes[stream] /= len(lines)
		if stream != sourceBS {
			continue
		}
		err = write(s.file(stream)+".keyed", len(lines), func(dst []byte, i int64) []byte {
			var f frame
			if json.Unmarshal(lines[i], &f) != nil {
				return nil
			}
			return append(append(append(dst, f.DID...), '\t'), lines[i]...)
		})
		if err != nil {
			return 0, nil, err
		}
	}
	return stored, sizes, nil
}

func perEvent(r result) float64 { return float64(r.CPU.Nanoseconds()) / float64(r.Events) }
func total(r result) float64    { return float64((r.CPU + r.Brokers).Nanoseconds()) / float64(r.Events) }
func rate(r result) float64     { return float64(r.Events) / r.Wall.Seconds() }

func median(rs []result, of func(result) float64) float64 {
	var all []float64
	for _, r := range rs {
		all = append(all, of(r))
	}
	return middle(all)
}

// middle is the median; it sorts all.
func middle(all []float64) float64 {
	slices.SortFunc(all, cmp.Compare[float64])
	if n := len(all); n%2 == 0 {
		return (all[n/2-1] + all[n/2]) / 2
	}
	return all[len(all)/2]
}

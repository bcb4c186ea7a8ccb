//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// costSizes are the events' sizes in bytes, costPartitions the topic's partitions.
var (
	costSizes      = []int{100, 1_000, 10_000, 100_000, 1_000_000}
	costPartitions = []int{1, 10, 100}
)

// list is a flag of numbers.
type list []int

func (l *list) String() string { return strings.Trim(fmt.Sprint([]int(*l)), "[]") }

// Set implements flag.Value.
func (l *list) Set(text string) error {
	*l = nil
	for _, one := range strings.Split(text, ",") {
		n, err := strconv.Atoi(one)
		if err != nil {
			return err
		}
		*l = append(*l, n)
	}
	return nil
}

// point is what one number of partitions, or one size of events, costs: medians of
// microseconds of CPU for each event, and of the events that are ingested in a second.
type point struct {
	x                      int
	ingest, count, brokers float64
	rate                   float64
}

func (p point) total() float64 { return p.ingest + p.count + p.brokers }

// cost is the parent: it measures what grows, prints tables and draws them.
func cost(ctx context.Context, s settings, stdout, stderr io.Writer) error {
	wanted := func(part string) bool { return s.cost == "all" || strings.Contains(s.cost, part) }
	var c costs
	var err error
	if wanted("partitions") || wanted("sizes") {
		if c.partitions, c.sizes, err = s.measurePipeline(ctx, wanted, stderr); err != nil {
			return err
		}
	}
	if wanted("logs") {
		if c.logs, err = s.measureLogs(ctx, s.lengths, stderr); err != nil {
			return err
		}
	}
	failed := c.print(stdout)
	if s.plot != "" {
		if err := c.draw(s.plot); err != nil {
			return err
		}
	}
	return failed
}

// measurePipeline measures ingesting and counting on one cluster.
func (s settings) measurePipeline(ctx context.Context, wanted func(string) bool, stderr io.Writer) (partitions, sizes []point, err error) {
	if err := generate(s); err != nil {
		return nil, nil, fmt.Errorf("make the events: %w", err)
	}
	stored, _, err := s.survey()
	if err != nil {
		return nil, nil, err
	}
	stop, err := s.startCluster(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if wanted("partitions") {
		partitions, err = s.inTurns(ctx, costPartitions, stderr, func(s *settings, n int) (string, error) {
			s.partitions, s.stored = int32(n), stored
			return "bluesky", nil
		})
		if err != nil {
			return nil, nil, err
		}
	}
	if wanted("sizes") {
		sizes, err = s.inTurns(ctx, costSizes, stderr, func(s *settings, size int) (string, error) {
			s.dir = filepath.Join(s.dir, fmt.Sprint(size))
			s.events = min(2*s.events, 300_000_000/size)
			s.stored = s.events
			return "wikipedia", s.writeSized(size)
		})
	}
	return partitions, sizes, err
}

// inTurns ingests and counts with each value of what is varied, s.rounds times in turns. set
// prepares the settings for a value, and returns the stream.
func (s settings) inTurns(ctx context.Context, values []int, stderr io.Writer, set func(*settings, int) (string, error)) (all []point, err error) {
	ingested, counted := make([][]result, len(values)), make([][]result, len(values))
	for round := range s.rounds {
		for i, x := range values {
			one := s
			stream, err := set(&one, x)
			if err != nil {
				return nil, err
			}
			one.topic = fmt.Sprintf("bench-cost-%s-%d-%d", stream, x, round)
			if err := createTopics(ctx, one, one.topic); err != nil {
				return nil, err
			}
			for _, task := range []string{"ingest-" + stream, "count"} {
				res, err := one.withBrokers(ctx, row{task: task})
				if err != nil {
					return nil, fmt.Errorf("%s with %d: %w", task, x, err)
				}
				fmt.Fprintf(stderr, "round %d  %-16s %8d  %9.2f µs of CPU, brokers %9.2f µs\n", round+1, task, x, perEvent(res)/1000,
					(total(res)-perEvent(res))/1000)
				if task == "count" {
					counted[i] = append(counted[i], res)
				} else {
					ingested[i] = append(ingested[i], res)
				}
			}
			if err := one.deleteTopics(ctx); err != nil {
				return nil, err
			}
		}
	}
	for i, x := range values {
		brokers := func(r result) float64 { return total(r) - perEvent(r) }
		all = append(all, point{x: x, ingest: median(ingested[i], perEvent) / 1000, count: median(counted[i], perEvent) / 1000,
			brokers: (median(ingested[i], brokers) + median(counted[i], brokers)) / 1000, rate: median(ingested[i], rate)})
	}
	return all, nil
}

// writeSized writes s.events Wikipedia events of one size. What makes them long is words in
// an order of their own, so that they compress as texts do.
func (s settings) writeSized(size int) error {
	if err := os.MkdirAll(s.dir, 0o750); err != nil {
		return err
	}
	words := strings.Fields("the of and a to in is was he for it with as his on be at by had not are but from or have an they which one you")
	r := rand.New(rand.NewPCG(seed, uint64(size)))
	at := time.UnixMicro(s.end).UTC()
	return write(s.file(sourceWP), s.events, func(dst []byte, i int64) []byte {
		dst = fmt.Appendf(dst, `{"meta":{"id":"%08d","dt":%q},"type":"edit","title":"t%d","c":"`, i, at.Format(time.RFC3339), i%5000)
		dst = slices.Grow(dst, size)
		for len(dst) < size-20 {
			dst = append(append(dst, words[r.IntN(len(words))]...), ' ')
			if r.IntN(4) == 0 {
				dst = strconv.AppendUint(dst, r.Uint64N(100_000), 36)
			}
		}
		for len(dst) < size-2 {
			dst = append(dst, '.')
		}
		return append(dst, `"}`...)
	})
}

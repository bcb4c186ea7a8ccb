//go:build linux

package main

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// sample is the state at one moment, and what was since the sample before.
type sample struct {
	at              float64 // seconds since the first event
	rss, peak, heap int64   // bytes; peak is the most since the sample before
	descriptors     int64
	goroutines      int64
	p50, p99, p999  float64 // milliseconds from socket to count, of the events in between
	disk            int64   // bytes that the data directory takes
	events          float64 // stored, ever
	cpu             float64 // share of one core
	load            float64 // of the machine, over a minute
}

// storedEvents is the metric that counts the events of a source, in whatever life of weir they were stored.
const storedEvents = "weir_source_events_total"

// columns are the samples' names and values, in the order of the file.
func (s *sample) columns() (names []string, values []float64) {
	for _, c := range []struct {
		name  string
		value float64
	}{
		{"seconds", s.at}, {"rss_bytes", float64(s.rss)}, {"peak_rss_bytes", float64(s.peak)}, {"heap_bytes", float64(s.heap)},
		{"descriptors", float64(s.descriptors)}, {"goroutines", float64(s.goroutines)}, {"p50_ms", s.p50}, {"p99_ms", s.p99},
		{"p999_ms", s.p999}, {"disk_bytes", float64(s.disk)}, {"events", s.events}, {"cpu", s.cpu}, {"load", s.load},
	} {
		names, values = append(names, c.name), append(values, c.value)
	}
	return names, values
}

// reading is what /metrics says at a moment.
type reading struct {
	at    time.Time
	plain map[string]float64 // by name, summed over labels
	// latency has how many events had at most so many seconds.
	latency map[float64]float64
	cursors float64 // batches written to weir.cursors: one a transaction
}

// parse reads Prometheus' text format, as far as weir writes it.
func parse(text string) reading {
	r := reading{at: time.Now(), plain: make(map[string]float64), latency: make(map[float64]float64)}
	for line := range strings.Lines(text) {
		at := strings.LastIndexByte(line, ' ')
		if at < 0 || strings.HasPrefix(line, "#") {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(line[at:]), 64)
		if err != nil {
			continue
		}
		name, labels, _ := strings.Cut(line[:at], "{")
		r.plain[name] += v
		if name == "weir_end_to_end_latency_seconds_bucket" {
			_, le, _ := strings.Cut(labels, `le="`)
			le, _, _ = strings.Cut(le, `"`)
			if bound, err := strconv.ParseFloat(le, 64); err == nil {
				r.latency[bound] += v
			}
		}
		if name == "weir_kafka_produce_batches_total" && strings.Contains(labels, `topic="weir.cursors"`) {
			r.cursors += v
		}
	}
	return r
}

// quantile is the smallest bound that a share of the events since another reading keep, in
// milliseconds, between the bounds in proportion.
func (r *reading) quantile(before *reading, q float64) float64 {
	var bounds []float64
	for b := range r.latency {
		bounds = append(bounds, b)
	}
	slices.SortFunc(bounds, cmp.Compare)
	count := func(b float64) float64 { return r.latency[b] - before.latency[b] }
	if len(bounds) == 0 || count(bounds[len(bounds)-1]) == 0 {
		return 0
	}
	rank := q * count(bounds[len(bounds)-1])
	low, below := 0.0, 0.0
	for _, b := range bounds {
		if n := count(b); n >= rank {
			return 1000 * (low + (b-low)*(rank-below)/max(n-below, 1))
		}
		low, below = b, count(b)
	}
	return 0
}

// read reads the metrics and counts on what weir counts from its start.
func (k *soak) read() (reading, error) {
	text, err := k.get("/metrics")
	if err != nil {
		return reading{}, err
	}
	r := parse(string(text))
	before := k.last
	if before == nil {
		before = &reading{at: k.launched}
	}
	k.batches += r.plain["weir_kafka_produce_batches_total"] - before.plain["weir_kafka_produce_batches_total"]
	k.transactions += r.cursors - before.cursors
	k.last = &r
	return r, nil
}

// take adds a sample.
func (k *soak) take() error {
	before := k.last
	r, err := k.read()
	if err != nil {
		return err
	}
	if before == nil {
		before = &reading{at: k.launched}
	}
	s := sample{at: time.Since(k.begun).Seconds(), heap: int64(r.plain["go_memstats_heap_alloc_bytes"]),
		goroutines: int64(r.plain["go_goroutines"]), descriptors: int64(r.plain["process_open_fds"]), events: r.plain[storedEvents],
		p50: r.quantile(before, 0.5), p99: r.quantile(before, 0.99), p999: r.quantile(before, 0.999)}
	s.cpu = (r.plain["process_cpu_seconds_total"] - before.plain["process_cpu_seconds_total"]) / r.at.Sub(before.at).Seconds()
	if s.rss, err = k.process.memory("VmRSS"); err != nil {
		return err
	}
	if s.peak, err = k.process.memory("VmHWM"); err != nil {
		return err
	}
	if err := k.process.resetPeak(); err != nil {
		return err
	}
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		_, _ = fmt.Sscan(string(text), &s.load)
	}
	if s.disk, err = allocated(k.data()); err != nil {
		return err
	}
	k.samples = append(k.samples, s)
	names, values := s.columns()
	if k.csv == nil {
		if k.csv, err = os.Create(filepath.Join(k.Out, "samples.csv")); err != nil {
			return err
		}
		fmt.Fprintln(k.csv, strings.Join(names, ","))
	}
	for i, v := range values {
		names[i] = strconv.FormatFloat(v, 'g', 8, 64)
	}
	_, err = fmt.Fprintln(k.csv, strings.Join(names, ","))
	return err
}

// allocated is how many bytes a directory takes on the disk.
func allocated(dir string) (n int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil {
			var info fs.FileInfo
			if info, err = d.Info(); err == nil {
				n += info.Sys().(*syscall.Stat_t).Blocks * 512
			}
		}
		if os.IsNotExist(err) { // deleted meanwhile
			return nil
		}
		return err
	})
	return n, err
}

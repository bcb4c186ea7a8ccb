//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/lab/record"
)

// The limits.
const (
	runBytes   = 250e6 // resident at live rates, on the log of the day
	startBytes = 400e6 // resident until it is ready
	diskBytes  = 4 << 30
	cleanStart = 5 * time.Second
	killStart  = 8 * time.Second
	// flatRatio is how much the median of the day's last quarter may be above that of its second.
	// Latency also has the noise of the machine.
	flatRatio, flatLatency = 1.25, 1.5
	// flatLeast is how long a day must be: at first, the brokers fill the part that they index in memory.
	flatLeast = 20 * time.Minute
)

// end writes report and plot, and fails where a limit does not hold.
func (k *soak) end(w io.Writer) error {
	if len(k.samples) == 0 {
		return nil
	}
	_ = k.csv.Close()
	r := k.report()
	var errs []error
	for _, c := range r.Checks {
		fmt.Fprintf(w, "%-14s %-60s %s (limit: %s)\n", c.Verdict, c.Claim, c.Got, c.Want)
		if c.Verdict == record.DoesNotHold {
			errs = append(errs, fmt.Errorf("%s: %s, limit %s", c.Claim, c.Got, c.Want))
		}
	}
	for _, m := range r.Measures {
		fmt.Fprintf(w, "%-75s %.4g %s\n", m.Name, m.Value, m.Unit)
	}
	body, err := json.MarshalIndent(r, "", " ")
	if err == nil {
		err = os.WriteFile(filepath.Join(k.Out, record.ReportName), append(body, '\n'), 0o600)
	}
	errs = append(errs, err)
	plot, err := lab.Plot(&lab.Report{Report: *r})
	if err == nil {
		err = os.WriteFile(filepath.Join(k.Out, record.PlotName), plot, 0o600)
	}
	return errors.Join(append(errs, err)...)
}

// judge holds figures against limits.
type judge struct{ checks []record.Check }

func (j *judge) check(claim, want, got string, holds bool) {
	v := record.DoesNotHold
	if holds {
		v = record.Holds
	}
	j.checks = append(j.checks, record.Check{Claim: claim, Want: want, Got: got, Verdict: v})
}

func (k *soak) report() *record.Report {
	r := &record.Report{Lab: "soak", Engine: "embedded", Source: "simulated", Started: k.begun,
		Seconds: time.Since(k.begun).Seconds(), Settings: k.settings, Verdict: record.Holds, Marks: k.marks,
		Claim: "A day of both streams stays readable, and memory, descriptors, goroutines, latency and start-up do not grow."}
	j := new(judge)
	k.judgeStarts(j)
	k.judgeLog(j)
	k.judgeFlat(j)
	r.Checks = j.checks
	for _, v := range []record.Verdict{record.Inconclusive, record.DoesNotHold} {
		if slices.ContainsFunc(r.Checks, func(c record.Check) bool { return c.Verdict == v }) {
			r.Verdict = v
		}
	}
	r.Measures, r.Lines = k.measures(), k.lines()
	return r
}

func megabytes(n float64) string { return fmt.Sprintf("%.0f MB", n/1e6) }

func (k *soak) judgeStarts(j *judge) {
	for _, s := range k.starts {
		limit := cleanStart
		if s.after == "kill -9" {
			limit = killStart
		}
		what := fmt.Sprintf("start after %s at %.0f s", s.after, s.at)
		j.check(what, limit.String(), fmt.Sprintf("%.2f s", s.took.Seconds()), s.took <= limit)
		peak := max(float64(s.peak), most(k.samples, func(x *sample) float64 {
			if x.at < s.at || x.at >= s.at+settled {
				return 0
			}
			return float64(x.peak)
		}))
		j.check(fmt.Sprintf("%s: most resident bytes until %d s later", what, settled), megabytes(startBytes), megabytes(peak), peak <= startBytes)
	}
}

func (k *soak) judgeLog(j *judge) {
	want := (k.Posts + k.Edits) * k.Day.Seconds()
	j.check("events of the day", fmt.Sprintf("99 %% of %.0f", want), fmt.Sprintf("%.0f", k.fast.events), k.fast.events >= 0.99*want)
	disk := most(k.samples, func(s *sample) float64 { return float64(s.disk) })
	j.check("disk", fmt.Sprintf("%.2f GB", float64(diskBytes)/1e9), fmt.Sprintf("%.2f GB", disk/1e9), disk <= diskBytes)
	if k.slowFrom > 0 {
		peak := most(k.samples[k.slowFrom:], k.peak(false))
		j.check("most resident bytes at live rates and while all is read, later", megabytes(runBytes), megabytes(peak), peak <= runBytes)
		if peak == 0 { // -live is too short for a sample
			j.checks[len(j.checks)-1].Verdict = record.Inconclusive
		}
	}
	b := k.back
	if b == nil {
		j.check("the log read back", "all of it", "not read", false)
		return
	}
	j.check("sum of the first retained offsets", "0", fmt.Sprint(b.first), b.first == 0)
	j.check("records that kcat reads from the beginning", fmt.Sprint(b.stored), fmt.Sprint(b.kcat), b.kcat == b.stored)
	j.check("weir verify: nothing lost, duplicated or miscounted", "true", fmt.Sprint(b.ok), b.ok)
}

// flat are the figures that may not grow.
var flat = []struct {
	name  string
	ratio float64
	of    func(*sample) float64
}{
	{"resident bytes", flatRatio, func(s *sample) float64 { return float64(s.rss) }},
	{"descriptors", flatRatio, func(s *sample) float64 { return float64(s.descriptors) }},
	{"goroutines", flatRatio, func(s *sample) float64 { return float64(s.goroutines) }},
	{"p50 from socket to count", flatLatency, func(s *sample) float64 { return s.p50 }},
	{"p99 from socket to count", flatLatency, func(s *sample) float64 { return s.p99 }},
}

func (k *soak) judgeFlat(j *judge) {
	day := k.samples[:k.fastTo]
	if k.Duration < flatLeast || len(day) < 8 {
		j.checks = append(j.checks, record.Check{Claim: "memory, descriptors, goroutines and latency are flat",
			Want: fmt.Sprintf("a run of %v", flatLeast), Got: k.Duration.String(), Verdict: record.Inconclusive})
		return
	}
	n := len(day) / 4
	for _, f := range flat {
		early, late := median(day[n:2*n], f.of), median(day[len(day)-n:], f.of)
		j.check(f.name+", the last quarter beside the second", fmt.Sprintf("%g times", f.ratio),
			fmt.Sprintf("%.2f times: %.4g, %.4g", late/early, early, late), late <= f.ratio*early)
	}
}

// measures are the further figures.
func (k *soak) measures() (out []record.Measure) {
	add := func(name string, v float64, unit string) {
		out = append(out, record.Measure{Name: name, Value: v, Unit: unit})
	}
	add("events of the day", k.fast.events, "events")
	add("transactions of the day", k.fast.transactions, "")
	add("batches of the day, without markers", k.fast.batches, "")
	if k.fastTo > 0 {
		day := k.samples[:k.fastTo]
		add("most resident bytes during the day, soon after a start", most(day, k.peak(true)), "bytes")
		add("most resident bytes during the day, later", most(day, k.peak(false)), "bytes")
		add("median resident bytes during the day", median(day, flat[0].of), "bytes")
		add("bytes of disk for each event", float64(day[len(day)-1].disk)/k.fast.events, "bytes")
		k.addShared(add, "day", day)
	}
	if k.slow.seconds > 0 {
		add("transactions of a day at live rates", k.slow.transactions/k.slow.seconds*k.Day.Seconds(), "")
		add("batches of a day at live rates, without markers", k.slow.batches/k.slow.seconds*k.Day.Seconds(), "")
		n := int(k.slow.seconds/k.Every.Seconds()) + 1
		k.addShared(add, "live rates", k.samples[k.slowFrom:min(k.slowFrom+n, len(k.samples))])
	}
	if k.back != nil {
		add("kcat", float64(k.back.kcat)/k.back.kcatTook.Seconds(), "events/s")
		add("weir verify", float64(k.back.stored)/k.back.took.Seconds(), "events/s")
	}
	return out
}

// For so many seconds after a start, weir reads the events that waited and those in the window of its duplicate filter.
const settled = 20

// peak is the greatest memory of the samples soon after a start on the log, or of the others.
func (k *soak) peak(soon bool) func(*sample) float64 {
	return func(s *sample) float64 {
		after := slices.ContainsFunc(k.starts, func(t start) bool { return s.at >= t.at && s.at < t.at+settled })
		if after != soon {
			return 0
		}
		return float64(s.peak)
	}
}

func (k *soak) addShared(add func(string, float64, string), of string, all []sample) {
	for _, f := range []struct {
		name, unit string
		of         func(*sample) float64
	}{
		{"p50", "ms", func(s *sample) float64 { return s.p50 }}, {"p99", "ms", func(s *sample) float64 { return s.p99 }},
		{"p99.9", "ms", func(s *sample) float64 { return s.p999 }}, {"share of one core", "", func(s *sample) float64 { return s.cpu }},
		{"resident bytes", "bytes", func(s *sample) float64 { return float64(s.rss) }},
		{"descriptors", "", func(s *sample) float64 { return float64(s.descriptors) }},
		{"goroutines", "", func(s *sample) float64 { return float64(s.goroutines) }},
		{"load of the machine", "", func(s *sample) float64 { return s.load }},
	} {
		add(of+": median of the samples' "+f.name, median(all, f.of), f.unit)
	}
}

// The panel of latency ends where a start would make everything else flat.
const (
	latencyPanel = "From socket to count (ms, cut at 500)"
	latencyCut   = 500
)

// points is how many a line has at most: of the samples that share one, the greatest is drawn.
const points = 360

// lines are the samples as panels.
func (k *soak) lines() (out []record.Line) {
	each := len(k.samples)/points + 1
	for _, f := range []struct {
		name, panel string
		of          func(*sample) float64
	}{
		{"most resident", "Memory (MB)", func(s *sample) float64 { return float64(s.peak) / 1e6 }},
		{"Go heap", "Memory (MB)", func(s *sample) float64 { return float64(s.heap) / 1e6 }},
		{"descriptors", "Descriptors and goroutines", func(s *sample) float64 { return float64(s.descriptors) }},
		{"goroutines", "Descriptors and goroutines", func(s *sample) float64 { return float64(s.goroutines) }},
		{"p50", latencyPanel, func(s *sample) float64 { return min(s.p50, latencyCut) }},
		{"p99", latencyPanel, func(s *sample) float64 { return min(s.p99, latencyCut) }},
		{"disk", "Disk (GB)", func(s *sample) float64 { return float64(s.disk) / 1e9 }},
	} {
		l := record.Line{Case: f.name, Panel: f.panel}
		for some := range slices.Chunk(k.samples, each) {
			l.X, l.Y = append(l.X, some[0].at), append(l.Y, most(some, f.of))
		}
		out = append(out, l)
	}
	l := record.Line{Case: "start", Panel: "Time until it is ready, at each start on the log (s)"}
	for _, s := range k.starts {
		l.X, l.Y = append(l.X, s.at), append(l.Y, s.took.Seconds())
	}
	return append(out, l)
}

func most(all []sample, of func(*sample) float64) (v float64) {
	for i := range all {
		v = max(v, of(&all[i]))
	}
	return v
}

// median is that of the samples' values, 0 of none.
func median(all []sample, of func(*sample) float64) float64 {
	var vs []float64
	for i := range all {
		vs = append(vs, of(&all[i]))
	}
	if len(vs) == 0 {
		return 0
	}
	slices.Sort(vs)
	return vs[(len(vs)-1)/2]
}

//go:build unix

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/lab/record"
)

// What may be called a straight line, and what constant.
const (
	// straight is the factor within which what a unit costs stays.
	straight = 2.0
	// constant is the factor within which memory stays.
	constant = 1.5
	// aLook is what a look at ten messages may take of the CPU anyway: most of it is the program's start.
	aLook = 200 * time.Millisecond
	// leastVerified is how many records verify reads in a second on a quiet machine.
	leastVerified = 400_000
)

// costs is all that -cost measured.
type costs struct {
	partitions, sizes []point
	logs              []logCost
	failed            int
}

var errCost = errors.New("a verdict is no: see above")

// print prints tables and verdicts as Markdown. The error is that a verdict is bad.
func (c *costs) print(w io.Writer) error {
	fmt.Fprintf(w, "%s; %d cores; %s, franz-go %s; load %s.\n", model(), runtime.NumCPU(), runtime.Version(), franz(), load1())
	if len(c.partitions) > 0 {
		c.printPartitions(w)
	}
	if len(c.sizes) > 0 {
		c.printSizes(w)
	}
	if len(c.logs) > 0 {
		c.printLogs(w)
	}
	if c.failed > 0 {
		return errCost
	}
	return nil
}

// verdict prints whether the greatest of some figures is within a factor of the least.
func (c *costs) verdict(w io.Writer, what string, limit float64, figures ...float64) {
	least, greatest := figures[0], figures[0]
	for _, f := range figures {
		least, greatest = min(least, f), max(greatest, f)
	}
	c.check(w, fmt.Sprintf("%s: within a factor of %.2f (at most %g)", what, greatest/least, limit), greatest <= limit*least)
}

func (c *costs) check(w io.Writer, text string, ok bool) {
	mark := "yes"
	if !ok {
		mark = "NO"
		c.failed++
	}
	fmt.Fprintf(w, "- %s: %s\n", mark, text)
}

func (c *costs) printPartitions(w io.Writer) {
	fmt.Fprint(w, "\n| partitions | ingest | count | brokers | all | events/s |\n|---:|---:|---:|---:|---:|---:|\n")
	var all []float64
	for _, p := range c.partitions {
		all = append(all, p.total())
		fmt.Fprintf(w, "| %d | %.2f µs | %.2f µs | %.2f µs | %.2f µs | %s |\n", p.x, p.ingest, p.count, p.brokers, p.total(), thousands(p.rate))
	}
	fmt.Fprintln(w)
	c.verdict(w, "CPU time of an event, by partitions", straight, all...)
}

func (c *costs) printSizes(w io.Writer) {
	fmt.Fprint(w, "\n| event | ingest | count | brokers | all | a kB | MB/s | beside the line |\n|---:|---:|---:|---:|---:|---:|---:|---:|\n")
	fixed, perKB := c.line()
	var beside []float64
	for _, p := range c.sizes {
		kb := float64(p.x) / 1000
		beside = append(beside, p.total()/(fixed+perKB*kb))
		fmt.Fprintf(w, "| %s B | %.1f µs | %.1f µs | %.1f µs | %.1f µs | %.2f µs | %.0f | %.2f × |\n", grouped(p.x), p.ingest, p.count, p.brokers,
			p.total(), p.total()/kb, p.rate*kb/1000, beside[len(beside)-1])
	}
	fmt.Fprintf(w, "\nThe line: %.2f µs an event and %.2f µs a kB.\n\n", fixed, perKB)
	c.verdict(w, "CPU time of an event beside the line, by size", straight, append(beside, 1)...)
}

// line fits a + b × kB to what events of each size cost, by least squares of the relative
// errors: large events would hide the small ones.
func (c *costs) line() (a, b float64) {
	var s0, s1, s2, t0, t1 float64
	for _, p := range c.sizes {
		x, y := float64(p.x)/1000, p.total()
		s0, s1, s2 = s0+1/(y*y), s1+x/(y*y), s2+x*x/(y*y)
		t0, t1 = t0+1/y, t1+x/y
	}
	det := s0*s2 - s1*s1
	return (t0*s2 - t1*s1) / det, (s0*t1 - s1*t0) / det
}

func (c *costs) printLogs(w io.Writer) {
	head, rule := "\n| records |", "|---|"
	for _, l := range c.logs {
		head, rule = head+" "+grouped(l.Records)+" |", rule+"---:|"
	}
	fmt.Fprintf(w, "%s\n%s\n", head, rule)
	for _, r := range logRows {
		fmt.Fprintf(w, "| %s |", r.label)
		for _, l := range c.logs {
			fmt.Fprintf(w, " %s |", r.text(l))
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintln(w)
	figures := func(of func(logCost) float64) (all []float64) {
		for _, l := range c.logs {
			all = append(all, of(l))
		}
		return all
	}
	c.verdict(w, "CPU time of verify and brokers for a record", straight, figures(func(l logCost) float64 { return l.each(l.VerifyCPU + l.BrokerCPU) })...)
	c.verdict(w, "most memory of verify", constant, figures(func(l logCost) float64 { return float64(l.Peak) })...)
	first, last := c.logs[0], c.logs[len(c.logs)-1]
	c.check(w, fmt.Sprintf("start-up: %.1f times the records take %.1f times the time", float64(last.Records)/float64(first.Records),
		last.Start.Seconds()/first.Start.Seconds()), last.each(last.Start) <= straight*first.each(first.Start))
	for i, of := range []func(logCost) result{func(l logCost) result { return l.First }, func(l logCost) result { return l.Newest }} {
		c.check(w, fmt.Sprintf("ten messages, the %s: %.1f times the records take %.1f times the CPU time", []string{"oldest", "newest"}[i],
			float64(last.Records)/float64(first.Records), of(last).CPU.Seconds()/of(first).CPU.Seconds()), of(last).CPU <= max(straight*of(first).CPU, aLook))
	}
	for _, l := range c.logs {
		c.check(w, fmt.Sprintf("verify read %s records at %s a second; the CPU time allows %s on %d cores (at least %s)", grouped(l.Records),
			thousands(l.rate()), thousands(l.allowed()), runtime.NumCPU(), thousands(leastVerified)), max(l.rate(), l.allowed()) >= leastVerified)
	}
}

func (l logCost) rate() float64 { return float64(l.Records) / l.Verify.Seconds() }

// allowed is how many records a second verify and brokers can do on all cores by the CPU time
// that they took. Other work on the machine costs some of that time, too, but not most of it.
func (l logCost) allowed() float64 {
	return 1e6 * float64(runtime.NumCPU()) / l.each(l.VerifyCPU+l.BrokerCPU)
}

// each is the microseconds for a record.
func (l logCost) each(d time.Duration) float64 { return d.Seconds() * 1e6 / float64(l.Records) }

// logRows are the lines of the table of logs.
var logRows = []struct {
	label string
	text  func(logCost) string
}{
	{"on the disk", func(l logCost) string { return fmt.Sprintf("%.2f GB", float64(l.Bytes)/1e9) }},
	{"start-up until brokers and Redis answer", func(l logCost) string { return fmt.Sprintf("%.2f s", l.Start.Seconds()) }},
	{"its CPU time", func(l logCost) string { return fmt.Sprintf("%.2f s", l.StartCPU.Seconds()) }},
	{"most memory of the cluster: after start-up", func(l logCost) string { return megabytes(l.Memory) }},
	{"and after verify", func(l logCost) string { return megabytes(l.After) }},
	{"`weir messages -n 10 --offset oldest`", func(l logCost) string { return fmt.Sprintf("%.2f s", l.First.Wall.Seconds()) }},
	{"`weir messages -n 10`, the newest", func(l logCost) string { return fmt.Sprintf("%.2f s", l.Newest.Wall.Seconds()) }},
	{"CPU time of the two", func(l logCost) string {
		return fmt.Sprintf("%.2f, %.2f s", l.First.CPU.Seconds(), l.Newest.CPU.Seconds())
	}},
	{"`weir verify`", func(l logCost) string { return fmt.Sprintf("%.1f s", l.Verify.Seconds()) }},
	{"records/s", func(l logCost) string { return thousands(l.rate()) }},
	{"records/s that the CPU time allows", func(l logCost) string { return thousands(l.allowed()) }},
	{"CPU time for a record: verify", func(l logCost) string { return fmt.Sprintf("%.2f µs", l.each(l.VerifyCPU)) }},
	{"and brokers", func(l logCost) string { return fmt.Sprintf("%.2f µs", l.each(l.BrokerCPU)) }},
	{"most memory of verify", func(l logCost) string { return megabytes(l.Peak) }},
}

func megabytes(n int64) string { return fmt.Sprintf("%.0f MB", float64(n)/1e6) }

// grouped writes a number with commas.
func grouped(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// draw writes the plot: on logarithmic axes, what grows in a straight line has the slope of the
// diagonal, and what is constant is level.
func (c *costs) draw(name string) error {
	var r lab.Report
	of := func(points []point, f func(point) float64) (s record.Series) {
		for _, p := range points {
			s.X, s.Y = append(s.X, float64(p.x)), append(s.Y, f(p))
		}
		return s
	}
	pipeline := func(title, x string, points []point) {
		if len(points) == 0 {
			return
		}
		ch := record.Chart{Title: title, X: x, Y: "µs of CPU an event"}
		for i, f := range []func(point) float64{point.total, func(p point) float64 { return p.ingest }, func(p point) float64 { return p.count },
			func(p point) float64 { return p.brokers }} {
			line := of(points, f)
			line.Name, line.Group = []string{"all", "ingest", "count", "brokers"}[i], i
			ch.Series = append(ch.Series, line)
		}
		r.Charts = append(r.Charts, ch)
	}
	pipeline("One event, by the partitions of its topic", "partitions", c.partitions)
	pipeline("One event, by its size", "bytes", c.sizes)
	logs := func(title, y string, names []string, of ...func(logCost) float64) {
		ch := record.Chart{Title: title, X: "records", Y: y}
		for i, f := range of {
			line := record.Series{Name: names[i], Group: i}
			for _, l := range c.logs {
				line.X, line.Y = append(line.X, float64(l.Records)), append(line.Y, f(l))
			}
			ch.Series = append(ch.Series, line)
		}
		r.Charts = append(r.Charts, ch)
	}
	if len(c.logs) > 0 {
		logs("A log, by its length", "seconds", []string{"verify", "start-up", "messages, oldest", "messages, newest"},
			func(l logCost) float64 { return l.Verify.Seconds() }, func(l logCost) float64 { return l.Start.Seconds() },
			func(l logCost) float64 { return l.First.Wall.Seconds() }, func(l logCost) float64 { return l.Newest.Wall.Seconds() })
		logs("Memory, by the length of the log", "MB at most", []string{"verify", "cluster"},
			func(l logCost) float64 { return float64(l.Peak) / 1e6 }, func(l logCost) float64 { return float64(l.After) / 1e6 })
	}
	raw, err := lab.Plot(&r)
	if err != nil {
		return err
	}
	return os.WriteFile(name, raw, 0o644)
}

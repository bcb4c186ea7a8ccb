//go:build unix

package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

// table prints medians as Markdown.
func table(w io.Writer, s settings, got map[string][]result, sizes map[string]int) {
	fmt.Fprintf(w, "%s; %d cores, %d used; %s, franz-go %s%s.\n", model(), runtime.NumCPU(), runtime.GOMAXPROCS(0),
		runtime.Version(), franz(), kcatVersion())
	fmt.Fprintf(w, "%d events a measurement (Bluesky %d B, Wikipedia %d B on average), medians of %d in turns, snappy, load %s.\n\n",
		s.events, sizes[sourceBS], sizes[sourceWP], s.rounds, load1())
	fmt.Fprintln(w, "| | CPU per event | events/s | beside its peer | target |")
	fmt.Fprintln(w, "|---|---:|---:|---|---|")
	for _, r := range rows {
		rs := got[r.task]
		if len(rs) == 0 {
			continue
		}
		ns := median(rs, perEvent)
		beside, target := "", ""
		if peer := got[r.peer]; len(peer) > 0 {
			beside = fmt.Sprintf("%.2f × %s", ns/median(peer, perEvent), labelOf(r.peer, rows))
		}
		if r.target > 0 {
			target = fmt.Sprintf("%.1f µs", r.target.Seconds()*1e6)
		}
		fmt.Fprintf(w, "| %s | %.2f µs | %s | %s | %s |\n", r.label, ns/1000, thousands(median(rs, rate)), beside, target)
	}
}

// apacheTable prints medians as Markdown. A ratio is the median of the rounds' own:
// what disturbs a round disturbs both of its sides. CPU time, with the brokers', is
// what a busy machine does not disturb.
func apacheTable(w io.Writer, s settings, got map[string][]result, sizes map[string]int) {
	fmt.Fprintf(w, "%s; %d cores for three brokers and clients together; %s, franz-go %s%s; load %s.\n", model(), runtime.NumCPU(),
		runtime.Version(), franz(), kcatVersion(), load1())
	fmt.Fprintf(w, "Apache Kafka, three brokers, topics of 6 partitions, replication 3, min.insync.replicas 2, acks=all, snappy;\n"+
		"%d Bluesky events of %d B a measurement (scripts %d and %d), medians of %d rounds after one to warm up.\n\n",
		s.events, sizes[sourceBS], scriptProduces, scriptConsumes, s.rounds)
	fmt.Fprintln(w, "| | events/s | CPU per event: client | and brokers | beside its peers: events/s | CPU with the brokers' | goal |")
	fmt.Fprintln(w, "|---|---:|---:|---:|---|---|---|")
	for _, r := range onApache {
		rs := got[r.task]
		if len(rs) == 0 {
			continue
		}
		var beside, cost, least []string
		for _, g := range r.goals {
			if peer := got[g.peer]; len(peer) == len(rs) {
				beside = append(beside, fmt.Sprintf("%.2f × %s", ratio(rs, peer, rate), labelOf(g.peer, onApache)))
				cost = append(cost, fmt.Sprintf("%.3f ×", ratio(rs, peer, total)))
				least = append(least, fmt.Sprintf("%g ×", g.least))
			}
		}
		fmt.Fprintf(w, "| %s | %.0f | %.1f µs | %.1f µs | %s | %s | %s |\n", r.label, median(rs, rate), median(rs, perEvent)/1000, median(rs, total)/1000,
			strings.Join(beside, ", "), strings.Join(cost, ", "), strings.Join(least, ", "))
	}
}

// ratio is the median over the rounds of a's figure beside b's.
func ratio(a, b []result, of func(result) float64) float64 {
	var all []float64
	for i := range a {
		all = append(all, of(a[i])/of(b[i]))
	}
	return middle(all)
}

func labelOf(task string, rows []row) string {
	for _, r := range rows {
		if r.task == task {
			label, _, _ := strings.Cut(r.label, ", ")
			return label
		}
	}
	return task
}

func thousands(f float64) string {
	s := fmt.Sprintf("%.0f", f/1000)
	if len(s) > 3 {
		s = s[:len(s)-3] + "," + s[len(s)-3:]
	}
	return s + ",000"
}

// model is the processor's name, or the architecture's where nothing tells it.
func model() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return runtime.GOOS + "/" + runtime.GOARCH
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOOS + "/" + runtime.GOARCH
}

func franz() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, m := range info.Deps {
		if m.Path == "github.com/twmb/franz-go" {
			return m.Version
		}
	}
	return "unknown"
}

func kcatVersion() string {
	out, err := exec.Command("kcat", "-V").Output()
	if err != nil {
		return ", no kcat"
	}
	_, rest, _ := strings.Cut(string(out), "Version ")
	v, _, _ := strings.Cut(rest, " ")
	return ", kcat " + v
}

// load1 is the machine's load of the last minute, where it tells one.
func load1() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	one, _, _ := strings.Cut(string(b), " ")
	return one + " at " + time.Now().UTC().Format("15:04")
}

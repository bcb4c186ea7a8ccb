package kit

import (
	"context"
	"fmt"
	"maps"
	"math"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// MaxCase is how long one case may take.
const MaxCase = 15 * time.Minute

// Offered is every event by its identity, numbered, and the key of each number.
func (g *Stack) Offered(events int64) (index map[string]int64, keys []string) {
	if g.Noted != nil { // nothing is noted any more
		return g.Noted.Index, g.Noted.Keys
	}
	index, keys = make(map[string]int64, events), make([]string, events)
	for it := range g.Server.Items(0, events) {
		index[it.Identity], keys[it.Index] = it.Index, it.Key
	}
	return index, keys
}

// Sum adds counts.
func Sum(counts map[string]int64) (n int64) {
	for c := range maps.Values(counts) {
		n += c
	}
	return n
}

// Milliseconds is a duration as a number.
func Milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// Quantile returns a quantile of sorted values: the smallest that at least the share q does not exceed.
func Quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return math.NaN()
	}
	i := int(math.Ceil(q*float64(len(sorted)))) - 1
	return sorted[min(max(i, 0), len(sorted)-1)]
}

// Brokers that have just been started are slow, Java's most of all: they are warm when 99 % is
// acknowledged within warmLatency, in ms, or after maxWarmUps.
const (
	warmLatency = 150
	maxWarmUps  = 5
)

// WarmUp uses brokers until they are warm. use returns sorted latencies in ms.
func WarmUp(use func() ([]float64, error)) error {
	for range maxWarmUps {
		latency, err := use()
		if err != nil || Quantile(latency, 0.99) < warmLatency {
			return err
		}
	}
	return nil
}

// CPU is the CPU time of this process, and of the brokers' where they have their own.
func (e *Engine) CPU() time.Duration {
	all := ownCPU()
	brokers, _ := e.Brokers(context.Background()) // cannot fail where they are processes
	for _, b := range brokers {
		if b.PID != 0 {
			all += processCPU(b.PID)
		}
	}
	return all
}

// processCPU is the CPU time of another process, in steps of 10 ms; 0 where the system
// does not report it.
func processCPU(pid int) time.Duration {
	body, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(body), ") ") // its name may hold blanks
	f := strings.Fields(rest)
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(f[11], 10, 64)
	system, _ := strconv.ParseInt(f[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond
}

// ResidentBytes is how much memory of this process is in RAM. Where the system does not
// report it, it is the memory that the Go runtime holds.
func ResidentBytes() int64 {
	if body, err := os.ReadFile("/proc/self/statm"); err == nil {
		if f := strings.Fields(string(body)); len(f) > 1 {
			if pages, err := strconv.ParseInt(f[1], 10, 64); err == nil {
				return pages * int64(os.Getpagesize())
			}
		}
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.Sys - m.HeapReleased)
}

// Sorted lists counts by name.
func Sorted(counts map[string]int64) []string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		out = append(out, fmt.Sprintf("%s %d", k, counts[k]))
	}
	return out
}

package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kfake"
)

// truncation is a part of the log, or of a state file, that a start found
// damaged: a bit that flipped, or a write that the machine lost. The broker cannot
// serve what follows the damage in the same file.
type truncation struct {
	File      string // relative to the data directory
	Topic     string // set, as is Partition, when File is a piece of a partition's log
	Partition int32
	Bytes     int64  // how much was cut off
	KeptAs    string // where a state file was moved that could not be read at all
	// From is the first offset that is gone, To the first one after it that is
	// not; To is -1 when the damage reaches the end of the partition, whose
	// offsets from From on will be given out again. Both are -1 for a state file.
	From, To int64
}

func (t truncation) String() string {
	if t.KeptAs != "" {
		return fmt.Sprintf("%s was damaged and is kept as %s; weir goes on without it", t.File, t.KeptAs)
	}
	if t.Topic == "" {
		return fmt.Sprintf("%s: %d damaged bytes dropped", t.File, t.Bytes)
	}
	to := "the end"
	if t.To >= 0 {
		to = fmt.Sprint(t.To)
	}
	if t.Bytes == 0 {
		return fmt.Sprintf("%s/%d: offsets %d to %s are gone", t.Topic, t.Partition, t.From, to)
	}
	return fmt.Sprintf("%s/%d: %d damaged bytes dropped, offsets %d to %s are gone", t.Topic, t.Partition, t.Bytes, t.From, to)
}

// moduleLog is the module's logger. The module reports damage and failures to
// save nowhere else, so they are picked out of it; the tests of both would fail
// if the module changed its words.
type moduleLog struct {
	log    *slog.Logger
	failed func(error) // is called with every write that failed

	mu    sync.Mutex
	found []truncation
}

func (l *moduleLog) Logf(level kfake.LogLevel, format string, args ...any) {
	if level != kfake.LogLevelError && level != kfake.LogLevelWarn {
		return // Info is one line for each wrong request of a client
	}
	line := fmt.Sprintf(format, args...)
	l.notice(format, args)
	if failedWrite(format) {
		l.failed(errors.New(line))
	}
	severity := slog.LevelWarn
	if level == kfake.LogLevelError {
		severity = slog.LevelError
	} else if strings.HasPrefix(format, "txn: EndTxn slow") { // 5 ms are slow to it: on a busy machine, every commit
		severity = slog.LevelDebug
	}
	l.log.Log(context.Background(), severity, "broker", "detail", line)
}

// failedWrite recognizes the lines about data that the module could not write.
func failedWrite(format string) bool {
	return hasPrefix(format, "persist ", "save session state", "endTx: failed to persist", "compact groups.log", "compact pids.log", "rebuildSegments") ||
		strings.HasSuffix(format, ": truncate: %v") || strings.HasSuffix(format, ": open for truncate: %v")
}

func hasPrefix(s string, prefixes ...string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(s, p) })
}

func containsAny(s string, parts ...string) bool {
	return slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(s, p) })
}

// notice picks the damage out of what the module says while it loads.
func (l *moduleLog) notice(format string, args []any) {
	t := truncation{From: -1, To: -1}
	values := fmt.Sprintln(args...)
	if strings.HasSuffix(format, "segment %d: truncating %d corrupt bytes") {
		if _, err := fmt.Sscan(values, &t.Topic, &t.Partition, &t.From, &t.Bytes); err == nil {
			t.File = segmentPath(t.Topic, t.Partition, t.From)
			l.add(t)
		}
	} else if file, _, ok := strings.Cut(format, ": discarding %d corrupt trailing bytes"); ok {
		if _, err := fmt.Sscan(values, &t.Bytes); err == nil {
			t.File = logName + "/" + file
			l.add(t)
		}
	}
}

func (l *moduleLog) add(t truncation) {
	l.mu.Lock()
	l.found = append(l.found, t)
	l.mu.Unlock()
}

// locate completes the module's report of a damaged file, which names no offsets. The
// module has cut the file by then: from is the offset at its end, to the one that the next
// file begins with.
func (l *moduleLog) locate(file string, from, to int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.found {
		if l.found[i].File == file {
			l.found[i].From, l.found[i].To = from, to
		}
	}
}

func (l *moduleLog) list() []truncation {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.found)
}

// Package verify proves, or disproves, that what upstream sent is in Kafka once and in the
// counts once. No two records may hold one event, however far apart. It reads topics, cursors
// and counts, which are three statements made independently of each other: the dense sequence
// numbers of the records, the cumulative counts in the cursor that was committed with them, and
// the counts in Redis. It compares them with each other and with a recount. It shares no code
// with what writes and counts, changes nothing, and can run while both go on.
package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/tally"
)

// Config says what to verify.
type Config struct {
	Kafka kafka.Config
	// Tallies is where the counts are. Nil leaves the counts out.
	Tallies interface {
		All(ctx context.Context) ([]tally.Tally, error)
	}
	Sources []Source // at least one
	// Patience is how long an open transaction is waited for that hides committed
	// records. 0 means 75 s: Kafka ends one that was abandoned after a minute by
	// default.
	Patience time.Duration
	// Workers is how many partitions are read at once; 0 means one for each
	// processor, and at most 8.
	Workers int
	// SkipValues leaves out what parses values: whether the `kind` header agrees
	// with the value, and events that are there twice under two sequence numbers.
	SkipValues bool
	// TempDir is where the temporary files go, os.TempDir() where it is empty: 28
	// bytes for each event, and no file at all for a short log.
	TempDir string
	Log     *slog.Logger // nil discards
}

// Source is an upstream and the topics that its events are in.
type Source struct {
	Name   string
	Topics []Topic
}

// Topic is a topic that holds events.
type Topic struct {
	Name string
	// Group counts it; empty where nobody is meant to. The counts of every other
	// group are checked too, where there are any.
	Group string
	// Classify is what a record without a `kind` header counts as. Required.
	Classify func(value []byte) string
	// NewExamine returns an Examine of its own for each partition: they are called at once, and
	// decoders have memory. Required, unless values are skipped.
	NewExamine func() Examine
}

// Examine returns what Classify returns of a value, and the event's identity, nil where it has
// none: most of the time of a verification goes into reading values, and this reads them
// once. b is memory that it may use; id is read before the next call.
type Examine func(b *event.Batch, value []byte) (kind string, id []byte)

// Progress is how far a verification is.
type Progress struct {
	// Stage is what is being done, in words.
	Stage string
	// Scanned and Total are offsets; Total is 0 until it is known.
	Scanned, Total int64
}

// Report is the result.
type Report struct {
	OK bool
	// Sources are in the order of Config.Sources.
	Sources []SourceReport
	// Scanned is how many records were read, in Elapsed.
	Scanned int64
	Elapsed time.Duration
	// Notes concern no single source.
	Notes []string
}

// MarshalJSON writes "ok" and, under the name of each source, its report.
func (r Report) MarshalJSON() ([]byte, error) {
	out := map[string]any{"ok": r.OK, "scanned": r.Scanned, "seconds": r.Elapsed.Seconds()}
	if len(r.Notes) > 0 {
		out["notes"] = r.Notes
	}
	for i := range r.Sources {
		out[r.Sources[i].Name] = &r.Sources[i]
	}
	b, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("encode report: %w", err)
	}
	return b, nil
}

// SourceReport is what was found of one source.
type SourceReport struct {
	Name string `json:"-"`
	OK   bool   `json:"ok"`
	// Events is how many records its data topics hold, whoever wrote them; Foreign
	// how many of these other programs wrote, which can only be recounted.
	Events  int64 `json:"events"`
	Foreign int64 `json:"foreign"`
	// Lost is how many committed events are in no topic. The next one is how many records
	// repeat the sequence number or the identity of another one.
	Lost    int64 `json:"lost"`
	Doubled int64 `json:"doubled"`
	// Miscounted is by how much counts differ from what they count, summed over
	// event types, partitions and groups without regard to the sign.
	Miscounted int64 `json:"miscounted"`
	// Gaps is how many ranges upstream no longer offered, DeadLetters how many
	// frames were set aside, by Reasons. Neither is a fault: the report shows them.
	Gaps        int64            `json:"gaps"`
	DeadLetters int64            `json:"dead_letters"`
	Reasons     map[string]int64 `json:"dead_letter_reasons,omitempty"`
	// Disordered is how many events come after a later one in their partition.
	Disordered int64 `json:"disordered"`
	// Faults is how many contradictions were found that are none of the above, such
	// as a cursor behind its topic.
	Faults int64 `json:"faults"`
	// Trimmed is how many events were deleted by retention, Unverifiable how many
	// could not be checked for another reason (Notes say which), Uncounted how many
	// its counter has yet to count.
	Trimmed      int64 `json:"trimmed"`
	Unverifiable int64 `json:"unverifiable"`
	Uncounted    int64 `json:"uncounted"`
	// Problems are examples of what is wrong; empty if and only if OK.
	Problems []Problem `json:"problems,omitempty"`
	Notes    []string  `json:"notes,omitempty"`
}

// Problem is one example of something wrong.
type Problem struct {
	// What is the name of the JSON field that counts it: `lost`, `doubled`,
	// `miscounted`, `disordered` or `faults`.
	What      string `json:"what"`
	Topic     string `json:"topic,omitempty"`
	Partition int32  `json:"partition"` // -1: no single one
	Offset    int64  `json:"offset"`    // -1: no single one
	Text      string `json:"text"`
}

// maxProblems bounds the examples of each What in a source.
const maxProblems = 10

// Run verifies. progress may be nil; it is called by one goroutine at a time. An
// error means that there is no result; what is wrong with the data is in the
// Report.
func Run(ctx context.Context, cfg Config, progress func(Progress)) (Report, error) {
	begun := time.Now()
	v, err := newVerifier(cfg, progress)
	if err == nil {
		err = v.read(ctx)
	}
	if err != nil {
		return Report{}, fmt.Errorf("verify: %w", err)
	}
	report := v.conclude()
	report.Elapsed = time.Since(begun)
	return report, nil
}

func newVerifier(cfg Config, progress func(Progress)) (*verifier, error) {
	if len(cfg.Sources) == 0 {
		return nil, errors.New("no source to verify")
	}
	if cfg.Patience <= 0 {
		cfg.Patience = 75 * time.Second
	}
	if cfg.Workers <= 0 {
		cfg.Workers = min(8, runtime.GOMAXPROCS(0))
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	v := &verifier{cfg: cfg, report: progress}
	seen := map[string]bool{kafka.TopicDeadLetters: true, kafka.TopicCursors: true}
	for _, s := range cfg.Sources {
		src := &source{Source: s, report: SourceReport{Name: s.Name, Reasons: map[string]int64{}}}
		for _, t := range s.Topics {
			if t.Classify == nil {
				return nil, fmt.Errorf("topic %q: nothing to classify its records with", t.Name)
			}
			if seen[t.Name] {
				return nil, fmt.Errorf("topic %q belongs to more than one source", t.Name)
			}
			seen[t.Name] = true
			src.streams = append(src.streams, &stream{source: src, topic: t})
		}
		src.dead = &stream{source: src, topic: Topic{Name: kafka.TopicDeadLetters}, dead: true}
		v.sources = append(v.sources, src)
	}
	return v, nil
}

package verify

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/kafka"
)

// conclude compares what was read.
func (v *verifier) conclude() Report {
	report := Report{OK: true, Scanned: v.records, Notes: v.notes}
	for _, s := range v.sources {
		for _, st := range s.all() {
			s.collect(st)
			s.sequences(st)
			s.cumulative(st)
			s.counts(st, v.cfg.Tallies != nil)
		}
		r := &s.report
		r.OK = r.Lost == 0 && r.Doubled == 0 && r.Miscounted == 0 && r.Disordered == 0 && r.Faults == 0
		report.OK = report.OK && r.OK
		report.Sources = append(report.Sources, *r)
	}
	if v.cfg.Tallies == nil {
		report.Notes = append(report.Notes, "counts were not checked: no Redis given")
	}
	if v.cfg.SkipValues {
		report.Notes = append(report.Notes, "values were not parsed: event types are taken from the headers, and an event that is stored again under another sequence number is not found")
	}
	return report
}

func (s *source) note(format string, args ...any) {
	s.report.Notes = append(s.report.Notes, fmt.Sprintf(format, args...))
}

// examples are some of the problems that were found, at most maxProblems of each What.
type examples []Problem

// add keeps an example.
func (e *examples) add(what, topic string, partition int32, offset int64, format string, args ...any) {
	n := 0
	for i := range *e {
		if (*e)[i].What == what {
			n++
		}
	}
	if n < maxProblems {
		*e = append(*e, Problem{what, topic, partition, offset, fmt.Sprintf(format, args...)})
	}
}

// problem keeps an example of what is wrong with a source; partition is -1 for no single one.
func (s *source) problem(what, topic string, partition int32, format string, args ...any) {
	(*examples)(&s.report.Problems).add(what, topic, partition, -1, format, args...)
}

// fault counts a contradiction and keeps it as an example.
func (s *source) fault(topic string, partition int32, format string, args ...any) {
	s.report.Faults++
	s.problem("faults", topic, partition, format, args...)
}

// miscounted adds a difference of counts, and keeps it as an example.
func (s *source) miscounted(by int64, topic string, partition int32, format string, args ...any) {
	s.report.Miscounted += max(by, -by)
	s.problem("miscounted", topic, partition, format, args...)
}

// collect adds up what the partitions of a stream hold.
func (s *source) collect(st *stream) {
	r := &s.report
	var foreign, odd int64
	for _, l := range st.portions {
		if !st.dead {
			r.Events += l.records
			r.Foreign += l.foreign
		}
		r.Doubled += l.doubled
		r.Disordered += l.disordered
		r.Miscounted += l.mislabelled
		r.Faults += l.beyond
		for _, p := range l.problems {
			(*examples)(&r.Problems).add(p.What, p.Topic, p.Partition, p.Offset, "%s", p.Text)
		}
		for _, c := range l.copies {
			(*examples)(&r.Problems).add("doubled", l.p.topic, l.p.id, c.offset, "%s", l.copyText(c))
		}
		foreign, odd = foreign+l.foreign, odd+l.oddSeq
		if st.dead {
			for kind, c := range l.kinds {
				if kind == event.KindGap {
					r.Gaps += c.all
				} else {
					r.DeadLetters += c.all
					r.Reasons[kind] += c.all
				}
			}
		}
		if l.p.end < l.p.high && (!st.dead || len(l.kinds) > 0) {
			s.note("%s partition %d: a transaction is open since offset %d; what lies after it, up to %d, cannot be seen yet", l.p.topic, l.p.id, l.p.end, l.p.high)
		}
	}
	if foreign > 0 {
		s.note("%s: %d records were written by other programs: they are recounted, but they have no sequence numbers, so verify cannot say whether one is lost or duplicated", st.topic.Name, foreign)
	}
	if odd > 0 {
		s.note("%s: %d of these have a %q header that is not a number", st.topic.Name, odd, kafka.HeaderSeq)
	}
}

// sequences checks that the numbers are dense.
func (s *source) sequences(st *stream) {
	if !st.exists {
		if st.before > 0 {
			s.report.Lost += st.before
			s.problem("lost", st.topic.Name, -1, "the topic does not exist, but the cursor says that %d events were written to it", st.before)
		} else if !st.dead {
			s.note("%s: the topic does not exist yet", st.topic.Name)
		}
		return
	}
	var (
		to           = st.before
		below        int64                  // a missing number below it may have been trimmed
		hidden       = int64(math.MaxInt64) // one from it on may be hidden
		offsets      int64                  // that were trimmed
		numbered, at int64                  = 0, -1
	)
	for _, l := range st.portions {
		numbered += l.records - l.foreign
		at = max(at, l.lastSeq)
		if b := l.below(); b > 0 {
			below = max(below, b)
			offsets += l.p.low
		}
		if l.p.end < l.p.high {
			hidden = min(hidden, l.lastSeq+1)
		}
	}
	if !s.found && numbered > 0 {
		s.fault(st.topic.Name, -1, "%d events carry a sequence number, but there is no cursor: an ingester would store events twice and stops instead; make one with: weir cursor rebuild %s", numbered, s.Name)
		to = at + 1
	}
	if st.seqs == nil {
		st.seqs = newSeqSet()
	}
	if st.seqs.full {
		s.report.Unverifiable += numbered
		s.note("%s: the sequence numbers are too far apart to keep", st.topic.Name)
		return
	}
	below, hidden = min(below, to), max(min(hidden, to), min(below, to))
	trimmed, _ := st.seqs.missing(0, below, 0)
	lost, examples := st.seqs.missing(below, hidden, maxProblems)
	unseen, _ := st.seqs.missing(hidden, to, 0)
	if trimmed > offsets { // more than ever fitted into what was deleted
		s.problem("lost", st.topic.Name, -1, "%d events are missing below seq %d, but only %d offsets were deleted", trimmed, below, offsets)
		lost, trimmed = lost+trimmed-offsets, offsets
	}
	s.report.Lost += lost
	for _, e := range examples {
		if e.first == e.last {
			s.problem("lost", st.topic.Name, -1, "seq %d is missing (the next to write is %d)", e.first, to)
		} else {
			s.problem("lost", st.topic.Name, -1, "seq %d to %d are missing (the next to write is %d)", e.first, e.last, to)
		}
	}
	s.report.Unverifiable += unseen
	if unseen > 0 {
		s.note("%s: %d events from seq %d on cannot be seen because of the open transaction", st.topic.Name, unseen, hidden)
	}
	s.report.Trimmed += trimmed
	if trimmed > 0 {
		s.note("%s: %d events are no longer kept (retention, or records deleted); verify cannot say whether one of those below seq %d was lost", st.topic.Name, trimmed, below)
	}
}

// cumulative holds the counts in the cursor against its numbers and the topic.
func (s *source) cumulative(st *stream) {
	if !s.found {
		return
	}
	if n := sum(st.counts); n != st.before {
		s.fault(st.topic.Name, -1, "the cursor has counted %d events and numbered %d", n, st.before)
		return
	}
	recount := map[string]int64{}
	for _, l := range st.portions {
		if l.below() > 0 || l.p.end < l.p.high {
			return
		}
		for kind, c := range l.kinds {
			recount[kind] += c.before
		}
	}
	if s.report.Lost+s.report.Doubled > 0 {
		return // told already, and the reason why these differ
	}
	for _, d := range differ(st.counts, recount) {
		s.miscounted(d.stored-d.real, st.topic.Name, -1, "the cursor has counted %d of %q, the topic holds %d", d.stored, d.kind, d.real)
	}
}

// difference is an event type whose count is not what was counted.
type difference struct {
	kind         string
	stored, real int64
}

// maxKinds is how many event types counts and cursors hold separately; beyond that, which
// ones are under event.OtherKind depends on the order.
const maxKinds = 1000

// differ compares counts with a recount, by event type.
func differ(stored, real map[string]int64) []difference {
	pooled := map[string]int64{}
	other := stored[event.OtherKind] > 0
	for kind, n := range real {
		if _, known := stored[kind]; !known && other {
			kind = event.OtherKind
		}
		pooled[kind] += n
	}
	if len(real) >= maxKinds || len(stored) >= maxKinds {
		a, b := sum(stored), sum(pooled)
		if a == b {
			return nil
		}
		return []difference{{"(all types)", a, b}}
	}
	var out []difference
	for kind, n := range stored {
		if n != pooled[kind] {
			out = append(out, difference{kind, n, pooled[kind]})
		}
	}
	for kind, n := range pooled {
		if _, known := stored[kind]; !known && n != 0 {
			out = append(out, difference{kind, 0, n})
		}
	}
	slices.SortFunc(out, func(a, b difference) int { return strings.Compare(a.kind, b.kind) })
	return out
}

func sum(m map[string]int64) (n int64) {
	for _, v := range m {
		n += v
	}
	return n
}

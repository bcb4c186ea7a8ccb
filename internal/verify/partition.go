package verify

import (
	"fmt"
	"math"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/scan"
	"github.com/weir-project/weir/internal/tally"
)

// maxNames bounds the event types of a portion that are counted separately; any program that writes to the
// topic chooses them.
const maxNames = 50_000

// portion is what one partition holds of one stream. One goroutine fills it.
type portion struct {
	st *stream
	p  *partition

	records, foreign, oddSeq int64
	seqs                     seqWriter
	firstSeq, lastSeq        int64 // of the records that are retained; -1 none
	doubled, beyond          int64
	disordered, mislabelled  int64
	copies                   []copied // examples of events that are stored again
	kinds                    map[string]*kindCell
	tallies                  []*tallyCheck // counts in Redis that claim to be of it
	ids                      *identities   // nil: values are skipped
	index                    uint32        // in ids.portions
	examine                  Examine
	problems                 examples
	trimmed                  bool // the log does not begin with its first record
}

// kindCell is what was recounted of one kind.
type kindCell struct {
	all    int64
	before int64 // with a sequence number below the cursor's
}

// tallyCheck is a hash of counts and the recount of what it claims to have counted.
type tallyCheck struct {
	*tally.Tally
	// in is the recount of [Start,Next), tail that of committed events from Next on.
	in, tail map[string]int64
	behind   int64 // records from Next on
}

func newPortion(st *stream, p *partition) *portion {
	if st.seqs == nil {
		st.seqs = newSeqSet()
	}
	return &portion{st: st, p: p, seqs: seqWriter{set: st.seqs}, firstSeq: -1, lastSeq: -1, kinds: map[string]*kindCell{}, trimmed: p.low > 0}
}

// problem keeps an example.
func (l *portion) problem(what string, offset int64, format string, args ...any) {
	l.problems.add(what, l.p.topic, l.p.id, offset, format, args...)
}

// record takes one record. b is scratch memory of the goroutine.
func (l *portion) record(r *kgo.Record, values bool, b *event.Batch) error {
	l.records++
	seq, odd := seqOf(r)
	kind := scan.Kind(r, l.st.topic.Classify)
	before, again := false, false
	if seq >= 0 {
		before, again = l.sequence(r, seq)
	} else {
		l.foreign++
	}
	if odd {
		l.oddSeq++
	}
	cell := l.cell(kind)
	cell.all++
	if before {
		cell.before++
	}
	l.claims(r.Offset, kind, before)
	if values && seq >= 0 && !again && !l.st.dead {
		return l.value(r, kind, b)
	}
	return nil
}

// sequence checks a record's number and reports whether it is below the cursor's,
// and whether it was there before.
func (l *portion) sequence(r *kgo.Record, seq int64) (before, again bool) {
	if l.st.source.found && seq >= l.st.after {
		l.beyond++
		l.problem("faults", r.Offset, "seq %d, but the cursor says that the next one is %d: the cursor is behind its topic, and the ingester would write events again", seq, l.st.after)
		return false, false
	}
	if again = l.seqs.add(seq); again {
		l.doubled++
		l.problem("doubled", r.Offset, "seq %d is stored again", seq)
	} else if seq < l.lastSeq {
		l.disordered++
		l.problem("disordered", r.Offset, "seq %d comes after %d", seq, l.lastSeq)
	}
	if l.firstSeq < 0 {
		l.firstSeq = seq
	}
	l.lastSeq = max(l.lastSeq, seq)
	return seq < l.st.before, again
}

// cell returns the counts of an event type without allocating for one that is known.
func (l *portion) cell(kind string) *kindCell {
	c := l.kinds[kind]
	if c == nil && len(l.kinds) >= maxNames {
		kind = event.OtherKind
		c = l.kinds[kind]
	}
	if c == nil {
		c = &kindCell{}
		l.kinds[kind] = c
	}
	return c
}

// claims counts what the counts in Redis claim to have counted.
func (l *portion) claims(offset int64, kind string, before bool) {
	for _, t := range l.tallies {
		switch {
		case offset >= t.Next:
			t.behind++
			if before {
				t.tail[kind]++
			}
		case offset >= t.Start:
			t.in[kind]++
		}
	}
}

// value checks what the record's value says.
func (l *portion) value(r *kgo.Record, kind string, b *event.Batch) error {
	got, id := l.examine(b, r.Value)
	if got = scan.Bounded(got); got != kind {
		l.mislabelled++
		l.problem("miscounted", r.Offset, "its header says %q, its value %q", kind, got)
	}
	if len(id) == 0 {
		return nil
	}
	return l.ids.add(id, l.index, r.Offset)
}

// copyText names the earlier record of an event that is stored again.
func (l *portion) copyText(c copied) string {
	where := ""
	switch {
	case c.earlier.p.topic != l.p.topic:
		where = fmt.Sprintf(" of %s partition %d", c.earlier.p.topic, c.earlier.p.id)
	case c.earlier != l:
		where = fmt.Sprintf(" of partition %d", c.earlier.p.id)
	}
	return fmt.Sprintf("the same event as at offset %d%s, under another seq", c.at, where)
}

// hole notes that offsets were deleted before they could be read.
func (l *portion) hole() {
	// Whatever was read before says nothing about what the hole held.
	l.trimmed, l.firstSeq = true, -1
}

// below is the sequence number below which a missing one may have been trimmed
// from this partition: 0 where nothing was.
func (l *portion) below() int64 {
	if !l.trimmed {
		return 0
	}
	if own, err := kafka.Partition(l.st.source.Name); l.st.dead && err == nil && own != l.p.id {
		return 0 // another source's
	}
	if l.firstSeq < 0 {
		return math.MaxInt64 // all that is left may have been there
	}
	return l.firstSeq
}

// seqOf returns a record's sequence number: -1 where it has no such header, because another
// program wrote it, or odd where that is not a number.
func seqOf(r *kgo.Record) (seq int64, odd bool) {
	for i := range r.Headers {
		if r.Headers[i].Key != kafka.HeaderSeq {
			continue
		}
		text := string(r.Headers[i].Value)
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || len(text) > 18 || n < 0 || strconv.FormatInt(n, 10) != text {
			return -1, true
		}
		return n, false
	}
	return -1, false
}

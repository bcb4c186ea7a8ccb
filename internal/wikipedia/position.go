package wikipedia

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"unicode/utf8"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/upstream"
)

const (
	// maxPartitions bounds how many topics and partitions a server can make weir
	// remember; EventStreams has one partition in each of two data centres.
	maxPartitions = 32
	maxTopic      = 249 // Kafka's own limit on a topic's name, in bytes
	// marginMS is how far before the last committed event a resume begins, in
	// milliseconds: the server's timestamps are one too high, and records are out
	// of order by a few.
	marginMS = 15_000
	// stepMS is how far ahead one event may take a position, in milliseconds.
	stepMS = marginMS * 2 / 3
)

// positions follows the `id:` fields of one connection, which say where the
// server stands in each topic and partition that it merges.
type positions struct {
	known []event.Partition // every one ever seen; the order never changes
	// sure follows the timestamps of known: no single event moves one far ahead.
	sure []upstream.Steady
	// seen are the timestamps of the last id, one for each of shape's holes; the
	// one that changes tells which partition an event came from.
	seen  []int64
	shape shape
	last  []byte // the last id
	own   int    // index in known of the partition that the last event came from; -1 = not known
	ownMS int64  // its timestamp there
}

// shape is what ids have in common that differ in their timestamps only: what
// stands between those, and which partition each belongs to.
type shape struct {
	literals [][]byte // one more than at, or none where ids are parsed one by one
	at       []int
}

var errID = errors.New("event ID of unknown form")

// update takes an event's id. It returns the partition, as an index in known,
// that the event came from, or -1.
func (p *positions) update(id []byte) (own int, err error) {
	if len(id) > 0 && bytes.Equal(id, p.last) {
		return p.own, nil
	}
	if !p.match(id) {
		if err := p.parse(id); err != nil {
			return -1, err
		}
	}
	p.last = append(p.last[:0], id...)
	return p.own, nil
}

// match reads an id of the same shape as the last one, without allocating.
func (p *positions) match(id []byte) bool {
	if len(p.shape.literals) == 0 {
		return false
	}
	var buf [maxPartitions]int64
	stamps := buf[:len(p.shape.at)]
	rest := id
	for i := range stamps {
		var ok bool
		if rest, ok = bytes.CutPrefix(rest, p.shape.literals[i]); !ok {
			return false
		}
		if stamps[i], rest, ok = stamp(rest); !ok {
			return false
		}
	}
	if !bytes.Equal(rest, p.shape.literals[len(stamps)]) {
		return false
	}
	p.note(stamps)
	return true
}

// stamp cuts a number of up to 15 digits off the front.
func stamp(p []byte) (n int64, rest []byte, ok bool) {
	i := 0
	for i < len(p) && i < 16 && '0' <= p[i] && p[i] <= '9' {
		n = n*10 + int64(p[i]-'0')
		i++
	}
	return n, p[i:], 0 < i && i < 16
}

// note takes over the timestamps of an id. The partition that an event came from is
// the one whose timestamp changed; of several, as in a connection's first id, the newest.
func (p *positions) note(stamps []int64) {
	newest := int64(-1)
	for i, ms := range stamps {
		k := p.shape.at[i]
		if (i >= len(p.seen) || p.seen[i] != ms) && ms > newest {
			newest, p.own, p.ownMS = ms, k, ms
		}
		p.steady(k).Follow(ms)
		p.known[k].TimestampMS = p.sure[k].At()
	}
	p.seen = append(p.seen[:0], stamps...)
}

// steady returns what follows a partition's timestamps.
func (p *positions) steady(k int) *upstream.Steady {
	for i := len(p.sure); i < len(p.known); i++ {
		s := upstream.NewSteady(stepMS)
		s.Trust(p.known[i].TimestampMS)
		p.sure = append(p.sure, s)
	}
	return &p.sure[k]
}

// trust takes the position in a partition ahead, for a reason other than an event.
func (p *positions) trust(k int, ms int64) {
	p.steady(k).Trust(ms)
	p.known[k].TimestampMS = p.sure[k].At()
}

// entry is an element of an id.
type entry struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Timestamp *int64 `json:"timestamp"`
}

// parse reads an id of any shape and remembers its shape.
func (p *positions) parse(id []byte) error {
	var entries []entry
	if json.Unmarshal(id, &entries) != nil || len(entries) == 0 {
		return errID
	}
	before := p.stamps()
	p.shape, p.seen = shape{}, p.seen[:0]
	var stamps []int64
	var silent []int // those without a timestamp
	for _, e := range entries {
		k := p.index(e)
		switch {
		case k < 0:
			p.shape = shape{}
			return errID
		case e.Timestamp == nil:
			silent = append(silent, k)
		case *e.Timestamp < 0 || *e.Timestamp >= 1e15:
			p.shape = shape{}
			return errID
		default:
			stamps = append(stamps, *e.Timestamp)
			p.shape.at = append(p.shape.at, k)
			p.seen = append(p.seen, before[k])
		}
	}
	if len(stamps) == 0 {
		p.own = -1
		return nil
	}
	p.note(stamps)
	// A partition in which nothing has happened has an offset of -1, "the latest
	// when you connect again": what happens there in between would be lost. It
	// gets the time at which it was silent instead.
	for _, k := range silent {
		if p.known[k].TimestampMS == 0 {
			p.trust(k, slices.Min(stamps))
		}
	}
	p.learn(id)
	return nil
}

// stamps returns the timestamps of the last id by index in known, -1 for those
// that it had none of.
func (p *positions) stamps() (before [maxPartitions]int64) {
	for k := range before {
		before[k] = -1
	}
	for i, k := range p.shape.at {
		before[k] = p.seen[i]
	}
	return before
}

// index returns the entry's place in known, where it is added if need be, or -1.
func (p *positions) index(e entry) int {
	for k := range p.known {
		if p.known[k].Partition == e.Partition && p.known[k].Topic == e.Topic {
			return k
		}
	}
	if len(p.known) >= maxPartitions || e.Topic == "" || len(e.Topic) > maxTopic || e.Partition < 0 {
		return -1
	}
	p.known = append(p.known, event.Partition{Topic: e.Topic, Partition: e.Partition})
	return len(p.known) - 1
}

// learn cuts id into what stands between its timestamps. Where that does not
// work out, ids are parsed one by one.
func (p *positions) learn(id []byte) {
	// The parser also takes names written otherwise, and of several the last: only
	// where none can be is what follows this one a timestamp, and all of them.
	name := []byte(`"timestamp":`)
	if !plain(id) || bytes.Count(bytes.ToLower(id), name[1:len(name)-2]) != len(p.shape.at) {
		return
	}
	var literals [][]byte
	rest := bytes.Clone(id)
	for range p.shape.at {
		i := bytes.Index(rest, name)
		if i < 0 {
			return
		}
		i += len(name)
		for i < len(rest) && rest[i] == ' ' {
			i++
		}
		_, after, ok := stamp(rest[i:])
		if !ok {
			return
		}
		literals = append(literals, rest[:i:i])
		rest = after
	}
	p.shape.literals = append(literals, rest)
}

// plain reports whether text is ASCII without escapes.
func plain(text []byte) bool {
	for _, c := range text {
		if c == '\\' || c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// lastEventID returns the header with which to resume: a timestamp for every
// known topic and partition, a margin before the last event there. Offsets
// belong to one Kafka cluster and are never sent.
func lastEventID(known []event.Partition) string {
	type out struct {
		Topic     string `json:"topic"`
		Partition int32  `json:"partition"`
		Timestamp int64  `json:"timestamp"`
	}
	entries := make([]out, 0, len(known))
	for _, p := range known {
		if p.TimestampMS > 0 {
			entries = append(entries, out{p.Topic, p.Partition, max(p.TimestampMS-marginMS, 0)})
		}
	}
	if len(entries) == 0 {
		return ""
	}
	b, _ := json.Marshal(entries) // strings and numbers always encode
	return string(b)
}

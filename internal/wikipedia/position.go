package wikipedia

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
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
	// seen are known's timestamps in the last id, -1 for those that it had none of; the
	// one that changes tells which partition an event came from.
	seen  []int64
	last  []byte   // the last id
	at    []int    // the partition, as an index in known, of each timestamp in it
	holes [][2]int // where those stand in it; none where ids are parsed one by one
	own   int      // index in known of the partition that the last event came from; -1 = not known
	ownMS int64    // its timestamp there
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

// match reads an id that differs from the last one in the digits of its timestamps
// only, without allocating.
func (p *positions) match(id []byte) bool {
	if len(p.holes) == 0 || len(id) != len(p.last) {
		return false
	}
	var stamps [maxPartitions]int64
	from := 0
	for i, hole := range p.holes {
		if !bytes.Equal(id[from:hole[0]], p.last[from:hole[0]]) {
			return false
		}
		for _, c := range id[hole[0]:hole[1]] {
			if c < '0' || c > '9' {
				return false
			}
			stamps[i] = stamps[i]*10 + int64(c-'0')
		}
		from = hole[1]
	}
	if !bytes.Equal(id[from:], p.last[from:]) {
		return false
	}
	p.note(stamps[:len(p.holes)])
	return true
}

// note takes over the timestamps of an id. The partition that an event came from is
// the one whose timestamp changed; of several, as in a connection's first id, the newest.
func (p *positions) note(stamps []int64) {
	newest := int64(-1)
	for i, ms := range stamps {
		k := p.at[i]
		p.steady(k).Follow(ms)
		p.known[k].TimestampMS = p.sure[k].At()
		if p.seen[k] != ms && ms > newest {
			newest, p.own, p.ownMS = ms, k, ms
		}
	}
	for i, ms := range stamps {
		p.seen[p.at[i]] = ms
	}
}

// steady returns what follows a partition's timestamps.
func (p *positions) steady(k int) *upstream.Steady {
	for i := len(p.sure); i < len(p.known); i++ {
		s := upstream.NewSteady(stepMS)
		s.Trust(p.known[i].TimestampMS)
		p.sure, p.seen = append(p.sure, s), append(p.seen, -1)
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

// parse reads any id and remembers where its timestamps stand.
func (p *positions) parse(id []byte) error {
	var entries []entry
	if json.Unmarshal(id, &entries) != nil || len(entries) == 0 {
		return errID
	}
	p.at, p.holes = p.at[:0], nil
	var stamps []int64
	var silent []int // those without a timestamp
	for _, e := range entries {
		k := p.index(e)
		switch {
		case k < 0 || e.Timestamp != nil && (*e.Timestamp < 0 || *e.Timestamp >= 1e15):
			return errID
		case e.Timestamp == nil:
			silent = append(silent, k)
		default:
			stamps, p.at = append(stamps, *e.Timestamp), append(p.at, k)
		}
	}
	for k := range p.seen {
		if !slices.Contains(p.at, k) {
			p.seen[k] = -1
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

// index returns the entry's place in known, where it is added if need be, or -1.
func (p *positions) index(e entry) int {
	k := slices.IndexFunc(p.known, func(k event.Partition) bool { return k.Partition == e.Partition && k.Topic == e.Topic })
	if k >= 0 || len(p.known) >= maxPartitions || e.Topic == "" || len(e.Topic) > maxTopic || e.Partition < 0 {
		return k
	}
	p.known = append(p.known, event.Partition{Topic: e.Topic, Partition: e.Partition})
	return len(p.known) - 1
}

var stampSyntax = regexp.MustCompile(`"timestamp": *([0-9]{1,15})`)

// learn notes where the timestamps stand in id, if all of them can be found.
func (p *positions) learn(id []byte) {
	// The parser also takes names written otherwise, and of several the last: only
	// where none can be is what follows this one a timestamp, and all of them.
	odd := bytes.ContainsFunc(id, func(r rune) bool { return r == '\\' || r >= utf8.RuneSelf })
	if odd || len(p.at) > maxPartitions || bytes.Count(bytes.ToLower(id), []byte("timestamp")) != len(p.at) {
		return
	}
	for _, m := range stampSyntax.FindAllSubmatchIndex(id, -1) {
		p.holes = append(p.holes, [2]int{m[2], m[3]})
	}
	if len(p.holes) != len(p.at) {
		p.holes = nil
	}
}

// lastEventID returns the header with which to resume: a timestamp for every
// known topic and partition, a margin before the last event there. Offsets
// belong to one Kafka cluster and are never sent.
func lastEventID(known []event.Partition) string {
	var entries []entry
	for _, p := range known {
		if p.TimestampMS > 0 {
			entries = append(entries, entry{p.Topic, p.Partition, new(max(p.TimestampMS-marginMS, 0))})
		}
	}
	if entries == nil {
		return ""
	}
	b, _ := json.Marshal(entries) // strings and numbers always encode
	return string(b)
}

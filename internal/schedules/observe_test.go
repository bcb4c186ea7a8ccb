package schedules

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/simulate"
)

// observer compares what is stored with the World. It remembers what it saw, so that what was
// stored once may not change, vanish or go back.
type observer struct {
	s       *stage
	kafka   *rawKafka
	samples int

	// The World, up to the newest event that was offered.
	items []simulate.Item
	byID  map[string]int64

	judged  map[place]int              // committed records that were looked at
	bySeq   map[string]map[int64]found // by topic and sequence number
	last    map[string]int64           // by topic and key: the newest event
	at      map[string]int32           // by topic and key: the partition
	walked  map[string]int64           // by topic: sequence numbers that are compared
	after   map[string]int64           // by topic: the event that has to be the next, or a later one
	kinds   map[string]map[string]int64
	missing []int64
	seqs    map[string]int64 // of the last cursor
	letters map[string]int64 // dead letters by reason
	rewound int              // the stage's, when counted was last looked at
	counted map[place]int64
	sums    map[place]*sum
	hashes  map[place]counts
	history []seen // one a look
}

// seen is what was counted at a look.
type seen struct {
	at     time.Time
	counts map[string]int64
}

// found is one stored event.
type found struct {
	index int64 // -1 for a dead letter
	kind  string
	id    string
}

func newObserver(s *stage) *observer {
	return &observer{s: s, kafka: newRawKafka(s.net.DialContext, s.brokers[0]), byID: map[string]int64{},
		judged: map[place]int{}, bySeq: map[string]map[int64]found{}, last: map[string]int64{}, at: map[string]int32{},
		walked: map[string]int64{}, after: map[string]int64{}, kinds: map[string]map[string]int64{},
		seqs: map[string]int64{}, letters: map[string]int64{}, counted: map[place]int64{}, sums: map[place]*sum{}}
}

// cursorRecord is what the observer reads of a cursor.
type cursorRecord struct {
	Seqs   map[string]int64
	Counts map[string]map[string]int64
	Gaps   int64
}

// look compares everything that can be seen now. The counts are read first, then the cursor, then
// the topics: each speaks of what must be in the next one.
func (o *observer) look() {
	o.samples++
	s := o.s
	if s.redis != nil {
		o.hashes = s.redis.counts(s)
		o.remember()
	}
	if o.kafka.leaders == nil {
		s.check(o.kafka.metadata(kafka.TopicCursors, kafka.TopicDeadLetters, s.src.data, s.src.account))
	}
	var cursor cursorRecord
	for _, at := range o.kafka.order {
		if (at.topic == kafka.TopicCursors || at.topic == kafka.TopicDeadLetters) && at.partition != s.src.partition {
			continue
		}
		s.check(o.kafka.read(at))
		s.check(o.kafka.compareCommitted(at))
		if log := o.kafka.logs[at]; at.topic == kafka.TopicCursors && len(log.committed) > 0 {
			s.check(json.Unmarshal([]byte(log.committed[len(log.committed)-1].value), &cursor))
		}
	}
	o.offered()
	for _, at := range o.kafka.order {
		log := o.kafka.logs[at]
		if at.topic == kafka.TopicCursors {
			continue
		}
		for _, r := range log.committed[o.judged[at]:] {
			if r.foreign {
				s.errorf("%v@%d: a record of an aborted transaction of another program is visible", at, r.offset)
				continue
			}
			o.judge(r)
		}
		o.judged[at] = len(log.committed)
	}
	o.compare(&cursor)
	for at, c := range o.hashes {
		o.recount(at, c)
	}
}

// remember keeps the counts of the topic of the events.
func (o *observer) remember() {
	all := seen{time.Now(), map[string]int64{}}
	for at, c := range o.hashes {
		if at.topic == o.s.src.data {
			addTo(all.counts, c.kinds)
		}
	}
	o.history = append(o.history, all)
}

// covers reports whether the observer reads all partitions of a topic.
func (o *observer) covers(topic string) bool {
	return topic == o.s.src.data || topic == o.s.src.account
}

// offered learns the events that the World has offered by now.
func (o *observer) offered() {
	for i := int64(len(o.items)); i < o.s.up.tip(); i++ {
		it := o.s.up.item(i)
		o.items = append(o.items, it)
		if it.Route != event.Skip && !it.Again {
			o.byID[it.Identity] = i
		}
	}
}

// judge looks at one committed record.
func (o *observer) judge(r stored) {
	s := o.s
	seq, err := strconv.ParseInt(r.seq, 10, 64)
	if err != nil {
		s.errorf("%v@%d has the sequence number %q", r.place, r.offset, r.seq)
		return
	}
	if o.bySeq[r.topic] == nil {
		o.bySeq[r.topic], o.kinds[r.topic] = map[int64]found{}, map[string]int64{}
	}
	f := found{index: -1, kind: r.kind}
	if r.topic != kafka.TopicDeadLetters {
		f.id = identity(r.value)
		index, ok := o.byID[f.id]
		if !ok {
			s.errorf("%v@%d: %q was never offered", r.place, r.offset, f.id)
			return
		}
		f.index = index
		it := o.items[index]
		if it.Kind != r.kind || it.Key != r.key || s.src.topicOf(it) != r.topic {
			s.errorf("%v@%d: event %d is stored as %s with key %q, and the World has %s with key %q",
				r.place, r.offset, index, r.kind, r.key, it.Kind, it.Key)
		}
		key := r.topic + "|" + r.key
		if p, ok := o.at[key]; ok && p != r.partition {
			s.errorf("%v@%d: key %q is in partition %d, too", r.place, r.offset, r.key, p)
		}
		if last, ok := o.last[key]; ok && last >= index {
			s.errorf("%v@%d: event %d of key %q comes after event %d", r.place, r.offset, index, r.key, last)
		}
		o.at[key], o.last[key] = r.partition, index
	} else {
		o.letters[r.kind]++
	}
	if other, twice := o.bySeq[r.topic][seq]; twice {
		s.errorf("%v@%d: sequence number %d belongs to event %d and to event %d", r.place, r.offset, seq, other.index, f.index)
	}
	o.bySeq[r.topic][seq] = f
}

// compare walks the sequence numbers up to the cursor: none may be missing, and the events behind
// them are the World's, one after the other.
func (o *observer) compare(c *cursorRecord) {
	s := o.s
	for _, topic := range []string{s.src.data, s.src.account, kafka.TopicDeadLetters} {
		if topic == "" {
			continue
		}
		if c.Seqs[topic] < o.seqs[topic] {
			s.errorf("the cursor went back: %s %d to %d", topic, o.seqs[topic], c.Seqs[topic])
		}
		o.seqs[topic] = c.Seqs[topic]
		for ; o.walked[topic] < c.Seqs[topic]; o.walked[topic]++ {
			f, ok := o.bySeq[topic][o.walked[topic]]
			if !ok {
				s.errorf("%s: sequence number %d of %d is missing", topic, o.walked[topic], c.Seqs[topic])
				return
			}
			o.kinds[topic][f.kind]++
			if f.index < 0 {
				continue
			}
			o.pass(topic, f.index)
		}
		if want := c.Counts[topic]; !maps.Equal(o.kinds[topic], want) {
			s.errorf("%s: the cursor counts %v, and %v is stored", topic, want, o.kinds[topic])
		}
	}
	if c.Gaps != o.kinds[kafka.TopicDeadLetters][event.KindGap] {
		s.errorf("the cursor counts %d gaps, and the topic has %d", c.Gaps, o.kinds[kafka.TopicDeadLetters][event.KindGap])
	}
}

// pass goes on to an event, and notes those of its topic that were passed over.
func (o *observer) pass(topic string, index int64) {
	s := o.s
	if index < o.after[topic] {
		s.errorf("%s: event %d is stored behind event %d", topic, index, o.after[topic]-1)
		return
	}
	for i := o.after[topic]; i < index; i++ {
		it := o.items[i]
		if it.Again || it.Route == event.Skip || s.src.topicOf(it) != topic {
			continue
		}
		o.missing = append(o.missing, i)
		if !s.up.mayLose(i) {
			s.errorf("%s: event %d (%s) is lost: the next one that is stored is %d", topic, i, it.Identity, index)
		}
	}
	o.after[topic] = index + 1
}

// recount compares the counts of a partition with the records below its stored offset.
func (o *observer) recount(at place, c counts) {
	s := o.s
	if o.rewound != s.rewinds {
		o.rewound = s.rewinds
		clear(o.counted)
	}
	if !c.found {
		if o.counted[at] > 0 {
			s.errorf("%v: the counts are gone", at)
		}
		return
	}
	log := o.kafka.logs[at]
	if c.next < o.counted[at] {
		s.errorf("%v: the stored offset went back from %d to %d", at, o.counted[at], c.next)
	}
	o.counted[at] = c.next
	if c.next > log.stable {
		s.errorf("%v: counted up to %d, and only offsets below %d are final", at, c.next, log.stable)
	}
	if want := o.below(at, c.next); !maps.Equal(want, c.kinds) {
		s.errorf("%v: below offset %d there are %v, and counted are %v", at, c.next, want, c.kinds)
	}
}

// sum is how many records of each kind the first committed ones of a partition are.
type sum struct {
	records int
	offset  int64 // below it they are
	kinds   map[string]int64
}

// below counts the committed records of a partition below an offset. It goes on from the last time.
func (o *observer) below(at place, offset int64) map[string]int64 {
	w := o.sums[at]
	if w == nil || w.offset > offset {
		w = &sum{kinds: map[string]int64{}}
		o.sums[at] = w
	}
	log := o.kafka.logs[at]
	for ; w.records < len(log.committed) && log.committed[w.records].offset < offset; w.records++ {
		w.kinds[log.committed[w.records].kind]++
	}
	w.offset = offset
	return w.kinds
}

// settled reports whether everything that the World has is stored and counted.
func (o *observer) settled() bool {
	s := o.s
	if int64(len(o.items)) < s.up.limit {
		return false
	}
	for _, topic := range []string{s.src.data, s.src.account} {
		for i := int64(len(o.items)) - 1; topic != "" && i >= 0; i-- {
			if it := o.items[i]; !it.Again && it.Route != event.Skip && s.src.topicOf(it) == topic {
				if o.after[topic] <= i {
					return false
				}
				break
			}
		}
	}
	if s.redis == nil {
		return true
	}
	for at, log := range o.kafka.logs {
		if at.topic != kafka.TopicCursors && at.topic != kafka.TopicDeadLetters && (o.counted[at] != log.end || log.end != log.stable) {
			return false
		}
	}
	return true
}

// conclude compares what only the end shows: no more is missing than was withheld, and each gap
// and each extra frame has its record.
func (o *observer) conclude() {
	s := o.s
	slices.Sort(o.missing)
	gaps, lost := s.up.concludeGaps(o)
	if got := o.letters[event.KindGap]; got != gaps {
		s.errorf("%d gaps are reported, and %d were made (%d events are missing)", got, gaps, lost)
	}
	made := s.up.letters(s.src.name)
	for reason, most := range made {
		// An error is sent once, and is on its way when its connection ends; the others come again.
		if got := o.letters[reason]; got > most || most > 0 && got == 0 && reason != event.ReasonError {
			s.errorf("%d dead letters are %s, and %d such frames were sent", got, reason, most)
		}
	}
	for reason := range o.letters {
		if _, known := made[reason]; !known && reason != event.KindGap {
			s.errorf("%d dead letters are %s, and nothing of that kind was sent", o.letters[reason], reason)
		}
	}
}

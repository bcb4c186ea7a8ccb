package learn

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/weir-project/weir/internal/inspect"
)

// persistenceStation: the learner stops and starts everything, and resets a group to the beginning.
var persistenceStation = station{number: 8, name: "persistence", minutes: 10, question: persistenceQuestion,
	check: persistenceCheck, observe: observePersistence,
	picture: func(ctx context.Context, l *look) (Picture, error) {
		topic, group := l.shown()
		if _, t, err := persistedNow(l); err == nil && t != nil {
			topic, group = t.Topic, t.Group
		}
		return l.lanes(ctx, PictureLanes, topic, group)
	}}

// pinnedStart is the partition that the question is about.
type pinnedStart struct {
	Topic string `json:"topic"`
	Start int64  `json:"start"`
	End   int64  `json:"end"`
}

func persistenceQuestion(ctx context.Context, l *look) (question, error) {
	pin, err := pinned(l, nil, func() (pin pinnedStart, err error) {
		pin.Topic, _ = l.shown()
		parts, err := l.partitions(ctx, pin.Topic)
		if err != nil {
			return pin, err
		}
		if len(parts) == 0 {
			return pin, fmt.Errorf("topic %s: %w", pin.Topic, inspect.ErrNoTopic)
		}
		pin.Start, pin.End = parts[0].Start, parts[0].End
		return pin, nil
	})
	if err != nil {
		return question{}, err
	}
	return question{kind: Number, answer: strconv.FormatInt(pin.Start, 10),
		text: fmt.Sprintf("The partition is number 0 of `%s`. Its log goes from offset %d to offset %d, and the group has committed %d.",
			pin.Topic, pin.Start, pin.End, pin.End),
		why: because(fmt.Sprintf("The consumer begins at offset %d, the start of the log, and reads all records again.", pin.Start), mistakes{
			"0": " Offset 0 is no longer in the log: retention deleted the records before the start. Offsets are never used again.",
			strconv.FormatInt(pin.End, 10): " It would begin at the committed offset without the reset. " +
				"The reset changed the committed offset.",
		})}, nil
}

// persisted is the evidence of station 8.
type persisted struct {
	// Mark is a record that was there before a restart; nil for none yet.
	Mark *markedRecord `json:"mark,omitempty"`
	// Restarted says that the brokers were stopped and started, and the record was the same.
	Restarted bool `json:"restarted,omitempty"`
	// Groups are by group and topic.
	Groups map[string]*replayTrail `json:"groups,omitempty"`

	problem string // what was not the same after a restart
}

// markedRecord is a record by its place, and a digest of it.
type markedRecord struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Digest    string `json:"digest"`
	// End is where its partition ended then, Brokers when the brokers were started, in Unix milliseconds.
	End     int64 `json:"end"`
	Brokers int64 `json:"brokers"`
}

// replayTrail is how far a group has come in a topic.
type replayTrail struct {
	Group string `json:"group"`
	Topic string `json:"topic"`
	// Total is the sum of the committed offsets at the last sample, Most the highest one, Before that
	// before the reset.
	Total  int64 `json:"total"`
	Most   int64 `json:"most"`
	Before int64 `json:"before,omitempty"`
	// Reset says that the offsets went back to the start of the log, Again that they passed Before again.
	Reset bool `json:"reset,omitempty"`
	Again bool `json:"again,omitempty"`
	// At is when its offsets last moved, in Unix milliseconds: of two groups that are as far, the reason is about
	// the one that the learner used last.
	At int64 `json:"at"`

	partly bool // the offsets went back, but not to the start
}

func (t *replayTrail) steps() int {
	switch {
	case t.Again:
		return 4
	case t.Reset:
		return 3
	case t.partly:
		return 2
	}
	return 1
}

// rank orders the groups by how far they are, and then by which moved last.
func (t *replayTrail) rank() int64 {
	const later = 1e14 // more than any time in Unix milliseconds
	return int64(t.steps())*later + t.At
}

// persistedOn is what the observer knows. See observed for the lock.
func persistedOn(l *look) (*persisted, error) {
	p, err := observed[persisted](l)
	if err != nil {
		return nil, err
	}
	if p.Groups == nil {
		p.Groups = map[string]*replayTrail{}
	}
	dropNull(p.Groups)
	p.Restarted = p.Restarted && p.Mark != nil
	return p, nil
}

// persistedNow is a copy of what the observer knows now, and the group that has come furthest; nil for none.
func persistedNow(l *look) (persisted, *replayTrail, error) {
	l.c.observing.Lock()
	defer l.c.observing.Unlock()
	p, err := persistedOn(l)
	if err != nil {
		return persisted{}, nil, err
	}
	now := *p
	now.Groups = nil
	if _, best := nearest(p.Groups, sortedNames(p.Groups)); best != nil {
		t := *best
		return now, &t, nil
	}
	return now, nil, nil
}

func observePersistence(ctx context.Context, l *look, s sample) error {
	p, err := persistedOn(l)
	if err != nil {
		return err
	}
	changed := s.now
	if !l.c.cfg.BrokersStarted.IsZero() && !p.Restarted {
		moved, err := p.restart(ctx, l)
		if err != nil {
			return err
		}
		changed = changed || moved
	}
	for _, name := range sortedNames(s.groups) {
		g := s.groups[name]
		if !l.learners(name, g) {
			continue
		}
		for _, topic := range sortedNames(g.committed) {
			moved, err := p.follow(ctx, l, name, topic, g.committed[topic])
			if err != nil {
				return err
			}
			changed = changed || moved
		}
	}
	if changed {
		return l.keep(p)
	}
	return nil
}

// restart marks a record, or compares the marked one where the brokers were started again since.
func (p *persisted) restart(ctx context.Context, l *look) (changed bool, err error) {
	brokers := l.c.cfg.BrokersStarted.UnixMilli()
	if p.Mark == nil {
		p.Mark, err = l.markShown(ctx, brokers)
		return p.Mark != nil, err
	}
	if p.Mark.Brokers == brokers {
		return false, nil
	}
	same, _, err := l.unchanged(ctx, p.Mark)
	switch {
	case errors.Is(err, inspect.ErrNoTopic):
		p.problem = fmt.Sprintf("topic %s is gone since the brokers were started again: stop and start them once more", p.Mark.Topic)
	case err != nil:
		return false, err
	case !same:
		p.problem = fmt.Sprintf("after the start, offset %d of partition %d of topic %s does not hold the record that it held before "+
			"(retention may have deleted it): stop and start the brokers once more",
			p.Mark.Offset, p.Mark.Partition, p.Mark.Topic)
	default:
		p.Restarted, p.problem = true, ""
		return true, nil
	}
	p.Mark, err = l.markShown(ctx, brokers)
	return true, err
}

// markShown marks the newest record of the stream, or of a topic of the learner's; nil for none.
func (l *look) markShown(ctx context.Context, brokers int64) (*markedRecord, error) {
	meta, err := l.metadata(ctx)
	if err != nil {
		return nil, err
	}
	topic, _ := l.shown()
	if _, ok := meta.Topics[topic]; !ok {
		return nil, nil
	}
	m, err := l.mark(ctx, inspect.Query{Topic: topic, Partial: true})
	if err != nil || m.Digest == "" {
		return nil, err
	}
	m.Brokers = brokers
	return m, nil
}

// mark marks the newest record of a query's partitions. Without a record it has no digest.
func (l *look) mark(ctx context.Context, q inspect.Query) (*markedRecord, error) {
	q.From = inspect.Newest(1)
	m := &markedRecord{Topic: q.Topic}
	progress, err := l.inspector().Read(ctx, q, func(found inspect.Message) error {
		m.Partition, m.Offset, m.Digest = found.Partition, found.Offset, digestOf(found)
		return nil
	})
	m.End = progress.End[m.Partition]
	return m, err
}

// unchanged reports whether a marked record is still there, where there was one, and its partition is not shorter.
// It also returns where the partition ends.
func (l *look) unchanged(ctx context.Context, m *markedRecord) (same bool, end int64, err error) {
	found, ok, err := l.record(ctx, m.Topic, m.Partition, m.Offset)
	if err != nil {
		return false, 0, err
	}
	ends, err := l.offsets(ctx, m.Topic, inspect.LogEnds)
	if err != nil {
		return false, 0, err
	}
	end, err = ends(m.Partition)
	same = m.Digest == "" || ok && digestOf(found) == m.Digest
	return same && end >= m.End, end, err
}

func digestOf(m inspect.Message) string {
	h := sha256.New()
	_, _ = fmt.Fprintf(h, "%d %d %d ", m.Timestamp.UnixMilli(), len(m.Key), len(m.Value)) // a hash never fails
	_, _ = h.Write(m.Key)
	_, _ = h.Write(m.Value)
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// follow adds a sample of the committed offsets of a group in a topic.
func (p *persisted) follow(ctx context.Context, l *look, group, topic string, committed map[int32]int64) (changed bool, err error) {
	var total int64
	for _, o := range committed {
		total += o
	}
	t := trailOf(p.Groups, group+" "+topic, func() replayTrail {
		return replayTrail{Group: group, Topic: topic, Total: total, Most: total, At: time.Now().UnixMilli()}
	})
	if t == nil {
		return false, nil
	}
	before := t.steps()
	if total != t.Total {
		t.At = time.Now().UnixMilli()
	}
	switch {
	case t.Again:
	case total < t.Total: // it went back
		atStart, err := l.atStart(ctx, topic, committed)
		if err != nil {
			return false, err
		}
		if t.partly = !atStart; atStart {
			t.Reset, t.Before = true, t.Most
		}
	case t.Reset:
		t.Again = total >= t.Before
	}
	t.Total, t.Most = total, max(t.Most, total)
	return t.steps() != before, nil
}

// atStart reports whether offsets are not behind the starts of the logs.
func (l *look) atStart(ctx context.Context, topic string, committed map[int32]int64) (bool, error) {
	start, err := l.offsets(ctx, topic, inspect.LogStarts)
	if err != nil {
		return false, err
	}
	for id, at := range committed {
		first, err := start(id)
		if err != nil || at > first {
			return false, err
		}
	}
	return true, nil
}

func persistenceCheck(ctx context.Context, l *look) (Check, error) {
	p, t, err := persistedNow(l)
	if err != nil {
		return Check{}, err
	}
	own := l.c.cfg.Own != ""
	result := Check{Seen: []string{}}
	if own && p.Restarted {
		result.Seen = append(result.Seen, fmt.Sprintf("the brokers were stopped and started; the record at offset %d of partition %d "+
			"of topic %s is the same",
			p.Mark.Offset, p.Mark.Partition, p.Mark.Topic))
	}
	result.Reason, err = l.replayMissing(ctx, t, &result)
	if own && !p.Restarted && err == nil {
		first := "weir has not seen its brokers stop and start again: stop weir with Ctrl-C, and start it with the same command"
		switch {
		case p.problem != "":
			first = p.problem
		case p.Mark == nil:
			first = "there is no record yet that could survive a restart: write one, or let a stream run"
		}
		if result.Reason != "" {
			first += ". And " + result.Reason
		}
		result.Reason = first
	}
	result.Done = err == nil && result.Reason == ""
	return result, err
}

// replayMissing is what is missing of the replay; it adds what was seen.
func (l *look) replayMissing(ctx context.Context, t *replayTrail, result *Check) (string, error) {
	if t == nil {
		if l.c.cfg.Own == "" {
			return "weir sees no group with committed offsets in a topic of yours: read a topic that you created as a member of a group", nil
		}
		return "weir sees no group of yours with committed offsets: read a topic as a member of a group", nil
	}
	group := shownName(t.Group)
	switch {
	case t.Again:
	case t.Reset:
		result.Seen = append(result.Seen, fmt.Sprintf("group %s went back to the start of topic %s", group, t.Topic))
		return fmt.Sprintf("group %s is at %d of the %d offsets that it had committed before (the sum of all partitions): read on "+
			"with it", group, t.Total, t.Before), nil
	case t.partly:
		return fmt.Sprintf("group %s went back in topic %s, but not to the start of every partition: reset it to the oldest record",
			group, t.Topic), nil
	default:
		return fmt.Sprintf("group %s has committed offsets in topic %s, and weir has not seen them go back: stop its members, reset "+
			"it to the oldest record, and give weir two seconds before you read again", group, t.Topic), nil
	}
	result.Seen = append(result.Seen, fmt.Sprintf("group %s went back to the start of topic %s and read it again, past the offsets "+
		"that it had before", group, t.Topic))
	return l.equalCounts(ctx, t, result)
}

// equalCounts compares the counts of the group in Redis with the log, where it has any.
func (l *look) equalCounts(ctx context.Context, t *replayTrail, result *Check) (string, error) {
	if l.c.cfg.Tallies == nil {
		return "", nil
	}
	r, err := l.recount(ctx, t.Group, t.Topic)
	if err != nil || r.partitions == 0 {
		return "", err
	}
	switch {
	case r.left > 0:
		return fmt.Sprintf("weir compares the counts of group %s with the log; %d offsets are left: check again", shownName(t.Group),
			r.left), nil
	case r.trimmed:
		result.Seen = append(result.Seen, "retention has deleted records that are counted, so the counts cannot be compared with the log")
	case r.counted != r.records:
		return fmt.Sprintf("the counts of group %s in Redis are %d events, and the log holds %d: weir verify shows what is wrong",
			shownName(t.Group), r.counted, r.records), nil
	default:
		result.Seen = append(result.Seen, fmt.Sprintf("its counts in Redis are those of the log: %d events", r.counted))
	}
	return "", nil
}

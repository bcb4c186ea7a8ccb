package watch

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/weir-project/weir/internal/inspect"
)

// pastTopic is what is remembered of a topic from version to version.
type pastTopic struct {
	ends       pastEnds  // the sum of its ends
	rate       track     // of the same sum
	moved      time.Time // when its end last moved
	partitions map[int32]*pastPartition
	lanes      []Lane // of a stream's topic
	keeps      inspect.Keeps
}

type pastPartition struct {
	Lane        // its Rate is left out
	known bool  // an end was reported once
	first int64 // timestamp of its first record
	rate  track // of a stream's topic
}

// noTopics notes that the cluster did not answer.
func (w *Watcher) noTopics(err error) {
	w.failed[aboutTopics] = "the topics cannot be listed: " + err.Error()
	w.changeTopics(func(_ string, t *Topic) { t.Rate = 0 })
}

// logBounds are where logs end and begin, and their first records. What was not asked for is nil.
type logBounds struct {
	ends, starts, firsts kadm.ListedOffsets
	keeps                map[string]inspect.Keeps
}

// applyTopics makes the topics from an answer.
func (w *Watcher) applyTopics(at time.Time, meta kadm.Metadata, b logBounds) {
	w.failed[aboutTopics], w.known[aboutTopics] = silent(meta, b.ends), true
	w.next.Cluster.ID, w.next.Cluster.Controller = meta.Cluster, meta.Controller
	w.next.Cluster.TopicsTime = Millis(at)
	leads := map[int32]int{}
	topics := make(map[string]*Topic, len(meta.Topics))
	for name, m := range meta.Topics {
		past := w.topics[name]
		if past == nil {
			past = &pastTopic{partitions: map[int32]*pastPartition{}, keeps: inspect.NoLimit}
			w.topics[name] = past
		}
		topics[name] = w.topic(at, m, past, b, leads)
	}
	maps.DeleteFunc(w.topics, func(name string, _ *pastTopic) bool { return topics[name] == nil })
	w.next.Topics = topics
	w.next.Cluster.Brokers = w.brokers(meta, leads)
	for _, s := range w.cfg.Streams {
		if past := w.topics[s.Topic]; past != nil {
			past.lanes = past.lanesOf(at)
		}
	}
}

// changeTopics changes copies of all topics: what is published is never changed.
func (w *Watcher) changeTopics(change func(name string, t *Topic)) {
	topics := make(map[string]*Topic, len(w.next.Topics))
	for name, t := range w.next.Topics {
		c := *t
		change(name, &c)
		topics[name] = &c
	}
	w.next.Topics = topics
}

// topic sums up one topic and notes its leaders.
func (w *Watcher) topic(now time.Time, m kadm.TopicDetail, past *pastTopic, b logBounds, leads map[int32]int) *Topic {
	ends, starts, firsts := b.ends[m.Topic], b.starts[m.Topic], b.firsts[m.Topic]
	t := &Topic{Partitions: len(m.Partitions), Internal: m.IsInternal, Bytes: -1}
	was := w.next.Topics[m.Topic]
	if was != nil {
		t.Bytes, t.Groups, t.Lag = was.Bytes, was.Groups, was.Lag
	}
	if m.Err != nil {
		t.Error = m.Err.Error()
	}
	if k, ok := b.keeps[m.Topic]; ok {
		past.keeps = k
	}
	maps.DeleteFunc(past.partitions, func(id int32, _ *pastPartition) bool { _, ok := m.Partitions[id]; return !ok })
	t.Replicas, t.UnderReplicated, _ = inspect.Replication(m)
	var end int64
	silent, known, deleted := 0, 0, false
	for id, p := range m.Partitions {
		leads[p.Leader]++
		part := past.partitions[id]
		if part == nil {
			part = &pastPartition{Lane: Lane{Partition: id, Leader: p.Leader}}
			past.partitions[id] = part
		}
		if part.Leader != p.Leader {
			w.moves = append(w.moves, move{m.Topic, id, part.Leader, p.Leader})
			part.Leader = p.Leader
		}
		if o, ok := starts[id]; ok && o.Err == nil {
			part.Start = o.Offset
		}
		deleted = deleted || part.Start > 0
		if o, ok := firsts[id]; ok && o.Err == nil {
			part.first = o.Timestamp
		}
		if part.first > 0 && (t.Oldest == 0 || part.first < t.Oldest) {
			t.Oldest = part.first
		}
		if o, ok := ends[id]; ok && o.Err == nil {
			part.End, part.known = o.Offset, true
		} else {
			silent++
		}
		if part.known {
			known++
			end += part.End
			t.Messages += part.End - part.Start
		}
	}
	t.Limit = past.keeps.Limit(deleted, now.Sub(time.UnixMilli(t.Oldest)), w.logSize)
	if silent > 0 && t.Error == "" {
		t.Error = "the leader of " + Plural(silent, "partition") + " does not answer"
	}
	if known < len(m.Partitions) || known == 0 {
		// No sum: the ends of some partitions were never known.
		if was != nil {
			t.Messages, t.Rate, t.Last = was.Messages, was.Rate, was.Last
		}
		return t
	}
	if past.rate.begun() && past.rate.value != end {
		past.moved = now
	}
	t.Rate, t.Last = past.rate.add(now, end), Millis(past.moved)
	past.ends.add(now, end)
	return t
}

// lanesOf are the partitions of a stream's topic.
func (p *pastTopic) lanesOf(at time.Time) []Lane {
	lanes := []Lane{}
	for _, id := range slices.Sorted(maps.Keys(p.partitions)) {
		part := p.partitions[id]
		l := part.Lane
		if part.known {
			l.Rate = part.rate.add(at, part.End)
		}
		lanes = append(lanes, l)
	}
	return lanes
}

// brokers takes addresses and leaders from metadata, and keeps what only applyBrokers finds out.
func (w *Watcher) brokers(meta kadm.Metadata, leads map[int32]int) map[string]*Broker {
	all := map[string]*Broker{}
	for id, was := range w.next.Cluster.Brokers {
		b := *was
		if n, err := strconv.ParseInt(id, 10, 32); err == nil {
			b.Leaders = leads[int32(n)]
			b.Controller = int32(n) == meta.Controller
		}
		all[id] = &b
	}
	for _, b := range meta.Brokers {
		id := strconv.Itoa(int(b.NodeID))
		if all[id] == nil {
			all[id] = &Broker{Alive: true, Bytes: -1, Controller: b.NodeID == meta.Controller, Leaders: leads[b.NodeID]}
		}
		all[id].Address = b.Host + ":" + strconv.Itoa(int(b.Port))
	}
	return all
}

// applyBrokers makes the brokers from an answer. sizes are of topics, nil where unknown.
func (w *Watcher) applyBrokers(list inspect.BrokerList, sizes map[string]int64, err error) {
	if err != nil {
		w.failed[aboutBrokers] = "the brokers cannot be listed: " + err.Error()
		return
	}
	w.failed[aboutBrokers], w.known[aboutBrokers] = "", true
	all := map[string]*Broker{}
	for _, b := range list.Brokers {
		id := strconv.Itoa(int(b.ID))
		n := &Broker{Address: b.Address, Alive: b.Alive, Controller: b.Controller, Leaders: b.Leads, Bytes: b.Bytes}
		if was := w.next.Cluster.Brokers[id]; was != nil && n.Bytes < 0 {
			n.Bytes = was.Bytes // of a broker that does not answer: as of before
		}
		if !b.Alive {
			n.Reason = cmp.Or(b.Reason, "it does not run")
		}
		all[id] = n
	}
	w.next.Cluster.Brokers = all
	w.next.Note, w.logSize = list.Note, list.LogSize
	w.changeTopics(func(name string, t *Topic) {
		if n, ok := sizes[name]; ok {
			t.Bytes = n
		}
	})
}

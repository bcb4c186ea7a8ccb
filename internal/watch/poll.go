package watch

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/scan"
)

// applyTopics makes the topics from an answer.
func (w *Watcher) applyTopics(a *topicsAnswer) {
	if a.err != nil {
		w.said["topics"] = a.err.Error()
		w.changeTopics(func(_ string, t *Topic) { t.Rate = 0 })
		return
	}
	w.said["topics"] = silent(a)
	w.known.topics = true
	w.next.Cluster.ID, w.next.Cluster.Controller = a.meta.Cluster, a.meta.Controller
	w.next.Cluster.TopicsTime = millis(a.at)
	a.starts.Each(func(o kadm.ListedOffset) {
		if o.Err == nil {
			w.starts[scan.TopicPartition{Topic: o.Topic, Partition: o.Partition}] = o.Offset
		}
	})
	leads := map[int32]int{}
	topics := make(map[string]*Topic, len(a.meta.Topics))
	for name, m := range a.meta.Topics {
		topics[name] = w.topic(a.at, m, a.ends[name], w.next.Topics[name], leads)
	}
	for name, t := range w.next.Topics {
		if topics[name] == nil {
			w.forgetTopic(name, t)
		}
	}
	w.next.Topics = topics
	w.next.Cluster.Brokers = w.brokers(a.meta, leads)
	for _, s := range w.cfg.Streams {
		w.lanes[s.Topic] = w.lanesOf(a.at, s.Topic)
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
func (w *Watcher) topic(now time.Time, m kadm.TopicDetail, ends map[int32]kadm.ListedOffset, was *Topic, leads map[int32]int) *Topic {
	t := &Topic{Partitions: len(m.Partitions), Internal: m.IsInternal, Bytes: -1}
	if was != nil {
		t.Bytes, t.Groups, t.Lag = was.Bytes, was.Groups, was.Lag
	}
	if m.Err != nil {
		t.Error = m.Err.Error()
	}
	leaders := make(map[int32]int32, len(m.Partitions))
	var end int64
	silent, known := 0, 0
	for id, p := range m.Partitions {
		leaders[id] = p.Leader
		leads[p.Leader]++
		t.Replicas = max(t.Replicas, len(p.Replicas))
		if len(p.ISR) < len(p.Replicas) {
			t.UnderReplicated++
		}
		key := scan.TopicPartition{Topic: m.Topic, Partition: id}
		if o, ok := ends[id]; ok && o.Err == nil {
			w.last[key] = o.Offset
		} else {
			silent++
		}
		if last, ok := w.last[key]; ok {
			known++
			end += last
			t.Messages += last - w.starts[key]
		}
	}
	for id, was := range w.leaders[m.Topic] {
		if now, ok := leaders[id]; ok && now != was {
			w.moves = append(w.moves, move{m.Topic, id, was, now})
		}
	}
	w.leaders[m.Topic] = leaders
	if silent > 0 && t.Error == "" {
		t.Error = "the leader of " + partitions(silent) + " does not answer"
	}
	if known < len(m.Partitions) || known == 0 {
		// No sum: the ends of some partitions were never known.
		if was != nil {
			t.Messages, t.Rate, t.Last = was.Messages, was.Rate, was.Last
		}
		return t
	}
	if tr := w.rates["topic/"+m.Topic]; tr != nil && tr.value != end {
		w.moved[m.Topic] = now
	}
	t.Rate = w.rate(now, "topic/"+m.Topic, end)
	t.Last = millis(w.moved[m.Topic])
	past := w.ends[m.Topic]
	if past == nil {
		past = &pastEnds{}
		w.ends[m.Topic] = past
	}
	past.add(now, end)
	return t
}

func (w *Watcher) forgetTopic(name string, t *Topic) {
	delete(w.rates, "topic/"+name)
	delete(w.ends, name)
	delete(w.moved, name)
	delete(w.leaders, name)
	for id := range t.Partitions {
		delete(w.last, scan.TopicPartition{Topic: name, Partition: int32(id)})
		delete(w.starts, scan.TopicPartition{Topic: name, Partition: int32(id)})
		delete(w.rates, laneKey(name, int32(id)))
	}
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

// applyBrokers makes the brokers from an answer.
func (w *Watcher) applyBrokers(a *brokersAnswer) {
	if a.err != nil {
		w.said["brokers"] = "the brokers cannot be listed: " + a.err.Error()
		return
	}
	w.said["brokers"] = ""
	w.known.brokers = true
	all := map[string]*Broker{}
	for _, b := range a.list.Brokers {
		n := &Broker{Address: b.Address, Alive: b.Alive, Controller: b.Controller, Leaders: b.Leads, Bytes: b.Bytes}
		if was := w.next.Cluster.Brokers[strconv.Itoa(int(b.ID))]; was != nil && n.Bytes < 0 {
			n.Bytes = was.Bytes // of a broker that does not answer: as of before
		}
		if !b.Alive {
			n.Reason = cmp.Or(b.Reason, "it does not run")
		}
		all[strconv.Itoa(int(b.ID))] = n
	}
	w.next.Cluster.Brokers = all
	w.next.Note = a.list.Note
	w.changeTopics(func(name string, t *Topic) {
		if n, ok := a.sizes[name]; ok {
			t.Bytes = n
		}
	})
}

// maxPositions bounds how many positions of groups the state holds; a group beyond
// shows its own on its page.
const maxPositions = 20_000

// applyGroups makes the groups from an answer.
func (w *Watcher) applyGroups(a *groupsAnswer) {
	if a.err != nil {
		w.said["groups"] = "the groups cannot be listed: " + a.err.Error()
		return
	}
	w.said["groups"] = strings.Join(a.warnings[:min(2, len(a.warnings))], "; ")
	w.known.groups = true
	w.next.Cluster.GroupsTime = millis(a.at)
	groups := make(map[string]*Group, len(a.list))
	room := maxPositions
	for k := range a.list {
		d := &a.list[k]
		g := &Group{Type: d.Type, State: d.State, Protocol: d.Protocol, Members: d.MemberCount, Topics: d.Topics, Lag: d.Lag, Error: d.Error,
			Positions: map[string]map[string]int64{}, Assignments: map[string]map[string]string{}}
		w.describe(g, d)
		was := w.next.Groups[d.Name]
		if was != nil {
			g.Rebalances = was.Rebalances
			if w.rebalanced(d.Name, g, was, d) {
				g.Rebalances++
			}
		}
		w.pace(a.at, d.Name, g)
		if room -= len(d.Partitions); room < 0 && !w.counts(d.Name) {
			g.Positions, g.Assignments = map[string]map[string]int64{}, map[string]map[string]string{}
		}
		groups[d.Name] = g
	}
	for name, was := range w.next.Groups {
		switch {
		case groups[name] != nil:
		case len(a.warnings) > 0: // its coordinator may be who did not answer
			c := *was
			c.Error = "as of before: " + a.warnings[0]
			groups[name] = &c
		default:
			delete(w.members, name)
			delete(w.rates, "group/"+name)
			delete(w.rates, "ends/"+name)
		}
	}
	w.next.Groups = groups
}

// counts reports whether a group is the one that counts a stream.
func (w *Watcher) counts(group string) bool {
	return slices.ContainsFunc(w.cfg.Streams, func(s StreamConfig) bool { return s.Group == group })
}

// describe fills in members and positions.
func (w *Watcher) describe(g *Group, d *inspect.GroupDetail) {
	labels := map[string]string{}
	for i, m := range d.Members {
		label := strconv.Itoa(i+1) + " " + m.ClientID
		labels[m.ID] = label
		for topic, partitions := range m.Assigned {
			if g.Assignments[topic] == nil {
				g.Assignments[topic] = map[string]string{}
			}
			for _, p := range partitions {
				g.Assignments[topic][strconv.Itoa(int(p))] = label
			}
		}
	}
	var worst time.Duration
	for _, p := range d.Partitions {
		if p.Committed >= 0 {
			if g.Positions[p.Topic] == nil {
				g.Positions[p.Topic] = map[string]int64{}
			}
			g.Positions[p.Topic][strconv.Itoa(int(p.Partition))] = p.Committed
		}
		worst = max(worst, p.LagTime)
	}
	g.Lag = d.Lag
	if worst > 0 {
		s := worst.Seconds()
		g.LagSeconds = &s
	}
}

// pace finds out how fast a group consumes, and what that means.
func (w *Watcher) pace(now time.Time, name string, g *Group) {
	var position, end int64
	var age time.Duration
	aged := false
	for topic, partitions := range g.Positions {
		var sum int64
		for _, o := range partitions {
			sum += o
		}
		position += sum
		tr := w.rates["topic/"+topic]
		t := w.next.Topics[topic]
		if tr == nil || t == nil || t.Partitions != len(partitions) {
			continue
		}
		end += tr.value
		if a, ok := w.ends[topic].age(now, sum); ok {
			age, aged = max(age, a), true
		}
	}
	if len(g.Positions) > 0 {
		g.Rate = w.rate(now, "group/"+name, position)
		g.Trend = w.rate(now, "ends/"+name, end) - g.Rate
	}
	zero := 0.0
	switch {
	case g.Lag == 0:
		g.LagSeconds = &zero
	case g.LagSeconds == nil && aged:
		s := age.Seconds()
		g.LagSeconds = &s
	}
	if g.Lag > 0 && g.Trend < -0.5 {
		eta := float64(g.Lag) / -g.Trend
		g.ETASeconds = &eta
	}
}

// lagPerTopic adds to each topic the groups that read it.
func (w *Watcher) lagPerTopic() {
	w.changeTopics(func(_ string, t *Topic) { t.Groups, t.Lag = []string{}, 0 })
	topics := w.next.Topics
	for name, g := range w.next.Groups {
		for _, topic := range g.Topics {
			t := topics[topic]
			if t == nil {
				continue
			}
			t.Groups = append(t.Groups, name)
			if len(g.Topics) == 1 && !finishedReplay(name, g) {
				t.Lag = max(t.Lag, g.Lag)
			}
		}
	}
	for _, t := range topics {
		slices.Sort(t.Groups)
	}
}

// finishedReplay reports whether a group was made by a replay and nobody reads with it
// any more. It stays for the comparison, and its lag grows without a meaning.
func finishedReplay(name string, g *Group) bool {
	return g.Members == 0 && strings.HasSuffix(name, inspect.ReplaySuffix)
}

// applyStreams joins what the cluster, Redis and this process know of each stream;
// a is nil where nothing new came from Redis.
func (w *Watcher) applyStreams(now time.Time, a *streamsAnswer) {
	var local map[string]Local
	if w.cfg.Local != nil {
		local = w.cfg.Local()
	}
	streams := map[string]*Stream{}
	for _, cfg := range w.cfg.Streams {
		s := &Stream{Topic: cfg.Topic, Group: cfg.Group, Counts: map[string]int64{}, Total: -1, Local: Local{State: "external"}}
		if was := w.next.Streams[cfg.Name]; was != nil {
			s.Counts, s.Counted, s.CountRate, s.Redis, s.Total, s.Rate = was.Counts, was.Counted, was.CountRate, was.Redis, was.Total, was.Rate
		}
		if l, ok := local[cfg.Name]; ok {
			s.Local = l
		}
		s.Latency = w.latency(now, cfg.Name+"/commit", s.Measured.Commit)
		s.EndToEnd = w.latency(now, cfg.Name+"/end", s.Measured.EndToEnd)
		s.Sink = w.latency(now, cfg.Name+"/sink", s.Measured.Sink)
		if g := w.next.Groups[cfg.Group]; g != nil {
			s.Lag, s.LagSeconds = g.Lag, g.LagSeconds
		}
		if a != nil {
			w.count(a.at, cfg, s, a.of[cfg.Name], a.asked)
		}
		s.Lanes = w.lanes[cfg.Topic]
		if s.Lanes == nil {
			s.Lanes = []Lane{}
		}
		streams[cfg.Name] = s
	}
	w.next.Streams = streams
}

// count fills in what was counted, and how many events the topic was given.
func (w *Watcher) count(at time.Time, cfg StreamConfig, s *Stream, c streamCounts, asked bool) {
	switch {
	case !asked:
		s.Redis = "not watched"
	case c.err != nil:
		s.Redis = c.err.Error() // the counts stay those of before
	default:
		s.Redis, s.Counts, s.Counted = "ok", c.counts, c.counted
		s.CountRate = w.rate(at, "counted/"+cfg.Name, c.counted)
		for kind, n := range c.counts {
			w.rate(at, "kind/"+cfg.Name+"/"+kind, n)
		}
	}
	if s.Total = c.total; s.Total >= 0 {
		s.Rate = w.rate(at, "ingested/"+cfg.Name, s.Total)
		return
	}
	s.Total = s.Counted + s.Lag
	if t := w.next.Topics[cfg.Topic]; t != nil {
		s.Rate = t.Rate
	}
}

func laneKey(topic string, partition int32) string {
	return "lane/" + topic + "/" + strconv.Itoa(int(partition))
}

// lanesOf are the partitions of a stream's topic.
func (w *Watcher) lanesOf(at time.Time, topic string) []Lane {
	lanes := []Lane{}
	for id, leader := range w.leaders[topic] {
		key := scan.TopicPartition{Topic: topic, Partition: id}
		l := Lane{Partition: id, Leader: leader, Start: w.starts[key]}
		if end, ok := w.last[key]; ok {
			l.End = end
			l.Rate = w.rate(at, laneKey(topic, id), end)
		}
		lanes = append(lanes, l)
	}
	slices.SortFunc(lanes, func(a, b Lane) int { return int(a.Partition - b.Partition) })
	return lanes
}

// remember adds this version to the history.
func (w *Watcher) remember(now time.Time) {
	values := map[string]float64{}
	for name, t := range w.next.Topics {
		if !t.Internal {
			values["topic/"+name+"/rate"] = t.Rate
		}
	}
	for name, g := range w.next.Groups {
		if g.Lag >= 0 {
			values["group/"+name+"/lag"] = float64(g.Lag)
		}
		values["group/"+name+"/rate"] = g.Rate
	}
	for name, s := range w.next.Streams {
		p := "stream/" + name + "/"
		values[p+"rate"], values[p+"count_rate"] = s.Rate, s.CountRate
		if s.Lag >= 0 {
			values[p+"lag"] = float64(s.Lag)
		}
		for name, l := range map[string]*Latency{"latency": s.Latency, "end_to_end": s.EndToEnd, "sink": s.Sink} {
			if l != nil {
				values[p+name+"_p50"], values[p+name+"_p99"] = l.P50, l.P99
			}
		}
		if s.Queue != nil && s.Queue.MaxBytes > 0 {
			values[p+"queue"] = max(float64(s.Queue.Bytes)/float64(s.Queue.MaxBytes), float64(s.Queue.Events)/float64(max(1, s.Queue.MaxEvents)))
		}
		for kind := range s.Counts {
			if t := w.rates["kind/"+name+"/"+kind]; t != nil {
				values[p+"kind/"+kind] = t.rate
			}
		}
	}
	w.history.add(now, values)
}

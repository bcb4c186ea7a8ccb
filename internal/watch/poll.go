package watch

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/tally"
)

// pollTopics reads metadata and the ends of all logs.
func (w *Watcher) pollTopics(ctx context.Context, now time.Time) {
	meta, err := w.admin.Metadata(ctx)
	if err != nil {
		w.next.Cluster.Error = "Kafka cannot be asked: " + err.Error()
		w.keepTopics()
		return
	}
	w.next.Cluster.ID, w.next.Cluster.Controller = meta.Cluster, meta.Controller
	ends, err := w.admin.ListEndOffsets(ctx)
	if err != nil && len(ends) == 0 {
		w.next.Cluster.Error = "Kafka does not tell where its logs end: " + err.Error()
	}
	if now.Sub(w.lastSlow) >= slowEvery {
		if starts, err := w.admin.ListStartOffsets(ctx); err == nil || len(starts) > 0 {
			clear(w.starts)
			starts.Each(func(o kadm.ListedOffset) {
				if o.Err == nil {
					w.starts[partitionKey(o.Topic, o.Partition)] = o.Offset
				}
			})
		}
	}
	clear(w.laneEnds)
	for _, s := range w.cfg.Streams {
		for id, o := range ends[s.Topic] {
			if o.Err == nil {
				w.laneEnds[partitionKey(s.Topic, id)] = o.Offset
			}
		}
	}
	leads := map[int32]int{}
	topics := make(map[string]*Topic, len(meta.Topics))
	for name, m := range meta.Topics {
		topics[name] = w.topic(now, m, ends[name], w.next.Topics[name], leads)
	}
	for name := range w.next.Topics {
		if topics[name] == nil {
			w.forgetTopic(name)
		}
	}
	w.next.Topics = topics
	w.next.Cluster.Brokers = w.brokers(meta, leads)
}

// keepTopics goes on with copies of the topics of before: what is published is
// never changed, and who reads them can still change.
func (w *Watcher) keepTopics() {
	topics := make(map[string]*Topic, len(w.next.Topics))
	for name, t := range w.next.Topics {
		c := *t
		c.Rate = 0
		topics[name] = &c
	}
	w.next.Topics = topics
}

func partitionKey(topic string, partition int32) string {
	return topic + "/" + strconv.Itoa(int(partition))
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
	known := true
	for id, p := range m.Partitions {
		leaders[id] = p.Leader
		leads[p.Leader]++
		t.Replicas = max(t.Replicas, len(p.Replicas))
		if len(p.ISR) < len(p.Replicas) {
			t.UnderReplicated++
		}
		o, ok := ends[id]
		if !ok || o.Err != nil {
			known = false
			continue
		}
		end += o.Offset
		t.Messages += o.Offset - w.starts[partitionKey(m.Topic, id)]
	}
	for id, was := range w.leaders[m.Topic] {
		if now, ok := leaders[id]; ok && now != was {
			w.moves = append(w.moves, move{m.Topic, id, was, now})
		}
	}
	w.leaders[m.Topic] = leaders
	if !known {
		if t.Error == "" {
			t.Error = "the end of a partition is not known: its leader does not answer"
		}
		if was != nil {
			t.Messages, t.Rate, t.Last = was.Messages, was.Rate, was.Last
		}
		return t
	}
	if tr := w.rates["topic/"+m.Topic]; tr == nil || tr.value != end {
		if tr != nil {
			w.moved[m.Topic] = now
		}
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

func (w *Watcher) forgetTopic(name string) {
	delete(w.rates, "topic/"+name)
	delete(w.ends, name)
	delete(w.moved, name)
	delete(w.leaders, name)
}

// brokers keeps what only pollBrokers finds out.
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

// pollBrokers asks for what is costly or told by the running process only.
func (w *Watcher) pollBrokers(ctx context.Context, _ time.Time) {
	list, err := w.cfg.Inspector.Brokers(ctx)
	if err != nil {
		if w.next.Cluster.Error == "" {
			w.next.Cluster.Error = "the brokers cannot be listed: " + err.Error()
		}
		return
	}
	all := map[string]*Broker{}
	for _, b := range list.Brokers {
		n := &Broker{Address: b.Address, Alive: b.Alive, Controller: b.Controller, Leaders: b.Leads, Bytes: b.Bytes}
		if !b.Alive {
			n.Reason = cmp.Or(b.Reason, "it does not run")
		}
		all[strconv.Itoa(int(b.ID))] = n
	}
	w.next.Cluster.Brokers = all
	w.next.Note = list.Note
	topics, err := w.cfg.Inspector.Topics(ctx)
	if err != nil {
		return // the sizes stay those of before
	}
	for _, t := range topics.Topics {
		if n := w.next.Topics[t.Name]; n != nil {
			n.Bytes = t.Bytes
		}
	}
}

// pollGroups lists all groups, and describes those that matter most.
func (w *Watcher) pollGroups(ctx context.Context, now time.Time) {
	list, err := w.cfg.Inspector.Groups(ctx)
	if err != nil {
		if w.next.Cluster.Error == "" {
			w.next.Cluster.Error = "the groups cannot be listed: " + err.Error()
		}
		return
	}
	detailed := w.detailed(list.Groups)
	groups := make(map[string]*Group, len(list.Groups))
	for _, l := range list.Groups {
		g := &Group{Type: l.Type, State: l.State, Protocol: l.Protocol, Members: l.MemberCount, Topics: l.Topics, Lag: l.Lag, Error: l.Error,
			Positions: map[string]map[string]int64{}, Assignments: map[string]map[string]string{}}
		was := w.next.Groups[l.Name]
		var d *inspect.GroupDetail
		if detailed[l.Name] {
			if got, err := w.cfg.Inspector.Group(ctx, l.Name); err == nil {
				d = &got
				w.describe(g, d)
			} else if g.Error == "" {
				g.Error = err.Error()
			}
		} else if was != nil {
			g.Positions, g.Assignments = was.Positions, was.Assignments
		}
		if was != nil {
			g.Rebalances = was.Rebalances
			if w.rebalanced(l.Name, g, was, d) {
				g.Rebalances++
			}
		}
		w.pace(now, l.Name, g)
		groups[l.Name] = g
	}
	for name := range w.next.Groups {
		if groups[name] == nil {
			delete(w.members, name)
			delete(w.rates, "group/"+name)
			delete(w.rates, "ends/"+name)
		}
	}
	w.next.Groups = groups
}

// detailed chooses whom to describe: weir's own groups always, the others in turn.
func (w *Watcher) detailed(all []inspect.Group) map[string]bool {
	chosen := map[string]bool{}
	for _, s := range w.cfg.Streams {
		chosen[s.Group] = true
	}
	for i := range min(maxDetailed, len(all)) {
		chosen[all[(w.turn+i)%len(all)].Name] = true
	}
	if len(all) > 0 {
		w.turn = (w.turn + maxDetailed) % len(all)
	}
	return chosen
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

// lagPerTopic tells each topic who reads it.
func (w *Watcher) lagPerTopic() {
	for _, t := range w.next.Topics {
		t.Groups, t.Lag = []string{}, 0
	}
	for name, g := range w.next.Groups {
		for _, topic := range g.Topics {
			t := w.next.Topics[topic]
			if t == nil {
				continue
			}
			t.Groups = append(t.Groups, name)
			if len(g.Topics) == 1 {
				t.Lag = max(t.Lag, g.Lag)
			}
		}
	}
	for _, t := range w.next.Topics {
		slices.Sort(t.Groups)
	}
}

// pollStreams joins what the cluster, Redis and this process know of each stream.
func (w *Watcher) pollStreams(ctx context.Context, now time.Time) {
	var local map[string]Local
	if w.cfg.Local != nil {
		local = w.cfg.Local()
	}
	streams := map[string]*Stream{}
	for _, cfg := range w.cfg.Streams {
		was := w.next.Streams[cfg.Name]
		s := &Stream{Topic: cfg.Topic, Group: cfg.Group, Counts: map[string]int64{}, Local: Local{State: "external"}}
		if l, ok := local[cfg.Name]; ok {
			s.Local = l
		}
		s.Latency = w.latency(now, cfg.Name+"/commit", s.Measured.Commit)
		s.EndToEnd = w.latency(now, cfg.Name+"/end", s.Measured.EndToEnd)
		s.Sink = w.latency(now, cfg.Name+"/sink", s.Measured.Sink)
		w.counts(ctx, now, cfg, s, was)
		w.total(ctx, now, cfg, s)
		if g := w.next.Groups[cfg.Group]; g != nil {
			s.Lag, s.LagSeconds = g.Lag, g.LagSeconds
		}
		s.Lanes = w.lanes(now, cfg.Topic)
		streams[cfg.Name] = s
	}
	w.next.Streams = streams
}

// counts reads the tallies of a stream.
func (w *Watcher) counts(ctx context.Context, now time.Time, cfg StreamConfig, s, was *Stream) {
	if w.cfg.Tallies == nil {
		s.Redis = "not watched"
		return
	}
	s.Redis = "ok"
	for _, topic := range append([]string{cfg.Topic}, cfg.More...) {
		var parts map[int32]tally.Tally
		parts, err := w.cfg.Tallies.Partitions(ctx, cfg.Group, topic)
		if err != nil {
			s.Redis = err.Error()
			if was != nil {
				s.Counts, s.Counted, s.CountRate = was.Counts, was.Counted, was.CountRate
			}
			return
		}
		for _, t := range parts {
			for kind, n := range t.Counts {
				s.Counts[kind] += n
				s.Counted += n
			}
		}
	}
	s.CountRate = w.rate(now, "counted/"+cfg.Name, s.Counted)
	for kind, n := range s.Counts {
		w.rate(now, "kind/"+cfg.Name+"/"+kind, n)
	}
}

// total finds out how many events the topic was given, and how fast.
func (w *Watcher) total(ctx context.Context, now time.Time, cfg StreamConfig, s *Stream) {
	s.Total = -1
	if w.cfg.Ingested != nil {
		s.Total = w.cfg.Ingested(ctx, cfg.Name)
	}
	if s.Total >= 0 {
		s.Rate = w.rate(now, "ingested/"+cfg.Name, s.Total)
		return
	}
	s.Total = s.Counted + s.Lag
	if t := w.next.Topics[cfg.Topic]; t != nil {
		s.Rate = t.Rate
	}
}

// lanes are the partitions of a stream's topic.
func (w *Watcher) lanes(now time.Time, topic string) []Lane {
	lanes := []Lane{}
	for id, leader := range w.leaders[topic] {
		lanes = append(lanes, Lane{Partition: id, Leader: leader, Start: w.starts[partitionKey(topic, id)]})
	}
	slices.SortFunc(lanes, func(a, b Lane) int { return int(a.Partition - b.Partition) })
	for i := range lanes {
		l := &lanes[i]
		if end, ok := w.laneEnds[partitionKey(topic, l.Partition)]; ok {
			l.End = end
			l.Rate = w.rate(now, "lane/"+partitionKey(topic, l.Partition), end)
		}
	}
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

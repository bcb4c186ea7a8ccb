package learn

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/watch"
)

// sample is what an observer gets of the cluster at one time.
type sample struct {
	at     time.Time
	groups map[string]groupSample
	// now says that the sample was asked for by a check: what is remembered is then kept as well.
	now bool
	// state is the newest live state; nil where nothing is watched.
	state *watch.State
}

// groupSample is a consumer group at one time.
type groupSample struct {
	members int
	// owners is how many members have at least one partition, assigned how many partitions have a member.
	owners, assigned int
	lag              int64 // inspect.Unknown where it is unknown
	// committed are the committed offsets by topic and partition.
	committed map[string]map[int32]int64
	topics    map[string]struct{} // that it reads: assigned, or with a committed offset
	settled   bool                // no rebalance is in progress
}

// sum is the sum of the committed offsets.
func (g groupSample) sum() (sum int64) {
	for _, partitions := range g.committed {
		for _, o := range partitions {
			sum += o
		}
	}
	return sum
}

// shares reports whether both groups have committed offsets in one topic.
func (g groupSample) shares(other groupSample) bool {
	for topic := range g.committed {
		if len(other.committed[topic]) > 0 {
			return true
		}
	}
	return false
}

func (g groupSample) commit(topic string, partition int32, offset int64) {
	if g.committed[topic] == nil {
		g.committed[topic] = map[int32]int64{}
	}
	g.committed[topic][partition] = offset
	g.topics[topic] = struct{}{}
}

// observeEvery is how often Run takes a sample.
const observeEvery = time.Second

// Run observes the cluster for the stations that are not done, until ctx ends.
func (c *Course) Run(ctx context.Context) error {
	timer := time.NewTicker(observeEvery)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
			if err := c.observeOpen(ctx); err != nil && ctx.Err() == nil {
				c.cfg.Log.Debug("stations not observed", "error", err)
			}
		}
	}
}

// observeOpen takes one sample for all stations that are not done and need it. Groups come from
// the live state where there is one, so that open stations cost the cluster nothing.
func (c *Course) observeOpen(ctx context.Context) error {
	p, err := c.progress.load()
	if err != nil {
		return err
	}
	var open []*station
	for i := range stations {
		if st := &stations[i]; st.observe != nil && p.station(st.number).DoneAt == 0 {
			open = append(open, st)
		}
	}
	if len(open) == 0 {
		return nil
	}
	l, s, err := c.watched(ctx, p)
	if err != nil {
		return err
	}
	for _, st := range open {
		if err := c.observe(ctx, l.at(st), s); err != nil {
			return err
		}
	}
	return nil
}

// watched makes a sample of the live state, or asks the cluster where nothing is watched. The look
// of a live state has no metadata; metadata asks for it.
func (c *Course) watched(ctx context.Context, p *saved) (*look, sample, error) {
	if c.cfg.State != nil {
		if state := c.cfg.State(); state.Cluster.GroupsTime != 0 && state.Cluster.ID != "" {
			l := &look{c: c, cluster: c.cfg.Own}
			names, known := p.Before[state.Cluster.ID]
			if l.cluster == "" {
				l.cluster, l.before = state.Cluster.ID, set(names)
			}
			if known || c.cfg.Own != "" {
				s := sampleOfState(state)
				return l, s, l.addUnread(ctx, &s)
			}
		}
	}
	l := c.look(ctx)
	if l.metaErr != nil {
		return nil, sample{}, l.metaErr
	}
	s, err := l.sample(ctx)
	return l, s, err
}

// maxUnread bounds for how many topics a sample asks for what addUnread adds.
const maxUnread = 10

// addUnread adds to the lag of groups the records of partitions in which they have no committed offset.
// Many clients commit nothing for a partition that was empty, and Kafka counts no lag there.
func (l *look) addUnread(ctx context.Context, s *sample) error {
	lacking := map[string][]string{} // groups by topic
	for _, name := range sortedNames(s.groups) {
		for topic := range s.groups[name].committed {
			if !l.ownGroup(name) && (lacking[topic] != nil || len(lacking) < maxUnread) {
				lacking[topic] = append(lacking[topic], name)
			}
		}
	}
	for topic, groups := range lacking {
		if s.state != nil && l.meta.Topics == nil { // the live state knows where nothing is to be asked
			t := s.state.Topics[topic]
			groups = slices.DeleteFunc(groups, func(g string) bool { return t == nil || len(s.groups[g].committed[topic]) >= t.Partitions })
		}
		if len(groups) == 0 {
			continue
		}
		meta, err := l.metadata(ctx)
		if err != nil {
			return err
		}
		groups = slices.DeleteFunc(groups,
			func(g string) bool { return len(s.groups[g].committed[topic]) >= len(meta.Topics[topic].Partitions) })
		if len(groups) == 0 {
			continue
		}
		parts, err := l.partitions(ctx, topic)
		if err != nil {
			return err
		}
		for _, name := range groups {
			g := s.groups[name]
			for _, p := range parts {
				if _, ok := g.committed[topic][p.Partition]; !ok && g.lag != inspect.Unknown {
					g.lag += p.End - p.Start
				}
			}
			s.groups[name] = g
		}
	}
	return nil
}

// observeNow gives the station a sample of this moment.
func (l *look) observeNow(ctx context.Context) error {
	if l.metaErr != nil {
		return l.metaErr
	}
	s, err := l.sample(ctx)
	if err != nil {
		return err
	}
	s.now = true
	return l.c.observe(ctx, l, s)
}

// observe gives a sample to a station, one at a time.
func (c *Course) observe(ctx context.Context, l *look, s sample) error {
	c.observing.Lock()
	defer c.observing.Unlock()
	return l.observe(ctx, l, s)
}

// sample asks the cluster for its groups.
func (l *look) sample(ctx context.Context) (sample, error) {
	s := sample{at: time.Now(), groups: map[string]groupSample{}}
	if l.c.cfg.State != nil {
		s.state = l.c.cfg.State()
	}
	list, _, err := l.inspector().Details(ctx, nil)
	for i := range list {
		s.groups[list[i].Name] = sampleOf(&list[i])
	}
	if err != nil {
		return s, err
	}
	return s, l.addUnread(ctx, &s)
}

// sampleOfState makes a sample of the live state.
func sampleOfState(state *watch.State) sample {
	s := sample{at: time.UnixMilli(state.Cluster.GroupsTime), groups: map[string]groupSample{}, state: state}
	for name, g := range state.Groups {
		if g.Error != "" {
			continue // what is shown of it is as of before
		}
		out := groupSample{members: g.Members, lag: g.Lag, committed: map[string]map[int32]int64{}, topics: map[string]struct{}{},
			settled: slices.Contains(settledStates, g.State)}
		owners := map[string]struct{}{}
		for topic, partitions := range g.Assignments {
			out.topics[topic] = struct{}{}
			for _, member := range partitions {
				owners[member] = struct{}{}
				out.assigned++
			}
		}
		out.owners = len(owners)
		for topic, partitions := range g.Positions {
			for text, offset := range partitions {
				if p, err := strconv.ParseInt(text, 10, 32); err == nil {
					out.commit(topic, int32(p), offset)
				}
			}
		}
		s.groups[name] = out
	}
	return s
}

var settledStates = []string{"Stable", "Empty", "Dead"}

func sampleOf(d *inspect.GroupDetail) groupSample {
	g := groupSample{members: len(d.Members), lag: d.Lag, committed: map[string]map[int32]int64{}, topics: map[string]struct{}{},
		settled: slices.Contains(settledStates, d.State)}
	for _, m := range d.Members {
		n := 0
		for topic, partitions := range m.Assigned {
			n += len(partitions)
			g.topics[topic] = struct{}{}
		}
		g.assigned += n
		if n > 0 {
			g.owners++
		}
	}
	for _, p := range d.Partitions {
		if p.Committed >= 0 {
			g.commit(p.Topic, p.Partition, p.Committed)
		}
	}
	return g
}

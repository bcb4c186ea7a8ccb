package schedules

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"strconv"
	"time"

	"github.com/weir-project/weir/internal/kafka"
)

// What the API says, as far as it is compared. These types are written by hand.
type (
	topicSaid struct {
		Name       string
		Partitions int
		Messages   int64
		Error      string
		Parts      []struct {
			Partition         int32
			Low, High, Stable int64
			Error             string
		} `json:"partition_list"`
		Warnings []string
	}
	topicsSaid struct {
		Topics []struct {
			Name       string
			Partitions int
			Messages   int64
			Error      string
		}
		Warnings []string
	}
	groupSaid struct {
		Group, State string
		Lag          int64
		Error        string
		Members      []struct {
			ID       string
			Assigned map[string][]int32
		}
		Partitions []struct {
			Topic                    string
			Partition                int32
			Committed, Low, End, Lag int64
			Member, Error            string
		}
	}
	messageSaid struct {
		Topic     string
		Partition int32
		Offset    int64
		Key       *string
		Value     *string
		ValueSize int `json:"value_size"`
		Truncated bool
		Headers   []struct {
			Name  string
			Value *string
		}
		Gap *gapSaid
	}
	gapSaid      struct{ First, Last, Markers, Aborted, Missing int64 }
	messagesSaid struct {
		Messages []messageSaid
		Done     bool
		Unread   []string
	}
	stateSaid struct {
		Time    int64
		Cluster struct{ Error string }
		Streams map[string]struct {
			Counts       map[string]int64
			Counted, Lag int64
			Redis        string
			Lanes        []struct {
				Partition  int32
				Start, End int64
			}
		}
		Groups map[string]struct {
			Positions map[string]map[string]int64
			Lag       int64
		}
	}
)

// bounds is what the raw observers saw at one look.
type bounds struct {
	ends, stables map[place]int64
	records       map[place]int   // committed ones
	groups        map[place]int64 // committed offsets; nil where the group has none
	members       int
}

func (o *observer) bounds() bounds {
	s := o.s
	b := bounds{ends: map[place]int64{}, stables: map[place]int64{}, records: map[place]int{}, members: len(s.counting(s.src.data))}
	for at, log := range o.kafka.logs {
		b.ends[at], b.stables[at], b.records[at] = log.end, log.stable, len(log.committed)
	}
	var err error
	b.groups, err = o.kafka.offsets(group(s.src.data), s.brokers)
	s.check(err)
	return b
}

// between reports whether a figure lies between two others.
func between(v, a, b int64) bool { return min(a, b) <= v && v <= max(a, b) }

func (p *page) compareTopic(t *topicSaid, before, after *bounds) {
	s := p.s
	var messages int64
	whole := t.Error == ""
	for _, part := range t.Parts {
		at := place{t.Name, part.Partition}
		if part.Error != "" {
			whole = false
			if !s.isShaken() || part.Low >= 0 || part.High >= 0 {
				s.errorf("the page says of %v: %+v", at, part)
			}
			continue
		}
		if part.Low != 0 || !between(part.High, before.ends[at], after.ends[at]) ||
			part.Stable >= 0 && !between(part.Stable, before.stables[at], after.stables[at]) {
			s.errorf("the page says of %v: %+v, and its end was %d and is %d, its last stable offset %d and %d",
				at, part, before.ends[at], after.ends[at], before.stables[at], after.stables[at])
		}
		if part.Stable < 0 && !s.isShaken() {
			s.errorf("the page does not know the last stable offset of %v", at)
		}
		messages += part.High - part.Low
	}
	if whole && (t.Messages != messages || t.Partitions != len(t.Parts)) {
		s.errorf("the page says that %s has %d messages in %d partitions, and lists %d in %d",
			t.Name, t.Messages, t.Partitions, messages, len(t.Parts))
	}
	if !whole && !s.isShaken() {
		s.errorf("the page says of %s: %s", t.Name, t.Error)
	}
}

// visible is how many committed records a partition has between two offsets.
func (o *observer) visible(at place, from, to int64) (n int64) {
	all := o.kafka.logs[at].committed
	for i := sort.Search(len(all), func(i int) bool { return all[i].offset >= from }); i < len(all) && all[i].offset < to; i++ {
		n++
	}
	return n
}

func (p *page) compareGroup(g *groupSaid, before, after *bounds) {
	s := p.s
	var sum int64
	whole := g.Error == ""
	for _, part := range g.Partitions {
		at := place{part.Topic, part.Partition}
		if part.Error != "" || part.Lag < 0 {
			whole = false
			if !s.isShaken() {
				s.errorf("the page says of the group in %v: %+v", at, part)
			}
			continue
		}
		sum += part.Lag
		was, wasThere := before.groups[at]
		is, isThere := after.groups[at]
		switch {
		case part.Committed < 0 && wasThere && isThere, part.Committed >= 0 && !isThere, at.topic != s.src.data:
			s.errorf("the page says of the group in %v: %+v, and it had committed %d (%v), and has %d (%v)", at, part, was, wasThere, is, isThere)
		case part.Committed >= 0 && wasThere && !between(part.Committed, was, is):
			s.errorf("the page says that the group has committed %d in %v, and it was %d and is %d", part.Committed, at, was, is)
		}
		if part.Low != 0 || !between(part.End, before.ends[at], after.ends[at]) {
			s.errorf("the page says of the group in %v: %+v, and the end was %d and is %d", at, part, before.ends[at], after.ends[at])
		}
		from := max(part.Committed, 0)
		offsets := max(part.End-from, 0)
		least, most := s.obs.visible(at, from, before.stables[at]), s.obs.visible(at, from, after.stables[at])
		if part.Lag != offsets && (offsets > 16 || part.Lag < least || part.Lag > most) {
			s.errorf("the page says that the group lags by %d in %v behind offset %d of %d, where %d to %d messages are left",
				part.Lag, at, from, part.End, least, most)
		}
	}
	if whole && g.Lag != sum {
		s.errorf("the page says that the group lags by %d, and by %d in its partitions", g.Lag, sum)
	}
	if !whole && !s.isShaken() {
		s.errorf("the page says of the group: %s", g.Error)
	}
	owner := map[int32]string{}
	for _, m := range g.Members {
		for _, id := range m.Assigned[s.src.data] {
			if other, twice := owner[id]; twice {
				s.errorf("the page says that partition %d has two members, %s and %s", id, other, m.ID)
			}
			owner[id] = m.ID
		}
	}
}

// stored finds the committed record of an offset.
func (o *observer) stored(at place, offset int64) (stored, bool) {
	log := o.kafka.logs[at]
	if log == nil {
		return stored{}, false
	}
	i, ok := slices.BinarySearchFunc(log.committed, offset, func(r stored, offset int64) int { return int(r.offset - offset) })
	if !ok {
		return stored{}, false
	}
	return log.committed[i], true
}

// compareMessages looks at messages one by one: each is a committed record, with nothing of it changed,
// and explains the offsets between it and the one before.
func (p *page) compareMessages(m *messagesSaid) {
	s := p.s
	if len(m.Unread) > 0 && !s.isShaken() {
		s.errorf("the page leaves out partitions: %v", m.Unread)
	}
	by := map[place][]messageSaid{}
	for _, x := range m.Messages {
		at := place{x.Topic, x.Partition}
		by[at] = append(by[at], x)
		r, ok := s.obs.stored(at, x.Offset)
		if !ok || r.foreign {
			s.errorf("the page shows %v@%d, which is not a committed record", at, x.Offset)
			continue
		}
		headers := map[string]string{}
		for _, h := range x.Headers {
			if h.Value != nil {
				headers[h.Name] = *h.Value
			}
		}
		value := r.value
		if x.Truncated && x.Value != nil {
			value = value[:len(*x.Value)]
		}
		if x.Key != nil && *x.Key != r.key || x.Value != nil && *x.Value != value || x.ValueSize != len(r.value) ||
			headers["kind"] != r.kind || headers["seq"] != r.seq {
			s.errorf("the page shows %v@%d as %+v, and stored is %+v", at, x.Offset, x, r)
		}
	}
	for at, list := range by {
		slices.SortFunc(list, func(a, b messageSaid) int { return int(a.Offset - b.Offset) })
		for i, x := range list {
			if x.Gap != nil {
				p.compareGap(at, x)
			}
			if i == 0 {
				continue
			}
			next := list[i-1].Offset + 1
			if x.Offset < next || x.Offset > next && (x.Gap == nil || x.Gap.First != next) {
				s.errorf("the page shows %v@%d after %d, with the gap %+v", at, x.Offset, next-1, x.Gap)
			}
		}
	}
}

func (p *page) compareGap(at place, x messageSaid) {
	g, log := x.Gap, p.s.obs.kafka.logs[at]
	var aborted int64
	for offset := g.First; offset <= g.Last; offset++ {
		if log.aborted[offset] {
			aborted++
		}
	}
	if n := p.s.obs.visible(at, g.First, x.Offset); g.Last != x.Offset-1 || g.First > g.Last || n > 0 ||
		g.Missing != 0 || g.Aborted != aborted || g.Markers != g.Last-g.First+1-aborted {
		p.s.errorf("the page says of the offsets before %v@%d: %+v, and there are %d messages and %d aborted records",
			at, x.Offset, g, n, aborted)
	}
}

// compareNewest compares the page of the newest messages: as many as were asked for, or all that there are.
func (p *page) compareNewest(m *messagesSaid, before *bounds) {
	p.compareMessages(m)
	there := int64(0)
	for at, stable := range before.stables {
		if at.topic == p.s.src.data {
			there += p.s.obs.visible(at, 0, stable)
		}
	}
	if n := int64(len(m.Messages)); n > pageMessages || n < min(there, pageMessages) && len(m.Unread) == 0 {
		p.s.errorf("the page shows the newest %d messages of %d", n, there)
	}
}

// compareLetters compares all dead letters of the source.
func (p *page) compareLetters(m *messagesSaid, before, after *bounds) {
	p.compareMessages(m)
	at := place{kafka.TopicDeadLetters, p.s.src.partition}
	if n := len(m.Messages); (n < before.records[at] || n > after.records[at]) && len(m.Unread) == 0 {
		p.s.errorf("the page shows %d dead letters, and there were %d and are %d", n, before.records[at], after.records[at])
	}
}

// stale is how old the figures of a picture can be when it is drawn.
const stale = 2*pageInterval + time.Second

// compareState compares the live picture, which may be some seconds old: nothing is more than there is now,
// and nothing goes back.
func (p *page) compareState(st *stateSaid, after *bounds) {
	s, name := p.s, p.s.src.name
	is, ok := st.Streams[name]
	if !ok {
		if time.Since(s.begun) > 2*stale {
			s.errorf("the page's picture has no stream %s", name)
		}
		return
	}
	var sum int64
	all := map[string]int64{} // what could be counted by now
	for at, log := range s.obs.kafka.logs {
		if at.topic == s.src.data {
			maps.Copy(all, addTo(all, s.obs.below(at, log.end)))
		}
	}
	for kind, n := range is.Counts {
		if sum += n; n > all[kind] {
			s.errorf("the page counts %d %s, and %d are stored", n, kind, all[kind])
		}
	}
	if sum != is.Counted {
		s.errorf("the page counts %d events, and %d by type", is.Counted, sum)
	}
	for _, lane := range is.Lanes {
		if at := (place{s.src.data, lane.Partition}); lane.Start != 0 || lane.End > after.ends[at] {
			s.errorf("the page's picture says of %v: %d to %d, and its end is %d", at, lane.Start, lane.End, after.ends[at])
		}
	}
	quiet := !s.isShaken() && (s.rewoundAt.IsZero() || time.Since(s.rewoundAt) > shaken)
	if quiet && time.Since(s.begun) > 2*stale {
		if is.Redis != "ok" || st.Cluster.Error != "" {
			s.errorf("the page says that something is wrong while nothing is: Redis %q, the cluster %q", is.Redis, st.Cluster.Error)
		}
		for kind, n := range s.obs.countsBefore(time.UnixMilli(st.Time).Add(-stale)) {
			if is.Counts[kind] < n {
				s.errorf("the page counts %d %s, and %v before there were %d", is.Counts[kind], kind, stale, n)
			}
		}
	}
	if p.last != nil && quiet && p.lastAt.After(s.rewoundAt.Add(stale)) {
		was := p.last.Streams[name]
		for kind, n := range was.Counts {
			if is.Counts[kind] < n {
				s.errorf("the page counts %d %s, after %d", is.Counts[kind], kind, n)
			}
		}
		for i, lane := range was.Lanes {
			if i < len(is.Lanes) && is.Lanes[i].End < lane.End {
				s.errorf("the page's picture went back from %+v to %+v", lane, is.Lanes[i])
			}
		}
	}
	p.last, p.lastAt = st, time.Now()
}

func addTo(sum, more map[string]int64) map[string]int64 {
	for kind, n := range more {
		sum[kind] += n
	}
	return sum
}

// countsBefore are the counts of the last look before a time; none where there was no such look.
func (o *observer) countsBefore(at time.Time) map[string]int64 {
	i := sort.Search(len(o.history), func(i int) bool { return o.history[i].at.After(at) })
	if i == 0 {
		return nil
	}
	return o.history[i-1].counts
}

// disagrees says where an answer differs from what is there, when everything is settled.
func (p *page) disagrees(q *question) string {
	s := p.s
	if q == nil || len(q.errors) > 0 {
		return fmt.Sprintf("errors: %v", q)
	}
	now := s.obs.bounds()
	want := map[string]int64{}
	for at := range now.ends {
		if at.topic == s.src.data {
			addTo(want, s.obs.below(at, now.ends[at]))
		}
	}
	for _, t := range q.topics.Topics {
		var n int64
		for at, end := range now.ends {
			if at.topic == t.Name {
				n += end
			}
		}
		if t.Error != "" || n != t.Messages && s.obs.covers(t.Name) {
			return fmt.Sprintf("%s has %d messages, want %d", t.Name, t.Messages, n)
		}
	}
	if len(q.group.Members) != now.members || q.group.Lag != 0 {
		return fmt.Sprintf("the group has %d members and a lag of %d, want %d members", len(q.group.Members), q.group.Lag, now.members)
	}
	for _, part := range q.group.Partitions {
		if end := now.ends[place{part.Topic, part.Partition}]; part.Committed != end || part.End != end || part.Member == "" {
			return fmt.Sprintf("of the group: %+v, want offset %d", part, end)
		}
	}
	is := q.state.Streams[s.src.name]
	if !maps.Equal(is.Counts, want) || is.Lag != 0 || is.Redis != "ok" {
		return fmt.Sprintf("counted are %v with a lag of %d, want %v (%s)", is.Counts, is.Lag, want, is.Redis)
	}
	for _, lane := range is.Lanes {
		if end := now.ends[place{s.src.data, lane.Partition}]; lane.End != end {
			return fmt.Sprintf("partition %d ends at %d, want %d", lane.Partition, lane.End, end)
		}
	}
	for id, offset := range q.state.Groups[group(s.src.data)].Positions[s.src.data] {
		n, err := strconv.ParseInt(id, 10, 32)
		if end := now.ends[place{s.src.data, int32(n)}]; err != nil || offset != end {
			return fmt.Sprintf("the group's offset in partition %s is %d, want %d", id, offset, end)
		}
	}
	return ""
}

package learn

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/markdown"
)

// look is a look at the cluster for one station.
type look struct {
	*station
	c *Course

	meta    kadm.Metadata
	metaErr error
	cluster string              // by which evidence is kept
	before  map[string]struct{} // topics of an existing cluster that are not the learner's
	answers bool                // the question was answered, or is now: it stays as it was shown
}

// look asks the cluster for its metadata. A look at a cluster that does not answer has the error.
func (c *Course) look(ctx context.Context) *look {
	l := &look{c: c, cluster: c.cfg.Own}
	if l.meta, l.metaErr = c.cfg.Inspector.Metadata(ctx); l.metaErr != nil || c.cfg.Own != "" {
		return l
	}
	l.cluster = l.meta.Cluster
	l.before, l.metaErr = c.topicsBefore(l.meta)
	return l
}

// maxBefore bounds how many names of topics are kept of an existing cluster.
const maxBefore = 20_000

// topicsBefore returns the topics that an existing cluster had when weir first looked at it.
func (c *Course) topicsBefore(meta kadm.Metadata) (map[string]struct{}, error) {
	p, err := c.progress.load()
	if err != nil {
		return nil, err
	}
	names, known := p.Before[meta.Cluster]
	if !known {
		names = meta.Topics.Names()
		names = names[:min(len(names), maxBefore)]
		err = c.progress.change(func(p *saved) {
			if p.Before == nil {
				p.Before = map[string][]string{}
			}
			p.Before[meta.Cluster] = names
		})
	}
	return set(names), err
}

func set(names []string) map[string]struct{} {
	all := make(map[string]struct{}, len(names))
	for _, n := range names {
		all[n] = struct{}{}
	}
	return all
}

// at is the look for a station.
func (l *look) at(st *station) *look {
	copied := *l
	copied.station = st
	return &copied
}

func (l *look) inspector() *inspect.Inspector { return l.c.cfg.Inspector }

// learnersTopics are the topics that the learner made, by name: neither weir's nor Kafka's own, and
// on an existing cluster none that was there before.
func (l *look) learnersTopics() (list []kadm.TopicDetail) {
	for _, d := range l.meta.Topics.Sorted() {
		_, old := l.before[d.Topic]
		if !old && d.Err == nil && !d.IsInternal && !strings.HasPrefix(d.Topic, "__") && !l.inspector().Reserved(d.Topic) {
			list = append(list, d)
		}
	}
	return list
}

// topic is the topic that texts and commands name: the learner's first one with three partitions,
// else their first one, else "orders". A name that begins with a dash would be a flag in a command.
func (l *look) topic() string {
	mine := slices.DeleteFunc(l.learnersTopics(), func(d kadm.TopicDetail) bool { return strings.HasPrefix(d.Topic, "-") })
	for _, d := range mine {
		if len(d.Partitions) == wantedPartitions {
			return d.Topic
		}
	}
	if len(mine) > 0 {
		return mine[0].Topic
	}
	return l.newTopic()
}

// newTopic is a name for the learner's first topic, which no topic of others has.
func (l *look) newTopic() string {
	for _, name := range []string{"orders", "my-orders", "learn-orders"} {
		if _, old := l.before[name]; !old {
			return name
		}
	}
	return "learn-weir-orders"
}

// streamTopic is the topic of weir's first stream that exists; empty for none.
func (l *look) streamTopic() (topic, group string) {
	for _, s := range l.c.cfg.Streams {
		if d, ok := l.meta.Topics[s.Topic]; ok && d.Err == nil {
			return s.Topic, s.Group
		}
	}
	return "", ""
}

// shown is the topic and the group that pictures and questions are about where the learner chose none:
// those of weir's first stream, else the learner's topic.
func (l *look) shown() (topic, group string) {
	if topic, group = l.streamTopic(); topic == "" {
		topic = l.topic()
	}
	return topic, group
}

// streamPicture is the picture of that topic.
func streamPicture(ctx context.Context, l *look) (Picture, error) {
	topic, group := l.shown()
	return l.lanes(ctx, PictureLanes, topic, group)
}

// ownTopicPicture is the picture of the learner's topic.
func ownTopicPicture(ctx context.Context, l *look) (Picture, error) {
	return l.lanes(ctx, PictureLanes, l.topic(), "")
}

// ownGroups are the groups of weir's streams, which no learner made.
func (l *look) ownGroup(name string) bool {
	for _, s := range l.c.cfg.Streams {
		if name == s.Group || strings.HasPrefix(name, s.Group+"-") || strings.HasPrefix(name, s.Group+".") {
			return true
		}
	}
	return strings.HasSuffix(name, inspect.ReplaySuffix)
}

// listed is the station in the list, without what only the cluster knows.
func (st *station) listed(rec *savedStation) Summary {
	return Summary{Number: st.number, Name: st.name, Title: st.text.title, Minutes: st.minutes, Able: st.text.able,
		Done: rec.DoneAt != 0, DoneAt: rec.DoneAt, Answered: rec.Answer != nil}
}

// summary is the station in the list.
func (l *look) summary(ctx context.Context, rec *savedStation) Summary {
	s := l.listed(rec)
	if l.unavailable != nil && l.metaErr == nil {
		s.Unavailable = l.unavailable(ctx, l)
	}
	return s
}

// ask makes the question of the cluster as it is now.
func (l *look) ask(ctx context.Context) (question, error) {
	if l.metaErr != nil {
		return question{}, l.metaErr
	}
	return l.question(ctx, l)
}

// asked is the question as a page shows it.
func (l *look) asked(ctx context.Context, rec *savedStation) Question {
	q := Question{Text: l.fill(l.text.question), Choices: []string{}}
	l.answers = rec.Answer != nil
	asked, err := l.ask(ctx)
	if err != nil {
		q.Text = markdown.Parse([]byte("weir cannot ask the question now: " + plain(err.Error())))
		return q
	}
	q.Text = append(q.Text, markdown.Parse([]byte(asked.text))...)
	if q.Kind = asked.kind; asked.choices != nil {
		q.Choices = asked.choices
	}
	if a := rec.Answer; a != nil {
		q.Given, q.Right, q.Explanation = a.Given, &a.Right, markdown.Parse([]byte(a.Explanation))
	}
	return q
}

// drawn is the picture of the cluster as it is now.
func (l *look) drawn(ctx context.Context) (Picture, error) {
	if l.metaErr != nil {
		return Picture{}, l.metaErr
	}
	return l.picture(ctx, l)
}

// checked is the result of the check, or what is kept of it where the task is done.
func (l *look) checked(ctx context.Context, rec *savedStation) Check {
	if rec.DoneAt != 0 {
		return Check{Done: true, Seen: append([]string{}, rec.Seen...)}
	}
	if l.metaErr != nil {
		return notYet("weir cannot look into the cluster: " + l.metaErr.Error())
	}
	if l.unavailable != nil {
		if why := l.unavailable(ctx, l); why != "" {
			return notYet(why)
		}
	}
	result, err := l.check(ctx, l)
	if err != nil {
		return notYet("weir cannot look into the cluster: " + err.Error())
	}
	if result.Seen == nil {
		result.Seen = []string{}
	}
	return result
}

// Names of what is kept of a station, beside the cluster's name.
const (
	evidenceKey = ""
	questionKey = "/question"
)

// keep keeps v as the evidence of the station on this cluster.
func (l *look) keep(v any) error { return l.put(evidenceKey, v) }

// pinned is what a question is about. It stays the same while the cluster goes on: choose chooses it where nothing is
// kept, or where good, which may be nil, says that what is kept is of no use any more.
func pinned[T any](l *look, good func(T) bool, choose func() (T, error)) (pin T, err error) {
	known, err := l.kept(questionKey, &pin)
	if err != nil || known && (good == nil || good(pin)) {
		return pin, err
	}
	if pin, err = choose(); err != nil {
		return pin, err
	}
	return pin, l.put(questionKey, pin)
}

func (l *look) kept(key string, v any) (bool, error) {
	p, err := l.c.progress.load()
	if err != nil {
		return false, err
	}
	raw, ok := p.station(l.number).Evidence[l.cluster+key]
	return ok && string(raw) != "null" && json.Unmarshal(raw, v) == nil, nil
}

func (l *look) put(key string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("keep the evidence of station %d: %w", l.number, err)
	}
	return l.c.progress.change(func(p *saved) {
		s := p.station(l.number)
		if s.Evidence == nil {
			s.Evidence = map[string]json.RawMessage{}
		}
		s.Evidence[l.cluster+key] = raw
	})
}

// answer is the learner's last answer to the question of the station; nil for none.
func (l *look) answer() (*savedAnswer, error) {
	p, err := l.c.progress.load()
	if err != nil {
		return nil, err
	}
	return p.station(l.number).Answer, nil
}

// observed is what the observer of a station knows: in memory, at first from the evidence. The caller holds the
// lock observing while it uses it.
func observed[T any](l *look) (*T, error) {
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	key := strconv.Itoa(l.number) + "/" + l.cluster
	if v, ok := l.c.memory[key].(*T); ok {
		return v, nil
	}
	v := new(T)
	if _, err := l.kept(evidenceKey, v); err != nil {
		return nil, err
	}
	l.c.memory[key] = v
	return v, nil
}

// metadata asks the cluster for its metadata where the look has none yet.
func (l *look) metadata(ctx context.Context) (kadm.Metadata, error) {
	if l.meta.Topics == nil && l.metaErr == nil {
		l.meta, l.metaErr = l.inspector().Metadata(ctx)
	}
	return l.meta, l.metaErr
}

// fill replaces the names in braces in the texts of nodes.
func (l *look) fill(nodes []markdown.Node) []markdown.Node {
	out := slices.Clone(nodes)
	for i := range out {
		out[i].Text = l.named(out[i].Text)
		out[i].Children = l.fill(out[i].Children)
	}
	if out == nil {
		out = []markdown.Node{}
	}
	return out
}

// named replaces the names in braces: {topic} is the learner's topic, {stream} and {counter} are the
// topic and the group of one of weir's streams, {broker} is an address, {new} is a name for a topic. A station can have more.
func (l *look) named(s string) string {
	if !strings.Contains(s, "{") {
		return s
	}
	stream, group := l.streamTopic()
	if stream == "" {
		stream, group = "bluesky-events", "weir-bluesky-counter"
	}
	pairs := []string{"{topic}", l.topic(), "{new}", l.newTopic(),
		"{stream}", stream, "{counter}", group, "{broker}", l.broker(), "{redis-cli}", redisCLI(l.c.cfg.Where.RedisURL)}
	if l.names != nil {
		pairs = append(pairs, l.names(l)...)
	}
	return strings.NewReplacer(pairs...).Replace(s)
}

// broker is the address of a broker.
func (l *look) broker() string {
	for _, b := range slices.SortedFunc(slices.Values(l.meta.Brokers), func(a,
		b kadm.BrokerDetail) int {
		return int(a.NodeID - b.NodeID)
	}) {
		return net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))
	}
	return "127.0.0.1:19092"
}

// offsets asks for the starts or the ends of a topic's partitions.
func (l *look) offsets(ctx context.Context, topic string, kind inspect.OffsetKind) (func(partition int32) (int64, error), error) {
	meta, err := l.metadata(ctx)
	if err != nil {
		return nil, err
	}
	one := meta
	one.Topics = kadm.TopicDetails{}
	if d, ok := meta.Topics[topic]; ok {
		one.Topics[topic] = d
	}
	list := l.inspector().Offsets(ctx, one, kind)
	return func(partition int32) (int64, error) {
		if o, ok := list.Lookup(topic, partition); ok && o.Err == nil {
			return o.Offset, nil
		}
		word := map[inspect.OffsetKind]string{inspect.LogStarts: "start", inspect.LogEnds: "end"}[kind]
		return 0, fmt.Errorf("the %s of partition %d of topic %s is not known now: try again", word, partition, topic)
	}, nil
}

// partitions are those of a topic, as a picture shows them. A start or an end that is not known now is 0.
func (l *look) partitions(ctx context.Context, topic string) ([]PicturePartition, error) {
	d, ok := l.meta.Topics[topic]
	if !ok {
		return nil, fmt.Errorf("topic %s: %w", topic, inspect.ErrNoTopic)
	}
	start, err := l.offsets(ctx, topic, inspect.LogStarts)
	if err != nil {
		return nil, err
	}
	end, err := l.offsets(ctx, topic, inspect.LogEnds)
	if err != nil {
		return nil, err
	}
	list := make([]PicturePartition, 0, len(d.Partitions))
	for _, p := range d.Partitions.Sorted() {
		part := PicturePartition{Partition: p.Partition, Leader: p.Leader, Replicas: append([]int32{}, p.Replicas...), ISR: append([]int32{},
			p.ISR...)}
		part.Start, _ = start(p.Partition)
		part.End, _ = end(p.Partition)
		list = append(list, part)
	}
	return list, nil
}

// lanes is the picture of a topic, with the committed offsets and the members of a group; the
// group may be empty or not exist.
func (l *look) lanes(ctx context.Context, kind, topic, group string) (Picture, error) {
	p := Picture{Kind: kind, Topic: topic, Group: group}
	if _, ok := l.meta.Topics[topic]; !ok {
		return Picture{Kind: PictureNone, Note: fmt.Sprintf("There is nothing to show yet: topic %s does not exist. Create a topic "+
			"(station 2), and the picture appears here.", topic)}, nil
	}
	var err error
	if p.Partitions, err = l.partitions(ctx, topic); err != nil || group == "" {
		return p, err
	}
	d, err := l.inspector().Group(ctx, group)
	if err != nil {
		return p, nil //nolint:nilerr // a group that does not exist yet has no flags
	}
	for _, at := range d.Partitions {
		for i := range p.Partitions {
			if part := &p.Partitions[i]; at.Topic == topic && part.Partition == at.Partition {
				if part.Member = at.Member; at.Committed >= 0 {
					committed := at.Committed
					part.Committed = &committed
				}
			}
		}
	}
	for _, m := range d.Members {
		p.Members = append(p.Members, PictureMember{ID: m.ID, ClientID: m.ClientID, Partitions: append([]int32{}, m.Assigned[topic]...)})
	}
	return p, nil
}

// plain makes a text from outside one that Markdown does not change.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune("`*_[]<>\\|#\n", r) {
			return ' '
		}
		return r
	}, s)
}

// sortedNames are the keys of a map, in order.
func sortedNames[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

package inspect

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weir-project/weir/internal/tally"
)

// Topic is a topic in a list.
type Topic struct {
	Name string `json:"name"`
	// ID is the topic's UUID as text, empty where the cluster has none.
	ID         string `json:"id,omitempty"`
	Internal   bool   `json:"internal,omitempty"`
	Partitions int    `json:"partitions"`
	Replicas   int    `json:"replicas"`
	// UnderReplicated partitions lack an in-sync replica; Offline ones a leader.
	UnderReplicated int `json:"under_replicated"`
	Offline         int `json:"offline"`
	// Messages is the sum of high watermark - low watermark: what is retained,
	// with transaction markers and compacted offsets included.
	Messages int64 `json:"messages"`
	// Bytes is the size of one copy, or Unknown.
	Bytes int64 `json:"bytes"`
	// Error says why the rest could not be found out.
	Error string `json:"error,omitempty"`
}

// TopicList is the answer to Topics.
type TopicList struct {
	Topics   []Topic  `json:"topics"`
	Note     string   `json:"note,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
}

// Partition is a partition of a topic.
type Partition struct {
	ID       int32   `json:"partition"`
	Leader   int32   `json:"leader"` // Unknown where there is none
	Replicas []int32 `json:"replicas"`
	ISR      []int32 `json:"isr"`
	// Low is the first offset that is retained, High the one after the last, and
	// Stable the one below which no transaction is open.
	Low    int64  `json:"low"`
	High   int64  `json:"high"`
	Stable int64  `json:"stable"`
	Error  string `json:"error,omitempty"`
}

// TopicDetail is the answer to Topic.
type TopicDetail struct {
	Topic
	Parts  []Partition  `json:"partition_list"`
	Config []Setting    `json:"config"`
	Groups []TopicGroup `json:"groups"`
	// FirstRecord is the timestamp of the oldest first message of its partitions, zero where there is none.
	FirstRecord time.Time `json:"first_record,omitzero"`
	// Limit is what keeps it from reaching further back.
	Limit Limit `json:"limit"`
	// LastRecord is the timestamp of the newest message, zero where there is none.
	LastRecord time.Time `json:"last_record,omitzero"`
	// Protected says why weir does not truncate or delete the topic, nor adds partitions; empty where
	// it does.
	Protected string   `json:"protected,omitempty"`
	Note      string   `json:"note,omitempty"`
	Warnings  []string `json:"warnings,omitempty"`
}

// TopicGroup is a group that consumes a topic.
type TopicGroup struct {
	Name    string `json:"group"`
	Type    string `json:"type"`
	State   string `json:"state"`
	Members int    `json:"members"`
	// Lag is how many messages of this topic it has not consumed, or Unknown.
	Lag int64 `json:"lag"`
}

// Topics lists the topics, ordered by name; internal ones too.
func (i *Inspector) Topics(ctx context.Context) (list TopicList, err error) {
	defer wrap(&err, "list topics")
	meta, err := i.Metadata(ctx)
	list.Topics = []Topic{}
	if err != nil || len(meta.Topics) == 0 {
		return list, err
	}
	at := i.bounds(ctx, meta, LogStarts, LogEnds)
	over, sizes, warnings := i.overlayAndSizes(ctx, meta)
	list.Note, list.Warnings = over.Note, warnings
	for _, d := range meta.Topics.Sorted() {
		list.Topics = append(list.Topics, topic(d, at, sizes))
	}
	return list, nil
}

func topic(d kadm.TopicDetail, at bounds, sizes logBytes) Topic {
	t := Topic{Name: d.Topic, ID: tally.TopicUUID(d.ID), Internal: d.IsInternal, Partitions: len(d.Partitions), Bytes: Unknown}
	if d.Err != nil {
		t.Error = d.Err.Error()
	}
	t.Replicas, t.UnderReplicated, t.Offline = Replication(d)
	for _, p := range d.Partitions {
		lo, hi, err := at.of(d.Topic, p.Partition)
		if err != nil {
			t.Error = err.Error()
		}
		t.Messages += hi - lo
	}
	if n, known := sizes.topic[d.Topic]; known {
		t.Bytes = n
	}
	return t
}

// Replication returns how many replicas the partitions of a topic have, and how many partitions
// lack an in-sync replica or a leader.
func Replication(d kadm.TopicDetail) (replicas, under, offline int) {
	for _, p := range d.Partitions {
		replicas = max(replicas, len(p.Replicas))
		if len(p.ISR) < len(p.Replicas) {
			under++
		}
		if p.Leader < 0 {
			offline++
		}
	}
	return replicas, under, offline
}

// Topic describes one topic and the groups that consume it. An unknown name is ErrNoTopic.
func (i *Inspector) Topic(ctx context.Context, name string) (TopicDetail, error) {
	return i.topic(ctx, name, true)
}

// TopicAlone describes one topic without its groups, which take all groups of the
// cluster to find out.
func (i *Inspector) TopicAlone(ctx context.Context, name string) (TopicDetail, error) {
	return i.topic(ctx, name, false)
}

func (i *Inspector) topic(ctx context.Context, name string, groups bool) (TopicDetail, error) {
	meta, d, err := i.lookUp(ctx, name)
	if err != nil {
		return TopicDetail{}, fmt.Errorf("describe topic: %w", err)
	}
	// Everything at once: a broker that does not answer costs its time once.
	var (
		at       bounds
		over     Overlay
		sizes    logBytes
		warnings [4][]string
		detail   = TopicDetail{Groups: []TopicGroup{}}
		all      sync.WaitGroup
	)
	ask := func(n int, question func() error) {
		all.Go(func() {
			if err := question(); err != nil {
				warnings[n] = append(warnings[n], err.Error())
			}
		})
	}
	all.Go(func() { at = i.bounds(ctx, meta, LogStarts, LogEnds, LastStable) })
	all.Go(func() { over, sizes, warnings[0] = i.overlayAndSizes(ctx, meta) })
	ask(1, func() (err error) { detail.Config, err = i.TopicSettings(ctx, name); return err })
	ask(2, func() (err error) { detail.LastRecord, err = i.lastRecord(ctx, name); return err })
	all.Go(func() { detail.FirstRecord = i.firstRecord(ctx, meta) })
	if groups {
		ask(3, func() (err error) { detail.Groups, err = i.topicGroups(ctx, name); return err })
	}
	all.Wait()
	detail.Topic, detail.Note = topic(d, at, sizes), over.Note
	if detail.Config != nil {
		detail.Limit = keepsOf(detail.Config).Limit(begunLater(at.low), time.Since(detail.FirstRecord), over.LogSize)
	}
	if err := i.protected(name, d.IsInternal); err != nil {
		detail.Protected = err.Error()
	}
	for _, p := range d.Partitions.Sorted() {
		detail.Parts = append(detail.Parts, partition(p, at))
	}
	detail.Warnings = slices.Concat(warnings[:]...)
	return detail, nil
}

// Exists returns ErrNoTopic for a name that no topic has.
func (i *Inspector) Exists(ctx context.Context, name string) error {
	if _, _, err := i.lookUp(ctx, name); err != nil {
		return fmt.Errorf("look for a topic: %w", err)
	}
	return nil
}

// lookUp asks for the metadata of one topic. An unknown name is ErrNoTopic.
func (i *Inspector) lookUp(ctx context.Context, name string) (kadm.Metadata, kadm.TopicDetail, error) {
	meta, err := i.Metadata(ctx, name)
	if err != nil {
		return meta, kadm.TopicDetail{}, err
	}
	d, err := found(meta, name)
	return meta, d, err
}

// found returns a topic from metadata that asked for it.
func found(meta kadm.Metadata, name string) (kadm.TopicDetail, error) {
	d, err := unnamed(meta, name)
	if err != nil {
		return d, fmt.Errorf("%q: %w", name, err)
	}
	return d, nil
}

// unnamed is found for errors whose operation has the name already.
func unnamed(meta kadm.Metadata, name string) (kadm.TopicDetail, error) {
	d, ok := meta.Topics[name]
	if !ok || errors.Is(d.Err, kerr.UnknownTopicOrPartition) {
		return d, ErrNoTopic
	}
	return d, d.Err
}

func partition(p kadm.PartitionDetail, at bounds) Partition {
	errs := []error{p.Err}
	offset := func(listed kadm.ListedOffsets) int64 {
		l, ok := listed.Lookup(p.Topic, p.Partition)
		if !ok || l.Err != nil {
			errs = append(errs, l.Err)
			return Unknown
		}
		return l.Offset
	}
	out := Partition{ID: p.Partition, Leader: p.Leader, Replicas: p.Replicas, ISR: p.ISR,
		Low: offset(at.low), High: offset(at.high), Stable: offset(at.stable)}
	if err := errors.Join(errs...); err != nil {
		out.Error = strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	return out
}

// TopicSettings returns the settings of a topic, ordered by name.
func (i *Inspector) TopicSettings(ctx context.Context, name string) (_ []Setting, err error) {
	defer wrap(&err, "describe configuration")
	ctx, cancel := context.WithTimeout(ctx, i.cfg.Timeout)
	defer cancel()
	all, err := i.admin.DescribeTopicConfigs(ctx, name)
	if err != nil {
		return nil, err
	}
	return settings(all.On(name, nil))
}

// lastRecord returns the timestamp of the newest message. The cluster can be asked
// for the largest timestamp, but means that of a transaction's marker, too.
func (i *Inspector) lastRecord(ctx context.Context, name string) (newest time.Time, err error) {
	defer wrap(&err, "time of the last record")
	ctx, cancel := context.WithTimeout(ctx, i.cfg.Timeout)
	defer cancel()
	_, err = i.Read(ctx, Query{Topic: name, From: Newest(1)}, func(m Message) error {
		if !m.TimeInRange() {
			return fmt.Errorf("the stored timestamp %d of offset %d in partition %d is out of range: it is not a time in milliseconds", m.Timestamp.UnixMilli(), m.Offset, m.Partition)
		}
		newest = m.Timestamp
		return nil
	})
	return newest, err
}

func (i *Inspector) topicGroups(ctx context.Context, name string) (out []TopicGroup, err error) {
	defer wrap(&err, "groups of the topic")
	all, _, err := i.groups(ctx, nil, nil)
	out = []TopicGroup{}
	for _, g := range all {
		t := TopicGroup{Name: g.Name, Type: g.Type, State: g.State}
		for _, m := range g.Members {
			if len(m.Assigned[name]) > 0 {
				t.Members++
			}
		}
		any := t.Members > 0
		for _, p := range g.Partitions {
			if p.Topic == name {
				any = true
				t.Lag = addLag(t.Lag, p.Lag)
			}
		}
		if any {
			out = append(out, t)
		}
	}
	return out, err
}

package inspect

import (
	"cmp"
	"context"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-project/weir/internal/scan"
)

// Broker is one broker of the cluster.
type Broker struct {
	ID         int32  `json:"id"`
	Address    string `json:"address"`
	Rack       string `json:"rack,omitempty"`
	Controller bool   `json:"controller"`
	// Alive is what the overlay says; without one, being named by the cluster.
	Alive bool `json:"alive"`
	// Reason says why a broker that the overlay knows does not run.
	Reason string `json:"reason,omitempty"`
	// PID is its process, 0 where that is not known.
	PID int `json:"pid,omitempty"`
	// Leads and Replicas are how many partitions it leads and holds.
	Leads    int `json:"leads"`
	Replicas int `json:"replicas"`
	// Bytes is the size of its logs, or Unknown.
	Bytes int64 `json:"bytes"`
}

// BrokerList is the answer to Brokers.
type BrokerList struct {
	Cluster string   `json:"cluster"`
	Brokers []Broker `json:"brokers"`
	// Note is the overlay's, and Warnings what could not be found out.
	Note     string   `json:"note,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
	// LogSize is the overlay's.
	LogSize int64 `json:"log_size,omitempty"`
}

// Setting is one configuration entry of a broker or topic.
type Setting struct {
	Name string `json:"name"`
	// Value is empty where the broker keeps it secret (Sensitive).
	Value     string `json:"value"`
	Sensitive bool   `json:"sensitive,omitempty"`
	// Source is where the value comes from: "default", "topic", "broker",
	// "cluster", "file", or Kafka's own name in lower case.
	Source string `json:"source"`
}

// Brokers lists the brokers, ordered by id.
func (i *Inspector) Brokers(ctx context.Context) (BrokerList, error) {
	list, _, err := i.BrokersAndSizes(ctx)
	return list, err
}

// BrokersAndSizes lists the brokers, ordered by id, and the size of each topic's log
// in bytes, where the brokers report it.
func (i *Inspector) BrokersAndSizes(ctx context.Context) (_ BrokerList, _ map[string]int64, err error) {
	defer wrap(&err, "list brokers")
	meta, err := i.Metadata(ctx)
	if err != nil {
		return BrokerList{}, nil, err
	}
	over, sizes, warnings := i.overlayAndSizes(ctx, meta)
	list := BrokerList{Cluster: meta.Cluster, Note: over.Note, Warnings: warnings, LogSize: over.LogSize}
	for _, d := range meta.Brokers {
		b := Broker{ID: d.NodeID, Address: net.JoinHostPort(d.Host, strconv.Itoa(int(d.Port))), Controller: d.NodeID == meta.Controller, Alive: true, Bytes: Unknown}
		if d.Rack != nil {
			b.Rack = *d.Rack
		}
		if alive, known := over.Alive[d.NodeID]; known {
			b.Alive = alive
		}
		meta.Topics.EachPartition(func(p kadm.PartitionDetail) {
			if p.Leader == d.NodeID {
				b.Leads++
			}
			if slices.Contains(p.Replicas, d.NodeID) {
				b.Replicas++
			}
		})
		if n, known := sizes.broker[d.NodeID]; known {
			b.Bytes = n
		}
		list.Brokers = append(list.Brokers, b)
	}
	for id, address := range over.Addresses {
		if !slices.ContainsFunc(list.Brokers, func(b Broker) bool { return b.ID == id }) {
			list.Brokers = append(list.Brokers, Broker{ID: id, Address: address, Alive: over.Alive[id], Bytes: Unknown})
		}
	}
	for n := range list.Brokers {
		b := &list.Brokers[n]
		b.PID, b.Reason = over.PIDs[b.ID], over.Reasons[b.ID]
	}
	slices.SortFunc(list.Brokers, func(a, b Broker) int { return int(a.ID) - int(b.ID) })
	return list, sizes.topic, nil
}

// BrokerConfig returns a broker's configuration, ordered by name.
func (i *Inspector) BrokerConfig(ctx context.Context, id int32) (_ []Setting, err error) {
	defer wrap(&err, "describe broker %d", id)
	all, err := i.admin.DescribeBrokerConfigs(ctx, id)
	if err != nil {
		return nil, err
	}
	return settings(all.On(strconv.Itoa(int(id)), nil))
}

func settings(c kadm.ResourceConfig, err error) ([]Setting, error) {
	if err := cmp.Or(err, c.Err); err != nil {
		return nil, err
	}
	out := make([]Setting, 0, len(c.Configs))
	for _, c := range c.Configs {
		source := cmp.Or(sources[c.Source], strings.ToLower(c.Source.String()))
		out = append(out, Setting{Name: c.Key, Value: c.MaybeValue(), Sensitive: c.Sensitive, Source: source})
	}
	slices.SortFunc(out, func(a, b Setting) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// sourceTopic is the source of a value that was set on the topic itself.
const sourceTopic = "topic"

var sources = map[kmsg.ConfigSource]string{
	kmsg.ConfigSourceDefaultConfig:              "default",
	kmsg.ConfigSourceDynamicTopicConfig:         sourceTopic,
	kmsg.ConfigSourceDynamicBrokerConfig:        "broker",
	kmsg.ConfigSourceDynamicDefaultBrokerConfig: "cluster",
	kmsg.ConfigSourceStaticBrokerConfig:         "file",
}

// logBytes are the sizes that brokers reported, in bytes: all that a broker holds, and of
// each topic and partition one copy (the leaders').
type logBytes struct {
	broker    map[int32]int64
	topic     map[string]int64
	partition map[scan.TopicPartition]int64
}

// overlayAndSizes returns the overlay and asks every broker for the sizes of its logs.
func (i *Inspector) overlayAndSizes(ctx context.Context, meta kadm.Metadata) (Overlay, logBytes, []string) {
	over, warnings := i.overlay(ctx)
	sizes, more := i.logBytes(ctx, meta, nil)
	return over, sizes, append(warnings, more...)
}

// logBytes asks every broker for the sizes of its logs; topics restricts to these, nil means all.
func (i *Inspector) logBytes(ctx context.Context, meta kadm.Metadata, topics []kmsg.DescribeLogDirsRequestTopic) (logBytes, []string) {
	sizes := logBytes{broker: map[int32]int64{}, topic: map[string]int64{}, partition: map[scan.TopicPartition]int64{}}
	request := func() kmsg.Request {
		req := kmsg.NewPtrDescribeLogDirsRequest()
		req.Topics = topics
		return req
	}
	take := func(id int32, resp *kmsg.DescribeLogDirsResponse) error {
		if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
			return err
		}
		sizes.broker[id] = 0
		for _, dir := range resp.Dirs {
			for _, t := range dir.Topics {
				detail := meta.Topics[t.Topic]
				for _, p := range t.Partitions {
					sizes.broker[id] += p.Size
					if !p.IsFuture && detail.Partitions[p.Partition].Leader == id {
						sizes.topic[t.Topic] += p.Size
						sizes.partition[scan.TopicPartition{Topic: t.Topic, Partition: p.Partition}] = p.Size
					}
				}
			}
		}
		return nil
	}
	return sizes, eachBroker(ctx, i, meta.Brokers, "describe log directories", request, take)
}

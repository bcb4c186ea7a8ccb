package inspect

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
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
func (i *Inspector) BrokersAndSizes(ctx context.Context) (BrokerList, map[string]int64, error) {
	meta, err := i.Metadata(ctx)
	if err != nil {
		return BrokerList{}, nil, fmt.Errorf("list brokers: %w", err)
	}
	over, warnings := i.overlay(ctx)
	sizes, more := i.logSizes(ctx, meta)
	list := BrokerList{Cluster: meta.Cluster, Note: over.Note, Warnings: append(warnings, more...)}
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
func (i *Inspector) BrokerConfig(ctx context.Context, id int32) ([]Setting, error) {
	all, err := i.admin.DescribeBrokerConfigs(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("describe broker %d: %w", id, err)
	}
	c, err := all.On(strconv.Itoa(int(id)), nil)
	if err != nil {
		return nil, fmt.Errorf("describe broker %d: %w", id, err)
	}
	if c.Err != nil {
		return nil, fmt.Errorf("describe broker %d: %w", id, c.Err)
	}
	return settings(c.Configs), nil
}

func settings(configs []kadm.Config) []Setting {
	out := make([]Setting, 0, len(configs))
	for _, c := range configs {
		out = append(out, Setting{Name: c.Key, Value: c.MaybeValue(), Sensitive: c.Sensitive, Source: sourceName(c.Source)})
	}
	slices.SortFunc(out, func(a, b Setting) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func sourceName(s kmsg.ConfigSource) string {
	switch s {
	case kmsg.ConfigSourceDefaultConfig:
		return "default"
	case kmsg.ConfigSourceDynamicTopicConfig:
		return "topic"
	case kmsg.ConfigSourceDynamicBrokerConfig:
		return "broker"
	case kmsg.ConfigSourceDynamicDefaultBrokerConfig:
		return "cluster"
	case kmsg.ConfigSourceStaticBrokerConfig:
		return "file"
	}
	return strings.ToLower(s.String())
}

// logBytes are the sizes that brokers reported, in bytes: all that a broker holds, and of
// each topic one copy (the leaders').
type logBytes struct {
	broker map[int32]int64
	topic  map[string]int64
}

// logSizes asks every broker for the sizes of its logs.
func (i *Inspector) logSizes(ctx context.Context, meta kadm.Metadata) (logBytes, []string) {
	var mu sync.Mutex
	sizes := logBytes{broker: map[int32]int64{}, topic: map[string]int64{}}
	warnings := i.eachBroker(ctx, meta.Brokers, "describe log directories", func(ctx context.Context, id int32) error {
		raw, err := i.cfg.Client.Broker(int(id)).Request(ctx, kmsg.NewPtrDescribeLogDirsRequest())
		if err != nil {
			return err
		}
		resp := raw.(*kmsg.DescribeLogDirsResponse)
		if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		sizes.broker[id] = 0
		for _, dir := range resp.Dirs {
			for _, t := range dir.Topics {
				detail := meta.Topics[t.Topic]
				for _, p := range t.Partitions {
					sizes.broker[id] += p.Size
					if !p.IsFuture && detail.Partitions[p.Partition].Leader == id {
						sizes.topic[t.Topic] += p.Size
					}
				}
			}
		}
		return nil
	})
	return sizes, warnings
}

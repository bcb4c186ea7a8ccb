package embedded

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// placed is a partition and where the module has it.
type placed struct {
	partition
	leader, epoch int32
	topicID       uuid
}

// topology returns every partition, sorted. It asks inside, so the answer is the
// module's and not what clients are told.
func (c *Cluster) topology(ctx context.Context) ([]placed, error) {
	resp, err := rpc[*kmsg.MetadataResponse](ctx, c, 0, &kmsg.MetadataRequest{Version: 12})
	if err != nil {
		return nil, err
	}
	var all []placed
	for _, t := range resp.Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil || t.Topic == nil {
			return nil, fmt.Errorf("list topics: %w", err)
		}
		for _, p := range t.Partitions {
			all = append(all, placed{partition{*t.Topic, p.Partition}, p.Leader, p.LeaderEpoch, t.TopicID})
		}
	}
	slices.SortFunc(all, func(a, b placed) int { return a.compare(b.partition) })
	return all, nil
}

// settle puts every leader where it belongs: on its preferred broker while that
// lives, otherwise on the live broker that leads least. It is called after
// everything that makes, moves or orphans leaders, because the module places them
// at random. Leader epochs never fall below what clients have seen.
func (c *Cluster) settle(ctx context.Context) error {
	c.ops.Lock()
	defer c.ops.Unlock()
	return c.settleLocked(ctx)
}

func (c *Cluster) settleLocked(ctx context.Context) error {
	all, err := c.topology(ctx)
	if err != nil {
		return err
	}
	c.prefer(all)
	alive := c.aliveIDs()
	loads := make(leads)
	for _, p := range all {
		if slices.Contains(alive, p.leader) {
			loads.add(p.topic, p.leader, 1)
		}
	}
	changed := false
	for i := range all {
		p := &all[i]
		to := p.leader
		if want, _ := c.preferredOf(p.partition); slices.Contains(alive, want) {
			to = want
		} else if !slices.Contains(alive, to) && len(alive) > 0 {
			to = loads.least(p.topic, alive)
		}
		if to == p.leader && p.epoch >= c.epochs[p.partition] {
			changed = changed || p.epoch != c.epochs[p.partition]
			c.epochs[p.partition] = p.epoch
			continue
		}
		if err := c.move(p, to); err != nil {
			return err
		}
		loads.add(p.topic, p.leader, -1)
		loads.add(p.topic, to, 1)
		changed = true
	}
	if !changed {
		return nil
	}
	return c.writeEpochs(all)
}

// move makes to the leader. Each move of the module adds one to the epoch; after
// the process died it may have forgotten some, and clients refuse an epoch that
// falls, so it is moved until it is past them.
func (c *Cluster) move(p *placed, to int32) error {
	floor := max(c.epochs[p.partition], p.epoch+1)
	err := c.module(func(k *kfake.Cluster) error {
		for ; p.epoch < floor; p.epoch++ {
			if err := k.MoveTopicPartition(p.topic, p.id, to); err != nil {
				return fmt.Errorf("move %s/%d to broker %d: %w", p.topic, p.id, to, err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.epochs[p.partition] = p.epoch
	return nil
}

// prefer gives every new partition a preferred broker, so that each topic and the
// whole are even, and forgets those that are gone. all is sorted.
func (c *Cluster) prefer(all []placed) {
	c.st.Lock()
	defer c.st.Unlock()
	exists := make(map[partition]bool, len(all))
	for _, p := range all {
		exists[p.partition] = true
	}
	loads := make(leads)
	for p, id := range c.preferred {
		if !exists[p] {
			delete(c.preferred, p)
			continue
		}
		loads.add(p.topic, id, 1)
	}
	everyone := []int32{0, 1, 2}
	for _, p := range all {
		if _, ok := c.preferred[p.partition]; !ok {
			id := loads.least(p.topic, everyone)
			c.preferred[p.partition] = id
			loads.add(p.topic, id, 1)
		}
	}
}

func (c *Cluster) preferredOf(p partition) (int32, bool) {
	c.st.Lock()
	defer c.st.Unlock()
	id, ok := c.preferred[p]
	return id, ok
}

// leads counts leaders by topic and broker. The name "", which no topic has, counts all.
type leads map[string][Size]int

func (l leads) add(topic string, id int32, n int) {
	if id < 0 || id >= Size {
		return
	}
	for _, name := range []string{topic, ""} {
		counts := l[name]
		counts[id] += n
		l[name] = counts
	}
}

// least returns which of ids leads the fewest partitions of the topic, and among
// those the fewest of all.
func (l leads) least(topic string, ids []int32) int32 {
	n, all := l[topic], l[""]
	return slices.MinFunc(ids, func(a, b int32) int {
		return cmp.Or(cmp.Compare(n[a], n[b]), cmp.Compare(all[a], all[b]), cmp.Compare(a, b))
	})
}

// epochsFile holds the leader epoch of each partition, by topic, in the order of the
// partitions.
type epochsFile struct {
	Epochs map[string][]int32 `json:"epochs"`
}

func (c *Cluster) readEpochs() {
	var f epochsFile
	raw, err := readIfAny(c.dir.file(epochsName))
	if err == nil && raw != nil {
		err = json.Unmarshal(raw, &f)
	}
	if err != nil {
		// A convenience for clients that outlive this process, and no reason to fail.
		c.log.Warn("leader epochs unreadable", "error", err)
	}
	for topic, epochs := range f.Epochs {
		for i, e := range epochs {
			c.epochs[partition{topic, int32(i)}] = e
		}
	}
}

func (c *Cluster) writeEpochs(all []placed) error {
	if c.dir == nil {
		return nil
	}
	f := epochsFile{Epochs: make(map[string][]int32)}
	for _, p := range all {
		f.Epochs[p.topic] = append(f.Epochs[p.topic], c.epochs[p.partition])
	}
	if err := writeJSON(c.dir.file(epochsName), f); err != nil {
		return fmt.Errorf("write leader epochs: %w", err)
	}
	return nil
}

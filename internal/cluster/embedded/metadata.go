package embedded

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-project/weir/internal/disk"
)

// apiVersions offers what is served: Produce up to the version that is safe, and no
// telemetry. The module answers each request for a subscription with a new client
// instance, which librdkafka reports as an error on every run.
func (c *Cluster) apiVersions(_ *flight, r *kmsg.ApiVersionsResponse) {
	r.ApiKeys = slices.DeleteFunc(r.ApiKeys, func(k kmsg.ApiVersionsResponseApiKey) bool {
		return k.ApiKey == int16(kmsg.GetTelemetrySubscriptions) || k.ApiKey == int16(kmsg.PushTelemetry)
	})
	for i := range r.ApiKeys {
		if k := &r.ApiKeys[i]; k.ApiKey == int16(kmsg.Produce) {
			k.MaxVersion = min(k.MaxVersion, maxProduceVersion)
		}
	}
}

// metadata returns what a real cluster would: only live brokers, the acting
// controller, replicas in a fixed order with the preferred leader first, and dead
// brokers out of the in-sync set. The module knows no dead brokers and would send
// clients to them.
func (c *Cluster) metadata(_ *flight, r *kmsg.MetadataResponse) {
	r.ControllerID = c.controllerID()
	r.Brokers = slices.DeleteFunc(r.Brokers, func(b kmsg.MetadataResponseBroker) bool { return c.dead(b.NodeID) })
	for i := range r.Brokers {
		r.Brokers[i].Rack = nil
	}
	for i := range r.Topics {
		t := &r.Topics[i]
		if t.Topic == nil {
			continue
		}
		for j := range t.Partitions {
			p := &t.Partitions[j]
			if c.dead(p.Leader) && p.ErrorCode == 0 {
				p.Leader, p.ErrorCode = -1, kerr.LeaderNotAvailable.Code
			}
			p.Replicas, p.ISR, p.OfflineReplicas = c.replicas(partition{*t.Topic, p.Partition}, p.Leader, p.Replicas)
		}
	}
}

func (c *Cluster) describeCluster(_ *flight, r *kmsg.DescribeClusterResponse) {
	r.ControllerID = c.controllerID()
	r.Brokers = slices.DeleteFunc(r.Brokers, func(b kmsg.DescribeClusterResponseBroker) bool { return c.dead(b.NodeID) })
	for i := range r.Brokers {
		r.Brokers[i].Rack = nil
	}
}

func (c *Cluster) describeTopicPartitions(_ *flight, r *kmsg.DescribeTopicPartitionsResponse) {
	for i := range r.Topics {
		t := &r.Topics[i]
		if t.Topic == nil {
			continue
		}
		for j := range t.Partitions {
			p := &t.Partitions[j]
			p.Replicas, p.ISR, p.OfflineReplicas = c.replicas(partition{*t.Topic, p.Partition}, p.LeaderID, p.Replicas)
			// The protocol allows null here, and Java's admin client fails on it.
			p.EligibleLeaderReplicas, p.LastKnownELR = []int32{}, []int32{}
		}
	}
}

func (c *Cluster) dead(id int32) bool {
	return id >= 0 && int(id) < len(c.brokers) && !c.brokers[id].alive()
}

// replicas returns the simulated replicas of a partition. listed is the module's
// answer, which begins with the leader and so changes with it.
func (c *Cluster) replicas(p partition, leader int32, listed []int32) (all, inSync, offline []int32) {
	all = listed
	if pref, ok := c.preferredOf(p); ok && len(listed) > 0 {
		all = make([]int32, 0, len(listed))
		for i := range listed {
			all = append(all, (pref+int32(i))%Size)
		}
		if leader >= 0 && !slices.Contains(all, leader) {
			// Fewer replicas than brokers, and they were killed: there is one copy, so
			// another broker leads, and is a replica from then on.
			all[len(all)-1] = leader
		}
	}
	for _, id := range all {
		if c.dead(id) {
			offline = append(offline, id)
		} else {
			inSync = append(inSync, id)
		}
	}
	return all, inSync, offline
}

// describeLogDirs puts the sizes of the files in place of the module's own
// bookkeeping, and the real disk in place of an invented one.
func (c *Cluster) describeLogDirs(_ *flight, r *kmsg.DescribeLogDirsResponse) {
	if c.dir == nil {
		return
	}
	files, err := scanLog(c.dir.file(logName))
	if err != nil {
		c.log.Warn("read log sizes", "error", err)
		return
	}
	bytes := make(map[partition]int64, len(files))
	for _, p := range files {
		bytes[p.partition] = p.bytes()
	}
	total, free, err := disk.Space(c.dir.path)
	if err != nil {
		total, free = -1, -1
	}
	for i := range r.Dirs {
		d := &r.Dirs[i]
		d.Dir, d.TotalBytes, d.UsableBytes = c.dir.file(logName), total, free
		for j := range d.Topics {
			t := &d.Topics[j]
			for k := range t.Partitions {
				p := &t.Partitions[k]
				name := partition{t.Topic, p.Partition}
				p.Size = bytes[name]
				for _, s := range c.archive.segments(name) {
					p.Size += s.bytes
				}
			}
		}
	}
}

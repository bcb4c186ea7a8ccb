package parallel

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/lab/kit"
)

const (
	// shareAtOnce is how many records a member asks for at a time. More would save
	// requests, and leave others without work at the end.
	shareAtOnce = 4
	// shareReleaseEvery: one record in so many is released when it comes for the first time.
	shareReleaseEvery = 20
	// shareLimit is how often a record is delivered at most by default:
	// group.share.delivery.count.limit of KIP-932.
	shareLimit = 5
)

// share is a share group: every member receives records of any partition, one by one, and
// acknowledges or releases them.
func (p *run) share(ctx context.Context, c way) (_ *seen, err error) {
	var refused atomic.Int64
	note := func(_ *kgo.Client, results kgo.ShareAckResults) {
		for _, r := range results {
			if r.Err != nil {
				refused.Add(1)
			}
		}
	}
	if err := p.configureShare(ctx); err != nil {
		return nil, err
	}
	if err := p.join(c.workers, kgo.ShareGroup(p.group), kgo.ConsumeTopics(kafka.TopicBluesky), kgo.ShareMaxRecords(shareAtOnce),
		kgo.ShareMaxRecordsStrict(), kgo.ShareAckCallback(note), kgo.FetchMaxWait(10*time.Millisecond)); err != nil {
		return nil, err
	}
	if err := p.sharing(ctx, c.workers); err != nil {
		return nil, err
	}
	want := len(p.log.records) - 1 // all but the poison
	if p.Break == BreakForgive {
		want++
	}
	o, err := p.carry(ctx, c, want, func(ctx context.Context, j *job) {
		j.limit = p.deliveryLimit(ctx)
		j.poison, j.release = p.choose()
		for i, cl := range p.clients {
			j.wg.Go(func() { j.sharer(ctx, cl, i) })
		}
	}, func(j *job) (bool, error) { return p.settled(ctx, j.seen) })
	o.refused = refused.Load()
	return o, err
}

// configureShare makes the group begin at the start of the log, and see only what is
// committed.
func (p *run) configureShare(ctx context.Context) error {
	resource := kmsg.NewIncrementalAlterConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeGroupConfig, p.group
	for name, value := range map[string]string{"share.auto.offset.reset": "earliest", "share.isolation.level": "read_committed"} {
		c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		c.Name, c.Op, c.Value = name, kmsg.IncrementalAlterConfigOpSet, &value
		resource.Configs = append(resource.Configs, c)
	}
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.Resources = append(req.Resources, resource)
	resp, err := req.RequestWith(ctx, p.g.Client)
	if err == nil {
		for _, r := range resp.Resources {
			if err = kerr.ErrorForCode(r.ErrorCode); err != nil {
				break
			}
		}
	}
	if err != nil {
		return fmt.Errorf("configure the share group: %w", err)
	}
	return nil
}

// deliveryLimit is how often brokers deliver a record, according to their settings.
func (p *run) deliveryLimit(ctx context.Context) int {
	all, _ := p.g.Admin.DescribeBrokerConfigs(ctx, 1) // without an answer the default holds
	for _, r := range all {
		for _, c := range r.Configs {
			if n, err := strconv.Atoi(c.MaybeValue()); err == nil && c.Key == "group.share.delivery.count.limit" {
				return n
			}
		}
	}
	return shareLimit
}

// choose names the poison record, which lies in the middle of a partition, and those that
// are released once.
func (p *run) choose() (poison slot, release map[slot]bool) {
	release = map[slot]bool{}
	for i, r := range p.log.records {
		if i%shareReleaseEvery == 3 {
			release[r.slot] = true
		}
	}
	poison = p.log.records[len(p.log.records)/3].slot
	delete(release, poison)
	return poison, release
}

// sharing waits until every member knows the partitions that it has now that all have
// joined. Members learn of them with their heartbeats, every 5 s.
func (p *run) sharing(ctx context.Context, members int) error {
	return inTime(ctx, members, func() bool {
		all, err := p.g.Admin.DescribeShareGroups(ctx, p.group)
		ready := 0
		if err == nil {
			for _, m := range all[p.group].Members {
				if len(m.Assignment) > 0 && m.MemberEpoch == all[p.group].GroupEpoch {
					ready++
				}
			}
		}
		p.show(fmt.Sprintf("joining: %d of %d", ready, members))
		return ready == members
	})
}

// sharer is one member.
func (j *job) sharer(ctx context.Context, cl *kgo.Client, n int) {
	for ctx.Err() == nil {
		cl.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			a := attempt{slot: slot{r.Partition, r.Offset}, worker: n, delivery: r.DeliveryCount(), accepted: true}
			switch {
			case a.slot == j.poison:
				j.b.Mark(j.name, fmt.Sprintf("poison, delivery %d", a.delivery))
				a.accepted = j.Break == BreakForgive && a.delivery >= 3
			case j.release[a.slot]:
				a.accepted = a.delivery > 1
			}
			done := j.do(ctx, a)
			if done && a.accepted && j.twice(r) {
				j.do(ctx, a)
			}
			if done && a.accepted {
				r.Ack(kgo.AckAccept)
			} else {
				r.Ack(kgo.AckRelease)
			}
		})
	}
	flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_ = cl.FlushAcks(flush) // what is not acknowledged now is released with the session
}

// settled waits until every record of the group is acknowledged or given up: then no record
// is delivered any more.
func (p *run) settled(ctx context.Context, o *seen) (bool, error) {
	p.show("waiting until the group has nothing left")
	return kit.Until(ctx, func() bool {
		all, err := p.g.Admin.DescribeShareGroupOffsets(ctx, p.group)
		if err != nil {
			return false
		}
		o.behind = 0
		for partition, last := range p.log.ends {
			o.behind += shareLag(all[p.group].Offsets, partition, last)
		}
		p.show(fmt.Sprintf("waiting until the group has nothing left: %d", o.behind))
		return o.behind == 0
	})
}

// shareLag is how many records of a partition a share group has yet to settle, of which
// last is the end. Brokers store where the group begins a little late: their own count
// (KIP-1226) is exact.
func shareLag(all kadm.ShareOffsets, partition int32, last int64) int64 {
	s, ok := all.Lookup(kafka.TopicBluesky, partition)
	switch {
	case !ok || s.Err != nil:
		return last
	case s.Lag >= 0:
		return s.Lag
	}
	return max(0, last-s.StartOffset)
}

package kit

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-project/weir/internal/kafka"
)

const (
	// shareAtOnce is how many records a member asks for at a time. More would save
	// requests, and leave others without work at the end.
	shareAtOnce = 4
	// shareReleaseEvery is how many records there are to one that is released when it
	// comes for the first time.
	shareReleaseEvery = 20
	// shareLimit is how often a record is delivered at most where nobody has said
	// otherwise: group.share.delivery.count.limit of KIP-932.
	shareLimit = 5
)

// share is a share group: every member is given records of any partition, one by one,
// acknowledges, or releases them.
func (p *parallelRun) share(ctx context.Context, c parallelCase) (_ *parallelSeen, err error) {
	group := p.nextGroup()
	if err := p.configureShare(ctx, group); err != nil {
		return nil, err
	}
	var refused refusals
	var clients []*kgo.Client
	defer func() {
		for _, cl := range clients {
			cl.Close()
		}
	}()
	for range c.workers {
		cl, err := p.g.kafka.NewClient(kgo.ShareGroup(group), kgo.ConsumeTopics(kafka.TopicBluesky), kgo.ShareMaxRecords(shareAtOnce), kgo.ShareMaxRecordsStrict(),
			kgo.ShareAckCallback(refused.note), kgo.FetchMaxWait(10*time.Millisecond))
		if err != nil {
			return nil, err
		}
		clients = append(clients, cl)
	}
	p.show("joining")
	if err := p.sharing(ctx, group, c.workers); err != nil {
		return nil, err
	}
	w, l := newWorkers(c.workers, p.Work), newLedger()
	o, controlled := p.begin(ctx, c)
	o.limit = p.deliveryLimit(ctx)
	o.poison, o.release = p.choose()
	run, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	for i, cl := range clients {
		wg.Go(func() { p.sharer(run, cl, w, l, o, i) })
	}
	want := len(p.log.records) - 1 // all but the poison
	if p.Break == BreakForgive {
		want++
	}
	o.finished, err = p.drained(ctx, c.name, l, want)
	if err == nil && o.finished {
		p.show("waiting until the group has nothing left")
		o.finished, err = p.settled(ctx, o, group)
	}
	stop()
	wg.Wait()
	o.control, o.attempts, o.refused = controlled(), l.attempts, refused.n.Load()
	return o, err
}

// configureShare makes the group begin at the start of the log, and see what is
// committed only.
func (p *parallelRun) configureShare(ctx context.Context, group string) error {
	resource := kmsg.NewIncrementalAlterConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeGroupConfig, group
	for name, value := range map[string]string{"share.auto.offset.reset": "earliest", "share.isolation.level": "read_committed"} {
		c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		c.Name, c.Op, c.Value = name, kmsg.IncrementalAlterConfigOpSet, &value
		resource.Configs = append(resource.Configs, c)
	}
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.Resources = append(req.Resources, resource)
	resp, err := req.RequestWith(ctx, p.cl)
	if err != nil {
		return fmt.Errorf("configure the share group: %w", err)
	}
	for _, r := range resp.Resources {
		if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
			return fmt.Errorf("configure the share group: %w", err)
		}
	}
	return nil
}

// deliveryLimit is what the brokers say of how often a record is delivered.
func (p *parallelRun) deliveryLimit(ctx context.Context) int {
	all, err := p.admin.DescribeBrokerConfigs(ctx, 1)
	if err != nil {
		return shareLimit
	}
	for _, r := range all {
		for _, c := range r.Configs {
			if c.Key != "group.share.delivery.count.limit" {
				continue
			}
			if n, err := strconv.Atoi(c.MaybeValue()); err == nil {
				return n
			}
		}
	}
	return shareLimit
}

// choose names the poison record, which lies in the middle of a partition, and those
// that are released once.
func (p *parallelRun) choose() (poison slot, release map[slot]bool) {
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

// sharing waits until every member has heard of the partitions that are its own now
// that all have joined. Members hear of it with their heartbeats, every 5 s.
func (p *parallelRun) sharing(ctx context.Context, group string, members int) error {
	for end := time.Now().Add(patience); time.Now().Before(end); {
		all, err := p.admin.DescribeShareGroups(ctx, group)
		ready := 0
		if err == nil {
			for _, m := range all[group].Members {
				if len(m.Assignment) > 0 && m.MemberEpoch == all[group].GroupEpoch {
					ready++
				}
			}
		}
		if ready == members {
			return nil
		}
		p.show(fmt.Sprintf("joining: %d of %d", ready, members))
		if err := wait(ctx, sampleEvery); err != nil {
			return err
		}
	}
	return fmt.Errorf("%d members did not get partitions within %v", members, patience)
}

// sharer is one member.
func (p *parallelRun) sharer(ctx context.Context, cl *kgo.Client, w *workers, l *ledger, o *parallelSeen, n int) {
	for ctx.Err() == nil {
		cl.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			a := attempt{slot: slot{r.Partition, r.Offset}, worker: n, delivery: r.DeliveryCount(), accepted: true}
			switch {
			case a.slot == o.poison:
				p.b.Mark(o.name, fmt.Sprintf("poison, delivery %d", a.delivery))
				a.accepted = p.Break == BreakForgive && a.delivery >= 3
			case o.release[a.slot]:
				a.accepted = a.delivery > 1
			}
			if !p.do(ctx, w, l, a) {
				r.Ack(kgo.AckRelease)
				return
			}
			if p.twice(r) && a.accepted {
				p.do(ctx, w, l, a)
			}
			if a.accepted {
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

// settled waits until the group has no record left that is not acknowledged or given
// up: then nothing is delivered any more.
func (p *parallelRun) settled(ctx context.Context, o *parallelSeen, group string) (bool, error) {
	for end := time.Now().Add(patience); time.Now().Before(end); {
		all, err := p.admin.DescribeShareGroupOffsets(ctx, group)
		if err == nil {
			o.behind = 0
			for partition, last := range p.log.ends {
				o.behind += shareLag(all[group].Offsets, partition, last)
			}
			if o.behind == 0 {
				return true, nil
			}
			p.show(fmt.Sprintf("waiting until the group has nothing left: %d", o.behind))
		}
		if err := wait(ctx, sampleEvery); err != nil {
			return false, err
		}
	}
	return false, nil
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

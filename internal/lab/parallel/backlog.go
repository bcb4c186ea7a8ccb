package parallel

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/lab/kit"
)

// slot is where a record lies in the topic.
type slot struct {
	partition int32
	offset    int64
}

// logged is a record of the backlog.
type logged struct {
	slot
	key, identity string
}

// backlog is what the topic holds before any work begins.
type backlog struct {
	want       map[string]bool // identities of the events that upstream offered
	records    []logged        // by partition, in the log's order
	partitions map[int32]int64 // records of each
	ends       map[int32]int64 // one beyond the last record of each
}

// judge checks that the backlog is what happened, without which nothing is shown.
func (l *backlog) judge(r *lab.Report) bool {
	stored, foreign := map[string]bool{}, 0
	home, split := map[string]int32{}, map[string]bool{}
	for _, x := range l.records {
		if !l.want[x.identity] || stored[x.identity] {
			foreign++
		}
		stored[x.identity] = true
		if p, ok := home[x.key]; ok && p != x.partition {
			split[x.key] = true
		}
		home[x.key] = x.partition
	}
	c := r.Of("backlog")
	ok := len(stored) == len(l.want) && foreign == 0 && len(l.want) > 0
	c.Check("the topic holds every post that happened, exactly once", fmt.Sprint(len(l.want)), fmt.Sprintf("%d, %d of them duplicated or foreign", len(l.records), foreign), ok)
	c.Check("all records of a key lie in one partition", "0 keys in two", fmt.Sprintf("%d of %d", len(split), len(home)), len(split) == 0)
	return ok && len(split) == 0
}

// fill waits until all events are stored in the topic, and reads them.
func (p *run) fill(ctx context.Context) (*backlog, error) {
	l := &backlog{want: map[string]bool{}, partitions: map[int32]int64{}, ends: map[int32]int64{}}
	all, n := int64(0), int64(0)
	for it := range p.g.Server.Items(0, p.Events) {
		if it.Again || it.Route == event.Skip {
			continue
		}
		all++
		if it.Route == event.Data {
			l.want[it.Identity] = true
		}
	}
	patience := kit.Patience + 2*time.Duration(p.Events/offerRate)*time.Second
	ok, err := kit.Poll(ctx, patience, kit.SampleEvery, func() (bool, error) {
		n = p.g.Ingest.Stats().Events
		p.b.Progress(fmt.Sprintf("filling the topic: %d of %d events", n, all))
		return n >= all, nil
	})
	if err == nil && !ok {
		err = fmt.Errorf("only %d of %d events were stored in time", n, all)
	}
	if err = cmp.Or(err, p.g.StopIngest()); err != nil {
		return nil, err
	}
	return l, kit.ReadBack(ctx, p.g.Kafka, p.g.Client, func(r *kgo.Record) {
		l.records = append(l.records, logged{slot{r.Partition, r.Offset}, string(r.Key), kit.Parse(r.Value).ID})
		l.partitions[r.Partition]++
		l.ends[r.Partition] = r.Offset + 1
	}, kafka.TopicBluesky)
}

// fold lets events come from a few accounts only: it maps many accounts to a few keys. Upstream's
// bytes stay as they are.
func fold(b *event.Batch, keys int) {
	for i := range b.Events {
		b.Events[i].Key = fmt.Appendf(nil, "account-%04d", hash(b.Events[i].Key)%uint32(keys))
	}
}

// hash spreads keys over workers; the partitioner of Kafka's clients uses another.
func hash(key []byte) uint32 {
	h := fnv.New32a()
	_, _ = h.Write(key) // never fails
	return h.Sum32()
}

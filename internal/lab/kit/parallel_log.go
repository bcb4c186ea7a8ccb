package kit

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/ingest"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/lab"
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
	want       map[string]bool // identities of what upstream offered
	records    []logged        // by partition, in the log's order
	partitions map[int32]int64 // records of each
	ends       map[int32]int64 // one beyond the last record of each
}

func (l *backlog) keys() int {
	seen := map[string]bool{}
	for _, r := range l.records {
		seen[r.key] = true
	}
	return len(seen)
}

// judge checks that the backlog is what happened, without which nothing is shown.
func (l *backlog) judge(r *lab.Report) bool {
	const of = "backlog"
	there, foreign := map[string]bool{}, 0
	home := map[string]int32{}
	split := map[string]bool{}
	for _, x := range l.records {
		if !l.want[x.identity] || there[x.identity] {
			foreign++
		}
		there[x.identity] = true
		if p, ok := home[x.key]; ok && p != x.partition {
			split[x.key] = true
		}
		home[x.key] = x.partition
	}
	ok := len(there) == len(l.want) && foreign == 0 && len(l.want) > 0
	r.Check(of, "the topic holds every post that happened, once", fmt.Sprintf("%d", len(l.want)), fmt.Sprintf("%d, %d of them doubled or foreign", len(l.records), foreign), ok)
	r.Check(of, "all records of a key lie in one partition", "0 keys in two", fmt.Sprintf("%d of %d", len(split), len(home)), len(split) == 0)
	return ok && len(split) == 0
}

// parallelRun is the experiment while it runs.
type parallelRun struct {
	*Parallel
	b     *lab.Bench
	g     *rig
	admin *kadm.Client
	cl    *kgo.Client
	log   *backlog
	group int // number of the next group
	show  func(string)
}

// open fills the topic through the pipeline.
func (s *Parallel) open(ctx context.Context, b *lab.Bench) (_ *parallelRun, err error) {
	b.Progress("opening brokers, Redis and upstream")
	fold := func(src ingest.Source) ingest.Source { return &folded{src, s.Keys} }
	g, err := openRig(ctx, b, rigConfig{seed: s.Seed, rate: parallelOffer, events: s.Events, queue: 10_000, wrap: fold})
	if err != nil {
		return nil, err
	}
	p := &parallelRun{Parallel: s, b: b, g: g, show: b.Progress}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	if p.cl, err = g.kafka.NewClient(); err != nil {
		return nil, err
	}
	p.admin = kadm.NewClient(p.cl)
	return p, p.load(ctx)
}

// parallelOffer is the events per second that upstream offers while the topic fills.
const parallelOffer = 2000

func (p *parallelRun) close() error {
	if p.cl != nil {
		p.cl.Close()
	}
	return p.g.close()
}

// load waits until all events are stored, and reads them.
func (p *parallelRun) load(ctx context.Context) error {
	l := &backlog{want: map[string]bool{}, partitions: map[int32]int64{}, ends: map[int32]int64{}}
	all := int64(0)
	for it := range p.g.server.Items(0, p.Events) {
		if it.Again || it.Route == event.Skip {
			continue
		}
		all++
		if it.Route == event.Data {
			l.want[it.Identity] = true
		}
	}
	for end := time.Now().Add(patience + 2*time.Duration(p.Events/parallelOffer)*time.Second); ; {
		n := p.g.ingest.Stats().Events
		p.b.Progress(fmt.Sprintf("filling the topic: %d of %d events", n, all))
		if n >= all {
			break
		}
		if time.Now().After(end) {
			return fmt.Errorf("only %d of %d events were stored in time", n, all)
		}
		if err := wait(ctx, sampleEvery); err != nil {
			return err
		}
	}
	if err := p.g.stopIngest(); err != nil {
		return err
	}
	bounds, err := kafka.Bounds(ctx, p.cl, kafka.TopicBluesky)
	if err != nil {
		return err
	}
	var ranges []kafka.Range
	for tp, b := range bounds {
		if b.End > b.Start {
			ranges = append(ranges, kafka.Range{TopicPartition: tp, From: b.Start, To: b.End})
		}
	}
	err = kafka.Scan(ctx, p.g.kafka, ranges, func(r *kgo.Record) error {
		l.records = append(l.records, logged{slot{r.Partition, r.Offset}, string(r.Key), parse(r.Value).id})
		l.partitions[r.Partition]++
		l.ends[r.Partition] = r.Offset + 1
		return nil
	})
	if err != nil {
		return fmt.Errorf("read the backlog: %w", err)
	}
	p.log = l
	return nil
}

// folded is a source whose events come from a few accounts only: an account of many
// is taken for one of few. Upstream's bytes stay what they are.
type folded struct {
	ingest.Source
	keys int
}

// Stream implements ingest.Source.
func (f *folded) Stream(ctx context.Context, from event.Cursor, emit func(*event.Batch) error) error {
	return f.Source.Stream(ctx, from, func(b *event.Batch) error {
		for i := range b.Events {
			b.Events[i].Key = fmt.Appendf(nil, "account-%04d", hash(b.Events[i].Key)%uint32(f.keys))
		}
		return emit(b)
	})
}

// hash spreads keys over workers; the partitioner of Kafka's clients uses another.
func hash(key []byte) uint32 {
	h := fnv.New32a()
	_, _ = h.Write(key) // never fails
	return h.Sum32()
}

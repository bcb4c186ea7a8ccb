package inspect

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"

	"github.com/weir-project/weir/internal/scan"
)

// Activity is what happens in a topic: how its messages are spread over time and
// partitions, and who writes to it.
type Activity struct {
	Topic string `json:"topic"`
	// Hours are the last ones that the log holds, at most a week, the oldest first.
	Hours []Hour `json:"hours"`
	// Earlier is how many offsets are older than those.
	Earlier   int64            `json:"earlier"`
	Parts     []PartitionLog   `json:"partitions"`
	Producers []ActiveProducer `json:"producers"`
	// Transactions are those that are open in the topic.
	Transactions []Transaction `json:"transactions"`
	Warnings     []string      `json:"warnings,omitempty"`
}

// Hour is an hour of a topic, in UTC.
type Hour struct {
	From time.Time `json:"from"`
	// Offsets counts messages and the markers that end transactions. Kafka finds them by
	// time: the first message that is not older than the hour begins it.
	Offsets int64 `json:"offsets"`
}

// PartitionLog is the log of a partition.
type PartitionLog struct {
	ID int32 `json:"partition"`
	// Bytes is the size of the leader's log, or Unknown.
	Bytes int64 `json:"bytes"`
	// Oldest is the timestamp of the first message, zero where there is none.
	Oldest time.Time `json:"oldest,omitzero"`
}

// ActiveProducer is an idempotent or transactional producer that a partition's leader
// remembers: one that has written within a day, unless the brokers are set otherwise.
type ActiveProducer struct {
	Partition int32     `json:"partition"`
	ID        int64     `json:"producer_id"`
	Epoch     int16     `json:"epoch"`
	Sequence  int32     `json:"last_sequence"`
	Last      time.Time `json:"last,omitzero"` // the timestamp of what it wrote last
	// Open is the first offset of its open transaction, Unknown where it has none.
	Open int64 `json:"open"`
}

// Transaction is one that is open in a topic. Readers of committed messages wait for it.
type Transaction struct {
	// TransactionalID is empty where no coordinator knows it: such a transaction never ends by
	// itself (KIP-664 calls it hanging).
	TransactionalID string `json:"transactional_id"`
	State           string `json:"state"`
	ProducerID      int64  `json:"producer_id"`
	// Started is when it began, TimeoutMS after how many milliseconds Kafka aborts it.
	Started    time.Time `json:"started,omitzero"`
	TimeoutMS  int64     `json:"timeout_ms"`
	Partitions []int32   `json:"partitions"`
}

const (
	// maxHours bounds Activity.Hours: a week, for which a partition is asked as many times.
	maxHours = 7 * 24
	// maxProducers bounds Activity.Producers.
	maxProducers = 200
	// offsetsAtOnce is how many times Activity asks for at once.
	offsetsAtOnce = 8
)

// Activity describes what happens in a topic. An unknown name is ErrNoTopic. A broker
// that does not answer is a warning.
func (i *Inspector) Activity(ctx context.Context, name string, now time.Time) (a Activity, err error) {
	defer wrap(&err, "describe what happens in a topic")
	meta, d, err := i.lookUp(ctx, name)
	if err != nil {
		return a, err
	}
	a = Activity{Topic: name, Hours: []Hour{}, Parts: []PartitionLog{}, Producers: []ActiveProducer{}, Transactions: []Transaction{}}
	var (
		all      sync.WaitGroup
		warnings [3][]string
		sizes    logBytes
	)
	all.Go(func() {
		sizes, warnings[0] = i.logBytes(ctx, meta, []kmsg.DescribeLogDirsRequestTopic{{Topic: name, Partitions: d.Partitions.Numbers()}})
	})
	all.Go(func() { warnings[1] = i.producers(ctx, &a, d) })
	at, err := i.hours(ctx, &a, d, now)
	if err != nil {
		warnings[2] = append(warnings[2], err.Error())
	}
	all.Wait()
	for _, p := range d.Partitions.Sorted() {
		l := PartitionLog{ID: p.Partition, Bytes: Unknown}
		if n, ok := sizes.partition[scan.TopicPartition{Topic: name, Partition: p.Partition}]; ok {
			l.Bytes = n
		}
		if o, ok := at.Lookup(name, p.Partition); ok && o.Err == nil && o.Timestamp >= 0 {
			l.Oldest = time.UnixMilli(o.Timestamp).UTC()
		}
		a.Parts = append(a.Parts, l)
	}
	a.Warnings = slices.Concat(warnings[:]...)
	return a, nil
}

// hours fills in the hours, and returns the first message of each partition. What is written
// meanwhile is not counted: where no message is as late, an answer is the end of that moment,
// and two of them would count what came between as older than the first hour.
func (i *Inspector) hours(ctx context.Context, a *Activity, d kadm.TopicDetail, now time.Time) (first kadm.ListedOffsets, err error) {
	ends := i.Offsets(ctx, kadm.Metadata{Topics: kadm.TopicDetails{a.Topic: d}}, LogEnds)
	if first, err = i.offsetsAt(ctx, time.UnixMilli(0), a.Topic); err != nil {
		return nil, err
	}
	end := now.UTC().Truncate(time.Hour).Add(time.Hour)
	from := end
	first.Each(func(o kadm.ListedOffset) {
		if at := time.UnixMilli(o.Timestamp).UTC().Truncate(time.Hour); o.Err == nil && o.Timestamp >= 0 && at.Before(from) {
			from = at
		}
	})
	if from.Equal(end) { // the log is empty, or has messages of the future only
		return first, nil
	}
	if oldest := end.Add(-maxHours * time.Hour); from.Before(oldest) {
		from = oldest
	}
	borders := make([]kadm.ListedOffsets, int(end.Sub(from)/time.Hour)+1)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(offsetsAtOnce)
	for n := range borders {
		group.Go(func() (err error) {
			borders[n], err = i.offsetsAt(ctx, from.Add(time.Duration(n)*time.Hour), a.Topic)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return first, err
	}
	between := func(low, high kadm.ListedOffsets) (n int64) {
		for p := range d.Partitions {
			lo, okLow := low.Lookup(a.Topic, p)
			hi, okHigh := high.Lookup(a.Topic, p)
			end, ok := ends.Lookup(a.Topic, p)
			if ok && okLow && okHigh && end.Err == nil && lo.Err == nil && hi.Err == nil {
				n += max(0, min(hi.Offset, end.Offset)-lo.Offset) // messages may be deleted between two questions
			}
		}
		return n
	}
	a.Earlier = between(first, borders[0])
	for n := range len(borders) - 1 {
		a.Hours = append(a.Hours, Hour{From: from.Add(time.Duration(n) * time.Hour), Offsets: between(borders[n], borders[n+1])})
	}
	return first, nil
}

// producers fills in the producers and the open transactions.
func (i *Inspector) producers(ctx context.Context, a *Activity, d kadm.TopicDetail) (warnings []string) {
	ctx, cancel := context.WithTimeout(ctx, i.cfg.Timeout)
	defer cancel()
	var partitions kadm.TopicsSet
	partitions.Add(d.Topic, d.Partitions.Numbers()...)
	all, err := i.admin.DescribeProducers(ctx, partitions)
	if err != nil {
		return []string{fmt.Sprintf("describe producers: %v", err)}
	}
	open := map[int64][]int32{} // the partitions of a producer's open transaction
	all.EachPartition(func(p kadm.DescribedProducersPartition) {
		if p.Err != nil {
			warnings = append(warnings, fmt.Sprintf("describe producers of partition %d: %v", p.Partition, p.Err))
		}
		for _, w := range p.ActiveProducers {
			a.Producers = append(a.Producers, activeProducer(w))
			if w.CurrentTxnStartOffset >= 0 {
				open[w.ProducerID] = append(open[w.ProducerID], p.Partition)
			}
		}
	})
	slices.SortFunc(a.Producers, func(x, y ActiveProducer) int {
		return cmp.Or(y.Last.Compare(x.Last), cmp.Compare(x.Partition, y.Partition), cmp.Compare(x.ID, y.ID))
	})
	if n := len(a.Producers) - maxProducers; n > 0 {
		warnings = append(warnings, fmt.Sprintf("%d producers that wrote earlier are left out", n))
		a.Producers = a.Producers[:maxProducers]
	}
	if len(open) > 0 {
		if a.Transactions, err = i.transactions(ctx, open); err != nil {
			warnings = append(warnings, err.Error())
		}
	}
	return warnings
}

func activeProducer(w kadm.DescribedProducer) ActiveProducer {
	p := ActiveProducer{Partition: w.Partition, ID: w.ProducerID, Epoch: w.ProducerEpoch, Sequence: w.LastSequence, Open: Unknown}
	if w.LastTimestamp >= 0 {
		p.Last = time.UnixMilli(w.LastTimestamp).UTC()
	}
	if w.CurrentTxnStartOffset >= 0 {
		p.Open = w.CurrentTxnStartOffset
	}
	return p
}

// transactions asks the coordinators for the open transactions of producers, which have
// them in these partitions.
func (i *Inspector) transactions(ctx context.Context, open map[int64][]int32) ([]Transaction, error) {
	list := func(err error) ([]Transaction, error) {
		return []Transaction{}, fmt.Errorf("describe open transactions: %w", err)
	}
	known, err := i.admin.ListTransactions(ctx, slices.Collect(maps.Keys(open)), nil)
	if err != nil {
		return list(err)
	}
	described := kadm.DescribedTransactions{}
	if ids := known.TransactionalIDs(); len(ids) > 0 { // no IDs would mean all
		if described, err = i.admin.DescribeTransactions(ctx, ids...); err != nil {
			return list(err)
		}
	}
	out := []Transaction{}
	for _, id := range slices.Sorted(maps.Keys(open)) {
		t := Transaction{ProducerID: id, State: "unknown to the coordinators", Partitions: slices.Sorted(slices.Values(open[id]))}
		for _, d := range described {
			if d.Err == nil && d.ProducerID == id {
				t.TransactionalID, t.State, t.TimeoutMS = d.TxnID, d.State, int64(d.TimeoutMillis)
				if d.StartTimestamp > 0 {
					t.Started = time.UnixMilli(d.StartTimestamp).UTC()
				}
			}
		}
		out = append(out, t)
	}
	return out, nil
}

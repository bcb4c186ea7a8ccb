package persistence

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/lab/kit"
	"github.com/weir-project/weir/internal/tally"
)

// countedBy says which group counts which topic of a whole weir.
var countedBy = map[string]string{
	kafka.TopicBluesky:         kafka.GroupBluesky,
	kafka.TopicBlueskyAccounts: kit.AccountGroup,
	kafka.TopicWikipedia:       kafka.GroupWikipedia,
}

// place is where a record lies.
type place struct {
	kafka.TopicPartition
	offset int64
}

// stored is a record.
type stored struct {
	digest, event [sha256.Size]byte // of all that a consumer gets, and of the value alone: upstream's bytes
	kind          string
}

// state is what must not be less after a kill.
type state struct {
	records map[place]stored
	offsets map[string]int64 // committed, by group, topic and partition
}

// read reads everything that is committed, and the groups' committed offsets.
func (w *whole) read(ctx context.Context) (*state, error) {
	cl, err := w.kafka.NewClient()
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	st := &state{records: map[place]stored{}, offsets: map[string]int64{}}
	for _, group := range countedBy {
		all, err := admin.FetchOffsets(ctx, group)
		if err != nil {
			return nil, fmt.Errorf("read the offsets of %s: %w", group, err)
		}
		all.Each(func(o kadm.OffsetResponse) {
			st.offsets[fmt.Sprintf("%s %s/%d", group, o.Topic, o.Partition)] = o.At
		})
	}
	return st, kit.ReadBack(ctx, w.kafka, cl, func(r *kgo.Record) {
		x := stored{digest: digest(r), event: sha256.Sum256(r.Value), kind: string(kit.Header(r, kafka.HeaderKind))}
		st.records[place{kafka.TopicPartition{Topic: r.Topic, Partition: r.Partition}, r.Offset}] = x
	}, topics...)
}

// topics are those that a whole weir writes events to.
var topics = []string{kafka.TopicBluesky, kafka.TopicBlueskyAccounts, kafka.TopicWikipedia, kafka.TopicDeadLetters}

// digest is of all that a consumer gets.
func digest(r *kgo.Record) [sha256.Size]byte {
	h := sha256.New()
	fmt.Fprintf(h, "%d %d %d %d ", r.Timestamp.UnixMilli(), len(r.Key), len(r.Value), len(r.Headers))
	h.Write(r.Key)
	h.Write(r.Value)
	for _, x := range r.Headers {
		fmt.Fprintf(h, "%d %s %d ", len(x.Key), x.Key, len(x.Value))
		h.Write(x.Value)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// compare notes what is less than before.
func (x *round) compare(before, after *state) {
	for at, was := range before.records {
		switch got, ok := after.records[at]; {
		case !ok:
			x.gone++
		case got.digest != was.digest:
			x.changed++
		}
	}
	for of, offset := range before.offsets {
		if after.offsets[of] < offset {
			x.back++
		}
	}
}

// recount counts the log up to where Redis says that it has counted.
func (w *whole) recount(ctx context.Context, o *seen) error {
	store, err := tally.Open(ctx, w.redis())
	if err != nil {
		return err
	}
	defer store.Close()
	tallies := map[string]map[int32]tally.Tally{}
	difference := map[string]int64{} // between log and Redis, by topic and event type
	for topic, group := range countedBy {
		if tallies[topic], err = store.Partitions(ctx, group, topic); err != nil {
			return err
		}
		for _, t := range tallies[topic] {
			for kind, n := range t.Counts {
				difference[topic+" "+kind] -= n
				o.counted += n
			}
		}
	}
	st, err := w.read(ctx)
	if err != nil {
		return err
	}
	there := map[[sha256.Size]byte]bool{}
	for at, x := range st.records {
		if at.Topic == kafka.TopicDeadLetters {
			continue
		}
		o.records++
		if there[x.event] {
			o.doubled++
		}
		there[x.event] = true
		if t, ok := tallies[at.Topic][at.Partition]; ok && at.offset >= t.Start && at.offset < t.Next {
			difference[at.Topic+" "+x.kind]++
		}
	}
	for _, n := range difference {
		if n != 0 {
			o.miscounted++
		}
	}
	return nil
}

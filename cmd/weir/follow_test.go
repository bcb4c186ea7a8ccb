package main

import (
	"context"
	"encoding/json"
	"hash/maphash"
	"iter"
	"maps"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/simulate"
)

// follower watches the pipeline from outside, with a plain Kafka client and a
// plain Redis client: when Bluesky's events had arrived at weir's socket, by the
// header that says so, and when Redis had counted them.
type follower struct {
	cl    *kgo.Client
	admin *kadm.Client

	mu      sync.Mutex
	fresh   map[int32]time.Time // by partition of Bluesky's, the newest record's time
	edits   time.Time           // the same of Wikipedia, whose one stream comes in order
	got     []delivery
	written []int64             // of Bluesky's cursors, Unix microseconds
	counted map[int32][]reached // by partition
}

// delivery is one record that was read.
type delivery struct {
	partition int32
	offset    int64
	received  time.Time
}

// reached says that Redis had counted everything below next at a time.
type reached struct {
	at   time.Time
	next int64
}

// pollEvery is how exactly the time of a count is known.
const pollEvery = 20 * time.Millisecond

func follow(t *testing.T, seeds []string, rd *redis.Client) *follower {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(seeds...), kgo.ConsumeTopics("bluesky-events", "wikipedia-edits", "weir.cursors"), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtEnd()), kgo.MetadataMinAge(250*time.Millisecond), kgo.RetryTimeout(2*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	f := &follower{cl: cl, admin: kadm.NewClient(cl), fresh: map[int32]time.Time{}, counted: map[int32][]reached{}}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			fetches := cl.PollFetches(ctx)
			if ctx.Err() != nil {
				return
			}
			f.mu.Lock()
			fetches.EachRecord(f.record)
			f.mu.Unlock()
		}
	})
	wg.Go(func() { f.poll(ctx, rd) })
	t.Cleanup(func() { cancel(); wg.Wait(); cl.Close() })
	return f
}

// record notes a record. f.mu is held.
func (f *follower) record(r *kgo.Record) {
	if r.Topic == "weir.cursors" {
		var c struct {
			Source    string `json:"source"`
			WrittenUS int64  `json:"written_us"`
		}
		if json.Unmarshal(r.Value, &c) == nil && c.Source == "bluesky" {
			f.written = append(f.written, c.WrittenUS)
		}
		return
	}
	if r.Topic == "wikipedia-edits" {
		if r.Timestamp.After(f.edits) {
			f.edits = r.Timestamp
		}
		return
	}
	f.fresh[r.Partition] = r.Timestamp
	for _, h := range r.Headers {
		if us, err := strconv.ParseInt(string(h.Value), 10, 64); h.Key == "received" && err == nil {
			f.got = append(f.got, delivery{r.Partition, r.Offset, time.UnixMicro(us)})
		}
	}
}

// poll asks Redis again and again how far it has counted.
func (f *follower) poll(ctx context.Context, rd *redis.Client) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var next [6]*redis.StringCmd
		_, _ = rd.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i := range next {
				next[i] = p.HGet(ctx, "weir:tally:weir-bluesky-counter:bluesky-events:"+strconv.Itoa(i), "next")
			}
			return nil
		})
		now := time.Now()
		f.mu.Lock()
		for i, cmd := range next {
			if n, err := cmd.Int64(); err == nil {
				f.counted[int32(i)] = append(f.counted[int32(i)], reached{now, n})
			}
		}
		f.mu.Unlock()
	}
}

// begin forgets what was measured.
func (f *follower) begin() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.got, f.counted = nil, map[int32][]reached{}
	f.written = f.written[max(0, len(f.written)-1):]
}

// end returns, in seconds since begin, the longest time between two cursors, and
// the median and the longest time from the socket to the count.
func (f *follower) end() (cursors, median, worst float64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := 1; i < len(f.written); i++ {
		cursors = max(cursors, float64(f.written[i]-f.written[i-1])/1e6)
	}
	var took []float64
	for _, d := range f.got {
		polls := f.counted[d.partition]
		if i := sort.Search(len(polls), func(i int) bool { return polls[i].next > d.offset }); i < len(polls) {
			took = append(took, polls[i].at.Sub(d.received).Seconds())
		}
	}
	if len(took) == 0 {
		return cursors, 0, 0
	}
	slices.Sort(took)
	return cursors, took[len(took)/2], took[len(took)-1]
}

// freshSince reports whether every partition of Bluesky's, and Wikipedia's stream,
// delivered something that happened after a moment.
func (f *follower) freshSince(partitions int, moment time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, at := range f.fresh {
		if at.After(moment) {
			n++
		}
	}
	return n == partitions && f.edits.After(moment)
}

// inSync reports whether every replica of every partition is.
func (f *follower) inSync(t *testing.T) bool {
	topics, err := f.admin.ListTopicsWithInternal(t.Context())
	if err != nil {
		return false
	}
	whole := true
	topics.EachPartition(func(p kadm.PartitionDetail) { whole = whole && p.Err == nil && len(p.ISR) == 3 })
	return whole
}

// leads is how many partitions a broker leads, -1 where nobody tells.
func (f *follower) leads(t *testing.T, id int32) (n int) {
	topics, err := f.admin.ListTopicsWithInternal(t.Context())
	if err != nil {
		return -1
	}
	topics.EachPartition(func(p kadm.PartitionDetail) {
		if p.Leader == id {
			n++
		}
	})
	return n
}

// controller is the active controller, -1 where nobody tells.
func (f *follower) controller(t *testing.T) int32 {
	req := kmsg.NewPtrDescribeQuorumRequest()
	req.Topics = []kmsg.DescribeQuorumRequestTopic{{Topic: "__cluster_metadata", Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{}}}}
	resp, err := req.RequestWith(t.Context(), f.cl)
	if err != nil || len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return -1
	}
	return resp.Topics[0].Partitions[0].LeaderID
}

// judge compares everything with the simulated world: what weir verify says, the
// identities of what a plain client reads from the topics, and the totals that a
// plain Redis client reads.
func (r *failoverRig) judge() {
	t := r.t
	t.Helper()
	offeredBluesky, offeredWikipedia := r.world.Bluesky.Tip(), r.world.Wikipedia.Tip()
	r.flows(time.Now().Add(time.Second)) // all that had been offered is stored
	if err := r.world.Close(); err != nil {
		t.Error(err)
	}
	within(t, "all is counted", func() bool { return r.uncounted() == 0 })
	verified(t, r.env)

	topics := []string{"bluesky-events", "bluesky-accounts"}
	truth := r.sameAsWorld(topics, offeredBluesky, r.world.Bluesky.Items(0, r.world.Bluesky.Tip()+1), blueskyIdentity)
	r.sameTotals(truth[event.Data], "weir-bluesky-counter", "bluesky-events")
	r.sameTotals(truth[event.Account], "weir-bluesky-counter.accounts", "bluesky-accounts")
	truth = r.sameAsWorld([]string{"wikipedia-edits"}, offeredWikipedia, r.world.Wikipedia.Items(0, r.world.Wikipedia.Tip()+1), wikipediaIdentity)
	r.sameTotals(truth[event.Data], "weir-wikipedia-counter", "wikipedia-edits")
}

// uncounted is how far Redis is behind the ends of the logs, -1 where nobody tells.
func (r *failoverRig) uncounted() (n int64) {
	groups := map[string]string{"bluesky-events": "weir-bluesky-counter", "bluesky-accounts": "weir-bluesky-counter.accounts", "wikipedia-edits": "weir-wikipedia-counter"}
	ends, err := r.f.admin.ListEndOffsets(r.t.Context(), slices.Collect(maps.Keys(groups))...)
	if err != nil {
		return -1
	}
	ends.Each(func(o kadm.ListedOffset) {
		next, err := r.redis.HGet(r.t.Context(), "weir:tally:"+groups[o.Topic]+":"+o.Topic+":"+strconv.Itoa(int(o.Partition)), "next").Int64()
		if err != nil {
			next = 0
		}
		n += o.Offset - next
	})
	return n
}

// blueskyIdentity and wikipediaIdentity parse with encoding/json alone, and name an
// event as simulate.Item.Identity does.
func blueskyIdentity(value []byte) (string, error) {
	var s stored
	if err := json.Unmarshal(value, &s); err != nil {
		return "", err
	}
	if s.Kind != "commit" {
		return s.DID + "/" + s.Kind + "/" + strconv.FormatInt(s.Account.Seq+s.Identity.Seq, 10), nil
	}
	return s.DID + "/" + s.Commit.Collection + "/" + s.Commit.RKey + "/" + s.Commit.Operation + "/" + s.Commit.Rev, nil
}

func wikipediaIdentity(value []byte) (string, error) {
	var s struct{ Meta struct{ ID string } }
	err := json.Unmarshal(value, &s)
	return s.Meta.ID, err
}

// sameAsWorld reads topics whole, read_committed, and holds each event against the
// world: from the first one stored to the last, each is there once, nothing else
// is, and the last is no earlier than what had been offered. It returns how many
// there must be, by route and kind.
func (r *failoverRig) sameAsWorld(topics []string, offered int64, items iter.Seq[simulate.Item], identity func([]byte) (string, error)) map[event.Route]map[string]int64 {
	t := r.t
	t.Helper()
	seed := maphash.MakeSeed()
	have := map[uint64]uint8{} // copies by a hash of the identity: two of 64 bits do not meet by chance
	read := 0
	r.scan(topics, func(rec *kgo.Record) {
		id, err := identity(rec.Value)
		if err != nil {
			t.Errorf("%s/%d holds %q at %d: %v", rec.Topic, rec.Partition, rec.Value, rec.Offset, err)
		}
		have[maphash.String(seed, id)]++
		read++
	})
	truth := map[event.Route]map[string]int64{event.Data: {}, event.Account: {}}
	pending := map[event.Route]map[string]int64{event.Data: {}, event.Account: {}} // since the last that is stored
	var began bool
	var first, last, lost, missing, late int64
	for it := range items {
		if it.Route == event.Skip {
			continue
		}
		h := maphash.String(seed, it.Identity)
		n := have[h]
		delete(have, h)
		if n == 0 {
			missing++
			if it.Index < offered {
				late++
			}
			if began {
				pending[it.Route][it.Kind]++
			}
			continue
		}
		if !began {
			began, first, missing = true, it.Index, 0
		}
		if n > 1 {
			t.Errorf("event %d is stored %d times", it.Index, n)
		}
		lost, last, missing, late = lost+missing, it.Index, 0, 0
		for route, kinds := range pending {
			for kind, n := range kinds {
				truth[route][kind] += n
			}
			clear(kinds)
		}
		truth[it.Route][it.Kind]++
	}
	t.Logf("%v: %d records read; events %d to %d of the world, %d had been offered", topics, read, first, last, offered)
	if lost += late; lost > 0 || len(have) > 0 || read == 0 {
		t.Errorf("%v: %d events are lost, %d stored ones did not happen", topics, lost, len(have))
	}
	return truth
}

// scan reads topics from their beginnings to their present ends.
func (r *failoverRig) scan(topics []string, fn func(*kgo.Record)) {
	t := r.t
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(r.seeds...), kgo.ConsumeTopics(topics...), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.KeepControlRecords())
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListEndOffsets(t.Context(), topics...)
	if err != nil {
		t.Fatal(err)
	}
	left := map[string]int64{} // by topic and partition: the end
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[o.Topic+"/"+strconv.Itoa(int(o.Partition))] = o.Offset
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 2*apachePatience)
	defer cancel()
	for len(left) > 0 {
		fetches := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("these were not read to their ends: %v", left)
		}
		fetches.EachRecord(func(rec *kgo.Record) {
			if !rec.Attrs.IsControl() {
				fn(rec)
			}
			if at := rec.Topic + "/" + strconv.Itoa(int(rec.Partition)); rec.Offset+1 >= left[at] {
				delete(left, at)
			}
		})
	}
}

// sameTotals compares what Redis holds with what must be counted.
func (r *failoverRig) sameTotals(want map[string]int64, group, topic string) {
	t := r.t
	t.Helper()
	keys, err := r.redis.Keys(t.Context(), "weir:tally:"+group+":"+topic+":*").Result()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int64{}
	for _, key := range keys {
		fields, err := r.redis.HGetAll(t.Context(), key).Result()
		if err != nil {
			t.Fatal(err)
		}
		for field, v := range fields {
			if kind, ok := strings.CutPrefix(field, "k:"); ok {
				n, err := strconv.ParseInt(v, 10, 64)
				if err != nil {
					t.Errorf("%s: %s is %q", key, field, v)
				}
				got[kind] += n
			}
		}
	}
	if !maps.Equal(got, want) || sum(want) == 0 {
		t.Errorf("%s counted %v, and %v happened", group, got, want)
	}
}

package inspect

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"golang.org/x/sync/errgroup"

	"github.com/weir-project/weir/internal/scan"
)

const (
	// exactBelow is up to how many offsets behind the messages are counted rather
	// than the offsets: every transaction ends with a marker, which is not a message.
	exactBelow = 16
	// lookups is how many partitions are looked into at once.
	lookups = 8
	// lookTimeout bounds looking into one partition.
	lookTimeout = 2 * time.Second
)

// positions fills in the partitions of the groups: the committed offsets and the lag.
// times are the groups of which the age of the lag is looked up. It returns warnings.
func (i *Inspector) positions(ctx context.Context, all []GroupDetail, times map[string]bool) ([]string, error) {
	warnings := i.committed(ctx, all)
	topics := kadm.TopicsSet{}
	for _, d := range all {
		for _, p := range d.Partitions {
			if p.Topic != "" { // a deleted topic that is known by its id only
				topics.Add(p.Topic)
			}
		}
	}
	names := topics.Topics()
	if len(names) == 0 {
		return warnings, nil
	}
	meta, err := i.Metadata(ctx, names...)
	if err != nil {
		return warnings, fmt.Errorf("list offsets: %w", err)
	}
	at := i.bounds(ctx, meta, LogStarts, LogEnds, LastStable)
	var g errgroup.Group
	g.SetLimit(lookups)
	for k := range all {
		aged := times[all[k].Name]
		for n := range all[k].Partitions {
			p := &all[k].Partitions[n]
			p.bounds(at)
			exact := p.Lag <= exactBelow && !p.share
			if p.Lag <= 0 || !exact && !aged || exact && !aged && i.seen.fill(p) {
				continue
			}
			g.Go(func() error {
				i.look(ctx, p, at.stable, exact, aged)
				return nil
			})
		}
	}
	return warnings, g.Wait()
}

// seen remembers how many messages lie between two offsets where that was looked up
// last: of hundreds of groups most stand still. It is safe for concurrent use.
type seen struct {
	mu    sync.Mutex
	after map[scan.TopicPartition]counted
}

type counted struct{ from, to, messages int64 }

// maxSeen bounds the partitions that are remembered.
const maxSeen = 100_000

// fill replaces the lag by what is remembered of exactly these offsets.
func (s *seen) fill(p *GroupPartition) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	known, ok := s.after[p.key()]
	if ok = ok && known.from == max(p.Committed, p.Low) && known.to == p.End; ok {
		p.lags(known.messages)
	}
	return ok
}

func (s *seen) add(p *GroupPartition, messages int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.after == nil || len(s.after) >= maxSeen {
		s.after = map[scan.TopicPartition]counted{}
	}
	s.after[p.key()] = counted{max(p.Committed, p.Low), p.End, messages}
}

func (p *GroupPartition) key() scan.TopicPartition {
	return scan.TopicPartition{Topic: p.Topic, Partition: p.Partition}
}

// lags sets the number of messages that are not consumed. The age of none is 0.
func (p *GroupPartition) lags(n int64) {
	if p.Lag = n; n == 0 {
		p.LagTime = 0
	}
}

// committed lists the committed offsets, and the partitions that members have
// been assigned without any. It returns warnings.
func (i *Inspector) committed(ctx context.Context, all []GroupDetail) (warnings []string) {
	ctx, cancel := context.WithTimeout(ctx, i.cfg.Timeout)
	defer cancel()
	var plain, share []string
	for _, d := range all {
		if d.Type == TypeShare {
			share = append(share, d.Name)
		} else {
			plain = append(plain, d.Name)
		}
	}
	fetched := i.admin.FetchManyOffsets(ctx, plain...)
	shared := kadm.DescribedShareGroupsOffsets{}
	if len(share) > 0 {
		var err error
		if shared, err = i.admin.DescribeShareGroupOffsets(ctx, share...); err != nil {
			warnings = append(warnings, fmt.Sprintf("offsets of share groups: %v", err))
		}
	}
	for k := range all {
		d := &all[k]
		if d.Type == TypeShare {
			d.shareOffsets(shared[d.Name])
			continue
		}
		owner := map[scan.TopicPartition]string{}
		for _, m := range d.Members {
			for t, ps := range m.Assigned {
				for _, p := range ps {
					owner[scan.TopicPartition{Topic: t, Partition: p}] = m.ID
				}
			}
		}
		f := fetched[d.Name]
		d.failed(f.Err)
		f.Fetched.Each(func(o kadm.OffsetResponse) {
			p := GroupPartition{Topic: o.Topic, Partition: o.Partition, Committed: o.At, LagTime: Unknown}
			p.Member = owner[p.key()]
			if o.Err != nil {
				p.Error = o.Err.Error()
			}
			delete(owner, p.key())
			if o.At >= 0 || p.Member != "" {
				d.Partitions = append(d.Partitions, p)
			}
		})
		for key, id := range owner {
			d.Partitions = append(d.Partitions, GroupPartition{Topic: key.Topic, Partition: key.Partition, Committed: Unknown, LagTime: Unknown, Member: id})
		}
	}
	return warnings
}

func (d *GroupDetail) shareOffsets(o kadm.DescribedShareGroupOffsets) {
	d.failed(o.Err)
	for _, parts := range o.Offsets {
		for _, s := range parts {
			p := GroupPartition{Topic: s.Topic, Partition: s.Partition, Committed: s.StartOffset, Lag: s.Lag, LagTime: Unknown, share: true}
			if s.Err != nil {
				p.Error = s.Err.Error()
			}
			d.Partitions = append(d.Partitions, p)
		}
	}
}

// bounds fills in the watermarks and the lag by offsets.
func (p *GroupPartition) bounds(at bounds) {
	var err error
	if p.Low, p.End, err = at.of(p.Topic, p.Partition); err != nil {
		p.Lag, p.Error = Unknown, err.Error()
		return
	}
	if p.share && p.Lag != Unknown {
		p.lags(p.Lag) // the coordinator knows better
		return
	}
	// An offset below the low watermark is consumed from the low watermark, one
	// above the end is behind nothing.
	p.lags(max(0, p.End-max(p.Committed, p.Low)))
}

// errEnough ends a look into a partition.
var errEnough = errors.New("seen enough")

// look replaces the lag by the number of messages where that is exact, and finds
// the age of the first message that is not consumed. What fails leaves what is
// known.
func (i *Inspector) look(ctx context.Context, p *GroupPartition, stable kadm.ListedOffsets, exact, times bool) {
	s, ok := stable.Lookup(p.Topic, p.Partition)
	if !ok || s.Err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	var (
		found int64
		first time.Time
	)
	err := i.reader.Read(ctx, scan.Range{TopicPartition: p.key(), From: max(p.Committed, p.Low), To: s.Offset}, func(c scan.Chunk) error {
		if len(c.Records) > 0 && found == 0 {
			first = c.Records[0].Timestamp
		}
		found += int64(len(c.Records))
		if found > 0 && !exact {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return
	}
	if times && found > 0 {
		p.LagTime = max(0, time.Since(first))
	}
	if exact {
		p.lags(found)
		if s.Offset == p.End { // nothing is open in it: it stays what it is
			i.seen.add(p, found)
		}
	}
}

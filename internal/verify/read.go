package verify

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/scan"
)

// read reads everything that is compared.
func (v *verifier) read(ctx context.Context) error {
	cl, err := v.cfg.Kafka.NewClient()
	if err != nil {
		return err
	}
	defer cl.Close()
	v.client, v.admin = cl, kadm.NewClient(cl)
	if err := v.readSnapshot(ctx); err != nil {
		return err
	}
	return v.identify(ctx)
}

// progressEvery is how often progress is reported at most.
const progressEvery = 200 * time.Millisecond

// fetchBytes is what one fetch asks for. What was fetched waits decompressed, several times for
// each worker, and most of the memory of a verification is that: an archived batch has a
// fourth of its size.
const fetchBytes = 512 << 10

// stage reports what is being done.
func (v *verifier) stage(text string) {
	if v.report != nil {
		v.report(Progress{Stage: text})
	}
}

// advanced reports how far reading is.
func (v *verifier) advanced(offsets, records int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.scanned += offsets
	v.records += records
	if now := time.Now(); v.report != nil && (now.Sub(v.told) >= progressEvery || v.scanned == v.total) {
		v.told = now
		v.report(Progress{Stage: "reading records", Scanned: v.scanned, Total: v.total})
	}
}

// scan reads every partition.
func (v *verifier) scan(ctx context.Context) error {
	reader := scan.New(v.client, scan.Options{FetchBytes: fetchBytes})
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(v.cfg.Workers)
	// The longest first: the last one to end is then a short one.
	slices.SortFunc(v.parts, func(a, b *partition) int { return cmp.Compare(b.end-b.low, a.end-a.low) })
	for _, p := range v.parts {
		g.Go(func() error { return v.scanPart(ctx, reader, p) })
	}
	return g.Wait()
}

// identify reads every partition, which keeps the identities of events, and compares these
// to find events that are stored more than once.
func (v *verifier) identify(ctx context.Context) (err error) {
	for _, s := range v.sources {
		if v.cfg.SkipValues {
			break
		}
		ids := newIdentities(v.cfg.TempDir, blockBytes, tableEntries)
		defer func() { err = errors.Join(err, ids.close()) }()
		for _, st := range s.streams {
			for _, l := range st.portions {
				l.examine = st.topic.NewExamine()
				l.ids, l.index = ids, uint32(len(ids.portions))
				ids.portions = append(ids.portions, l)
				ids.file.need += (l.p.end - l.p.low) * entryBytes
			}
		}
		s.ids = ids
	}
	if err := v.scan(ctx); err != nil {
		return err
	}
	for _, s := range v.sources {
		if s.ids == nil {
			continue
		}
		v.stage("comparing the events of " + s.Name)
		if err := s.ids.compare(ctx, v.cfg.Workers); err != nil {
			return err
		}
	}
	return nil
}

func (v *verifier) scanPart(ctx context.Context, reader *scan.Reader, p *partition) error {
	at := p.low
	s := scan.Range{TopicPartition: scan.TopicPartition{Topic: p.topic, Partition: p.id}, From: p.low, To: p.end}
	return reader.Read(ctx, s, func(c scan.Chunk) error {
		b := event.NewBatch()
		defer b.Release()
		if c.Trimmed > 0 {
			p.low = max(p.low, at+c.Trimmed)
			for _, l := range p.portions {
				l.hole()
			}
		}
		for _, r := range c.Records {
			if l := p.portion(r); l != nil {
				if err := l.record(r, !v.cfg.SkipValues, b); err != nil {
					return err
				}
			}
		}
		v.advanced(c.Next-at, int64(len(c.Records)))
		at = c.Next
		return nil
	})
}

// portion returns the portion of a record: a data topic has one, the dead-letter topic
// one for each source, nil for a record of none.
func (p *partition) portion(r *kgo.Record) *portion {
	if len(p.portions) == 1 && !p.portions[0].st.dead {
		return p.portions[0]
	}
	for i := range r.Headers {
		if r.Headers[i].Key != kafka.HeaderSource {
			continue
		}
		for _, l := range p.portions {
			if l.st.source.Name == string(r.Headers[i].Value) {
				return l
			}
		}
	}
	return nil
}

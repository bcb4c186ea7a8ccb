package kit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/weir-project/weir/internal/bluesky"
	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/ingest"
	"github.com/weir-project/weir/internal/lab"
)

// Upstream is the live stream that an experiment takes its events from. Where it is nil
// they are simulated. Its load is what it is: how much comes, and whether that is enough
// to show anything, is known only afterwards.
type Upstream struct {
	// URLs are Jetstream servers by preference; none means the public ones.
	URLs []string `json:"urls,omitempty"`
	// Collections are what is asked of them; none means everything.
	Collections []string `json:"collections"`
}

// check says what is wrong with it.
func (u *Upstream) check() error {
	if u == nil {
		return nil
	}
	_, err := u.source(bluesky.Config{})
	return err
}

// source makes the source of it.
func (u *Upstream) source(cfg bluesky.Config) (*bluesky.Source, error) {
	cfg.URLs, cfg.Collections = u.URLs, u.Collections
	return bluesky.New(cfg)
}

// name is what a report calls it.
func (u *Upstream) name() string {
	if u == nil {
		return lab.SourceSimulated
	}
	return lab.SourceLive
}

// stored is what the lab itself reads in a stored event, with the standard library: the
// pipeline's own decoder is under test.
type stored struct {
	id   string // simulate.Item's Identity; empty for what is no event
	kind string
	key  string
}

// parse reads a value.
func parse(value []byte) stored {
	var m struct {
		DID, Kind string
		Commit    struct{ Collection, RKey, Operation, Rev string }
		Account   struct{ Seq int64 }
		Identity  struct{ Seq int64 }
	}
	if json.Unmarshal(value, &m) != nil || m.DID == "" {
		return stored{}
	}
	if m.Kind == "commit" {
		return stored{strings.Join([]string{m.DID, m.Commit.Collection, m.Commit.RKey, m.Commit.Operation, m.Commit.Rev}, "/"), m.Commit.Operation, m.DID}
	}
	return stored{m.DID + "/" + m.Kind + "/" + strconv.FormatInt(max(m.Account.Seq, m.Identity.Seq), 10), m.Kind, m.DID}
}

// noted is a live source whose events are noted before they come to the queue: what it
// hands over for a time is what there is to be stored. Then it is not read any more.
type noted struct {
	ingest.Source
	offer time.Duration

	begun chan struct{} // closed at the first event
	ended chan struct{} // closed when offer is over

	mu    sync.Mutex
	first time.Time
	index map[string]int64 // by identity, in the order of their coming
	keys  []string
	data  map[string]int64 // by kind, of the data topic
	over  bool             // nothing comes any more
}

func newNoted(src ingest.Source, offer time.Duration) *noted {
	return &noted{Source: src, offer: offer, begun: make(chan struct{}), ended: make(chan struct{}), index: map[string]int64{}, data: map[string]int64{}}
}

// Stream implements ingest.Source.
func (n *noted) Stream(ctx context.Context, from event.Cursor, emit func(*event.Batch) error) error {
	reading, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		select {
		case <-n.ended:
			stop()
		case <-reading.Done():
		}
	}()
	err := n.Source.Stream(reading, from, func(b *event.Batch) error {
		n.note(b)
		return emit(b)
	})
	select {
	case <-n.ended:
	default:
		return err
	}
	n.mu.Lock()
	n.over = true
	n.mu.Unlock()
	<-ctx.Done()
	return ctx.Err()
}

// note takes in what is stored of a batch, but for what came before.
func (n *noted) note(b *event.Batch) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := range b.Events {
		e := &b.Events[i]
		if e.Route != event.Data && e.Route != event.Account {
			continue
		}
		if n.first.IsZero() {
			n.first = time.Now()
			close(n.begun)
			time.AfterFunc(n.offer, func() { close(n.ended) })
		}
		x := parse(e.Value)
		if _, again := n.index[x.id]; again {
			continue
		}
		n.index[x.id] = int64(len(n.keys))
		n.keys = append(n.keys, x.key)
		if e.Route == event.Data {
			n.data[x.kind]++
		}
	}
}

// tip is how many events have come, and whether no more will.
func (n *noted) tip() (events int64, over bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return int64(len(n.keys)), n.over
}

// kinds counts what is to be in the data topic.
func (n *noted) kinds() map[string]int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := make(map[string]int64, len(n.data))
	for k, v := range n.data {
		out[k] = v
	}
	return out
}

// await waits for the first event.
func (n *noted) await(ctx context.Context) error {
	select {
	case <-n.begun:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(patience):
	}
	return n.silent()
}

// silent says why there is no event.
func (n *noted) silent() error {
	st := n.Status()
	why := "it is connected, and nothing comes"
	if st.LastError != "" {
		why = st.LastError
	}
	return fmt.Errorf("no event came from the live stream %s within %v: %s", st.Host, patience, why)
}

// Bounds of what is recorded before it is written again.
const (
	maxRecordBytes = 64 << 20
	// fewRecords is how many records there must be for their compression to be that of
	// the stream: the records of one batch of the largest usual size in each partition.
	fewRecords = 2000
)

// errEnough ends a recording.
var errEnough = errors.New("enough is recorded")

// record reads events of the data topic from the live stream, until there are n, or a
// bound on their bytes is reached, or the time is over, which begins with the first.
func (u *Upstream) record(ctx context.Context, b *lab.Bench, n int, during time.Duration) ([]payload, error) {
	src, err := u.source(bluesky.Config{Log: b.Log})
	if err != nil {
		return nil, err
	}
	var out []payload
	var bytes int
	seen := map[string]bool{}
	rec := newNoted(src, during)
	reading, stop := context.WithTimeout(ctx, patience+during)
	defer stop()
	go func() {
		select {
		case <-rec.ended:
			stop()
		case <-reading.Done():
		}
	}()
	cursor := event.Cursor{}
	for reading.Err() == nil {
		err = rec.Source.Stream(reading, cursor, func(batch *event.Batch) error {
			defer batch.Release()
			rec.note(batch)
			for i := range batch.Events {
				e := &batch.Events[i]
				x := parse(e.Value)
				if e.Route != event.Data || x.id == "" || seen[x.id] || len(out) >= n || bytes >= maxRecordBytes {
					continue
				}
				seen[x.id] = true
				out = append(out, payload{key: append([]byte(nil), e.Key...), value: append([]byte(nil), e.Value...), kind: x.kind, id: x.id})
				bytes += len(e.Key) + len(e.Value)
			}
			b.Progress(fmt.Sprintf("recording the live stream: %d of %d records", len(out), n))
			if len(out) >= n || bytes >= maxRecordBytes {
				return errEnough
			}
			cursor = batch.Cursor.Clone()
			return nil
		})
		if errors.Is(err, errEnough) {
			break
		}
		_ = wait(reading, time.Second) // it ends with the time
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(out) == 0 {
		return nil, rec.silent()
	}
	return out, nil
}

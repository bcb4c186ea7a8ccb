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

// Check says what is wrong with it.
func (u *Upstream) Check() error {
	if u == nil {
		return nil
	}
	_, err := u.Source(bluesky.Config{})
	return err
}

// Source makes the source of it.
func (u *Upstream) Source(cfg bluesky.Config) (*bluesky.Source, error) {
	cfg.URLs, cfg.Collections = u.URLs, u.Collections
	return bluesky.New(cfg)
}

// Name is what a report calls it.
func (u *Upstream) Name() string {
	if u == nil {
		return lab.SourceSimulated
	}
	return lab.SourceLive
}

// Event is what the lab itself reads in a stored event, with the standard library: the
// pipeline's own decoder is under test.
type Event struct {
	ID   string // simulate.Item's Identity; empty for what is no event
	Kind string
	Key  string
}

// Parse reads a value.
func Parse(value []byte) Event {
	var m struct {
		DID, Kind string
		Commit    struct{ Collection, RKey, Operation, Rev string }
		Account   struct{ Seq int64 }
		Identity  struct{ Seq int64 }
	}
	if json.Unmarshal(value, &m) != nil || m.DID == "" {
		return Event{}
	}
	if m.Kind == "commit" {
		return Event{strings.Join([]string{m.DID, m.Commit.Collection, m.Commit.RKey, m.Commit.Operation, m.Commit.Rev}, "/"), m.Commit.Operation, m.DID}
	}
	return Event{m.DID + "/" + m.Kind + "/" + strconv.FormatInt(max(m.Account.Seq, m.Identity.Seq), 10), m.Kind, m.DID}
}

// Noted is a live source whose events are noted before they enter the queue. The events of
// the given time are those that must be stored; after that the lab stops reading.
type Noted struct {
	ingest.Source
	offer time.Duration

	begun chan struct{} // closed at the first event
	ended chan struct{} // closed when offer is over

	mu    sync.Mutex
	first time.Time
	Index map[string]int64 // by identity, in the order of their coming
	Keys  []string
	data  map[string]int64 // by kind, of the data topic
	over  bool             // nothing comes any more
}

func newNoted(src ingest.Source, offer time.Duration) *Noted {
	return &Noted{Source: src, offer: offer, begun: make(chan struct{}), ended: make(chan struct{}), Index: map[string]int64{}, data: map[string]int64{}}
}

// Stream implements ingest.Source.
func (n *Noted) Stream(ctx context.Context, from event.Cursor, emit func(*event.Batch) error) error {
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
func (n *Noted) note(b *event.Batch) {
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
		x := Parse(e.Value)
		if _, again := n.Index[x.ID]; again {
			continue
		}
		n.Index[x.ID] = int64(len(n.Keys))
		n.Keys = append(n.Keys, x.Key)
		if e.Route == event.Data {
			n.data[x.Kind]++
		}
	}
}

// Tip is how many events have come, and whether no more will.
func (n *Noted) Tip() (events int64, over bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return int64(len(n.Keys)), n.over
}

// Kinds counts, by event type, the events that must be in the data topic.
func (n *Noted) Kinds() map[string]int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := make(map[string]int64, len(n.data))
	for k, v := range n.data {
		out[k] = v
	}
	return out
}

// await waits for the first event.
func (n *Noted) await(ctx context.Context) error {
	select {
	case <-n.begun:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(Patience):
	}
	return n.silent()
}

// silent returns the reason why no event came.
func (n *Noted) silent() error {
	st := n.Status()
	why := "it is connected, and nothing comes"
	if st.LastError != "" {
		why = st.LastError
	}
	return fmt.Errorf("no event came from the live stream %s within %v: %s", st.Host, Patience, why)
}

// Bounds of what is recorded before it is written again.
const (
	MaxRecordBytes = 64 << 20
	// FewRecords is how many records there must be for their compression to be that of
	// the stream: the records of one batch of the largest usual size in each partition.
	FewRecords = 2000
)

// errEnough ends a recording.
var errEnough = errors.New("enough is recorded")

// Record reads events of the data topic from the live stream, until there are n, or a
// bound on their bytes is reached, or the time is over, which begins with the first.
func (u *Upstream) Record(ctx context.Context, b *lab.Bench, n int, during time.Duration) ([]Payload, error) {
	src, err := u.Source(bluesky.Config{Log: b.Log})
	if err != nil {
		return nil, err
	}
	var out []Payload
	var bytes int
	seen := map[string]bool{}
	rec := newNoted(src, during)
	reading, stop := context.WithTimeout(ctx, Patience+during)
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
				x := Parse(e.Value)
				if e.Route != event.Data || x.ID == "" || seen[x.ID] || len(out) >= n || bytes >= MaxRecordBytes {
					continue
				}
				seen[x.ID] = true
				out = append(out, Payload{Key: append([]byte(nil), e.Key...), Value: append([]byte(nil), e.Value...), Kind: x.Kind, ID: x.ID})
				bytes += len(e.Key) + len(e.Value)
			}
			b.Progress(fmt.Sprintf("recording the live stream: %d of %d records", len(out), n))
			if len(out) >= n || bytes >= MaxRecordBytes {
				return errEnough
			}
			cursor = batch.Cursor.Clone()
			return nil
		})
		if errors.Is(err, errEnough) {
			break
		}
		_ = Wait(reading, time.Second) // it ends with the time
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(out) == 0 {
		return nil, rec.silent()
	}
	return out, nil
}

package kit

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/weir-project/weir/internal/bluesky"
	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/lab/overflow"
	"github.com/weir-project/weir/internal/simulate"
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

// Source makes the source of it.
func (u *Upstream) Source(cfg bluesky.Config) (*bluesky.Source, error) {
	cfg.URLs, cfg.Collections = u.URLs, u.Collections
	return bluesky.New(cfg)
}

// FromLive is for the settings of labs that can take their events from a live stream: they
// embed it.
type FromLive struct {
	// Live is where events come from, at their own rate; nil for the simulated stream.
	Live *Upstream `json:"live,omitempty"`
}

// SetLive takes events from a live stream.
func (f *FromLive) SetLive(u *Upstream) { f.Live = u }

// Source is what a report says of it.
func (f *FromLive) Source() string {
	if f.Live == nil {
		return lab.SourceSimulated
	}
	return lab.SourceLive
}

// Payloads are n events to write: of the live stream, recorded for a while, or simulated ones.
func (f *FromLive) Payloads(ctx context.Context, b *lab.Bench, seed int64, n int, during time.Duration) ([]Payload, error) {
	if f.Live != nil {
		return f.Live.Record(ctx, b, n, during)
	}
	return Payloads(seed, n)
}

// Check rejects a URL that is not a Jetstream's.
func (f *FromLive) Check() error {
	if f.Live == nil {
		return nil
	}
	_, err := f.Live.Source(bluesky.Config{})
	return err
}

// Payload is one record to write, made before anything is measured.
type Payload struct {
	Key, Value []byte
	Kind, ID   string // that it counts as, and that tells it from others; from the simulation, not parsed
}

// Payloads makes n events of the simulated Bluesky as its Jetstream would send them,
// those that a correct reader stores in the data topic.
func Payloads(seed int64, n int) ([]Payload, error) {
	world, err := simulate.NewWorld(seed).Bluesky(Collections...)
	if err != nil {
		return nil, fmt.Errorf("make events: %w", err)
	}
	start := time.Now().UnixMicro()
	out := make([]Payload, 0, n)
	for i := int64(0); len(out) < n; i++ {
		it := world.At(i)
		if it.Route != event.Data || it.Again {
			continue
		}
		out = append(out, Payload{Key: []byte(it.Key), Value: world.AppendFrame(nil, i, start+i, 0), Kind: it.Kind, ID: it.Identity})
	}
	return out, nil
}

// Event is what the lab itself reads in a stored event, with the standard library, because
// the pipeline's own decoder is under test.
type Event struct {
	ID   string // simulate.Item's Identity; empty where the value is not an event
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
	overflow.Upstream
	offer time.Duration
	begun chan struct{}   // closed at the first event
	ended context.Context // ends when offer is over
	end   context.CancelFunc

	mu    sync.Mutex
	first time.Time
	Index map[string]int64 // by identity, in the order of their coming
	Keys  []string
	data  map[string]int64 // by event type, of the data topic
	over  bool             // nothing comes any more
}

func newNoted(src overflow.Upstream, offer time.Duration) *Noted {
	n := &Noted{Upstream: src, offer: offer, begun: make(chan struct{}), Index: map[string]int64{}, data: map[string]int64{}}
	n.ended, n.end = context.WithCancel(context.Background()) // ended by Stream, when the offer is over
	return n
}

// Stream implements ingest.Source.
func (n *Noted) Stream(ctx context.Context, from event.Cursor, emit func(*event.Batch) error) error {
	reading, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(n.ended, stop)()
	err := n.Upstream.Stream(reading, from, func(b *event.Batch) error {
		n.note(b)
		return emit(b)
	})
	if n.ended.Err() == nil {
		return err
	}
	n.mu.Lock()
	n.over = true
	n.mu.Unlock()
	<-ctx.Done()
	return ctx.Err()
}

// note notes what is stored of a batch, except what came before, and returns the new events
// of the data topic.
func (n *Noted) note(b *event.Batch) (added []Payload) {
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
			time.AfterFunc(n.offer, n.end)
		}
		x := Parse(e.Value)
		if _, again := n.Index[x.ID]; again {
			continue
		}
		n.Index[x.ID] = int64(len(n.Keys))
		n.Keys = append(n.Keys, x.Key)
		if e.Route == event.Data {
			n.data[x.Kind]++
			added = append(added, Payload{Key: e.Key, Value: e.Value, Kind: x.Kind, ID: x.ID})
		}
	}
	return added
}

// Tip returns how many events have come, and whether no more will.
func (n *Noted) Tip() (events int64, over bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return int64(len(n.Keys)), n.over
}

// Kinds counts, by event type, the events that must be in the data topic.
func (n *Noted) Kinds() map[string]int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return maps.Clone(n.data)
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

// Record reads events of the data topic from the live stream, until there are n, or a
// bound on their bytes is reached, or the time is over, which begins with the first.
func (u *Upstream) Record(ctx context.Context, b *lab.Bench, n int, during time.Duration) ([]Payload, error) {
	src, err := u.Source(bluesky.Config{Log: b.Log})
	if err != nil {
		return nil, err
	}
	var out []Payload
	size := 0
	full := func() bool { return len(out) >= n || size >= MaxRecordBytes }
	rec := newNoted(src, during)
	reading, stop := context.WithTimeout(ctx, Patience+during)
	defer stop()
	defer context.AfterFunc(rec.ended, stop)()
	for cursor := (event.Cursor{}); reading.Err() == nil && !full(); _ = Wait(reading, time.Second) { // it ends with the time
		_ = rec.Upstream.Stream(reading, cursor, func(batch *event.Batch) error {
			defer batch.Release()
			for _, x := range rec.note(batch) {
				if x.ID != "" && !full() {
					x.Key, x.Value = bytes.Clone(x.Key), bytes.Clone(x.Value) // the batch's memory is used again
					out = append(out, x)
					size += len(x.Key) + len(x.Value)
				}
			}
			b.Progress(fmt.Sprintf("recording the live stream: %d of %d records", len(out), n))
			if full() {
				stop()
				return context.Canceled
			}
			cursor = batch.Cursor.Clone()
			return nil
		})
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(out) == 0 {
		return nil, rec.silent()
	}
	return out, nil
}

package simulate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"github.com/klauspost/compress/zstd"

	"github.com/weir-project/weir/internal/event"
)

// BlueskyConfig describes one Jetstream host.
//
// Differences to the real servers: there is no limit of events per second and
// address (v1: 5,000); RFC 7692 compression is never agreed to; frames that are
// due within Tick are written together; the events that v1 can lose where replay
// meets live are not lost.
type BlueskyConfig struct {
	World    *World
	Timeline *Timeline // with MixOf as its variant
	// Host names this server. Each name has sequence numbers of its own and sees
	// events at a time of its own, up to 1.5 s late; the empty one at once.
	Host string
	// Version is 1 (`time_us` unique and increasing, an outbox that overflows) or
	// 2, the default (sequence numbers, stamps that repeat and go back by up to
	// 33 ms, waits for slow clients).
	Version int
	Faults  *Faults // may be shared by several hosts
	// Retention is how far back a cursor reaches: 24 h (v1) or 36 h (v2) where 0.
	Retention time.Duration
	// Outbox is how many events a v1 client may be behind: 10,000 where 0.
	Outbox int64
	// Ping is the time between pings, 30 s where 0.
	Ping time.Duration
	// Tick is how long events are gathered at high rates, 5 ms where 0. Events
	// that are further apart are sent when they happen.
	Tick time.Duration
	// Dictionary is a zstd dictionary, as zstd makes them or raw content. With it
	// `compress=true` gets binary frames; without it text frames all the same,
	// as the real servers' dictionary is not part of this program.
	Dictionary []byte
	Log        *slog.Logger // nil discards
}

const (
	blueskyChunk  = 64 << 10         // bytes that are written at once
	scanChunk     = 1 << 16          // events that a filter may pass over in one go
	patienceV1    = 10 * time.Second // the real servers' write timeouts
	patienceV2    = 5 * time.Second
	stampBucketUS = 8_000
	stampLagUS    = 24_000
)

// BlueskyServer is one Jetstream host. It is an http.Handler for /subscribe.
type BlueskyServer struct {
	cfg   BlueskyConfig
	gate  *gate
	log   *slog.Logger
	zstd  *zstd.Encoder
	key   uint64 // of the host's stamps
	base  int64  // sequence number of event -1
	delay int64  // µs until this host sees an event
	floor atomic.Int64

	epochs atomic.Pointer[[]epoch] // of the sequence numbers, by from

	mu    sync.Mutex
	mixes map[string]*Bluesky
}

// epoch says that events from an index on have numbers that are smaller by shift.
type epoch struct{ from, shift int64 }

// NewBluesky checks the configuration. Close must be called.
func NewBluesky(cfg BlueskyConfig) (*BlueskyServer, error) {
	if cfg.Version == 0 {
		cfg.Version = 2
	}
	if cfg.World == nil || cfg.Timeline == nil || cfg.Version != 1 && cfg.Version != 2 {
		return nil, errors.New("bluesky server: needs a world, a timeline, and version 1 or 2")
	}
	retention := 36 * time.Hour
	if cfg.Version == 1 {
		retention = 24 * time.Hour
	}
	setDefault(&cfg.Retention, retention)
	setDefault(&cfg.Outbox, 10_000)
	setDefault(&cfg.Ping, 30*time.Second)
	setDefault(&cfg.Tick, 5*time.Millisecond)
	setDefault(&cfg.Log, slog.New(slog.DiscardHandler))
	s := &BlueskyServer{cfg: cfg, gate: newGate(), log: cfg.Log, mixes: map[string]*Bluesky{}}
	s.key = keyOf(scramble(uint64(cfg.World.seed)), "host:"+cfg.Host)
	r := rng(s.key)
	s.base = 1_000_000 + int64(r.next()%20_000_000_000)
	if cfg.Host != "" {
		s.delay = int64(r.below(1_500_000))
	}
	s.epochs.Store(&[]epoch{{}})
	segs := cfg.Timeline.Now().Segments
	if _, err := s.world(segs[len(segs)-1].Variant); err != nil {
		return nil, fmt.Errorf("bluesky server: %w", err)
	}
	if cfg.Dictionary != nil {
		opt := zstd.WithEncoderDictRaw(0, cfg.Dictionary)
		if bytes.HasPrefix(cfg.Dictionary, []byte{0x37, 0xa4, 0x30, 0xec}) {
			opt = zstd.WithEncoderDict(cfg.Dictionary)
		}
		enc, err := zstd.NewWriter(nil, opt, zstd.WithEncoderConcurrency(1))
		if err != nil {
			return nil, fmt.Errorf("bluesky server: zstd dictionary: %w", err)
		}
		s.zstd = enc
	}
	return s, nil
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// world returns the events of a variant.
func (s *BlueskyServer) world(mix string) (*Bluesky, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.mixes[mix]; b != nil {
		return b, nil
	}
	b, err := s.cfg.World.bluesky(mix)
	if err != nil {
		return nil, err
	}
	s.mixes[mix] = b
	return b, nil
}

// mustWorld is world for a variant of the timeline. NewBluesky has checked the
// newest; a file may hold an older one that is none.
func (s *BlueskyServer) mustWorld(mix string) *Bluesky {
	b, err := s.world(mix)
	if err != nil {
		s.log.Error("timeline has no such world, serving all collections", "variant", mix, "err", err)
		b, _ = s.world(AllCollections)
	}
	return b
}

// At returns the truth about event i of the timeline.
func (s *BlueskyServer) At(i int64) Item {
	return s.mustWorld(s.cfg.Timeline.Now().Segments.Of(i).Variant).At(i)
}

// Items yields the truth about events [from, to) of the timeline.
func (s *BlueskyServer) Items(from, to int64) iter.Seq[Item] { return items(from, to, s.At) }

// Tip is how many events this host has seen by now: the index of the next one.
func (s *BlueskyServer) Tip() int64 {
	v := s.cfg.Timeline.Now()
	return v.Until(v.NowUS - s.delay)
}

// Lost is the first event that FaultGap has left: all before are gone. 0 where
// it has not happened.
func (s *BlueskyServer) Lost() int64 { return s.floor.Load() }

// Serve answers on a listener until ctx ends, and returns when every connection
// is gone. The listener is closed.
func (s *BlueskyServer) Serve(ctx context.Context, ln net.Listener) error {
	if err := s.gate.serve(ctx, ln, s, s.log); err != nil {
		return fmt.Errorf("serve bluesky: %w", err)
	}
	return nil
}

// Close ends all connections and waits for them. It may be called twice.
func (s *BlueskyServer) Close() error {
	s.gate.close()
	return nil
}

// ServeHTTP answers /subscribe.
func (s *BlueskyServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set(event.OriginHeader, strconv.FormatInt(s.cfg.World.seed, 10))
	if r.URL.Path != "/subscribe" {
		http.NotFound(w, r)
		return
	}
	ctx, leave, err := s.gate.enter(r)
	if err != nil {
		panic(http.ErrAbortHandler) // as if nobody listened
	}
	defer leave()
	if f, ok := s.cfg.Faults.request(); ok {
		refuse(w, f, "service not ready: bootstrap in progress")
		return
	}
	sub, err := parseSubscription(s.cfg.Version, r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if s.cfg.Version == 2 && !websocket.IsWebSocketUpgrade(r) {
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "websocket")
		http.Error(w, fmt.Sprintf("WebSocket protocol violation: Connection header %q does not contain Upgrade",
			r.Header.Get("Connection")), http.StatusUpgradeRequired)
		return
	}
	up := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }, WriteBufferSize: 256}
	ws, err := up.Upgrade(w, r, http.Header{event.OriginHeader: w.Header()[event.OriginHeader]})
	if err != nil {
		return // answered
	}
	c := newBlueskyConn(s, ws, sub)
	c.serve(ctx)
}

// refuse answers a request as the faults 429 and 503 have it.
func refuse(w http.ResponseWriter, f Fault, text string) {
	secs := (time.Duration(f.Value) + time.Second - 1) / time.Second
	w.Header().Set("Retry-After", strconv.Itoa(int(secs)))
	code := http.StatusServiceUnavailable
	if f.Name == Fault429 {
		code, text = http.StatusTooManyRequests, "too many requests"
	}
	http.Error(w, text, code)
}

// stamp is this host's time_us of event i that happened at t.
func (s *BlueskyServer) stamp(i, t int64) int64 {
	if s.cfg.Version == 1 {
		return t + s.delay
	}
	// One stamp for all that one of four workers has in a bucket of time; each is
	// behind by a time of its own.
	bucket := t / stampBucketUS
	worker := int64(derive(s.key, i) & 3)
	lag := int64(derive(s.key+1, bucket*4+worker) % stampLagUS)
	return bucket*stampBucketUS + s.delay - lag
}

// seq is this host's sequence number of event i; 0 for version 1.
func (s *BlueskyServer) seq(i int64) int64 {
	if s.cfg.Version == 1 {
		return 0
	}
	epochs := *s.epochs.Load()
	k := len(epochs) - 1
	for k > 0 && epochs[k].from > i {
		k--
	}
	return s.base + 1 + i - epochs[k].shift
}

// index is the event that a sequence number means now, which may be one to come
// or before the first.
func (s *BlueskyServer) index(seq int64) int64 {
	epochs := *s.epochs.Load()
	for k := len(epochs) - 1; ; k-- {
		if i := seq - s.base - 1 + epochs[k].shift; i >= epochs[k].from || k == 0 {
			return i
		}
	}
}

// renumber hands out again the last n sequence numbers before event i.
func (s *BlueskyServer) renumber(i, n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	epochs := *s.epochs.Load()
	last := epochs[len(epochs)-1]
	epochs = append(slices.Clone(epochs), epoch{from: max(i, last.from), shift: last.shift + n})
	s.epochs.Store(&epochs)
}

// start resolves a cursor to the first event to send. live says that nothing is
// replayed.
func (s *BlueskyServer) start(sub *subscription) (i int64, live bool) {
	v := s.cfg.Timeline.Now()
	tip := v.Until(v.NowUS - s.delay)
	oldest := min(v.Until(v.NowUS-s.delay-s.cfg.Retention.Microseconds()), tip)
	if !sub.hasCursor {
		return tip, true
	}
	switch c := sub.cursor; {
	case s.cfg.Version == 2 && c < firstTimeCursor:
		i = s.index(max(c, 1))
		if i >= tip {
			return tip, true
		}
	case c > v.NowUS:
		return tip, true
	default:
		i = v.Until(c - s.delay - 1)
		for s.cfg.Version == 2 && i < tip && s.stamp(i, v.Segments.Time(i)) < c {
			i++
		}
	}
	return max(i, oldest), false
}

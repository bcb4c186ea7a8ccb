package simulate

import (
	"bytes"
	"cmp"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
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
// due within 5 ms are written together; the events that v1 can lose where replay
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
	// Dictionary is a zstd dictionary, as zstd makes them or raw content. With it
	// `compress=true` gets binary frames; without it text frames all the same,
	// as the real servers' dictionary is not part of this program.
	Dictionary []byte
	Log        *slog.Logger // nil discards
}

const (
	outbox        = 10_000           // events that a v1 client may be behind
	pingEvery     = 30 * time.Second // both versions
	patienceV1    = 10 * time.Second // the real servers' write timeouts
	patienceV2    = 5 * time.Second
	stampBucketUS = 8_000
	stampLagUS    = 24_000
)

// BlueskyServer is one Jetstream host. It is an http.Handler for /subscribe.
type BlueskyServer struct {
	endpoint
	version int
	zstd    *zstd.Encoder
	base    int64 // sequence number of event -1

	renumbering sync.Mutex
	epochs      atomic.Pointer[[]epoch] // of the sequence numbers, by from
}

// epoch says that events from an index on have numbers that are smaller by shift.
type epoch struct{ from, shift int64 }

// NewBluesky checks the configuration. Close must be called.
func NewBluesky(cfg BlueskyConfig) (*BlueskyServer, error) {
	version := cmp.Or(cfg.Version, 2)
	retention := map[int]time.Duration{1: 24 * time.Hour, 2: 36 * time.Hour}[version]
	if retention == 0 {
		return nil, fmt.Errorf("bluesky server: version %d is neither 1 nor 2", version)
	}
	s := &BlueskyServer{version: version, endpoint: endpoint{name: streamBluesky, world: cfg.World, timeline: cfg.Timeline, faults: cfg.Faults,
		log: cfg.Log, retention: cmp.Or(cfg.Retention, retention), fallback: AllCollections}}
	s.handler = s
	s.load = func(mix string) (source, error) { return s.world.bluesky(mix) }
	if err := s.open(); err != nil {
		return nil, err
	}
	s.key = keyOf(scramble(uint64(s.world.seed)), "host:"+cfg.Host)
	r := rng(s.key)
	s.base = 1_000_000 + int64(r.next()%20_000_000_000)
	if cfg.Host != "" {
		s.delay = int64(r.below(1_500_000))
	}
	s.epochs.Store(&[]epoch{{}})
	if cfg.Dictionary != nil {
		opt := zstd.WithEncoderDictRaw(0, cfg.Dictionary)
		if bytes.HasPrefix(cfg.Dictionary, []byte{0x37, 0xa4, 0x30, 0xec}) {
			opt = zstd.WithEncoderDict(cfg.Dictionary)
		}
		var err error
		if s.zstd, err = zstd.NewWriter(nil, opt, zstd.WithEncoderConcurrency(1)); err != nil {
			return nil, fmt.Errorf("bluesky server: zstd dictionary: %w", err)
		}
	}
	return s, nil
}

// ServeHTTP answers /subscribe.
func (s *BlueskyServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, leave := s.enter(w, r)
	defer leave()
	if r.URL.Path != "/subscribe" {
		http.NotFound(w, r)
		return
	}
	if s.refuses(w, "service not ready: bootstrap in progress") {
		return
	}
	sub, err := parseSubscription(s.version, r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if s.version == 2 && !websocket.IsWebSocketUpgrade(r) {
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
	newBlueskyConn(s, ws, sub).serve(ctx)
}

// stamp is this host's time_us of event i that happened at t.
func (s *BlueskyServer) stamp(i, t int64) int64 {
	if s.version == 1 {
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
	if s.version == 1 {
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
	s.renumbering.Lock()
	defer s.renumbering.Unlock()
	epochs := *s.epochs.Load()
	last := epochs[len(epochs)-1]
	epochs = append(slices.Clone(epochs), epoch{from: max(i, last.from), shift: last.shift + n})
	s.epochs.Store(&epochs)
}

// start resolves a cursor to the first event to send. live says that nothing is
// replayed.
func (s *BlueskyServer) start(sub *subscription) (i int64, live bool) {
	v, tip, oldest := s.kept()
	if !sub.hasCursor {
		return tip, true
	}
	switch c := sub.cursor; {
	case s.version == 2 && c < firstTimeCursor:
		i = s.index(max(c, 1))
		if i >= tip {
			return tip, true
		}
	case c > v.NowUS:
		return tip, true
	default:
		i = v.Until(c - s.delay - 1)
		for s.version == 2 && i < tip && s.stamp(i, v.Segments.Time(i)) < c {
			i++
		}
	}
	return max(i, oldest), false
}

package simulate

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/weir-project/weir/internal/event"
)

const (
	pingEvery     = 30 * time.Second
	patience      = 5 * time.Second // the real servers' write timeout
	stampBucketUS = 8_000
	stampLagUS    = 24_000
	retention     = 36 * time.Hour // how far back a cursor reaches
)

// BlueskyServer is one Jetstream host of version 2. It is an http.Handler for /subscribe.
//
// Differences to the real servers: there is no limit of events per second and
// address; compression, also RFC 7692, is never agreed to, because the real servers'
// dictionary is not part of this program; frames that are due within 5 ms are written together.
type BlueskyServer struct {
	endpoint
	base int64 // sequence number of event -1

	renumbering sync.Mutex
	epochs      atomic.Pointer[[]epoch] // of the sequence numbers, by from
}

// epoch says that events from an index on have numbers that are smaller by shift.
type epoch struct{ from, shift int64 }

// NewBluesky checks the configuration, whose timeline has MixOf as its variant. Close must be called.
func NewBluesky(cfg ServerConfig) (*BlueskyServer, error) {
	s := &BlueskyServer{endpoint: endpoint{ServerConfig: cfg, name: streamBluesky, retention: retention, fallback: AllCollections}}
	s.handler = s
	s.load = func(mix string) (source, error) { return s.World.bluesky(mix) }
	if err := s.open("host:"); err != nil {
		return nil, err
	}
	r := rng(s.key)
	s.base = 1_000_000 + int64(r.next()%20_000_000_000)
	s.epochs.Store(&[]epoch{{}})
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
	sub, err := parseSubscription(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if !websocket.IsWebSocketUpgrade(r) {
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
	// One stamp for all that one of four workers has in a bucket of time; each is
	// behind by a time of its own.
	bucket := t / stampBucketUS
	worker := int64(derive(s.key, i) & 3)
	lag := int64(derive(s.key+1, bucket*4+worker) % stampLagUS)
	return bucket*stampBucketUS - lag
}

// seq is this host's sequence number of event i.
func (s *BlueskyServer) seq(i int64) int64 {
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

// start resolves a cursor to the first event to send.
func (s *BlueskyServer) start(cursor int64) (i int64) {
	v, tip, oldest := s.kept()
	switch {
	case cursor == noCursor:
		return tip
	case cursor < firstTimeCursor:
		i = min(s.index(max(cursor, 1)), tip)
	case cursor > v.NowUS:
		return tip
	default:
		for i = v.Until(cursor - 1); i < tip && s.stamp(i, v.Segments.Time(i)) < cursor; {
			i++
		}
	}
	return max(i, oldest)
}

package simulate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-project/weir/internal/event"
)

// WikipediaConfig describes an EventStreams server.
//
// Differences to the real one: HTTP/1.1 only; the streams other than
// recentchange that it knows are empty; the cut after MaxAge is between two
// events and without the end of the body (inferred from what proxies do).
type WikipediaConfig struct {
	World    *World
	Timeline *Timeline // with WikipediaVariant as its variant
	Faults   *Faults
	// Retention is how far back a client can resume: 7 days where 0.
	Retention time.Duration
	// MaxAge is how long a connection lives: 15 minutes where 0.
	MaxAge time.Duration
	// Idle is after how long without an event a connection is cut: 120 s where 0.
	Idle time.Duration
	// PerIP is how many connections one address may have: 2 where 0, any number
	// where negative.
	PerIP int
	// Tick is how long events are gathered at high rates, 5 ms where 0.
	Tick time.Duration
	Log  *slog.Logger // nil discards
}

// WikipediaVariant is the timeline's variant for a data centre, Eqiad or Codfw,
// and for how many events it takes until one is produced twice (0: none is).
func WikipediaVariant(dc string, again int64) string { return wikiVariant(dc, again) }

const (
	wikipediaChunk = 64 << 10
	stuckAfter     = 3 * time.Minute // a client that takes nothing for so long is cut
	recentChange   = ".mediawiki.recentchange"
	maxRecordLag   = 5 // ms, exclusive: how far records are out of order
)

// idleStreams are streams that exist and in which nothing happens.
var idleStreams = []string{"mediawiki.page-create", "mediawiki.page-delete", "mediawiki.page-move", "mediawiki.revision-create"}

// WikipediaServer is an EventStreams server. It is an http.Handler for /v2/stream/.
type WikipediaServer struct {
	cfg   WikipediaConfig
	gate  *gate
	log   *slog.Logger
	key   uint64 // of the records' stamps
	floor atomic.Int64

	mu       sync.Mutex
	perIP    map[string]int
	variants map[string]*wikiWorld
}

// wikiWorld is a variant.
type wikiWorld struct {
	*Wikipedia
	name, dc, topic string
	again           int64
}

// NewWikipedia checks the configuration. Close must be called.
func NewWikipedia(cfg WikipediaConfig) (*WikipediaServer, error) {
	if cfg.World == nil || cfg.Timeline == nil {
		return nil, errors.New("wikipedia server: needs a world and a timeline")
	}
	setDefault(&cfg.Retention, 7*24*time.Hour)
	setDefault(&cfg.MaxAge, 15*time.Minute)
	setDefault(&cfg.Idle, 2*time.Minute)
	setDefault(&cfg.PerIP, 2)
	setDefault(&cfg.Tick, 5*time.Millisecond)
	setDefault(&cfg.Log, slog.New(slog.DiscardHandler))
	s := &WikipediaServer{cfg: cfg, gate: newGate(), log: cfg.Log, perIP: map[string]int{}, variants: map[string]*wikiWorld{}}
	s.key = keyOf(scramble(uint64(cfg.World.seed)), "records")
	segs := cfg.Timeline.Now().Segments
	if _, _, err := parseWikiVariant(segs[len(segs)-1].Variant); err != nil {
		return nil, fmt.Errorf("wikipedia server: %w", err)
	}
	return s, nil
}

func (s *WikipediaServer) variant(name string) *wikiWorld {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.variants[name]; v != nil {
		return v
	}
	dc, again, err := parseWikiVariant(name)
	if err != nil {
		s.log.Error("timeline has no such world, serving the first data centre", "err", err)
		dc, again = Eqiad, 0
	}
	v := &wikiWorld{Wikipedia: s.cfg.World.Wikipedia(again), name: name, dc: dc, topic: dc + recentChange, again: again}
	s.variants[name] = v
	return v
}

// At returns the truth about event i of the timeline.
func (s *WikipediaServer) At(i int64) Item {
	return s.variant(s.cfg.Timeline.Now().Segments.Of(i).Variant).At(i)
}

// Items yields the truth about events [from, to) of the timeline.
func (s *WikipediaServer) Items(from, to int64) iter.Seq[Item] { return items(from, to, s.At) }

// Tip is how many events there are by now: the index of the next one.
func (s *WikipediaServer) Tip() int64 {
	v := s.cfg.Timeline.Now()
	return v.Until(v.NowUS)
}

// Lost is the first event that FaultGap has left. 0 where it has not happened.
func (s *WikipediaServer) Lost() int64 { return s.floor.Load() }

// Switch lets the other data centre produce the events from now on.
func (s *WikipediaServer) Switch() error {
	v := s.cfg.Timeline.Now()
	old := s.variant(v.Segments[len(v.Segments)-1].Variant)
	dc := Codfw
	if old.dc == Codfw {
		dc = Eqiad
	}
	return s.cfg.Timeline.Change(s.cfg.Timeline.Rate(), wikiVariant(dc, old.again))
}

// Serve answers on a listener until ctx ends, and returns when every connection
// is gone. The listener is closed.
func (s *WikipediaServer) Serve(ctx context.Context, ln net.Listener) error {
	if err := s.gate.serve(ctx, ln, s, s.log); err != nil {
		return fmt.Errorf("serve wikipedia: %w", err)
	}
	return nil
}

// Close ends all connections and waits for them. It may be called twice.
func (s *WikipediaServer) Close() error {
	s.gate.close()
	return nil
}

// recordMS is the timestamp of event i's record, in Unix milliseconds: up to a
// few before the moment when it can be read, so records are out of order.
func (s *WikipediaServer) recordMS(i, t int64) int64 {
	z := derive(s.key, i)
	if z%10 < 7 {
		return t / 1000
	}
	return t/1000 - int64(z>>32%maxRecordLag)
}

// topicDC is the data centre of a topic with events, else empty.
func topicDC(topic string) string {
	if dc, ok := strings.CutSuffix(topic, recentChange); ok && (dc == Eqiad || dc == Codfw) {
		return dc
	}
	return ""
}

// topicsOf lists the topics of streams, or the names that are no streams.
func topicsOf(streams []string) (topics, unknown []string) {
	for _, name := range streams {
		full := name
		if !strings.HasPrefix(name, "mediawiki.") {
			full = "mediawiki." + name
		}
		if full != recentChange[1:] && !slices.Contains(idleStreams, full) {
			unknown = append(unknown, name)
			continue
		}
		for _, dc := range []string{Eqiad, Codfw} {
			if t := dc + "." + full; !slices.Contains(topics, t) {
				topics = append(topics, t)
			}
		}
	}
	return topics, unknown
}

// problem answers with the error object of Wikimedia's services.
func problem(w http.ResponseWriter, r *http.Request, status int, kind, title, detail string) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(struct {
		Status int    `json:"status"`
		Type   string `json:"type"`
		Title  string `json:"title"`
		Detail string `json:"detail"`
		Method string `json:"method"`
		URI    string `json:"uri"`
	}{status, kind, title, detail, r.Method, r.URL.RequestURI()})
}

// kafkaProblem answers with the error object of EventStreams' core.
func kafkaProblem(w http.ResponseWriter, status int, name, message string) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(struct {
		Message string `json:"message"`
		Origin  string `json:"origin"`
		Name    string `json:"name"`
		Status  int    `json:"statusCode"`
	}{message, "KafkaSSE", name, status})
}

// anonymous reports whether a User-Agent names nobody: none, or a library's default.
func anonymous(agent string) bool {
	for _, lib := range []string{"Go-http-client/", "python-requests/", "Python-urllib/", "Java/", "node-fetch"} {
		if strings.HasPrefix(agent, lib) {
			return true
		}
	}
	return strings.TrimSpace(agent) == ""
}

// ServeHTTP answers /v2/stream/NAME,NAME.
func (s *WikipediaServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set(event.OriginHeader, strconv.FormatInt(s.cfg.World.seed, 10))
	ctx, leave, err := s.gate.enter(r)
	if err != nil {
		panic(http.ErrAbortHandler) // as if nobody listened
	}
	defer leave()
	names, ok := strings.CutPrefix(r.URL.Path, "/v2/stream/")
	if !ok || r.Method != http.MethodGet {
		problem(w, r, http.StatusNotFound, "not_found", "Not found.", "")
		return
	}
	if anonymous(r.UserAgent()) {
		http.Error(w, "Please set a user-agent with contact information and respect our robot policy https://w.wiki/4wJS", http.StatusForbidden)
		return
	}
	if f, ok := s.cfg.Faults.request(); ok {
		refuse(w, f, "upstream connect error or disconnect/reset before headers")
		return
	}
	ip, _, _ := net.SplitHostPort(r.RemoteAddr)
	if !s.admit(ip) {
		problem(w, r, http.StatusTooManyRequests, "too_many_requests", "Too Many Concurrent Connections From Your Client IP",
			"Your HTTP client is likely opening too many concurrent connections.")
		return
	}
	defer s.dismiss(ip)
	positions, ok := s.assign(w, r, strings.Split(names, ","))
	if !ok {
		return
	}
	newWikipediaConn(s, w, r, positions).serve(ctx)
}

func (s *WikipediaServer) admit(ip string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cfg.PerIP >= 0 && s.perIP[ip] >= s.cfg.PerIP {
		return false
	}
	s.perIP[ip]++
	return true
}

func (s *WikipediaServer) dismiss(ip string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.perIP[ip]--; s.perIP[ip] == 0 {
		delete(s.perIP, ip)
	}
}

// assign says where a request begins, or answers what is wrong with it.
func (s *WikipediaServer) assign(w http.ResponseWriter, r *http.Request, streams []string) ([]position, bool) {
	topics, unknown := topicsOf(streams)
	if unknown != nil {
		problem(w, r, http.StatusBadRequest, "not_found", "Stream Not Found", "Invalid streams: "+strings.Join(unknown, ","))
		return nil, false
	}
	since, err := parseSince(r.URL.Query().Get("since"))
	if err != nil {
		problem(w, r, http.StatusBadRequest, "invalid_timestamp", "Invalid timestamp", err.Error())
		return nil, false
	}
	list := namedTopics(topics)
	if ids := r.Header.Values("Last-Event-ID"); len(ids) > 0 {
		var bad string
		if list, bad = parseLastEventID(ids[0]); bad != "" {
			kafkaProblem(w, http.StatusBadRequest, "InvalidAssignmentError", bad)
			return nil, false
		}
	}
	var missing []string
	for _, a := range list {
		if !slices.Contains(topics, a.topic) {
			missing = append(missing, a.topic)
		}
	}
	if missing != nil {
		kafkaProblem(w, http.StatusNotFound, "TopicNotAvailableError",
			"Topics "+strings.Join(missing, ", ")+" are not available for consumption.")
		return nil, false
	}
	return s.resolve(list, since), true
}

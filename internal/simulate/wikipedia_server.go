package simulate

import (
	"encoding/json"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	maxAge       = 15 * time.Minute // of a connection
	idleLimit    = 2 * time.Minute  // after which a connection without an event is cut
	stuckAfter   = 3 * time.Minute  // a client that takes nothing for so long is cut
	recentChange = ".mediawiki.recentchange"
	maxRecordLag = 5 // ms, exclusive: how far records are out of order
)

// idleStreams are streams that exist and in which nothing happens.
var idleStreams = []string{"mediawiki.page-create", "mediawiki.page-delete", "mediawiki.page-move", "mediawiki.revision-create"}

// WikipediaServer is an EventStreams server. It is an http.Handler for /v2/stream/.
//
// Differences to the real one: HTTP/1.1 only; the streams other than
// recentchange that it knows are empty; the cut after 15 minutes is between two
// events and without the end of the body (inferred from what proxies do).
type WikipediaServer struct {
	endpoint
	maxPerIP int // connections that one address may have

	counting sync.Mutex
	perIP    map[string]int
}

// NewWikipedia checks the configuration, whose timeline has WikipediaVariant as its variant.
// Close must be called.
func NewWikipedia(cfg ServerConfig) (*WikipediaServer, error) {
	s := &WikipediaServer{maxPerIP: 2, perIP: map[string]int{},
		endpoint: endpoint{ServerConfig: cfg, name: streamWikipedia, retention: 7 * 24 * time.Hour, fallback: Eqiad}}
	s.handler = s
	s.load = func(variant string) (source, error) { return s.World.wikipedia(variant) }
	if err := s.open("records"); err != nil {
		return nil, err
	}
	return s, nil
}

// variant returns the events of a variant of the timeline.
func (s *WikipediaServer) variant(name string) *Wikipedia { return s.source(name).(*Wikipedia) }

// Switch lets the other data centre produce the events from now on.
func (s *WikipediaServer) Switch() error {
	segs := s.Timeline.Now().Segments
	old := s.variant(segs[len(segs)-1].Variant)
	dc := Codfw
	if old.dc == Codfw {
		dc = Eqiad
	}
	return s.Timeline.Change(s.Timeline.Rate(), WikipediaVariant(dc, old.again))
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

// topicsOf lists the topics of streams, and the names that are not streams.
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
	_ = json.NewEncoder(w).Encode(map[string]any{"status": status, "type": kind, "title": title, "detail": detail,
		"method": r.Method, "uri": r.URL.RequestURI()})
}

// kafkaProblem answers with the error object of EventStreams' core.
func kafkaProblem(w http.ResponseWriter, status int, name, message string) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"message": message, "origin": "KafkaSSE", "name": name, "statusCode": status})
}

// anonymous reports whether a User-Agent is missing or a library's default.
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
	ctx, leave := s.enter(w, r)
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
	if s.refuses(w, "upstream connect error or disconnect/reset before headers") {
		return
	}
	ip, _, _ := net.SplitHostPort(r.RemoteAddr)
	if n := s.count(ip, 1); n > s.maxPerIP {
		s.count(ip, -1)
		problem(w, r, http.StatusTooManyRequests, "too_many_requests", "Too Many Concurrent Connections From Your Client IP",
			"Your HTTP client is likely opening too many concurrent connections.")
		return
	}
	defer s.count(ip, -1)
	if positions, ok := s.assign(w, r, strings.Split(names, ",")); ok {
		newWikipediaConn(ctx, s, w, r, positions).serve()
	}
}

// count adds to an address's connections and returns how many there are now.
func (s *WikipediaServer) count(ip string, n int) int {
	s.counting.Lock()
	defer s.counting.Unlock()
	n += s.perIP[ip]
	if s.perIP[ip] = n; n == 0 {
		delete(s.perIP, ip)
	}
	return n
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

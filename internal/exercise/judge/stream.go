package judge

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/simulate"
)

// Upstream is a simulated Jetstream. Its time begins when the program connects for the first time.
type Upstream struct {
	b      *Bench
	config simulate.TimelineConfig
	faults *simulate.Faults

	mu       sync.Mutex
	server   *simulate.BlueskyServer // nil until the first request, as timeline is
	timeline *simulate.Timeline
	requests []streamRequest
	err      error
}

// streamRequest is a connection that the program asked for.
type streamRequest struct {
	at     time.Time
	cursor string
}

// maxRequests bounds how many requests are kept.
const maxRequests = 1000

// OpenStream serves the first limit events of the simulated Bluesky at a rate, with faults, which
// may be nil, and sets the URL that the program gets.
func (b *Bench) OpenStream(rate float64, limit int64, faults *simulate.Faults) (*Upstream, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for the stream: %w", err)
	}
	b.Stream = "ws://" + ln.Addr().String() + "/subscribe"
	u := &Upstream{b: b, faults: faults, config: simulate.TimelineConfig{World: fmt.Sprintf("bluesky:%d", seed), Rate: rate,
		Variant: simulate.MixOf(collections), History: -time.Second, Limit: limit, Log: b.cfg.Log}}
	server := &http.Server{Handler: u, ReadHeaderTimeout: 10 * time.Second,
		ErrorLog: slog.NewLogLogger(b.cfg.Log.Handler(), slog.LevelDebug)}
	var ended sync.WaitGroup
	ended.Go(func() { _ = server.Serve(ln) }) // until it is closed
	b.closing(func() error {
		err := server.Close()
		ended.Wait()
		return errors.Join(err, u.close())
	})
	return u, nil
}

// ServeHTTP serves a connection.
func (u *Upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	server, err := u.asked(r.URL.Query().Get("cursor"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	server.ServeHTTP(w, r)
}

// asked notes a request. The first one begins the stream's time.
func (u *Upstream) asked(cursor string) (*simulate.BlueskyServer, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.server == nil && u.err == nil {
		u.err = u.begin()
	}
	if len(u.requests) < maxRequests {
		u.requests = append(u.requests, streamRequest{time.Now(), cursor})
	}
	return u.server, u.err
}

func (u *Upstream) begin() (err error) {
	if u.timeline, err = simulate.OpenTimeline(u.config); err != nil {
		return err
	}
	u.b.Mark("stream", "the program connects to the stream, which begins")
	u.server, err = simulate.NewBluesky(simulate.ServerConfig{World: simulate.NewWorld(seed), Timeline: u.timeline, Faults: u.faults,
		Log: u.b.cfg.Log})
	return err
}

func (u *Upstream) close() (err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.server != nil {
		err = u.server.Close()
	}
	if u.timeline != nil {
		err = errors.Join(err, u.timeline.Close())
	}
	return err
}

// connections are the connections that the program asked for.
func (u *Upstream) connections() []streamRequest {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.requests)
}

// Begun reports whether the program has connected, and when it did for the first time.
func (u *Upstream) Begun() (at time.Time, ok bool) {
	if all := u.connections(); len(all) > 0 {
		return all[0].at, true
	}
	return time.Time{}, false
}

// Tip is how many events have happened.
func (u *Upstream) Tip() int64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.server == nil {
		return 0
	}
	return min(u.server.Tip(), u.config.Limit)
}

// Err returns why the stream could not be served, nil while it is.
func (u *Upstream) Err() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.err
}

// Items are all events of the stream.
func (u *Upstream) Items() ([]simulate.Item, error) {
	world, err := Posts()
	if err != nil {
		return nil, err
	}
	return slices.Collect(world.Items(0, u.config.Limit)), nil
}

// postsOf are the events that a program has to store: all but those of accounts and identities.
func postsOf(items []simulate.Item) (posts []simulate.Item) {
	for _, it := range items {
		if it.Route == event.Data {
			posts = append(posts, it)
		}
	}
	return posts
}

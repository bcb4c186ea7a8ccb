package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/weir-project/weir/internal/bluesky"
	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/simulate"
	"github.com/weir-project/weir/internal/wikipedia"
)

// Paths of the streams on a simulating server: the real ones.
const (
	blueskyPath   = "/subscribe"
	wikipediaPath = "/v2/stream/recentchange"
)

// UpstreamConfig describes simulated upstreams.
type UpstreamConfig struct {
	// Names are the streams to serve, bluesky or wikipedia or both.
	Names []string
	// Dir keeps the timelines, so that a restart goes on with new events.
	Dir    string
	Addr   string // host:port to listen on; port 0 is any free one
	Faults simulate.Plan
	// Streams has the seed, the rate, the collections and the log.
	Streams *Streams
}

// maxWikipediaRate is about what the real stream has, in events per second.
const maxWikipediaRate = 40

// WikipediaRate is the rate of the simulated Wikipedia beside a rate of Bluesky.
func WikipediaRate(bluesky float64) float64 {
	return max(simulate.MinRate, min(maxWikipediaRate, bluesky/3))
}

// Upstreams are simulated servers of the streams, on one address.
type Upstreams struct {
	Bluesky   *simulate.BlueskyServer
	Wikipedia *simulate.WikipediaServer
	Faults    map[string]*simulate.Faults // by stream

	addr   string
	opened closers
}

// Simulate serves the named streams inside this process where events are simulated,
// and points s at them. Otherwise it returns nil. data is the data directory.
func (s *Streams) Simulate(mode, data string, names ...string) (*Upstreams, error) {
	if mode != Simulated || s.Named() {
		return nil, nil
	}
	u, err := OpenUpstreams(UpstreamConfig{Names: names, Dir: filepath.Join(data, Simulated), Addr: host + ":0", Streams: s})
	if err != nil {
		return nil, err
	}
	s.BlueskyURLs, s.WikipediaURL, s.simulated = []string{u.BlueskyURL()}, u.WikipediaURL(), true
	return u, nil
}

// OpenUpstreams listens and serves.
func OpenUpstreams(cfg UpstreamConfig) (_ *Upstreams, err error) {
	u := &Upstreams{Faults: make(map[string]*simulate.Faults)}
	defer func() {
		if err != nil {
			err = errors.Join(err, u.Close())
		}
	}()
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, DirError(cfg.Dir, err)
	}
	world := simulate.NewWorld(cfg.Streams.Seed)
	// Before the timelines: what they are opened with stays in their files.
	if _, err := world.Bluesky(cfg.Streams.Collections...); err != nil {
		return nil, cli.UsageError("see weir simulate --help", "%w", err)
	}
	mux := http.NewServeMux()
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(cfg.Streams.Log.Handler(), slog.LevelDebug)}
	var served sync.WaitGroup
	u.opened.closing(func() error {
		_ = server.Close()
		served.Wait()
		return nil
	})
	for _, name := range cfg.Names {
		u.Faults[name] = cfg.Faults.Faults(name)
		if err := u.open(cfg, name, world, mux); err != nil {
			return nil, err
		}
	}
	l, err := cfg.listen()
	switch {
	case errors.Is(err, errAddressTaken):
		return nil, cli.RuntimeError("stop what uses it, or choose another --listen address", "address %s is taken by another program", cfg.Addr)
	case err != nil:
		return nil, cli.UsageError("give --listen as host:port", "listen on %s: %w", cfg.Addr, err)
	}
	u.addr = l.Addr().String()
	served.Go(func() { _ = server.Serve(l) }) // returns ErrServerClosed from Close
	u.opened.closing(func() error {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = server.Shutdown(ctx) // stops listening; the streams are ended by their servers
		return nil
	})
	return u, nil
}

// open opens a stream's timeline, and its server on it. The timeline is locked, because two
// processes that hand out the same events at different times would contradict each other.
func (u *Upstreams) open(cfg UpstreamConfig, name string, world *simulate.World, mux *http.ServeMux) error {
	rate, variant := cfg.Streams.Rate, simulate.MixOf(cfg.Streams.Collections)
	if name == wikipedia.Name {
		rate, variant = WikipediaRate(rate), simulate.WikipediaVariant(simulate.Eqiad, 0)
	}
	path := filepath.Join(cfg.Dir, "timeline-"+name+".json")
	lock, err := openLocked(path + ".lock")
	switch {
	case errors.Is(err, errLocked):
		return cli.RuntimeError("stop that one, or choose another directory with --data", "another process simulates %s in %s", name, cfg.Dir)
	case err != nil:
		return DirError(cfg.Dir, err)
	}
	u.opened.closing(lock.Close)
	t, err := simulate.OpenTimeline(simulate.TimelineConfig{Path: path, World: fmt.Sprintf("%s:%d", name, cfg.Streams.Seed), Rate: rate, Variant: variant, Log: cfg.Streams.Log})
	if err != nil {
		return cli.RuntimeError("choose another directory with --data, or the seed and rate that fit", "simulated %s: %w", name, err)
	}
	u.opened.closing(t.Close)
	var handler interface {
		http.Handler
		io.Closer
	}
	at := "/"
	if name == bluesky.Name {
		at = blueskyPath
		u.Bluesky, err = simulate.NewBluesky(simulate.ServerConfig{World: world, Timeline: t, Faults: u.Faults[name], Log: cfg.Streams.Log})
		handler = u.Bluesky
	} else {
		u.Wikipedia, err = simulate.NewWikipedia(simulate.ServerConfig{World: world, Timeline: t, Faults: u.Faults[name], Log: cfg.Streams.Log})
		handler = u.Wikipedia
	}
	if err != nil {
		return cli.UsageError("see weir simulate --help", "%w", err)
	}
	u.opened.closing(handler.Close)
	mux.Handle(at, handler)
	return nil
}

// listen takes the address of the last time again where any port would do: to a
// client the same address is the same server, whose numbers it can resume from.
func (cfg *UpstreamConfig) listen() (net.Listener, error) {
	if _, port, err := net.SplitHostPort(cfg.Addr); err != nil || port != "0" {
		return net.Listen("tcp", cfg.Addr)
	}
	file := filepath.Join(cfg.Dir, "address-"+strings.Join(cfg.Names, "-"))
	if last, err := os.ReadFile(file); err == nil {
		if l, err := net.Listen("tcp", strings.TrimSpace(string(last))); err == nil {
			return l, nil
		}
	}
	l, err := net.Listen("tcp", cfg.Addr)
	if err != nil {
		return nil, err
	}
	// Without the file the next start has another address, which works as well.
	_ = os.WriteFile(file, []byte(l.Addr().String()+"\n"), 0o600)
	return l, nil
}

// BlueskyURL is where the simulated Bluesky is.
func (u *Upstreams) BlueskyURL() string { return "ws://" + u.addr + blueskyPath }

// WikipediaURL is where the simulated Wikipedia is.
func (u *Upstreams) WikipediaURL() string { return "http://" + u.addr + wikipediaPath }

// Close ends the connections and keeps the timelines. It does nothing where u is nil.
func (u *Upstreams) Close() error {
	if u == nil {
		return nil
	}
	return u.opened.Close()
}

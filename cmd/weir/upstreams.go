package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

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

// upstreamConfig describes simulated upstreams.
type upstreamConfig struct {
	// names are the streams to serve, bluesky or wikipedia or both.
	names []string
	// dir keeps the timelines, so that a restart goes on with new events.
	dir         string
	addr        string // host:port to listen on; port 0 is any free one
	seed        int64
	rate        float64 // Bluesky events per second
	collections []string
	faults      simulate.Plan
	log         *slog.Logger
}

// maxWikipediaRate is about what the real stream has, in events per second.
const maxWikipediaRate = 40

func wikipediaRate(bluesky float64) float64 {
	return max(simulate.MinRate, min(maxWikipediaRate, bluesky/3))
}

// upstreams are simulated servers of the streams, on one address.
type upstreams struct {
	addr      string
	bluesky   *simulate.BlueskyServer
	wikipedia *simulate.WikipediaServer
	server    *http.Server
	faults    map[string]*simulate.Faults
	served    sync.WaitGroup
	closers   []func() error
}

// openUpstreams listens and serves.
func openUpstreams(cfg upstreamConfig) (_ *upstreams, err error) {
	u := &upstreams{faults: make(map[string]*simulate.Faults)}
	defer func() {
		if err != nil {
			err = errors.Join(err, u.close())
		}
	}()
	if err := os.MkdirAll(cfg.dir, 0o700); err != nil {
		return nil, dirError(cfg.dir, err)
	}
	world := simulate.NewWorld(cfg.seed)
	mux := http.NewServeMux()
	for _, name := range cfg.names {
		u.faults[name] = cfg.faults.Faults(name)
		if name == bluesky.Name {
			err = u.openBluesky(cfg, world, mux)
		} else {
			err = u.openWikipedia(cfg, world, mux)
		}
		if err != nil {
			return nil, err
		}
	}
	l, err := cfg.listen()
	if err != nil {
		if errors.Is(err, unix.EADDRINUSE) {
			return nil, cli.RuntimeError("stop what uses it, or choose another --listen address", "address %s is taken by another program", cfg.addr)
		}
		return nil, cli.UsageError("give --listen as host:port", "listen on %s: %w", cfg.addr, err)
	}
	u.addr = l.Addr().String()
	u.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(cfg.log.Handler(), slog.LevelDebug)}
	u.served.Go(func() { _ = u.server.Serve(l) }) // returns ErrServerClosed from close
	return u, nil
}

// listen takes the address of the last time again where any port would do: to a
// client the same address is the same server, whose numbers it can resume from.
func (cfg *upstreamConfig) listen() (net.Listener, error) {
	if _, port, err := net.SplitHostPort(cfg.addr); err != nil || port != "0" {
		return net.Listen("tcp", cfg.addr)
	}
	file := filepath.Join(cfg.dir, "address-"+strings.Join(cfg.names, "-"))
	if last, err := os.ReadFile(file); err == nil {
		if l, err := net.Listen("tcp", strings.TrimSpace(string(last))); err == nil {
			return l, nil
		}
	}
	l, err := net.Listen("tcp", cfg.addr)
	if err != nil {
		return nil, err
	}
	// Without the file the next start has another address, which works as well.
	_ = os.WriteFile(file, []byte(l.Addr().String()+"\n"), 0o600)
	return l, nil
}

// timeline opens a stream's timeline and locks it: two processes that hand out the
// same events at different times would contradict each other.
func (u *upstreams) timeline(cfg upstreamConfig, name string, rate float64, variant string) (*simulate.Timeline, error) {
	path := filepath.Join(cfg.dir, "timeline-"+name+".json")
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, dirError(cfg.dir, err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = lock.Close()
		return nil, cli.RuntimeError("stop that one, or choose another directory with --data", "another process simulates %s in %s", name, cfg.dir)
	}
	u.closers = append(u.closers, lock.Close)
	t, err := simulate.OpenTimeline(simulate.TimelineConfig{Path: path, World: fmt.Sprintf("%s:%d", name, cfg.seed), Rate: rate, Variant: variant, Log: cfg.log})
	if err != nil {
		return nil, cli.RuntimeError("choose another directory with --data, or the seed and rate that fit", "simulated %s: %w", name, err)
	}
	u.closers = append(u.closers, t.Close)
	return t, nil
}

func (u *upstreams) openBluesky(cfg upstreamConfig, world *simulate.World, mux *http.ServeMux) error {
	// Before the timeline: what it is opened with stays in its file.
	if _, err := world.Bluesky(cfg.collections...); err != nil {
		return cli.UsageError("see weir simulate --help", "%w", err)
	}
	t, err := u.timeline(cfg, bluesky.Name, cfg.rate, simulate.MixOf(cfg.collections))
	if err != nil {
		return err
	}
	s, err := simulate.NewBluesky(simulate.BlueskyConfig{World: world, Timeline: t, Faults: u.faults[bluesky.Name], Log: cfg.log})
	if err != nil {
		return cli.UsageError("see weir simulate --help", "%w", err)
	}
	u.bluesky = s
	u.closers = append(u.closers, s.Close)
	mux.Handle(blueskyPath, s)
	return nil
}

func (u *upstreams) openWikipedia(cfg upstreamConfig, world *simulate.World, mux *http.ServeMux) error {
	t, err := u.timeline(cfg, wikipedia.Name, wikipediaRate(cfg.rate), simulate.WikipediaVariant(simulate.Eqiad, 0))
	if err != nil {
		return err
	}
	s, err := simulate.NewWikipedia(simulate.WikipediaConfig{World: world, Timeline: t, Faults: u.faults[wikipedia.Name], Log: cfg.log})
	if err != nil {
		return cli.UsageError("see weir simulate --help", "%w", err)
	}
	u.wikipedia = s
	u.closers = append(u.closers, s.Close)
	mux.Handle("/", s)
	return nil
}

func (u *upstreams) blueskyURL() string   { return "ws://" + u.addr + blueskyPath }
func (u *upstreams) wikipediaURL() string { return "http://" + u.addr + wikipediaPath }

// close ends the connections and keeps the timelines.
func (u *upstreams) close() error {
	var errs []error
	if u.server != nil {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = u.server.Shutdown(ctx) // stops listening; the streams are ended below
	}
	for i := len(u.closers) - 1; i >= 0; i-- {
		errs = append(errs, u.closers[i]())
	}
	if u.server != nil {
		_ = u.server.Close()
		u.served.Wait()
	}
	return errors.Join(errs...)
}

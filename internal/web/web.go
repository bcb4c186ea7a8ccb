// Package web serves weir's user interface and its JSON API over HTTP: the live
// state that internal/watch keeps, what internal/inspect looks up, and the few
// actions that change something. It owns routes, the wire form of answers, and
// the guards of a server on the loopback address of somebody's own machine. It
// knows no Kafka beyond what it passes on, and makes no HTML from data.
package web

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/intake"
	"github.com/weir-project/weir/internal/watch"
)

//go:embed static
var static embed.FS

// Watch is the live picture; *watch.Watcher.
type Watch interface {
	State() *watch.State
	Snapshot() []byte
	Subscribe() *watch.Subscription
	History(names []string) watch.HistoryAnswer
	Log(limit int) []watch.Entry
	Note(e watch.Entry)
}

// Brokers kills and restarts brokers of an own cluster.
type Brokers interface {
	// Kill stops a broker in order, KillHard as a machine that dies.
	Kill(ctx context.Context, id int32) error
	KillHard(ctx context.Context, id int32) error
	Restart(ctx context.Context, id int32) error
}

// Producer writes one record by hand. A partition below 0 is chosen by the key.
type Producer interface {
	Produce(ctx context.Context, r Record) (partition int32, offset int64, err error)
	// PartitionOf returns the murmur2 hash of a key and the partition it chooses.
	PartitionOf(ctx context.Context, topic string, key []byte) (hash uint32, partition int32, err error)
}

// Record is a record written by hand.
type Record struct {
	Topic     string
	Partition int32
	Key       []byte // nil for none
	Value     []byte
	Headers   [][2]string
}

// Config of a Server.
type Config struct {
	Watch     Watch
	Inspector *inspect.Inspector
	// Where are the flags with which the shown commands find this cluster.
	Where Where
	// Tallies is nil where there is no Redis.
	Tallies inspect.Tallies
	// Brokers is nil where the cluster is not weir's own.
	Brokers Brokers
	// Differences are where weir's own cluster is not as Apache Kafka.
	Differences []Difference
	// Acks says by stream when a transaction of this process was last acknowledged;
	// nil where nothing is produced here.
	Acks func() map[string]time.Time
	// Members is nil where no counters run in this process.
	Members Members
	// Producer is nil where nothing may be written.
	Producer Producer
	// Verify runs the proof and reports progress; nil where it cannot run.
	Verify func(ctx context.Context, progress func(any)) (report any, err error)
	// Replay counts a plan that has begun to its end and compares; nil where it cannot.
	Replay func(ctx context.Context, plan inspect.ReplayPlan, progress func(left int64)) (inspect.Comparison, error)
	// Labs is nil where no experiments can be run.
	Labs *Labs
	// Ready says why the program is not ready to serve, nil when it is.
	Ready func() error
	// Metrics answers /metrics; nil for none.
	Metrics http.Handler
	// Hosts are the names, besides loopback ones, by which the server may be
	// asked for: what a browser sends for any other name is DNS rebinding.
	Hosts []string
	// Token is asked of every request but the static files' when it is not
	// empty: as a Bearer token, or as the cookie that /?token= sets.
	Token string
	Log   *slog.Logger
}

// Where says with which flags a command finds what the pages show. All are empty
// where a command finds it without flags.
type Where struct {
	Data  []string `json:"data"`  // for commands that know --data alone
	Kafka []string `json:"kafka"` // for those that know --kafka, too
	Redis []string `json:"redis"` // for those that know --redis, too
}

// Server answers HTTP requests. Create it with New.
type Server struct {
	cfg     Config
	handler http.Handler
	verify  verifier
	replays replayer
	pauses  pauses
	lab     labRun
	tails   tails
	routes  []route
}

// route is one operation of the API.
type route struct {
	method, path string
	summary      string
	handle       func(w http.ResponseWriter, r *http.Request) error
}

// New checks the configuration and returns a server that listens nowhere yet.
func New(cfg Config) (*Server, error) {
	if cfg.Watch == nil || cfg.Inspector == nil {
		return nil, errors.New("serve the user interface: no watch or no inspector given")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg}
	files, err := fs.Sub(static, "static")
	if err != nil {
		return nil, fmt.Errorf("serve the user interface: %w", err)
	}
	mux := http.NewServeMux()
	s.routes = s.api()
	for _, r := range s.routes {
		mux.Handle(r.method+" "+r.path, s.wrap(r.handle))
	}
	mux.Handle("/api/", s.wrap(func(http.ResponseWriter, *http.Request) error {
		return &statusError{http.StatusNotFound, errors.New("no such operation: /api/v1/openapi.json lists them all")}
	}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", s.ready)
	if cfg.Metrics != nil {
		mux.Handle("GET /metrics", cfg.Metrics)
	}
	assets, err := newAssets(files, cfg.Where)
	if err != nil {
		return nil, fmt.Errorf("serve the user interface: %w", err)
	}
	mux.Handle("/", assets)
	s.handler = s.guard(mux)
	return s, nil
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// Serve answers on l until ctx ends. Live streams end with it.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	srv := &http.Server{
		Handler: served(s), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second,
		IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10, ConnContext: connContext,
		BaseContext: func(net.Listener) context.Context { return context.WithValue(ctx, serveKey{}, ctx) },
		ErrorLog:    slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(newVisitors(l, intake.Share(maxVisitors), s.cfg.Log)) }()
	select {
	case err := <-done:
		return fmt.Errorf("serve the user interface: %w", err)
	case <-ctx.Done():
	}
	// ctx is the base of every request's context, so the live streams end by themselves.
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err := srv.Shutdown(stop); err != nil {
		_ = srv.Close()
	}
	err := <-done
	s.verify.wait()
	s.replays.wg.Wait()
	s.pauses.wg.Wait()
	s.lab.wg.Wait()
	if !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the user interface: %w", err)
	}
	return nil
}

func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	if s.cfg.Ready != nil {
		if err := s.cfg.Ready(); err != nil {
			http.Error(w, "not ready: "+err.Error(), http.StatusServiceUnavailable)
			return
		}
	}
	fmt.Fprintln(w, "ready")
}

// statusError is an error with the HTTP status it is answered with.
type statusError struct {
	status int
	err    error
}

func (e *statusError) Error() string { return e.err.Error() }
func (e *statusError) Unwrap() error { return e.err }

func badRequest(format string, args ...any) error {
	return &statusError{http.StatusBadRequest, fmt.Errorf(format, args...)}
}

// wrap turns the error of a handler into an answer: {"error": "cause: way out"}.
func (s *Server) wrap(handle func(http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := handle(w, r)
		if err == nil || r.Context().Err() != nil {
			return
		}
		status := http.StatusBadGateway // the cluster or Redis did not do what was asked
		var known *statusError
		switch {
		case errors.As(err, &known):
			status = known.status
		case errors.Is(err, inspect.ErrNoTopic), errors.Is(err, inspect.ErrNoGroup):
			status = http.StatusNotFound
		case errors.Is(err, inspect.ErrGroupActive):
			status = http.StatusConflict
		}
		writeJSON(w, status, map[string]string{"error": err.Error()})
	})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{"error":"the answer cannot be encoded"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n'))
}

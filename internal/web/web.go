// Package web serves weir's user interface and its JSON API over HTTP: the live
// state that internal/watch keeps, what internal/inspect looks up, and the few
// actions that change something. It owns routes, the wire form of answers, and
// the guards of a server on the loopback address of somebody's own machine. It
// knows no Kafka beyond what it passes on, and makes no HTML from data.
package web

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"reflect"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/intake"
	"github.com/weir-project/weir/internal/learn"
	"github.com/weir-project/weir/internal/send"
	"github.com/weir-project/weir/internal/watch"
)

//go:embed static
var static embed.FS

// Brokers kills and restarts the brokers that weir runs.
type Brokers interface {
	// Kill lets a broker shut down, KillHard ends it at once, as when a machine fails.
	Kill(ctx context.Context, id int32) error
	KillHard(ctx context.Context, id int32) error
	Restart(ctx context.Context, id int32) error
}

// Producer writes records by hand.
type Producer interface {
	// Produce writes records to a topic. placed says that each names its partition; otherwise its
	// key chooses one. written is called for each record that was written, with its offset.
	Produce(ctx context.Context, topic string, in send.Input, placed bool, written func(*kgo.Record)) (send.Result, error)
	// PartitionOf returns the murmur2 hash of a key and the partition it chooses.
	PartitionOf(ctx context.Context, topic string, key []byte) (hash uint32, partition int32, err error)
}

// Config of a Server.
type Config struct {
	Watch     *watch.Watcher // the live picture
	Inspector *inspect.Inspector
	// Where are the flags with which the shown commands find this cluster.
	Where Where
	// Tallies is nil where there is no Redis.
	Tallies inspect.Tallies
	// Brokers is nil where weir does not run the brokers.
	Brokers Brokers
	// BrokerChanged is called when a broker was killed or restarted; nil for nobody.
	BrokerChanged func(id int32, what string)
	// Differences are where the embedded brokers differ from Apache Kafka.
	Differences []Difference
	// Acks says by stream when a transaction of this process was last acknowledged;
	// nil where nothing is produced here.
	Acks func() map[string]time.Time
	// Members is nil where no counters run in this process.
	Members Members
	// Producer is nil where nothing may be written.
	Producer Producer
	// Verify compares topics and counts, and reports progress; nil where it cannot run.
	Verify func(ctx context.Context, progress func(any)) (report any, err error)
	// VerifySource is the type of a source in its report, for openapi.json.
	VerifySource reflect.Type
	// Replay counts a plan that has begun to its end and compares; nil where it cannot.
	Replay func(ctx context.Context, plan inspect.ReplayPlan, progress func(left int64)) (inspect.Comparison, error)
	// Labs is nil where no experiments can be run.
	Labs *Labs
	// Learn has the stations to learn with; nil for none.
	Learn *learn.Course
	// Exercises is where the reports of exercises are kept; empty for none.
	Exercises string
	// Ready says why the program is not ready to serve, nil when it is.
	Ready func() error
	// Metrics answers /metrics; nil for none.
	Metrics http.Handler
	// Hosts are the names, besides loopback ones, by which the server may be
	// asked for: what a browser sends for any other name is DNS rebinding.
	Hosts []string
	// ReadOnly refuses every request that could change something.
	ReadOnly bool
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
	// Program is what to type to run weir, where that is not weir.
	Program string `json:"-"`
}

// Server answers HTTP requests. Create it with New.
type Server struct {
	cfg     Config
	handler http.Handler
	api     *http.ServeMux
	work    work
	verify  job[any, any]
	replays job[replaying, *inspect.Comparison]
	actions actions
	lab     labRun
	tails   tails
	routes  []route
}

// New checks the configuration and returns a server that listens nowhere yet. Serve
// or Close ends what it does besides answering.
func New(cfg Config) (*Server, error) {
	if cfg.Watch == nil || cfg.Inspector == nil {
		return nil, errors.New("serve the user interface: no watch or no inspector given")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg, api: http.NewServeMux(), actions: actions{rebalances: map[string][]Rebalance{}}}
	s.work.open()
	files, err := fs.Sub(static, "static")
	if err != nil {
		return nil, fmt.Errorf("serve the user interface: %w", err)
	}
	s.routes = s.operations()
	for _, r := range s.routes {
		s.api.Handle(r.method+" "+r.path, s.operation(r))
	}
	s.api.Handle("/", answered(func(http.ResponseWriter, *http.Request) error { return errNoOperation }))
	mux := http.NewServeMux()
	mux.Handle("/api/", s.api)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", s.ready)
	if cfg.Metrics != nil {
		mux.Handle("GET /metrics", cfg.Metrics)
	}
	mux.Handle("GET /docs/screenshots/{picture}", docsPictures())
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

// Close ends live streams and jobs, and waits for them.
func (s *Server) Close() {
	s.work.close()
	s.lab.wg.Wait()
}

// Serve answers on l until ctx ends, and closes the server. Without a listener it
// waits for ctx: the operations can still be asked for by Control.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	defer s.Close()
	if l == nil {
		<-ctx.Done()
		return nil
	}
	srv := &http.Server{
		Handler: served(s), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: answerTime,
		IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10, ConnContext: connContext,
		ErrorLog: slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(newVisitors(l, intake.Share(maxVisitors), s.cfg.Log)) }()
	select {
	case err := <-done:
		return fmt.Errorf("serve the user interface: %w", err)
	case <-ctx.Done():
	}
	s.work.cancel() // live streams end by themselves
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err := srv.Shutdown(stop); err != nil {
		_ = srv.Close()
	}
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
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

// work is what a server does besides answering. It ends with the server.
type work struct {
	ctx    context.Context
	cancel context.CancelFunc

	mu     sync.Mutex
	closed bool
	wg     sync.WaitGroup
}

func (w *work) open() { w.ctx, w.cancel = context.WithCancel(context.Background()) }

// begin counts a change that is under way; false where the server is closed. Nothing
// is added to wg without one, so that Wait never races with Add.
func (w *work) begin() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed {
		w.wg.Add(1)
	}
	return !w.closed
}

// close ends the work in progress and waits for it.
func (w *work) close() {
	w.cancel()
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.wg.Wait()
}

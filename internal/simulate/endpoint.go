package simulate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-project/weir/internal/event"
)

// source is the events of one variant of a timeline.
type source interface{ At(i int64) Item }

// ServerConfig describes one simulated server.
type ServerConfig struct {
	World    *World
	Timeline *Timeline
	Faults   *Faults      // may be shared by several servers of one stream
	Log      *slog.Logger // nil discards
}

// endpoint is what both servers have in common: the events of a timeline, the
// faults and the connections.
type endpoint struct {
	ServerConfig
	name      string
	handler   http.Handler
	retention time.Duration
	key       uint64       // of the server's stamps
	floor     atomic.Int64 // the first event that FaultGap has left; 0 where it has not happened

	load     func(variant string) (source, error)
	fallback string     // a variant that load knows
	mu       sync.Mutex // of the rest
	sources  map[string]source

	// WebSocket handlers are hijacked and outlive http.Server.Close, so nothing else ends
	// connections and waits for them.
	handlers sync.WaitGroup
	life     context.Context         // of the open connections; ends with a restart
	endLife  context.CancelCauseFunc // of life
	down     time.Time               // refuse every request until then
	closed   bool
}

// open checks what the server was configured with. key names its stamps.
func (e *endpoint) open(key string) error {
	if e.World == nil || e.Timeline == nil {
		return fmt.Errorf("%s server: needs a world and a timeline", e.name)
	}
	e.Log = cmp.Or(e.Log, slog.New(slog.DiscardHandler))
	e.key = keyOf(scramble(uint64(e.World.seed)), key)
	e.sources = map[string]source{}
	e.life, e.endLife = context.WithCancelCause(context.Background())
	segs := e.Timeline.Now().Segments
	if _, err := e.load(segs[len(segs)-1].Variant); err != nil {
		return fmt.Errorf("%s server: %w", e.name, err)
	}
	return nil
}

// source returns the events of a variant of the timeline. The newest variant has
// been checked, but the timeline's file may hold an older one that is invalid.
func (e *endpoint) source(variant string) source {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.sources[variant]
	if s == nil {
		var err error
		if s, err = e.load(variant); err != nil {
			e.Log.Error("timeline has no such world, serving another one", "variant", variant, "served", e.fallback, "err", err)
			s, _ = e.load(e.fallback)
		}
		e.sources[variant] = s
	}
	return s
}

// At returns the truth about event i of the timeline.
func (e *endpoint) At(i int64) Item {
	return e.source(e.Timeline.Now().Segments.Of(i).Variant).At(i)
}

// Items yields the truth about events [from, to) of the timeline.
func (e *endpoint) Items(from, to int64) iter.Seq[Item] { return items(from, to, e.At) }

// Tip is how many events this server has seen by now: the index of the next one.
func (e *endpoint) Tip() int64 {
	_, tip, _ := e.kept()
	return tip
}

// kept returns the events that can be read now: [oldest, tip).
func (e *endpoint) kept() (v View, tip, oldest int64) {
	v = e.Timeline.Now()
	tip = v.Until(v.NowUS)
	return v, tip, min(v.Until(v.NowUS-e.retention.Microseconds()), tip)
}

// Serve answers on a listener until ctx ends, and returns when every connection
// is gone. The listener is closed.
func (e *endpoint) Serve(ctx context.Context, ln net.Listener) error {
	srv := &http.Server{Handler: e.handler, ReadHeaderTimeout: 10 * time.Second,
		ErrorLog: slog.NewLogLogger(e.Log.Handler(), slog.LevelDebug)}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	var err error
	select {
	case err = <-done:
		if e.close() { // it was closed before: the listener was closed on purpose
			return nil
		}
	case <-ctx.Done():
		e.close()
		_ = srv.Close()
		err = <-done
	}
	if err != nil && !errors.Is(err, http.ErrServerClosed) && ctx.Err() == nil {
		return fmt.Errorf("serve %s: %w", e.name, err)
	}
	return nil
}

// Close ends all connections and waits for them. It may be called twice.
func (e *endpoint) Close() error {
	e.close()
	return nil
}

// close ends all connections and waits until they are gone. It reports whether
// it had been called before.
func (e *endpoint) close() (again bool) {
	e.mu.Lock()
	again, e.closed = e.closed, true
	e.endLife(errClosing)
	e.mu.Unlock()
	e.handlers.Wait()
	return again
}

var errClosing = errors.New("server is closing")

// restart ends all connections and lets no request in for a while.
func (e *endpoint) restart(d time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.closed {
		e.endLife(nil)
		e.down = time.Now().Add(d)
		e.life, e.endLife = context.WithCancelCause(context.Background())
	}
}

// enter lets a request in, or ends it as if nobody listened. The context ends with the request,
// with a restart or with close; leave must be called.
func (e *endpoint) enter(w http.ResponseWriter, r *http.Request) (ctx context.Context, leave func()) {
	w.Header().Set(event.OriginHeader, strconv.FormatInt(e.World.seed, 10))
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed || time.Now().Before(e.down) {
		panic(http.ErrAbortHandler)
	}
	e.handlers.Add(1)
	ctx, cancel := context.WithCancelCause(r.Context())
	life := e.life
	stop := context.AfterFunc(life, func() { cancel(context.Cause(life)) })
	return ctx, func() { stop(); cancel(nil); e.handlers.Done() }
}

// refuses answers a request as the faults 429 and 503 have it.
func (e *endpoint) refuses(w http.ResponseWriter, unready string) bool {
	f, ok := e.Faults.first(onRequest, 0)
	if !ok {
		return false
	}
	w.Header().Set("Retry-After", strconv.FormatInt((f.Value+int64(time.Second)-1)/int64(time.Second), 10))
	if f.Name == Fault429 {
		http.Error(w, "too many requests", http.StatusTooManyRequests)
	} else {
		http.Error(w, unready, http.StatusServiceUnavailable)
	}
	return true
}

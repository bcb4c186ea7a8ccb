package simulate

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// gate keeps a server's connections: it lets them in, throws them out, and
// waits for them. WebSocket handlers are hijacked and outlive http.Server.Close,
// so nobody else does.
type gate struct {
	mu     sync.Mutex
	handle sync.WaitGroup
	life   context.Context         // of the connections there are; ends with a restart
	end    context.CancelCauseFunc // of life: errDown or errClosing
	down   time.Time               // refuse everybody until then
	closed bool
}

var (
	errDown    = errors.New("server is down")
	errClosing = errors.New("server is closing")
)

func newGate() *gate {
	g := &gate{}
	g.life, g.end = context.WithCancelCause(context.Background())
	return g
}

// enter lets a request in: the context ends with the request, with a restart or
// with Close. leave must be called.
func (g *gate) enter(r *http.Request) (ctx context.Context, leave func(), err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil, nil, errClosing
	}
	if time.Now().Before(g.down) {
		return nil, nil, errDown
	}
	g.handle.Add(1)
	ctx, cancel := context.WithCancelCause(r.Context())
	life := g.life
	stop := context.AfterFunc(life, func() { cancel(context.Cause(life)) })
	return ctx, func() { stop(); cancel(nil); g.handle.Done() }, nil
}

// restart throws everybody out and lets nobody in for a while.
func (g *gate) restart(d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return
	}
	g.end(errDown)
	g.down = time.Now().Add(d)
	g.life, g.end = context.WithCancelCause(context.Background())
}

// close throws everybody out and waits until they are gone. It reports whether
// it had been called before.
func (g *gate) close() (again bool) {
	g.mu.Lock()
	again, g.closed = g.closed, true
	g.end(errClosing)
	g.mu.Unlock()
	g.handle.Wait()
	return again
}

// serve runs an HTTP server until ctx ends, and returns when all handlers have.
func (g *gate) serve(ctx context.Context, ln net.Listener, h http.Handler, log *slog.Logger) error {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	var err error
	select {
	case err = <-done:
		if g.close() { // before us: the listener was closed on purpose
			err = nil
		}
	case <-ctx.Done():
		g.close()
		_ = srv.Close()
		err = <-done
	}
	if errors.Is(err, http.ErrServerClosed) || ctx.Err() != nil {
		err = nil
	}
	return err
}

// sleep waits until d is over, the channel closes or ctx ends.
func sleep(ctx context.Context, t *time.Timer, d time.Duration, wake <-chan struct{}) {
	t.Reset(d)
	select {
	case <-t.C:
	case <-wake:
	case <-ctx.Done():
	}
	t.Stop()
}

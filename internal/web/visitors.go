package web

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"

	"github.com/weir-project/weir/internal/intake"
)

const (
	// maxVisitors bounds the connections of the web server where descriptors are plenty.
	maxVisitors = 1000
	// maxBodies bounds the bytes of all request bodies that are being read.
	maxBodies = 64 << 20
)

// visitors is a listener that admits a bounded number of connections.
type visitors struct {
	net.Listener
	places *intake.Places
	bodies *intake.Budget
}

func newVisitors(l net.Listener, limit int, log *slog.Logger) *visitors {
	return &visitors{Listener: l, places: intake.NewPlaces("web", limit, log), bodies: intake.NewBudget(maxBodies - maxBody)}
}

type visitor struct {
	net.Conn
	list  *visitors
	place *intake.Place
}

// Accept implements net.Listener.
func (l *visitors) Accept() (net.Conn, error) {
	for {
		nc, err := l.places.Accept(l.Listener)
		if err != nil {
			return nil, err
		}
		v := &visitor{Conn: nc, list: l}
		if v.place = l.places.Enter(nc.RemoteAddr(), func() { _ = v.Close() }); v.place != nil {
			return v, nil
		}
		_ = nc.Close()
	}
}

// Close implements net.Conn.
func (v *visitor) Close() error {
	v.place.Leave()
	return v.Conn.Close()
}

type visitorKey struct{}

func connContext(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, visitorKey{}, c)
}

// served marks the connection of each request whose header has arrived, and
// counts its body.
func served(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if v, ok := r.Context().Value(visitorKey{}).(*visitor); ok {
			v.place.Begin()
			defer v.place.End()
			request := v.place.Account(v.list.bodies)
			defer request.Done()
			r.Body = &countedBody{ReadCloser: r.Body, request: request}
		}
		h.ServeHTTP(w, r)
	})
}

// countedBody counts what was read of a request's body until its end. The handlers keep
// no more than that in memory.
type countedBody struct {
	io.ReadCloser
	request *intake.Request
}

// Read implements io.Reader.
func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if e := b.request.Add(n); e != nil {
		return 0, e
	}
	return n, err
}

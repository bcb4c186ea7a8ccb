package web

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/weir-project/weir/internal/inspect"
)

// MaxSocketPath is the longest path of a unix socket that every system takes:
// sun_path has 108 bytes on Linux and 104 on macOS, with a zero at the end.
const MaxSocketPath = 103

// overlayPath answers what the running weir knows of its brokers beyond the protocol.
const overlayPath = "/api/v1/overlay"

// Socket serves the API to other commands of the same user: HTTP on a unix socket that only this
// user can open. Where the system or the file system has no unix sockets, it is a port of loopback,
// and each request needs a token. Until Handle names a server, it answers only for the brokers.
type Socket struct {
	// Path is where it listens: a file, or an address where Token is not empty.
	Path string
	// Token is the secret of a socket that is a port.
	Token string

	tmpDir  string // where the socket lies when the wanted path is too long
	server  *http.Server
	done    chan struct{}
	handler atomic.Pointer[http.Handler]
}

// OpenSocket listens at path, or in a temporary directory of its own when the path
// is too long. overlay is nil where the brokers are not weir's own.
func OpenSocket(path string, overlay func(context.Context) (inspect.Overlay, error)) (*Socket, error) {
	s := &Socket{Path: path, done: make(chan struct{})}
	if len(s.Path) > MaxSocketPath {
		tmp, err := os.MkdirTemp("", "weir-") // 0700: only this user reaches the socket
		if err != nil {
			return nil, fmt.Errorf("open control socket: %w", err)
		}
		s.tmpDir, s.Path = tmp, filepath.Join(tmp, filepath.Base(path))
	}
	l, err := s.listen()
	if err != nil {
		s.removeTmp()
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", s.pass)
	if overlay != nil {
		mux.Handle("GET "+overlayPath, answered(answers(func(r *http.Request) (inspect.Overlay, error) {
			o, err := overlay(r.Context())
			if err != nil {
				err = &statusError{http.StatusServiceUnavailable, err}
			}
			return o, err
		}).handle))
	}
	s.server = &http.Server{Handler: s.guard(mux), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 30 * time.Second, MaxHeaderBytes: 8 << 10}
	go func() {
		defer close(s.done)
		_ = s.server.Serve(l) // returns ErrServerClosed from Close
	}()
	return s, nil
}

func (s *Socket) listen() (net.Listener, error) {
	_ = os.Remove(s.Path) // left by a process that was killed; the directory's lock is ours
	l, err := net.Listen("unix", s.Path)
	if err != nil {
		// A shared folder, or Windows before version 1803.
		port, portErr := net.Listen("tcp", "127.0.0.1:0")
		if portErr != nil {
			return nil, fmt.Errorf("open control socket: %w", errors.Join(err, portErr))
		}
		s.Path, s.Token = port.Addr().String(), rand.Text()
		return port, nil
	}
	if err := os.Chmod(s.Path, 0o600); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("protect control socket: %w", err)
	}
	return l, nil
}

// guard asks for the token of a socket that is a port, which every user and page can reach.
func (s *Socket) guard(next http.Handler) http.Handler {
	if s.Token == "" {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !same(r.Header.Get("Authorization"), "Bearer "+s.Token) {
			refuse(w, http.StatusUnauthorized, "this port is for weir's own commands")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Handle answers requests with h from now on.
func (s *Socket) Handle(h http.Handler) { s.handler.Store(&h) }

func (s *Socket) pass(w http.ResponseWriter, r *http.Request) {
	if h := s.handler.Load(); h != nil {
		(*h).ServeHTTP(w, r)
		return
	}
	writeError(w, &statusError{http.StatusServiceUnavailable, errors.New("this weir is still starting: try again in a moment")})
}

// Close also ends the requests in progress: they belong to a weir that is stopping.
func (s *Socket) Close() {
	_ = s.server.Close()
	<-s.done
	s.removeTmp()
}

func (s *Socket) removeTmp() {
	if s.tmpDir != "" {
		_ = os.RemoveAll(s.tmpDir)
	}
}

// originKey marks requests that came over the socket.
type originKey struct{}

// origin says where a request comes from, for the log.
func origin(r *http.Request) string {
	if r.Context().Value(originKey{}) != nil {
		return "a terminal"
	}
	return "the page"
}

// Control returns the operations without the guards that browsers need: for a
// listener that only this user can reach.
func (s *Server) Control() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.api.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), originKey{}, true)))
	})
}

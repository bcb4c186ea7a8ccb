package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/web"
)

// maxSocketPath is the longest path of a unix socket that every system takes:
// sun_path has 108 bytes on Linux and 104 on macOS, with a zero at the end.
const maxSocketPath = 103

// control serves the control API: HTTP on a unix socket that only the user can
// open. It is how `weir brokers` reaches into a running weir.
type control struct {
	path   string
	tmpDir string // where the socket lies when the data directory's path is too long
	server *http.Server
	done   chan struct{}
	// members is set when there are counters whose number can be changed.
	members atomic.Pointer[memberships]
}

// openControl listens on a socket in dir, or in a temporary directory of its own
// when the path would be too long. own is nil where the brokers are not ours.
func openControl(dir string, own ownBrokers) (*control, error) {
	c := &control{path: filepath.Join(dir, controlName), done: make(chan struct{})}
	if len(c.path) > maxSocketPath {
		tmp, err := os.MkdirTemp("", "weir-") // 0700: nobody else reaches what is in it
		if err != nil {
			return nil, fmt.Errorf("open control socket: %w", err)
		}
		c.tmpDir, c.path = tmp, filepath.Join(tmp, controlName)
	}
	_ = os.Remove(c.path) // left by a process that was killed; the directory's lock is ours
	l, err := net.Listen("unix", c.path)
	if err != nil {
		c.removeTmp()
		return nil, fmt.Errorf("open control socket: %w", err)
	}
	if err := os.Chmod(c.path, 0o600); err != nil {
		_ = l.Close()
		c.removeTmp()
		return nil, fmt.Errorf("protect control socket: %w", err)
	}
	c.server = &http.Server{Handler: controlHandler(own, c.members.Load), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 30 * time.Second, MaxHeaderBytes: 8 << 10}
	go func() {
		defer close(c.done)
		_ = c.server.Serve(l) // returns ErrServerClosed from close
	}()
	return c, nil
}

func (c *control) close() {
	_ = c.server.Close() // a request under way belongs to a weir that is stopping
	<-c.done
	c.removeTmp()
}

func (c *control) removeTmp() {
	if c.tmpDir != "" {
		_ = os.RemoveAll(c.tmpDir)
	}
}

func controlHandler(own ownBrokers, members func() *memberships) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/groups/{group}/join", controlMembers(members, (*memberships).Add))
	mux.HandleFunc("POST /v1/groups/{group}/leave", controlMembers(members, (*memberships).Remove))
	act := func(do func(context.Context, int32) error) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			id, err := strconv.ParseInt(r.PathValue("id"), 10, 32)
			if err != nil {
				http.Error(w, "a broker is named by its number", http.StatusBadRequest)
				return
			}
			if err := do(r.Context(), int32(id)); err != nil {
				http.Error(w, err.Error(), http.StatusConflict)
				return
			}
			w.WriteHeader(http.StatusNoContent)
		}
	}
	if own != nil {
		mux.HandleFunc("GET /v1/overlay", func(w http.ResponseWriter, r *http.Request) {
			o, err := own.overlay(r.Context())
			if err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(o) // an asker that is gone needs no answer
		})
		mux.HandleFunc("POST /v1/brokers/{id}/kill", act(own.Kill))
		mux.HandleFunc("POST /v1/brokers/{id}/kill-hard", act(own.KillHard))
		mux.HandleFunc("POST /v1/brokers/{id}/restart", act(own.Restart))
	}
	return mux
}

// controlMembers changes how many counters of this process are in a group.
func controlMembers(members func() *memberships, do func(*memberships, context.Context, string) (web.Rebalance, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ms := members()
		if ms == nil {
			http.Error(w, "no counters run in this weir: weir consume SOURCE starts one in a process of its own", http.StatusConflict)
			return
		}
		result, err := do(ms, context.WithoutCancel(r.Context()), r.PathValue("group"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(result) // an asker that is gone needs no answer
	}
}

// controlPost asks a running weir to do something; path is below /v1.
func controlPost(ctx context.Context, socket, path string) error {
	_, err := controlAsk(ctx, http.MethodPost, socket, path)
	return err
}

// controlGet asks a running weir for something and decodes the answer.
func controlGet(ctx context.Context, socket, path string, answer any) error {
	body, err := controlAsk(ctx, http.MethodGet, socket, path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, answer); err != nil {
		return fmt.Errorf("answer of the running weir: %w", err)
	}
	return nil
}

// maxControlAnswer bounds what a control socket can make a command hold, in bytes.
const maxControlAnswer = 4 << 20

func controlAsk(ctx context.Context, method, socket, path string) ([]byte, error) {
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}, Timeout: 30 * time.Second}
	req, err := http.NewRequestWithContext(ctx, method, "http://weir/v1"+path, nil)
	if err != nil {
		return nil, fmt.Errorf("ask the running weir: %w", err)
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, cli.ConnectError("start it again with weir up or weir cluster", "the running weir does not answer on %s: %w", socket, cli.Brief(err))
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxControlAnswer))
	if err != nil {
		return nil, fmt.Errorf("ask the running weir: %w", err)
	}
	if res.StatusCode/100 != 2 {
		return nil, errors.New(strings.TrimSpace(string(body)))
	}
	return body, nil
}

// controlAnswers reports whether a weir listens on the socket: a process id can
// have been given to another process since.
func controlAnswers(socket string) bool {
	conn, err := net.DialTimeout("unix", socket, 500*time.Millisecond)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

package web

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// maxAnswer bounds what an answer can make a command hold, in bytes.
const maxAnswer = 32 << 20

// Client asks for the operations that the pages use. Create it with Dial or NewClient.
type Client struct {
	http    http.Client
	version string // of the weir that answers
	token   string // of a socket that is a port
}

// Dial returns a client of the weir that listens on a control socket; its path, token and version
// are those that it wrote into weir.json. It connects when it is first used.
func Dial(socket, token, version string) *Client {
	return &Client{version: version, token: token, http: http.Client{Timeout: 2 * time.Minute, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, socketNetwork(token), socket)
		},
	}}}
}

// socketNetwork is the network of a control socket, which is a port where it has a token.
func socketNetwork(token string) string {
	if token != "" {
		return "tcp"
	}
	return "unix"
}

// Answers reports whether a weir listens on a control socket.
func Answers(socket, token string) bool {
	conn, err := net.DialTimeout(socketNetwork(token), socket, 500*time.Millisecond)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

// NewClient returns a client of a server in this process: where no weir runs, a command
// does by itself what it would ask a running one to do.
func NewClient(s *Server) *Client {
	return &Client{http: http.Client{Transport: inProcess{s.Control()}}}
}

// RefusedError is the answer of a weir that did not do what it was asked for.
type RefusedError struct {
	Status int // of HTTP
	Reason string
	cause  error // inspect's error that has the same code; nil for others
}

// Error returns the reason, and the way out where there is one.
func (e *RefusedError) Error() string { return e.Reason }

// Unwrap returns inspect's error of the same meaning.
func (e *RefusedError) Unwrap() error { return e.cause }

// Ask sends body, nil for none, to an operation and decodes its answer. The error
// is a RefusedError where a weir answered, and another one where none did.
func (c *Client) Ask(ctx context.Context, method, path string, body, answer any) error {
	content := io.Reader(http.NoBody)
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("ask weir: %w", err)
		}
		content = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://weir"+path, content)
	if err != nil {
		return fmt.Errorf("ask weir: %w", err)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("ask weir: %w", err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("ask weir: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return c.refused(res.StatusCode, method+" "+req.URL.Path, b)
	}
	if answer == nil {
		return nil
	}
	if err := json.Unmarshal(b, answer); err != nil {
		return c.otherVersion("its answer to "+method+" "+req.URL.Path+" cannot be read", err)
	}
	return nil
}

func (c *Client) refused(status int, operation string, body []byte) error {
	var e errorAnswer
	if json.Unmarshal(body, &e) != nil || e.Error == "" || e.Code == codeNoOperation {
		return c.otherVersion("it does not know "+operation, nil)
	}
	out := &RefusedError{Status: status, Reason: e.Error}
	for _, known := range refusals {
		if known.code == e.Code {
			out.cause = known.err
		}
	}
	return out
}

// otherVersion says that the weir that runs is not of this program's version.
func (c *Client) otherVersion(what string, cause error) error {
	reason := fmt.Sprintf("the running weir is version %s, and %s: use a weir command of that version, or restart it with this one", c.version, what)
	return &RefusedError{Status: http.StatusNotFound, Reason: reason, cause: cause}
}

// inProcess answers requests by a handler of this process.
type inProcess struct{ handler http.Handler }

// RoundTrip implements http.RoundTripper.
func (t inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	w := &recorder{answer: http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Request: r}}
	t.handler.ServeHTTP(w, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	w.answer.Body = io.NopCloser(&w.Buffer)
	return &w.answer, nil
}

// recorder keeps an answer; its Buffer is the body.
type recorder struct {
	bytes.Buffer
	answer http.Response
}

// Header implements http.ResponseWriter.
func (w *recorder) Header() http.Header { return w.answer.Header }

// WriteHeader implements http.ResponseWriter.
func (w *recorder) WriteHeader(status int) { w.answer.StatusCode = status }

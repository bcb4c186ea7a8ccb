package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"reflect"
	"strconv"

	"github.com/weir-project/weir/internal/inspect"
)

// route is one operation of the API.
type route struct {
	method, path string
	summary      string
	endpoint
	query []param
}

// param is a parameter of the query.
type param struct {
	name, about string
	many        bool
}

// endpoint is a handler with the types that it decodes and encodes; openapi.json is made
// of these types.
type endpoint struct {
	handle   func(w http.ResponseWriter, r *http.Request) error
	body     reflect.Type // nil for none
	optional bool         // the body may be left out
	answer   reflect.Type // of a stream: of an event's data; nil for bytes
	content  string       // empty for JSON
	looks    bool         // changes nothing in Kafka and Redis, so that it is served read-only, too
}

// looking makes the endpoint of a POST one that a read-only server answers.
func looking(e endpoint) endpoint {
	e.looks = true
	return e
}

// answers makes the endpoint of a handler that takes no body.
func answers[A any](handle func(*http.Request) (A, error)) endpoint {
	return endpoint{answer: reflect.TypeFor[A](), handle: func(w http.ResponseWriter, r *http.Request) error {
		a, err := handle(r)
		if err == nil {
			writeJSON(w, http.StatusOK, a)
		}
		return err
	}}
}

// maxBody bounds the body of a request in bytes: a record by hand is the largest.
const maxBody = 10 << 20

// takes makes the endpoint of a handler that takes a body; an optional one may be left out.
func takes[B, A any](optional bool, handle func(*http.Request, B) (A, error)) endpoint {
	e := answers(func(r *http.Request) (A, error) {
		var body B
		if dec := json.NewDecoder(r.Body); !optional || r.ContentLength != 0 {
			dec.DisallowUnknownFields()
			err := dec.Decode(&body)
			if _, end := dec.Token(); err == nil && end != io.EOF {
				err = errors.New("more than one value")
			}
			if err != nil {
				var none A
				return none, badRequest("the body of the request is not valid: %v", err)
			}
		}
		return handle(r, body)
	})
	e.body, e.optional = reflect.TypeFor[B](), optional
	return e
}

// streams makes the endpoint of Server-Sent Events whose data is a T.
func streams[T any](handle func(http.ResponseWriter, *http.Request) error) endpoint {
	return endpoint{content: "text/event-stream", answer: reflect.TypeFor[T](), handle: handle}
}

// answered makes an HTTP handler of one that returns an error.
func answered(handle func(http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		if err := handle(w, r); err != nil && r.Context().Err() == nil {
			writeError(w, err)
		}
	})
}

// operation serves an operation of the API. What it does ends when the server closes,
// and Close waits for changes that are under way.
func (s *Server) operation(rt route) http.Handler {
	return answered(func(w http.ResponseWriter, r *http.Request) error {
		if rt.method != http.MethodGet {
			if s.cfg.ReadOnly && !rt.looks {
				return errNoChanges
			}
			if !s.work.begin() {
				return errStopping
			}
			defer s.work.wg.Done()
		}
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(s.work.ctx, cancel)()
		err := rt.handle(w, r.WithContext(ctx))
		if err != nil && s.work.ctx.Err() != nil {
			return errStopping
		}
		return err
	})
}

// integer reads a number within bounds.
func integer(name, text string, least, most int64) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	switch {
	case err == nil && n >= least && n <= most:
		return n, nil
	case least == math.MinInt64:
		return 0, badRequest("%s is %q: give a number", name, text)
	case most >= math.MaxInt32:
		return 0, badRequest("%s is %q: give a number from %d", name, text, least)
	}
	return 0, badRequest("%s is %q: give a number from %d to %d", name, text, least, most)
}

// number reads a parameter of the query that may be left out.
func number(r *http.Request, name string, otherwise, least, most int64) (int64, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return otherwise, nil
	}
	return integer(name, text, least, most)
}

// pathID reads the ID of a broker or partition from the path.
func pathID(r *http.Request, name string) (int32, error) {
	n, err := integer(name, r.PathValue(name), 0, math.MaxInt32)
	return int32(n), err
}

// groupName reads the name of a group. A path cannot carry every name, because clients
// resolve . and .. in it. ?group= carries any name, whatever the path says.
func groupName(r *http.Request) string {
	if v := r.URL.Query(); v.Has("group") {
		return v.Get("group")
	}
	return r.PathValue("group")
}

// statusError is an error with the HTTP status of its response.
type statusError struct {
	status int
	error
}

func (e *statusError) Unwrap() error { return e.error }

func badRequest(format string, args ...any) error {
	return &statusError{http.StatusBadRequest, fmt.Errorf(format, args...)}
}

// conflict is the error of a change that is impossible at present.
func conflict(format string, args ...any) error {
	return &statusError{http.StatusConflict, fmt.Errorf(format, args...)}
}

func notFound(format string, args ...any) error {
	return &statusError{http.StatusNotFound, fmt.Errorf(format, args...)}
}

var (
	errNoOperation = notFound("no such operation: /api/v1/openapi.json lists them all")
	errNoChanges   = &statusError{http.StatusForbidden, errors.New("this weir is read-only: it was started with --read-only or WEIR_READ_ONLY, and refuses every change; start it without them to allow changes")}
	errStopping    = &statusError{http.StatusServiceUnavailable, errors.New("this weir is stopping")}
)

// codeNoOperation is the code of a path that leads to no operation.
const codeNoOperation = "no_operation"

// refusals are the errors that a client can distinguish, by the code beside their text,
// with the status of the response.
var refusals = []struct {
	err    error
	status int
	code   string
}{
	{inspect.ErrNoTopic, http.StatusNotFound, "no_topic"},
	{inspect.ErrNoGroup, http.StatusNotFound, "no_group"},
	{inspect.ErrGroupActive, http.StatusConflict, "group_active"},
	{inspect.ErrTopicExists, http.StatusConflict, "topic_exists"},
	{inspect.ErrProtected, http.StatusConflict, "protected"},
	{errNoOperation, http.StatusNotFound, codeNoOperation},
	{errNoChanges, http.StatusForbidden, "read_only"},
}

type errorAnswer struct {
	Error string `json:"error"` // cause and way out
	// Code is by what a program knows some errors: no_topic, no_group, group_active, topic_exists, protected,
	// no_operation, read_only.
	Code string `json:"code,omitempty"`
}

// writeError answers {"error": "cause: way out"}, with a code where a program can know the error.
func writeError(w http.ResponseWriter, err error) {
	status := http.StatusBadGateway // the cluster or Redis has failed
	answer := errorAnswer{Error: err.Error()}
	for _, known := range refusals {
		if errors.Is(err, known.err) {
			status, answer.Code = known.status, known.code
		}
	}
	if _, ok := errors.AsType[*inspect.PlanError](err); ok {
		status = http.StatusConflict
	}
	if _, ok := errors.AsType[*inspect.RejectedError](err); ok {
		status = http.StatusConflict
	}
	if known, ok := errors.AsType[*statusError](err); ok {
		status = known.status
	}
	writeJSON(w, status, answer)
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

package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/weir-project/weir/internal/inspect"
)

// refusals are the errors that a client knows again, by the code that stands beside
// their text, and the status that they are answered with.
var refusals = []struct {
	err    error
	status int
	code   string
}{
	{inspect.ErrNoTopic, http.StatusNotFound, "no_topic"},
	{inspect.ErrNoGroup, http.StatusNotFound, "no_group"},
	{inspect.ErrGroupActive, http.StatusConflict, "group_active"},
}

// codeNoOperation is the code of a path that leads to no operation.
const codeNoOperation = "no_operation"

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

// conflict is the error of what cannot be done as things are.
func conflict(format string, args ...any) error {
	return &statusError{http.StatusConflict, fmt.Errorf(format, args...)}
}

var errNoOperation = errors.New("no such operation: /api/v1/openapi.json lists them all")

// writeError answers {"error": "cause: way out"}, with a code where a program can know the error.
func writeError(w http.ResponseWriter, err error) {
	status := http.StatusBadGateway // the cluster or Redis did not do what was asked
	answer := errorAnswer{Error: err.Error()}
	for _, known := range refusals {
		if errors.Is(err, known.err) {
			status, answer.Code = known.status, known.code
		}
	}
	if errors.Is(err, errNoOperation) {
		status, answer.Code = http.StatusNotFound, codeNoOperation
	}
	if _, ok := errors.AsType[*inspect.PlanError](err); ok {
		status = http.StatusConflict
	}
	if known, ok := errors.AsType[*statusError](err); ok {
		status = known.status
	}
	writeJSON(w, status, answer)
}

// reply answers with a value as JSON.
func reply(w http.ResponseWriter, v any) error {
	writeJSON(w, http.StatusOK, v)
	return nil
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

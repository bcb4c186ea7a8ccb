package send

import (
	"fmt"
	"strings"
)

// FailedError says which records were not written. Those before and between them were.
type FailedError struct {
	Unit string // "line" or "record"
	// Total is how many were not written; Spans are the first of them.
	Total int64
	Spans []Span
	// Written is how many were written. Sent is the number of the last one that was sent.
	Written, Sent int64
	// Ended says that the input ended: nothing was left to be sent.
	Ended bool
}

// Span is records in a row that were not written for the same reason.
type Span struct {
	From, To int64
	Err      error
}

// maxSpans bounds how many spans an error lists.
const maxSpans = 5

func (e *FailedError) add(n int64, err error) {
	e.Total++
	if last := len(e.Spans) - 1; last >= 0 && e.Spans[last].To == n-1 && e.Spans[last].Err.Error() == err.Error() {
		e.Spans[last].To = n
		return
	}
	if len(e.Spans) < maxSpans {
		e.Spans = append(e.Spans, Span{n, n, err})
	}
}

// Error says what was not written and why, and what was.
func (e *FailedError) Error() string {
	var b strings.Builder
	listed := int64(0)
	for _, s := range e.Spans {
		if s.From == s.To {
			fmt.Fprintf(&b, "%s %d was not written: %v; ", e.Unit, s.From, s.Err)
		} else {
			fmt.Fprintf(&b, "%ss %d to %d were not written, because at least one of them failed: %v; ", e.Unit, s.From, s.To, s.Err)
		}
		listed += s.To - s.From + 1
	}
	if more := e.Total - listed; more > 0 {
		fmt.Fprintf(&b, "neither were %d more; ", more)
	}
	switch {
	case e.Written == 0:
		fmt.Fprintf(&b, "no %s was written", e.Unit)
	case e.Ended:
		fmt.Fprintf(&b, "all others were written (%d)", e.Written)
	default:
		fmt.Fprintf(&b, "%d others up to %s %d were written", e.Written, e.Unit, e.Sent)
	}
	if !e.Ended {
		fmt.Fprintf(&b, ", and nothing after %s %d was sent", e.Unit, e.Sent)
	}
	return b.String()
}

// Unwrap returns the reasons.
func (e *FailedError) Unwrap() (errs []error) {
	for _, s := range e.Spans {
		errs = append(errs, s.Err)
	}
	return errs
}

// StoppedError says that the input was not read to its end. Everything up to Sent was written.
type StoppedError struct {
	Unit          string
	Written, Sent int64
	Err           error
}

// Error says why, and what was written.
func (e *StoppedError) Error() string {
	if e.Sent == 0 {
		return fmt.Sprintf("%v; nothing was written", e.Err)
	}
	return fmt.Sprintf("%v; everything up to %s %d was written, and nothing after it was sent", e.Err, e.Unit, e.Sent)
}

// Unwrap returns the reason.
func (e *StoppedError) Unwrap() error { return e.Err }

package inspect

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Filter says which messages to let through: those that satisfy everything that
// is set. The zero value and nil let everything through.
type Filter struct {
	// Contains is a text that must occur in the key, the value or a header's value.
	Contains string
	// Regexp is an expression (Go's syntax) that must match one of them.
	Regexp string
	// Key is what the key must be equal to; nil means any key, or none.
	Key *string
	// Headers are NAME=VALUE: a header of that name must have that value. NAME
	// alone: there must be such a header.
	Headers []string
	// Paths are .a.b.0=VALUE: what the value, which must be JSON, holds there must
	// be VALUE: a string without its quotes, or a number, true, false or null as it
	// is written. A path alone: there must be something.
	Paths []string
}

type (
	matcher func(*kgo.Record) bool
	want    struct {
		name, value string
		any         bool
	}
)

func parseWant(s string) want {
	name, value, ok := strings.Cut(s, "=")
	return want{name, value, !ok}
}

// Check returns why a filter is invalid, nil for a valid one.
func (f *Filter) Check() error {
	_, err := f.compile()
	return err
}

// compile turns a filter into one function, safe for concurrent use.
func (f *Filter) compile() (func(*kgo.Record) bool, error) {
	if f == nil {
		return func(*kgo.Record) bool { return true }, nil
	}
	var all []matcher // the cheap ones first
	if f.Key != nil {
		key := []byte(*f.Key)
		all = append(all, func(r *kgo.Record) bool { return r.Key != nil && bytes.Equal(r.Key, key) })
	}
	for _, h := range f.Headers {
		w := parseWant(h)
		if w.name == "" {
			return nil, fmt.Errorf("filter: header %q: write NAME=VALUE or NAME", h)
		}
		all = append(all, func(r *kgo.Record) bool {
			for i := range r.Headers {
				if r.Headers[i].Key == w.name && (w.any || string(r.Headers[i].Value) == w.value) {
					return true
				}
			}
			return false
		})
	}
	if f.Contains != "" {
		text := []byte(f.Contains)
		all = append(all, anywhere(func(b []byte) bool { return bytes.Contains(b, text) }))
	}
	for _, p := range f.Paths {
		w := parseWant(p)
		steps, err := parsePath(w.name)
		if err != nil {
			return nil, fmt.Errorf("filter: path %q: %w", p, err)
		}
		all = append(all, func(r *kgo.Record) bool { return matchPath(r.Value, steps, w) })
	}
	if f.Regexp != "" {
		re, err := regexp.Compile(f.Regexp)
		if err != nil {
			return nil, fmt.Errorf("filter: regular expression: %w", err)
		}
		all = append(all, anywhere(re.Match))
	}
	return func(r *kgo.Record) bool {
		for _, m := range all {
			if !m(r) {
				return false
			}
		}
		return true
	}, nil
}

// anywhere applies a test to the key, the value and the headers' values.
func anywhere(test func([]byte) bool) matcher {
	return func(r *kgo.Record) bool {
		if test(r.Value) || test(r.Key) {
			return true
		}
		for i := range r.Headers {
			if test(r.Headers[i].Value) {
				return true
			}
		}
		return false
	}
}

var errPath = errors.New("write it like .commit.operation or .items.0.id")

// parsePath splits .a.b.0 into its steps.
func parsePath(p string) ([]string, error) {
	steps := strings.Split(p, ".")
	if len(steps) < 2 || steps[0] != "" || slices.Contains(steps[1:], "") {
		return nil, errPath
	}
	return steps[1:], nil
}

// matchPath reports whether JSON text holds what is wanted at a path. Text that
// is not JSON holds nothing.
func matchPath(text []byte, steps []string, w want) bool {
	if !json.Valid(text) {
		return false
	}
	at := json.RawMessage(text)
	for _, step := range steps {
		if at = child(at, step); at == nil {
			return false
		}
	}
	if w.any {
		return true
	}
	at = bytes.TrimSpace(at)
	if at[0] == '"' {
		var s string
		return json.Unmarshal(at, &s) == nil && s == w.value
	}
	return string(at) == w.value
}

// child returns a member of an object or an element of an array, nil for neither.
func child(text json.RawMessage, step string) json.RawMessage {
	switch text = bytes.TrimSpace(text); text[0] {
	case '{':
		var members map[string]json.RawMessage
		if json.Unmarshal(text, &members) != nil {
			return nil
		}
		return members[step]
	case '[':
		n, err := strconv.Atoi(step)
		var elements []json.RawMessage
		if err != nil || n < 0 || json.Unmarshal(text, &elements) != nil || n >= len(elements) {
			return nil
		}
		return elements[n]
	}
	return nil
}

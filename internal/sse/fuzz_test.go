package sse

import (
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

// reference interprets a whole stream in the plainest way that the standard
// allows: line ends first, then line by line.
func reference(in string, limits Limits) (all []got) {
	in = strings.TrimPrefix(in, "\ufeff")
	in = strings.ReplaceAll(strings.ReplaceAll(in, "\r\n", "\n"), "\r", "\n")
	lines := strings.Split(in, "\n")
	var typ, id string
	var data []string
	for _, line := range lines[:len(lines)-1] { // what follows the last line end is no line
		if line == "" {
			if data != nil {
				all = append(all, asEvent(typ, id, strings.Join(data, "\n"), limits))
			}
			typ, data = "", nil
			continue
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "data":
			data = append(data, value)
		case "event":
			typ = value
		case "id":
			if !strings.ContainsRune(value, 0) {
				id = value
			}
		}
	}
	return all
}

func asEvent(typ, id, data string, limits Limits) got {
	if typ == "" {
		typ = "message"
	}
	if len(data) <= limits.Data {
		return got{Type: typ, ID: id, Data: data}
	}
	return got{Type: typ, ID: id, Data: data[:limits.Head], TooLarge: true, Size: int64(len(data)), Sum: sha256.Sum256([]byte(data))}
}

// FuzzReader compares the reader with the reference, however the stream is cut
// into reads and with limits small enough to be met.
func FuzzReader(f *testing.F) {
	for _, in := range []string{
		"data: a\n\n", ":ok\n\nevent: message\nid: 1\ndata: {}\n\n", "\ufeffdata:a\r\rdata\r\n\r\n", "data: 1234567890123456789012345678901\ndata: 2\n\n",
		"id: x\x00\nid: y\ndata\n\n", "retry: 5\n\n:", "event: e\n\ndata: \xff\xfe\n\n", "\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", "data: a\r\n\r", "\n\n\n",
	} {
		f.Add(in, uint64(1))
	}
	f.Fuzz(func(t *testing.T, in string, seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 0))
		limits := Limits{Data: 8 + int(seed%64), Head: 5}
		rest := in
		r := NewReader(readFunc(func(p []byte) (int, error) {
			if rest == "" {
				return 0, io.EOF
			}
			n := copy(p, rest[:1+rng.IntN(len(rest))])
			rest = rest[n:]
			return n, nil
		}), limits)
		all, err := collect(t, r)
		want := reference(in, limits)
		if longest(in) > limits.Data {
			t.Skip("an id or a name of that length is dropped, which the reference does not know")
		}
		if !errors.Is(err, io.EOF) || !reflect.DeepEqual(all, want) {
			t.Errorf("%q, seed %d:\n got %v, %v\nwant %v, EOF", in, seed, all, err, want)
		}
	})
}

// TestReaderMatchesReference runs the comparison over streams made of the
// pieces that matter, which a short fuzz run seldom combines.
func TestReaderMatchesReference(t *testing.T) {
	pieces := []string{"data", "data:", "data: ", "event: error", "id: 1", "id:", ":", "x", " ", "\n", "\n", "\n", "\r", "\r\n", "\n\n", "\r\r", "\ufeff", "\x00",
		"0123456789", "retry: 1"}
	for seed := range uint64(20_000) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var b strings.Builder
		for range 1 + rng.IntN(25) {
			b.WriteString(pieces[rng.IntN(len(pieces))])
		}
		in, rest := b.String(), b.String()
		limits := Limits{Data: 40, Head: 7} // over any id that the pieces make
		r := NewReader(readFunc(func(p []byte) (int, error) {
			if rest == "" {
				return 0, io.EOF
			}
			n := copy(p, rest[:1+rng.IntN(min(len(rest), 9))])
			rest = rest[n:]
			return n, nil
		}), limits)
		all, err := collect(t, r)
		want := reference(in, limits)
		if longest(in) > limits.Data {
			continue // an id or a name of that length is dropped, which the reference does not know
		}
		if !errors.Is(err, io.EOF) || !reflect.DeepEqual(all, want) {
			t.Fatalf("seed %d, %q:\n got %v, %v\nwant %v, EOF", seed, in, all, err, want)
		}
	}
}

// longest returns the length of the longest line that is no data line.
func longest(in string) (n int) {
	for _, line := range strings.FieldsFunc(in, func(r rune) bool { return r == '\n' || r == '\r' }) {
		if !strings.HasPrefix(line, "data:") {
			n = max(n, len(line))
		}
	}
	return n
}

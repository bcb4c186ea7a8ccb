package sse

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"testing"
)

// BenchmarkRead measures reading Wikimedia-sized events (1.6 kB on the wire)
// from memory, beside what most clients do: a bufio.Scanner over lines, with
// the fields collected as strings.
func BenchmarkRead(b *testing.B) {
	b.Run("weir", func(b *testing.B) {
		r := NewReader(&endless{line: []byte(wikimedia)}, wide)
		b.ReportAllocs()
		b.SetBytes(int64(len(wikimedia)))
		for b.Loop() {
			if _, err := r.Next(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("scanner", func(b *testing.B) {
		next := naive(&endless{line: []byte(wikimedia)})
		b.ReportAllocs()
		b.SetBytes(int64(len(wikimedia)))
		for b.Loop() {
			if data, _, _ := next(); len(data) == 0 {
				b.Fatal("no event")
			}
		}
	})
}

func naive(r io.Reader) func() (data, id, typ string) {
	s := bufio.NewScanner(r)
	s.Buffer(nil, 4<<20)
	return func() (data, id, typ string) {
		var buf bytes.Buffer
		for s.Scan() {
			line := s.Text()
			if line == "" && buf.Len() > 0 {
				return strings.TrimSuffix(buf.String(), "\n"), id, typ
			}
			name, value, _ := strings.Cut(line, ":")
			value = strings.TrimPrefix(value, " ")
			switch name {
			case "data":
				buf.WriteString(value + "\n")
			case "id":
				id = value
			case "event":
				typ = value
			}
		}
		return "", "", ""
	}
}

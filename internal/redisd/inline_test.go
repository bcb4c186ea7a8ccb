package redisd

import (
	"bufio"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestInlineQuotes(t *testing.T) {
	for _, tc := range []struct {
		line string
		want []string // nil: unbalanced
	}{
		{`SET k v`, []string{"SET", "k", "v"}},
		{`SET k "a b"`, []string{"SET", "k", "a b"}},
		{`SET k 'a b'`, []string{"SET", "k", "a b"}},
		{"  SET\tk  \"\" ", []string{"SET", "k", ""}},
		{`SET k "\x41\xff\n\r\t\b\a\"\\\q"`, []string{"SET", "k", "A\xff\n\r\t\b\a\"\\q"}},
		{`SET k "\xg1\x4"`, []string{"SET", "k", "xg1x4"}},
		{`SET k 'it\'s \n "so"'`, []string{"SET", "k", `it's \n "so"`}},
		{`SET k pre"fix ed"`, []string{"SET", "k", "prefix ed"}},
		{`SET "é" ü`, []string{"SET", "é", "ü"}},
		{`SET k "a`, nil}, {`SET k 'a`, nil}, {`SET k "a\"`, nil}, {`SET k "a"b`, nil}, {`SET k 'a'"b"`, nil}, {`SET k "`, nil},
	} {
		got, ok := splitInline(tc.line)
		if !slices.Equal(got, tc.want) || ok != (tc.want != nil) {
			t.Errorf("%s is split into %q, %v, want %q", tc.line, got, ok, tc.want)
		}
	}
}

// What is quoted as redis-cli prints it comes back as it was.
func FuzzInlineQuotes(f *testing.F) {
	f.Add("a b", "\x00\xff")
	f.Add(`"'\x4`, "\n\\")
	f.Fuzz(func(t *testing.T, a, b string) {
		double := func(s string) string {
			var l strings.Builder
			for i := range len(s) {
				switch c := s[i]; {
				case c == '"' || c == '\\':
					l.WriteString("\\" + s[i:i+1])
				case c < ' ' || c > '~':
					fmt.Fprintf(&l, "\\x%02x", c)
				default:
					l.WriteByte(c)
				}
			}
			return `"` + l.String() + `"`
		}
		if got, ok := splitInline("SET " + double(a) + "  " + double(b)); !ok || !slices.Equal(got, []string{"SET", a, b}) {
			t.Errorf("%q and %q come back as %q, %v", a, b, got, ok)
		}
		if args, ok := splitInline(a); ok && len(args) > len(a) {
			t.Errorf("%q has %d arguments", a, len(args))
		}
	})
}

func TestInlineQuotesOverTheWire(t *testing.T) {
	s, _ := open(t, Config{})
	conn := must[net.Conn](t)(net.Dial("tcp", s.Addr()))
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	fmt.Fprintf(conn, "SET k \"a b\"\r\nGET 'k'\r\nSET n \"é\"\r\nSET k \"a\r\n")
	r := bufio.NewReader(conn)
	for _, want := range []string{"+OK", "$3", "a b", "+OK", "-ERR Protocol error: unbalanced quotes in request"} {
		if line := must[string](t)(r.ReadString('\n')); line != want+"\r\n" {
			t.Errorf("answered %q, want %q", line, want)
		}
	}
	if _, err := r.ReadByte(); err == nil {
		t.Error("the connection stays open")
	}
}

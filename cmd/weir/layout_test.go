package main

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/inspect"
)

// plainLayout writes a message by a text of --format, one character after the other; false where it is none.
func plainLayout(format string, m inspect.Message) (line string, ok bool) {
	sized := func(b []byte) string {
		if b == nil {
			return "-1"
		}
		return strconv.Itoa(len(b))
	}
	fields := map[byte]string{
		't': m.Topic, 'p': strconv.Itoa(int(m.Partition)), 'o': strconv.FormatInt(m.Offset, 10), 'k': string(m.Key), 'v': string(m.Value), 's': string(m.Value),
		'K': sized(m.Key), 'S': sized(m.Value), 'T': strconv.FormatInt(m.Timestamp.UnixMilli(), 10), 'h': "n=" + string(m.Headers[0].Value) + ",null=NULL", '%': "%",
	}
	plain := map[byte]string{'n': "\n", 'r': "\r", 't': "\t", '\\': "\\", '0': "\x00"}
	for len(format) > 0 {
		c := format[0]
		if format = format[1:]; c != '%' && c != '\\' {
			line += string([]byte{c})
			continue
		}
		if format == "" {
			return "", false
		}
		next := format[0]
		format = format[1:]
		text, known := fields[next]
		if c == '\\' {
			text, known = plain[next]
		}
		if c == '\\' && next == 'x' && len(format) >= 2 {
			n, err := strconv.ParseUint(format[:2], 16, 8)
			text, known, format = string([]byte{byte(n)}), err == nil, format[2:]
		}
		if !known {
			return "", false
		}
		line += text
	}
	return line, true
}

// TestLayoutsOfAnyText writes messages in layouts of random pieces, as a plain second writer does. On a terminal,
// what a message holds steers nothing. Settings of --config come back as they were given. A fuzz target would
// compile all of weir once more.
func TestLayoutsOfAnyText(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 7))
	pieces := []string{"%", `\`, "x", "1f", "t", "p", "o", "k", "v", "s", "K", "S", "T", "h", "n", "0", "=", "é", "\xff", "\x1b[31m", "\u202e", " ", "+1", "q"}
	some := func() (text string) {
		for range rnd.IntN(6) {
			text += pieces[rnd.IntN(len(pieces))]
		}
		return text
	}
	taken := 0
	for range 30_000 {
		format, value := some(), []byte(some())
		m := inspect.Message{Topic: "topic", Partition: 3, Offset: 17, Value: value, Timestamp: time.UnixMilli(1730176462123),
			Headers: []kgo.RecordHeader{{Key: "n", Value: value}, {Key: "null"}}}
		want, ok := plainLayout(format, m)
		l, err := parseLayout(format, false)
		if ok != (err == nil) {
			t.Fatalf("%q: %v", format, err)
		}
		if ok {
			taken++
		}
		for range 2 { // the second line takes the memory of the first
			if err == nil && string(l.line(m)) != want {
				t.Fatalf("%q writes %q, want %q", format, l.line(m), want)
			}
		}
		if l, err := parseLayout(`%k|%v|%h`, true); err != nil || strings.ContainsAny(string(l.line(m)), "\x00\x07\x1b\n\r\u202e") {
			t.Fatalf("%q is shown on a terminal as %q, %v", value, l.line(m), err)
		}
		settings, err := readSettings([]string{format})
		name, setting, found := strings.Cut(format, "=")
		if found = found && name != ""; found != (err == nil) || found && (len(settings) != 1 || settings[name] != setting) {
			t.Fatalf("--config %q is %q, %v", format, settings, err)
		}
		if _, err := readSettings([]string{format, format}); err == nil {
			t.Fatalf("--config %q is taken twice", format)
		}
	}
	if taken < 3000 || taken > 27_000 {
		t.Errorf("%d of 30,000 layouts were taken", taken)
	}
}

package sse

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

var wide = Limits{Data: 4 << 20, Head: 64 << 10}

// got is an Event as a test compares it: owned memory.
type got struct {
	Type, ID, Data string
	TooLarge       bool
	Size           int64
	Sum            [sha256.Size]byte
}

func collect(t *testing.T, r *Reader) (all []got, err error) {
	t.Helper()
	for {
		ev, err := r.Next()
		if err != nil {
			return all, err
		}
		all = append(all, got{ev.Type, string(ev.ID), string(ev.Data), ev.TooLarge, ev.Size, ev.Sum})
	}
}

// The expectations are read off the WHATWG standard, section 9.2.6, and its examples.
func TestReaderFollowsTheStandard(t *testing.T) {
	msg := func(data string) got { return got{Type: "message", Data: data} }
	for _, tt := range []struct {
		name, in string
		want     []got
	}{
		{"empty stream", "", nil},
		{"one event", "data: hello\n\n", []got{msg("hello")}},
		{"as Wikimedia sends it", ":ok\n\nevent: message\nid: [{\"a\":1}]\ndata: {\"b\":2}\n\n",
			[]got{{Type: "message", ID: `[{"a":1}]`, Data: `{"b":2}`}}},
		{"event type", "event: error\ndata: x\n\ndata: y\n\n", []got{{Type: "error", Data: "x"}, msg("y")}},
		{"type without data is forgotten", "event: add\n\ndata: x\n\n", []got{msg("x")}},
		{"own type", "event: add\ndata: 73857293\n\n", []got{{Type: "add", Data: "73857293"}}},
		{"lines are joined", "data: YHOO\ndata: +2\ndata: 10\n\n", []got{msg("YHOO\n+2\n10")}},
		{"no space, one space, two spaces", "data:a\n\ndata: b\n\ndata:  c\n\n", []got{msg("a"), msg("b"), msg(" c")}},
		{"colon in the value", "data: a:b: c\n\n", []got{msg("a:b: c")}},
		{"field without colon", "data\n\ndata\ndata\n\ndata:", []got{msg(""), msg("\n")}},
		{"comments", ": test stream\n\ndata: first\n: in between\n:\n\n", []got{msg("first")}},
		{"unknown field", "foo: bar\nDATA: x\ndata: y\n\n", []got{msg("y")}},
		{"id persists and is emptied", "data: a\nid: 1\n\ndata: b\n\ndata: c\nid\n\n",
			[]got{{Type: "message", ID: "1", Data: "a"}, {Type: "message", ID: "1", Data: "b"}, msg("c")}},
		{"id without an event", "id: 7\n\ndata: a\n\n", []got{{Type: "message", ID: "7", Data: "a"}}},
		{"id with NUL is ignored", "id: 1\ndata: a\n\nid: 2\x003\ndata: b\n\n",
			[]got{{Type: "message", ID: "1", Data: "a"}, {Type: "message", ID: "1", Data: "b"}}},
		{"CRLF", "event: x\r\ndata: a\r\n\r\ndata: b\r\n\r\n", []got{{Type: "x", Data: "a"}, msg("b")}},
		{"CR", "data: a\rdata: b\r\rdata: c\r\r", []got{msg("a\nb"), msg("c")}},
		{"all line ends", "data: a\rdata: b\ndata: c\r\n\ndata: d\n\r", []got{msg("a\nb\nc"), msg("d")}},
		{"byte order mark", "\ufeffdata: a\n\n", []got{msg("a")}},
		{"only the first mark", "\ufeffdata: a\n\n\ufeffdata: b\n\n", []got{msg("a")}},
		{"two marks", "\ufeff\ufeffdata: a\n\n", nil},
		{"half a mark", "\xef\xbbdata: a\n\ndata: b\n\n", []got{msg("b")}},
		{"mark alone", "\ufeff", nil},
		{"half a mark alone", "\xef\xbb", nil},
		{"unfinished event is dropped", "data: a\n\ndata: b\n", []got{msg("a")}},
		{"unfinished line is dropped", "data: a\n\ndata: b", []got{msg("a")}},
		{"many blank lines", "\n\n\r\n\ndata: a\n\n\n\n", []got{msg("a")}},
		{"empty data", "data:\n\ndata: \n\n", []got{msg(""), msg("")}},
		{"text in many scripts", "data: {\"t\":\"Ελληνικά 日本語 🦋\"}\n\n", []got{msg(`{"t":"Ελληνικά 日本語 🦋"}`)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for name, r := range map[string]io.Reader{
				"whole":  strings.NewReader(tt.in),
				"bytes":  iotest.OneByteReader(strings.NewReader(tt.in)),
				"halves": iotest.HalfReader(strings.NewReader(tt.in)),
				"data+err": iotest.DataErrReader(
					strings.NewReader(tt.in)),
			} {
				all, err := collect(t, NewReader(r, wide))
				if !errors.Is(err, io.EOF) || !reflect.DeepEqual(all, tt.want) {
					t.Errorf("%s:\n got %v, %v\nwant %v, EOF", name, all, err, tt.want)
				}
			}
		})
	}
}

// A client can tell an ID that came with an event from one that is still in force.
func TestReaderSaysWhoseTheIDIs(t *testing.T) {
	r := NewReader(strings.NewReader("id: 1\ndata: a\n\ndata: b\n\nid: 2\n\ndata: c\n\nid: 3\x00\ndata: d\n\nid\ndata: e\n\n"), wide)
	for i, want := range []bool{true, false, true, false, true} {
		if ev, err := r.Next(); err != nil || ev.NewID != want {
			t.Errorf("event %d: %+v, %v; want a new ID: %v", i, ev, err, want)
		}
	}
}

// Events and comments show life, and so does each MiB of an event over the limit.
// Whatever else a server sends does not.
func TestReaderCountsSigns(t *testing.T) {
	long := strings.Repeat("x", 5<<20)
	for in, want := range map[string]int64{
		"": 0, "\n\n\n": 0, "<html>\n\n": 0, "id: 1\n\n": 0, "event: x\n\n": 0, "retry: 5\n\n": 0, "data: x\n": 0, ":": 0,
		":\n": 1, ": a\n: b\n": 2, "data\n\n": 1, "data: a\ndata: b\n\n": 1, ": a\ndata: b\n\n": 2, ":" + long + "\n": 1, "data:" + long + "\n\n": 1 + 5, "x" + long + "\n": 0,
	} {
		r := NewReader(strings.NewReader(in), wide)
		if _, err := collect(t, r); !errors.Is(err, io.EOF) || r.Signs() != want {
			t.Errorf("%.20q: %d signs, %v; want %d, EOF", in, r.Signs(), err, want)
		}
	}
}

func TestReaderRetry(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"data: a\n\n":                        0,
		"retry: 2500\n\n":                    2500 * time.Millisecond,
		"retry: 1\nretry:20\n":               20 * time.Millisecond,
		"retry: 5s\n\n":                      0,
		"retry: -5\n\n":                      0,
		"retry:\n\n":                         0,
		"retry: 999999999999\n\n":            999_999_999_999 * time.Millisecond,
		"retry: 99999999999999999999999\n\n": 0,
	} {
		r := NewReader(strings.NewReader(in), wide)
		if _, err := collect(t, r); !errors.Is(err, io.EOF) || r.Retry() != want {
			t.Errorf("%q: retry %v, %v; want %v, EOF", in, r.Retry(), err, want)
		}
	}
}

func TestReaderPassesErrorsOn(t *testing.T) {
	broken := errors.New("connection reset")
	r := NewReader(io.MultiReader(strings.NewReader("data: a\n\ndata: b\n"), iotest.ErrReader(broken)), wide)
	all, err := collect(t, r)
	if !errors.Is(err, broken) || len(all) != 1 {
		t.Errorf("got %v, %v; want one event, %v", all, err, broken)
	}
}

// Messages of up to 4 MiB must come through whole: the size that Wikimedia
// documents, and 64 times what a bufio.Scanner takes.
func TestReaderDeliversUpToTheLimitWhole(t *testing.T) {
	for _, size := range []int{1, bufferSize - 7, bufferSize, bufferSize + 1, 1 << 20, wide.Data - 1, wide.Data} {
		payload := pattern(size)
		in := fmt.Sprintf("id: 1\ndata: %s\n\ndata: next\n\n", payload)
		all, err := collect(t, NewReader(iotest.HalfReader(strings.NewReader(in)), wide))
		want := []got{{Type: "message", ID: "1", Data: payload}, {Type: "message", ID: "1", Data: "next"}}
		if !errors.Is(err, io.EOF) || !reflect.DeepEqual(all, want) {
			t.Errorf("size %d: %d events, %v: not what was sent", size, len(all), err)
		}
	}
}

func TestReaderCutsWhatIsTooLarge(t *testing.T) {
	limits := Limits{Data: 1000, Head: 100}
	for name, lines := range map[string][]string{
		"one byte over":          {pattern(1001)},
		"many times the buffer":  {pattern(5*bufferSize + 17)},
		"large line, small line": {pattern(3 * bufferSize), "x"},
		"small line, large line": {"x", pattern(3 * bufferSize)},
		"many small lines":       strings.Split(strings.Repeat("0123456789 ", 200), " "),
		"views and spills":       {pattern(900), pattern(99), pattern(1)},
		"large, empty, large":    {pattern(70_000), "", pattern(70_000)},
	} {
		t.Run(name, func(t *testing.T) {
			payload := strings.Join(lines, "\n")
			if len(payload) <= limits.Data {
				t.Fatalf("the case has %d bytes only", len(payload))
			}
			in := "id: 9\ndata: " + strings.Join(lines, "\ndata: ") + "\n\ndata: next\n\n"
			want := []got{{Type: "message", ID: "9", Data: payload[:100], TooLarge: true, Size: int64(len(payload)), Sum: sha256.Sum256([]byte(payload))},
				{Type: "message", ID: "9", Data: "next"}}
			for name, r := range map[string]io.Reader{
				"whole": strings.NewReader(in), "bytes": iotest.OneByteReader(strings.NewReader(in)), "halves": iotest.HalfReader(strings.NewReader(in)),
			} {
				all, err := collect(t, NewReader(r, limits))
				if !errors.Is(err, io.EOF) || !reflect.DeepEqual(all, want) {
					t.Errorf("%s: got %.300v, %v; want %.300v", name, all, err, want)
				}
			}
		})
	}
}

// A line that is no data may be as long as it likes: it is dropped, and costs
// neither memory nor the connection.
func TestReaderDropsLongOtherLines(t *testing.T) {
	limits := Limits{Data: 1000, Head: 100}
	long := pattern(10 * bufferSize)
	for _, field := range []string{":", "id: ", "event: ", "retry: ", "unknown: "} {
		in := "id: 1\n" + field + long + "\ndata: a\n\n"
		all, err := collect(t, NewReader(strings.NewReader(in), limits))
		want := []got{{Type: "message", ID: "1", Data: "a"}}
		if !errors.Is(err, io.EOF) || !reflect.DeepEqual(all, want) {
			t.Errorf("%s: got %.200v, %v; want %v", field, all, err, want)
		}
	}
}

func TestReaderEndsAnEndlessEvent(t *testing.T) {
	if testing.Short() {
		t.Skip("hashes 256 MiB; run without -short")
	}
	r := NewReader(io.MultiReader(strings.NewReader("data: "), &endless{line: bytes.Repeat([]byte{'x'}, 1<<20)}), Limits{Data: 1000, Head: 10})
	if _, err := r.Next(); !errors.Is(err, ErrEndless) {
		t.Errorf("got %v, want %v", err, ErrEndless)
	}
}

// endless repeats a line for ever.
type endless struct {
	line []byte
	at   int
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.line[e.at:])
	e.at = (e.at + n) % len(e.line)
	return n, nil
}

// The next read must not happen before every event that is complete was
// delivered: sources flush when the reader reads.
func TestReaderReadsOnlyWhenDry(t *testing.T) {
	parts := []string{"data: a\n\ndata: b\n\nda", "ta: c\r", "\rdata: d\r\n\r", "\n", "data: e\n\n"}
	delivered := 0
	before := []int{0, 2, 2, 4, 4, 5} // events delivered before each read
	var reads []int
	r := NewReader(readFunc(func(p []byte) (int, error) {
		reads = append(reads, delivered)
		if len(reads) > len(parts) {
			return 0, io.EOF
		}
		return copy(p, parts[len(reads)-1]), nil
	}), wide)
	for {
		if _, err := r.Next(); err != nil {
			break
		}
		delivered++
	}
	if !reflect.DeepEqual(reads, before) {
		t.Errorf("events delivered before each read: %v, want %v", reads, before)
	}
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

func TestReaderAllocatesNothingPerEvent(t *testing.T) {
	stream := &endless{line: []byte(wikimedia)}
	r := NewReader(stream, wide)
	for range 1000 { // the buffers have grown
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
	}
	if n := testing.AllocsPerRun(2000, func() {
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations an event, want 0", n)
	}
}

func TestReaderDoesNotKeepLargeBuffers(t *testing.T) {
	in := "data: " + pattern(wide.Data) + "\ndata: x\n\ndata: small\n\n"
	r := NewReader(strings.NewReader(in), wide)
	for range 2 {
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
	}
	if n := cap(r.own) + cap(r.spill); n > keepSpill {
		t.Errorf("%d bytes of buffers are kept after a large event, want at most %d", n, keepSpill)
	}
}

// wikimedia is an event of the size and form of the recentchange stream.
var wikimedia = "event: message\nid: [{\"topic\":\"eqiad.mediawiki.recentchange\",\"partition\":0,\"timestamp\":1791110060549}," +
	"{\"topic\":\"codfw.mediawiki.recentchange\",\"partition\":0,\"offset\":-1}]\ndata: {" + pattern(1376) + "}\n\n"

// pattern returns size bytes of which no two stretches are alike, without line ends.
func pattern(size int) string {
	rng := rand.New(rand.NewPCG(1, uint64(size)))
	p := make([]byte, size)
	for i := range p {
		p[i] = byte('!' + rng.IntN(90))
	}
	return string(p)
}

package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/visible"
)

// hostile is what a post can hold to take over the terminal of whoever reads it.
const hostile = "\x1b]0;pwned\x07\x1b[2J\u009b31m\r\nfake line\u202egnp\U000e0041\x00"

func hostileRecord() inspect.Message {
	return inspect.Message{
		Topic: "bluesky-events", Partition: 3, Offset: 1234, Timestamp: time.UnixMilli(1791110060549),
		Key: []byte("did:plc:" + hostile), Value: []byte(`{"text":"` + hostile + `"}`),
		Headers: []kgo.RecordHeader{{Key: "kind" + hostile, Value: []byte(hostile)}},
	}
}

// steers reports a character that a terminal would act on or hide.
func steers(s string) bool {
	return strings.ContainsFunc(strings.TrimSuffix(s, "\n"), func(r rune) bool {
		return r < 0x20 || r >= 0x7f && r <= 0x9f || r == 0x202e || r >= 0xe0000
	})
}

func TestMessageLineIsHarmless(t *testing.T) {
	for _, columns := range []int{0, 1, 20, 80, 400} {
		line := messageLine(hostileRecord(), &cli.Screen{}, columns)
		if steers(line) {
			t.Errorf("%d columns: %q", columns, line)
		}
		if columns >= 30 && visible.Width(line) > columns {
			t.Errorf("%d columns: the line takes %d", columns, visible.Width(line))
		}
	}
	if !strings.Contains(messageLine(hostileRecord(), &cli.Screen{}, 0), `\x1b]0;pwned\x07`) {
		t.Error("what was sent cannot be told any more")
	}
}

// TestMessageLineShowsKeyAndValue: at the width of an old terminal a record of each
// stream shows where it lies and the beginnings of its key and its value.
func TestMessageLineShowsKeyAndValue(t *testing.T) {
	for name, m := range map[string]inspect.Message{
		"bluesky": {Partition: 3, Offset: 12345678, Key: []byte("did:plc:pqz7amsr3oyd3hqyzzjbgksk"), Value: []byte(`{"did":"did:plc:pqz7amsr3oyd3hqyzzjbgksk"}`),
			Headers: []kgo.RecordHeader{{Key: "kind", Value: []byte("create")}, {Key: "seq", Value: []byte("123456")}, {Key: "host", Value: []byte("jetstream1.us-east.example")}}},
		"long key": {Partition: 3, Offset: 12345678, Key: []byte("enwiki " + strings.Repeat("a long title ", 20)), Value: []byte(`{"did":1}`)},
	} {
		line := messageLine(m, &cli.Screen{}, 80)
		if !strings.Contains(line, string(m.Key[:7])) || !strings.Contains(line, `{"did":`) || visible.Width(line) > 80 {
			t.Errorf("%s: %d columns: %s", name, visible.Width(line), line)
		}
	}
}

func TestMessageJSONKeepsEveryByte(t *testing.T) {
	r := hostileRecord()
	r.Headers = append(r.Headers, kgo.RecordHeader{Key: "binary", Value: []byte{0xff, 0}}, kgo.RecordHeader{Key: "none"})
	var b bytes.Buffer
	if err := writeMessageJSON(&b, r); err != nil {
		t.Fatal(err)
	}
	if steers(b.String()) {
		t.Errorf("harmful: %q", b.String())
	}
	var got struct {
		Offset  int64
		Key     *string
		Value   *string
		Headers []struct {
			Name   string
			Value  *string
			Base64 string `json:"value_base64"`
		}
	}
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Offset != 1234 || *got.Key != string(r.Key) || *got.Value != string(r.Value) || *got.Headers[0].Value != hostile {
		t.Errorf("changed: %q", b.String())
	}
	if raw, err := base64.StdEncoding.DecodeString(got.Headers[1].Base64); err != nil || !bytes.Equal(raw, []byte{0xff, 0}) {
		t.Errorf("binary header: %q", got.Headers[1].Base64)
	}
	if got.Headers[2].Value != nil || got.Headers[2].Base64 != "" {
		t.Errorf("a header without a value has one: %q", b.String())
	}

	b.Reset()
	if err := writeMessageJSON(&b, inspect.Message{Value: []byte{'a', 0xff}}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), `"key":null,"value":null,"value_base64":"Yf8="`) {
		t.Errorf("got %s", b.String())
	}
}

// TestWhenText: a time of today has no date, another has one, and a number that is
// no time is shown as it is stored.
func TestWhenText(t *testing.T) {
	now := time.Date(2026, 5, 6, 12, 0, 0, 0, time.Local)
	for want, at := range map[string]time.Time{
		"11:59:59.250":                        now.Add(-750 * time.Millisecond),
		"2026-05-05 12:00:00.000":             now.AddDate(0, 0, -1),
		"2026-05-07 12:00:00.000":             now.AddDate(0, 0, 1),
		"1730176462000000 (out of range)":     time.UnixMilli(1730176462000000),
		"1730176462000000000 (out of range)":  time.UnixMilli(1730176462000000000),
		"-9223372036854775808 (out of range)": time.UnixMilli(-1 << 63),
	} {
		if got := whenText(inspect.Message{Timestamp: at}, now); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestGapsArePrintedBeforeTheMessage(t *testing.T) {
	var out bytes.Buffer
	w := &messageWriter{out: &out, format: cli.FormatTable, screen: cli.NewScreen(newOutput(), false, "")}
	m := inspect.Message{Topic: "t", Partition: 2, Offset: 122, Timestamp: time.UnixMilli(0), Value: []byte("v"), Gap: &inspect.Gap{First: 120, Last: 121, Markers: 2}}
	if err := w.write(m); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out.String(), "\n")
	if len(lines) != 3 || lines[0] != "(offsets 120-121 hold no messages: 2 transaction markers)" || !strings.HasPrefix(lines[1], "2:122 ") {
		t.Errorf("%q", lines)
	}
}

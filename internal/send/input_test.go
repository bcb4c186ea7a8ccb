package send_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/send"
)

func TestLines(t *testing.T) {
	long := strings.Repeat("long", 200_000)
	for _, c := range []struct {
		name, text string
		how        send.Text
		want       []string
		err        string // empty: the end
	}{
		{"no input", "", send.Text{}, nil, ""},
		{"ends of lines", "a\nb\r\n\nc", send.Text{}, []string{"1 =a", "2 =b", "3 =", "4 =c"}, ""},
		{"a line that is longer than a block", "a\n" + long + "\nb\n", send.Text{}, []string{"1 =a", "2 =" + long, "3 =b"}, ""},
		{"key and value", "k:v:w\n:v\nk:\n", send.Text{Separator: []byte(":")}, []string{"1 k=v:w", "2 =v", "3 k="}, ""},
		{"no separator", "k:v\nx\ny:z\n", send.Text{Separator: []byte(":")}, []string{"1 k=v"}, `line 2: the separator ":" between key and value is missing`},
		{"a key for all", "a\nb\n", send.Text{Key: []byte("k")}, []string{"1 k=a", "2 k=b"}, ""},
	} {
		for how, in := range map[string]io.Reader{"at once": strings.NewReader(c.text), "by bytes": iotest.HalfReader(iotest.DataErrReader(strings.NewReader(c.text)))} {
			got, err := next(t.Context(), send.NewLines(in, func(line []byte, r *kgo.Record) (bool, error) { return false, c.how.Record(line, r) }))
			if !slices.Equal(got, c.want) {
				t.Errorf("%s, %s: %.80q", c.name, how, got)
			}
			if c.err == "" && !errors.Is(err, io.EOF) || c.err != "" && err.Error() != c.err {
				t.Errorf("%s, %s: %v", c.name, how, err)
			}
		}
	}
	broken := io.MultiReader(strings.NewReader("a\nb"), iotest.ErrReader(errors.New("the disk is gone")))
	got, err := next(t.Context(), plainLines(broken))
	if !slices.Equal(got, []string{"1 =a"}) || err == nil || err.Error() != "read line 2: the disk is gone" {
		t.Errorf("a reader that fails: %q, %v", got, err)
	}
	endless := io.MultiReader(strings.NewReader("a\n"), io.LimitReader(zeros{}, send.MaxLine+1))
	if got, err = next(t.Context(), plainLines(endless)); len(got) != 1 || err == nil || err.Error() != "line 2 is longer than 64 MiB" {
		t.Errorf("a line without an end: %d lines, %v", len(got), err)
	}
}

func plainLines(in io.Reader) send.Input {
	return send.NewLines(in, func(line []byte, r *kgo.Record) (bool, error) { *r = kgo.Record{Value: line}; return false, nil })
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestLinesAreSentAtOnce: a line is a batch as soon as it is read, though more input is to come.
func TestLinesAreSentAtOnce(t *testing.T) {
	from, to := io.Pipe()
	in := plainLines(from)
	for i := range 3 {
		go func() { _, _ = fmt.Fprintf(to, "line %d\n", i) }()
		if b, err := in.Next(t.Context()); err != nil || len(b.Records) != 1 || string(b.Records[0].Value) != fmt.Sprintf("line %d", i) {
			t.Fatalf("%+v, %v", b, err)
		}
	}
}

func TestNullAndHeaders(t *testing.T) {
	how := send.Text{Separator: []byte("|"), Null: true}
	var r kgo.Record
	for text, want := range map[string]bool{"k|": true, "k|v": false, "|": true} {
		if err := how.Record([]byte(text), &r); err != nil || (r.Value == nil) != want || r.Key == nil {
			t.Errorf("%q: key %v, value %v, %v", text, r.Key, r.Value, err)
		}
	}
	for text, want := range map[string]kgo.RecordHeader{"a=b=c": {Key: "a", Value: []byte("b=c")}, "a=": {Key: "a", Value: []byte{}}, "a": {Key: "a"}} {
		h, err := send.Header(text)
		if err != nil || h.Key != want.Key || string(h.Value) != string(want.Value) || (h.Value == nil) != (want.Value == nil) {
			t.Errorf("%q: %+v, %v", text, h, err)
		}
	}
	if _, err := send.Header("=v"); err == nil {
		t.Error("a header without a name is accepted")
	}
}

func TestTemplate(t *testing.T) {
	filled := func(text string) string {
		parsed, err := send.ParseTemplate(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			return ""
		}
		return string(parsed.Append(nil, 7))
	}
	for text, want := range map[string]string{
		"": "", "plain }": "plain }", "{n}": "7", `{"a":{"b":{n}},"c":{}}`: `{"a":{"b":7},"c":{}}`, "{{n} {{": "{n} {", "{ n }{N}{n": "{ n }{N}{n",
		"{choice   c}": "c", "a{n}b{n}": "a7b7",
	} {
		if got := filled(text); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
	for text, want := range map[string]string{
		"{choice a b}": `^[ab]$`, "{uuid}": `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`,
		"{now}": `^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$`,
	} {
		if got := filled(text); !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("%q becomes %q, want %s", text, got, want)
		}
	}
	chosen := map[string]bool{}
	for range 200 {
		chosen[filled("{choice a b c}")] = true
	}
	if len(chosen) != 3 {
		t.Errorf("200 choices are %v", chosen)
	}
	for _, text := range []string{"{uid}", "{choice}", "{choice }", "{n 1}", "a {typo b} c"} {
		if _, err := send.ParseTemplate(text); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
	if a, b := send.UUID(), send.UUID(); a == b {
		t.Errorf("two UUIDs are %s", a)
	}
}

// TestRate: records are generated and passed on at the rate, each with its own time.
func TestRate(t *testing.T) {
	for name, input := range map[string]func() send.Input{
		"templates": func() send.Input {
			in, err := send.NewTemplates(send.Text{Key: []byte("k{n}")}, []string{"a {now}", "b {now}"}, 1, 20, 10)
			if err != nil {
				t.Fatal(err)
			}
			return in
		},
		"lines": func() send.Input { return send.AtRate(plainLines(strings.NewReader(strings.Repeat("x\n", 20))), 10) },
	} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			got, err := next(t.Context(), input())
			if took := time.Since(start); took != 1900*time.Millisecond || len(got) != 20 || !errors.Is(err, io.EOF) {
				t.Fatalf("%s: %d records in %v, %v", name, len(got), took, err)
			}
			want := "20 =x"
			if name == "templates" {
				want = "20 k20=b " + start.Add(1900*time.Millisecond).UTC().Format("2006-01-02T15:04:05.000Z")
			}
			if got[19] != want {
				t.Errorf("%s: the last record is %q, want %q", name, got[19], want)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if got, err := next(ctx, input()); len(got) != 1 || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s, stopped early: %q, %v", name, got, err)
			}
		})
	}
}

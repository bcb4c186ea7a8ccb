package learn

import (
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/weir-project/weir/internal/markdown"
)

// Every station has all its parts, in the form that pages and the terminal expect.
func TestTexts(t *testing.T) {
	const most = 200 // words of an explanation
	names := map[string]bool{}
	for i, st := range stations {
		if st.number < 1 || i > 0 && st.number <= stations[i-1].number || names[st.name] || st.minutes < 5 || st.minutes > 20 {
			t.Errorf("station %d %s: number, name or minutes", st.number, st.name)
		}
		names[st.name] = true
		if st.question == nil || st.picture == nil || st.check == nil {
			t.Errorf("station %d lacks a part", st.number)
		}
		if n := len(strings.Fields(markdown.Text(st.text.read))); n > most || n < 50 {
			t.Errorf("station %d: the explanation has %d words", st.number, n)
		}
		if st.text.able == "" || st.text.title == "" || len(st.text.task) == 0 || len(st.text.weir) == 0 || len(st.text.others) == 0 ||
			len(st.text.production) == 0 {
			t.Errorf("station %d: a part of the text is empty", st.number)
		}
	}
	files, err := texts.ReadDir("stations")
	if err != nil || len(files) != len(stations) {
		t.Errorf("%d texts for %d stations: %v", len(files), len(stations), err)
	}
	for _, f := range files {
		raw, err := texts.ReadFile("stations/" + f.Name())
		if err != nil {
			t.Fatal(err)
		}
		code := false
		for i, line := range strings.Split(string(raw), "\n") {
			if strings.HasPrefix(line, "```") {
				code = !code
			}
			if len([]rune(line)) > 100 && !code {
				t.Errorf("%s:%d has over 100 columns", f.Name(), i+1)
			}
		}
	}
}

func TestParseText(t *testing.T) {
	good := "# T\n\n## You will be able to\n\nsee.\n\n## Read\n\nR\n\n## Question\n\nQ\n\n" +
		"## Do\n\nD\n\n```weir\nweir up\n```\n\n" +
		"## The same with other tools\n\n```kcat\nkcat -L\n```\n\n## In production\n\nP\n"
	if got, err := parseText([]byte(good)); err != nil || got.title != "T" || got.able != "see." || !slices.Equal(got.weir,
		[]Command{{"weir", "weir up"}}) ||
		!slices.Equal(got.others, []Command{{"kcat", "kcat -L"}}) || len(got.task) != 1 {
		t.Errorf("%+v %v", got, err)
	}
	for what, bad := range map[string]string{
		"a heading is missing":   strings.Replace(good, "## Do\n", "", 1),
		"a heading is misspelt":  strings.Replace(good, "## Do\n", "## Todo\n", 1),
		"a tool is unknown":      strings.Replace(good, "```kcat", "```cat", 1),
		"the headings are mixed": strings.Replace(strings.Replace(good, "## Question", "## Read", 1), "## Read", "## Question", 1),
	} {
		if _, err := parseText([]byte(bad)); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
}

// The list says what is done and what is next, and a station that is reset is open again.
func TestListAndReset(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(cfg *Config) { cfg.Where.Kafka = []string{"--data", "/tmp/my data"} })
	next := func(want int) {
		t.Helper()
		list, err := b.List(t.Context())
		if err != nil || list.Next != want || len(list.Stations) != len(stations) {
			t.Fatalf("next is %d, want %d: %v", list.Next, want, err)
		}
	}
	next(1)
	b.create(orders, 3)
	b.done("topic")
	next(1)
	b.write(stream, 0, "did:a", 1)
	b.answer("1", "1", true) // one key alone is no choice, so the size of the value is asked
	b.done("1")
	next(3)
	if err := b.Reset(2); err != nil {
		t.Fatal(err)
	}
	next(2)
	if err := b.Reset(0); err != nil {
		t.Fatal(err)
	}
	next(1)
	if d := b.get("events"); d.Done || d.Answered || d.Question.Right != nil {
		t.Errorf("%+v", d)
	}
	if c := b.get("topic").Commands[0].Command; c != "weir topics create orders --partitions 3 --data '/tmp/my data'" {
		t.Errorf("%s", c)
	}
	for _, name := range []string{"0", "99", "nothing", ""} {
		if _, err := b.Get(t.Context(), name); !errors.Is(err, ErrNoStation) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if err := b.Reset(99); !errors.Is(err, ErrNoStation) {
		t.Error(err)
	}
}

// A damaged file is reported with the way out, which works.
func TestDamagedProgress(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	for _, content := range []string{`{"version":1,`, `{"version":7}`} {
		if err := os.WriteFile(b.cfg.Path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := b.List(t.Context()); err == nil || !strings.Contains(err.Error(), "weir learn reset") {
			t.Errorf("%s: %v", content, err)
		}
		if err := b.Reset(0); err != nil {
			t.Fatal(err)
		}
		if _, err := b.List(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// Several processes can keep progress in one file: none undoes what another kept.
func TestSharedProgress(t *testing.T) {
	t.Parallel()
	const writers = 4
	path := t.TempDir() + "/data/learn.json"
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			p := &progress{path: path}
			for i := range 10 {
				if err := p.change(func(s *saved) { s.station(w*100 + i).DoneAt = 1 }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	s, err := (&progress{path: path}).load()
	if err != nil || len(s.Stations) != writers*10 {
		t.Errorf("%d stations are kept, want %d: %v", len(s.Stations), writers*10, err)
	}
}

// Without a data directory the progress lasts as long as the process.
func TestProgressInMemory(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(cfg *Config) { cfg.Path = "" })
	b.create(orders, 3)
	if got, err := b.Check(t.Context(), "topic"); err != nil || !got.Done {
		t.Fatalf("%+v %v", got, err)
	}
	if d := b.get("topic"); !d.Done {
		t.Error("not kept")
	}
}

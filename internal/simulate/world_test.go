package simulate

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/weir-project/weir/internal/event"
)

// stampOf is a stamp for frames made without a server.
func stampOf(i int64) int64 { return 1_795_386_304_675_743 + 10_007*i }

func bluesky(t testing.TB, seed int64, collections ...string) *Bluesky {
	t.Helper()
	b, err := NewWorld(seed).Bluesky(collections...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The digests fix what a seed means: persisted timelines, recorded failures and
// other people's tests depend on event i staying what it is. They were computed
// once. A change of the world that is meant changes them, and says so in the changelog.
func TestWorldIsWhatItWas(t *testing.T) {
	want := map[string]string{
		"1 bluesky *":                  "b853b8d205f8b357",
		"1 bluesky app.bsky.feed.post": "beae515ef589a632",
		"1 wikipedia":                  "722f4076e67be327",
		"2 bluesky *":                  "516f24b42a1b8977",
		"2 bluesky app.bsky.feed.post": "481265f51c8139ed",
		"2 wikipedia":                  "cef352d94281d3ff",
	}
	for _, seed := range []int64{1, 2} {
		for _, mix := range []string{"*", "app.bsky.feed.post"} {
			b := bluesky(t, seed, mix)
			check(t, want, fmt.Sprintf("%d bluesky %s", seed, mix), b.At,
				func(dst []byte, i int64) []byte { return b.AppendFrame(dst, i, stampOf(i), i+5) })
		}
		w := NewWorld(seed).Wikipedia(1000)
		check(t, want, fmt.Sprintf("%d wikipedia", seed), w.At,
			func(dst []byte, i int64) []byte { return w.AppendEvent(dst, i, stampOf(i)/1000, Eqiad) })
	}
}

func check(t *testing.T, want map[string]string, name string, at func(int64) Item, frame func([]byte, int64) []byte) {
	t.Helper()
	h := sha256.New()
	var p []byte
	for i := range int64(10_000) {
		p = append(frame(p[:0], i), '\n')
		h.Write(p)
		fmt.Fprintf(h, "%+v\n", at(i))
	}
	if got := hex.EncodeToString(h.Sum(nil)[:8]); got != want[name] {
		t.Errorf("%s: digest %s, want %s", name, got, want[name])
	}
}

func TestEventsDependOnSeedAndIndexOnly(t *testing.T) {
	b, w := bluesky(t, 42), NewWorld(42).Wikipedia(100)
	var frames, texts [3000][]byte
	for i := range int64(3000) {
		frames[i] = b.AppendFrame(nil, i, stampOf(i), 1)
		texts[i] = w.AppendEvent(nil, i, stampOf(i)/1000, Codfw)
	}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() { // in another order, from other goroutines, from another world of the seed
			r := rand.New(rand.NewPCG(uint64(g), 1))
			b, w := bluesky(t, 42), NewWorld(42).Wikipedia(100)
			for range 1500 {
				i := r.Int64N(3000)
				if !bytes.Equal(b.AppendFrame(nil, i, stampOf(i), 1), frames[i]) ||
					!bytes.Equal(w.AppendEvent(nil, i, stampOf(i)/1000, Codfw), texts[i]) {
					t.Errorf("event %d differs", i)
				}
			}
		})
	}
	wg.Wait()
	if bluesky(t, 43).At(5).Identity == b.At(5).Identity || NewWorld(43).Wikipedia(0).At(5).Identity == w.At(5).Identity {
		t.Error("two seeds make the same event")
	}
	if bluesky(t, 42, "app.bsky.feed.post").At(5).DID == bluesky(t, 42, "app.bsky.feed.like").At(5).DID {
		t.Error("two choices of collections are the same world")
	}
}

// wireBluesky is a frame as a reader that knows nothing of this package sees it.
type wireBluesky struct {
	DID    string `json:"did"`
	TimeUS int64  `json:"time_us"`
	Cursor int64  `json:"cursor"`
	Kind   string `json:"kind"`
	Commit *struct {
		Rev, Operation, Collection, RKey, CID string
		Record                                map[string]any
	} `json:"commit"`
	Identity, Account *struct {
		DID    string `json:"did"`
		Seq    int64  `json:"seq"`
		Active *bool  `json:"active"`
		Time   time.Time
	}
}

var (
	didShape = regexp.MustCompile(`^did:(plc:[a-z2-7]{24}|web:[a-z]+-\d+\.example\.com)$`)
	tidShape = regexp.MustCompile(`^[234567abcdefghij][234567a-z]{12}$`)
	cidShape = regexp.MustCompile(`^bafyrei[a-h][a-z2-7]{50}[aeimquy4]$`)
)

// rounds is n, or a tenth with -short, for tests that have one goroutine: under the race
// detector they take ten times as long and can find nothing.
func rounds(n int) int {
	if testing.Short() {
		return n / 10
	}
	return n
}

func TestBlueskyTruthIsWhatTheFramesSay(t *testing.T) {
	for _, mix := range []string{"*", "app.bsky.feed.post", "app.bsky.graph.*", "com.example.thing"} {
		b := bluesky(t, 11, mix)
		seen := map[string]bool{}
		created := map[string]int64{} // record → event
		gone := map[string]bool{}
		var p []byte
		for i := range int64(rounds(20_000)) {
			it := b.At(i)
			p = b.AppendFrame(p[:0], i, stampOf(i), i+77)
			if !utf8.Valid(p) {
				t.Fatalf("%s %d: not UTF-8: %q", mix, i, p)
			}
			var f wireBluesky
			if err := json.Unmarshal(p, &f); err != nil {
				t.Fatalf("%s %d: %v: %s", mix, i, err, p)
			}
			got := Item{Index: i, Key: f.DID, DID: f.DID}
			switch {
			case f.Kind == "commit" && f.Commit != nil:
				c := f.Commit
				got.Route, got.Kind, got.Collection, got.RKey, got.Rev = event.Data, c.Operation, c.Collection, c.RKey, c.Rev
				got.Identity = strings.Join([]string{f.DID, c.Collection, c.RKey, c.Operation, c.Rev}, "/")
				record := f.DID + "/" + c.Collection + "/" + c.RKey
				_, made := created[record]
				if c.RKey != "self" {
					switch {
					case c.Operation == "create" && made, c.Operation != "create" && (!made || gone[record]):
						t.Fatalf("%s %d: %s of %s, made before: %v, gone: %v", mix, i, c.Operation, record, made, gone[record])
					case c.Operation == "create":
						created[record] = i
					}
				}
				gone[record] = c.Operation == "delete"
				if hasRecord := c.Record != nil && cidShape.MatchString(c.CID); hasRecord == (c.Operation == "delete") {
					t.Fatalf("%s %d: record or cid: %s", mix, i, p)
				}
				if c.Record != nil && c.Record["$type"] != c.Collection || !tidShape.MatchString(c.Rev) ||
					c.RKey != "self" && !tidShape.MatchString(c.RKey) {
					t.Fatalf("%s %d: shape: %s", mix, i, p)
				}
			case f.Kind == "identity" && f.Identity != nil && f.Identity.DID == f.DID:
				got.Route, got.Kind, got.Seq = event.Account, f.Kind, f.Identity.Seq
				got.Identity = fmt.Sprintf("%s/identity/%d", f.DID, got.Seq)
			case f.Kind == "account" && f.Account != nil && f.Account.DID == f.DID && f.Account.Active != nil:
				got.Route, got.Kind, got.Seq = event.Account, f.Kind, f.Account.Seq
				got.Identity = fmt.Sprintf("%s/account/%d", f.DID, got.Seq)
			default:
				t.Fatalf("%s %d: %s", mix, i, p)
			}
			if got != it || f.TimeUS != stampOf(i) || f.Cursor != i+77 || !didShape.MatchString(f.DID) {
				t.Fatalf("%s %d:\nframe %+v\ntruth %+v\n%s", mix, i, got, it, p)
			}
			if seen[it.Identity] {
				t.Fatalf("%s %d: identity %s again", mix, i, it.Identity)
			}
			seen[it.Identity] = true
		}
	}
}

func TestBlueskyMix(t *testing.T) {
	const n = 100_000
	for mix, size := range map[string][2]int{"*": {480, 580}, "app.bsky.feed.post": {600, 700}} {
		b := bluesky(t, 3, mix)
		bytes, biggest := 0, 0
		var p []byte
		authors, collections := map[string]int{}, map[string]int{}
		for it := range b.Items(0, n) {
			p = b.AppendFrame(p[:0], it.Index, stampOf(it.Index), 0)
			bytes += len(p)
			biggest = max(biggest, len(p))
			authors[it.DID]++
			collections[it.Collection]++
		}
		if avg := bytes / n; avg < size[0] || avg > size[1] || biggest > 4096 {
			t.Errorf("%s: %d bytes on average, %d at most; want %v", mix, avg, biggest, size)
		}
		c := Count(b.Items(0, n))
		within(t, mix+" creates", float64(c.Data["create"])/n, 0.90, 0.97)
		within(t, mix+" deletes", float64(c.Data["delete"])/n, 0.03, 0.06)
		within(t, mix+" updates", float64(c.Data["update"])/n, 0.004, 0.05)
		within(t, mix+" accounts", float64(c.Account["account"])/n, 0.001, 0.004)
		within(t, mix+" identities", float64(c.Account["identity"])/n, 0.001, 0.004)
		most := 0
		for _, k := range authors {
			most = max(most, k)
		}
		within(t, mix+" busiest author", float64(most)/n, 0.0005, 0.01)
		within(t, mix+" authors", float64(len(authors))/n, 0.3, 0.9)
		if mix != "*" && len(collections) != 2 { // and none, of account events
			t.Errorf("%s: collections %v", mix, collections)
		}
	}
}

func within(t *testing.T, what string, got, low, high float64) {
	t.Helper()
	if got < low || got > high {
		t.Errorf("%s: %.5f, want %v to %v", what, got, low, high)
	}
}

// What breaks readers must be in the world, or they are tested with less than life has.
func TestTextIsHostileAndInManyScripts(t *testing.T) {
	b := bluesky(t, 5, "app.bsky.feed.post")
	var all strings.Builder
	var raw []byte
	for i := range int64(rounds(30_000)) {
		raw = b.AppendFrame(raw[:0], i, stampOf(i), 0)
		var f wireBluesky
		if err := json.Unmarshal(raw, &f); err != nil {
			t.Fatal(err)
		}
		if f.Commit != nil {
			fmt.Fprint(&all, f.Commit.Record["text"])
		}
		all.Write(raw)
	}
	s := all.String()
	for name, table := range map[string]*unicode.RangeTable{"Latin": unicode.Latin, "Han": unicode.Han, "Hiragana": unicode.Hiragana,
		"Hangul": unicode.Hangul, "Arabic": unicode.Arabic, "Hebrew": unicode.Hebrew, "Cyrillic": unicode.Cyrillic, "Greek": unicode.Greek,
		"Devanagari": unicode.Devanagari, "Thai": unicode.Thai, "combining": unicode.Mn, "control": unicode.Cc} {
		if !strings.ContainsFunc(s, func(r rune) bool { return unicode.Is(table, r) }) {
			t.Errorf("no %s", name)
		}
	}
	for _, want := range []string{"\u200d", "\u202e", "\u2066", "\u2028", "<script>", "\x00", `\u003cscript`, `\\`, `\"`, `\n`, "𠮷", "\ufeff"} {
		if !strings.Contains(s, want) {
			t.Errorf("no %q", want)
		}
	}
}

func TestWikipediaTruthIsWhatTheEventsSay(t *testing.T) {
	const n, again = 40_000, 500
	w := NewWorld(11).Wikipedia(again)
	first := map[string]int64{}
	size, fraction, idless, wide, escaped := 0, 0, 0, 0, 0
	params := map[byte]int{}
	var p []byte
	for i := range int64(n) {
		it := w.At(i)
		p = w.AppendEvent(p[:0], i, stampOf(i)/1000, Codfw)
		size += len(p)
		if !utf8.Valid(p) || bytes.ContainsAny(p, "\n\r") {
			t.Fatalf("%d: %q", i, p)
		}
		var f struct {
			Schema string `json:"$schema"`
			Meta   struct {
				ID, DT, Domain, Stream, Topic, URI string
				Partition, Offset                  int64
			}
			Type, Title, Wiki string
			ID                *json.Number
			Namespace         *int
			LogParams         json.RawMessage `json:"log_params"`
		}
		if err := json.Unmarshal(p, &f); err != nil {
			t.Fatalf("%d: %v: %s", i, err, p)
		}
		got := Item{Index: i, Identity: f.Meta.ID, Offset: f.Meta.Offset}
		if f.Meta.Domain == "canary" {
			var members map[string]json.RawMessage
			if json.Unmarshal(p, &members); len(members) != 2 {
				t.Fatalf("%d: a canary has meta and $schema only: %s", i, p)
			}
			got.Route, got.Kind = event.Skip, "canary"
		} else {
			got.Route, got.Kind, got.Wiki, got.Title = event.Data, f.Type, f.Wiki, f.Title
			got.Key = f.Wiki + "|" + f.Title
			if f.Namespace == nil || !strings.HasPrefix(f.Meta.URI, "https://"+f.Meta.Domain+"/wiki/") {
				t.Fatalf("%d: %s", i, p)
			}
		}
		at, before := first[got.Identity]
		got.Again = before
		if before && at != i-againLag {
			t.Fatalf("%d: has the identity of %d", i, at)
		}
		if !before {
			first[got.Identity] = i
		}
		if got != it || f.Meta.Topic != "codfw.mediawiki.recentchange" || f.Meta.Stream != "mediawiki.recentchange" {
			t.Fatalf("%d:\nevent %+v\ntruth %+v\n%s", i, got, it, p)
		}
		if _, err := time.Parse(time.RFC3339Nano, f.Meta.DT); err != nil {
			t.Fatalf("%d: %v", i, err)
		}
		if strings.Contains(f.Meta.DT, ".") {
			fraction++
		}
		if f.ID == nil {
			idless++
		} else if len(f.ID.String()) > 15 {
			wide++
		}
		if bytes.Contains(p, []byte(`"title":"\u`)) {
			escaped++
		}
		if f.LogParams != nil {
			params[f.LogParams[0]]++
		}
	}
	within(t, "size", float64(size)/n, 1200, 1400)
	within(t, "stamps with milliseconds", float64(fraction)/n, 0.9, 0.99)
	c := Count(w.Items(0, n))
	within(t, "categorize", float64(c.Data["categorize"])/n, 0.50, 0.54)
	within(t, "edit", float64(c.Data["edit"])/n, 0.40, 0.44)
	within(t, "new", float64(c.Data["new"])/n, 0.025, 0.035)
	within(t, "log", float64(c.Data["log"])/n, 0.025, 0.035)
	if c.Data["external"] == 0 || c.Skipped != 3 || c.Again == 0 || c.Again > n/again {
		t.Errorf("%+v", c)
	}
	if idless == 0 || wide == 0 || escaped == 0 || params['{'] == 0 || params['['] == 0 || params['"'] == 0 {
		t.Errorf("without id %d, beyond 2^53 %d, escaped titles %d, log_params %v", idless, wide, escaped, params)
	}
}

// What is produced again is so once: a reader that keeps one identity for each
// pair must come out even.
func TestRepetitionsComeInPairs(t *testing.T) {
	for _, again := range []int64{1, 2, 3, 4, 141, 1000} {
		w := NewWorld(2).Wikipedia(again)
		times, repeated := map[string]int{}, 0
		for it := range w.Items(0, 20_000) {
			times[it.Identity]++
			if it.Again {
				repeated++
				if it.Route != event.Data {
					t.Errorf("again %d: event %d repeats a canary", again, it.Index)
				}
			}
		}
		twice := 0
		for _, n := range times {
			if n > 2 {
				t.Fatalf("again %d: an event came %d times", again, n)
			}
			twice += n - 1
		}
		if twice != repeated || again > 3 && repeated == 0 {
			t.Errorf("again %d: %d identities came twice, %d items say so", again, twice, repeated)
		}
	}
}

func TestCollectionsThatAreNone(t *testing.T) {
	for _, c := range []string{"post", "app.bsky", "app.bsky.feed.po*", "net.nobody.*", "*.*", "app..post", "app.bsky.feed.post1-", ""} {
		if _, err := NewWorld(1).Bluesky("app.bsky.feed.like", c); err == nil {
			t.Errorf("%q is a collection", c)
		}
	}
	if got := MixOf([]string{"b.c.d", "a.b.c", "b.c.d"}); got != "a.b.c,b.c.d" {
		t.Errorf("mix %q", got)
	}
	if MixOf(nil) != "*" || MixOf([]string{"a.b.c", "*"}) != "*" {
		t.Error("all collections")
	}
}

func TestFramesTakeNoMemory(t *testing.T) {
	b, w, p := bluesky(t, 1), NewWorld(1).Wikipedia(0), make([]byte, 0, 8192)
	i := int64(0)
	if n := testing.AllocsPerRun(2000, func() {
		p = b.AppendFrame(p[:0], i, stampOf(i), i)
		p = w.AppendEvent(p[:0], i, stampOf(i)/1000, Eqiad)
		i++
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestTimesAreTime(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range rounds(20_000) {
		us := r.Int64N(4_102_444_800_000_000) // to 2100
		at := time.UnixMicro(us).UTC()
		for millis, layout := range map[bool]string{false: "2006-01-02T15:04:05Z", true: "2006-01-02T15:04:05.000Z"} {
			if got, want := string(*new(output).time(us, millis)), at.Format(layout); got != want {
				t.Fatalf("%d: %s, want %s", us, got, want)
			}
		}
	}
}

func BenchmarkBlueskyFrame(b *testing.B) {
	for _, c := range []string{"*", "app.bsky.feed.post"} {
		b.Run(c, func(b *testing.B) {
			w := bluesky(b, 1, c)
			var p []byte
			n := 0
			b.ReportAllocs()
			for i := range int64(b.N) {
				p = w.AppendFrame(p[:0], i, stampOf(i), i)
				n += len(p)
			}
			b.SetBytes(int64(n / b.N))
		})
	}
}

func BenchmarkWikipediaEvent(b *testing.B) {
	w := NewWorld(1).Wikipedia(0)
	var p []byte
	n := 0
	b.ReportAllocs()
	for i := range int64(b.N) {
		p = w.AppendEvent(p[:0], i, stampOf(i)/1000, Eqiad)
		n += len(p)
	}
	b.SetBytes(int64(n / b.N))
}

// Half a surrogate pair is JSON by the grammar, but strict parsers refuse it
// (orjson does, which the consumers that weir must run beside decode with), and
// neither real server sends one. encoding/json shows it as U+FFFD.
func TestNoHalfSurrogates(t *testing.T) {
	b, w := bluesky(t, 3, "*"), NewWorld(3).Wikipedia(1000)
	var raw []byte
	for i := range int64(10_000) {
		for _, frame := range []func() []byte{
			func() []byte { return b.AppendFrame(raw[:0], i, stampOf(i), i+5) },
			func() []byte { return w.AppendEvent(raw[:0], i, stampOf(i)/1000, Eqiad) },
		} {
			raw = frame()
			var v any
			if err := json.Unmarshal(raw, &v); err != nil {
				t.Fatal(err)
			}
			if s := fmt.Sprint(v); strings.ContainsRune(s, '\ufffd') && !bytes.ContainsRune(raw, '\ufffd') {
				t.Fatalf("event %d has half a surrogate pair: %s", i, raw)
			}
		}
	}
}

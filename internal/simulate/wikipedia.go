package simulate

import (
	"fmt"
	"iter"
	"strconv"
	"strings"

	"github.com/weir-project/weir/internal/event"
)

// Shape of the Wikipedia world.
const (
	pages       = 3_000_000
	pageOctaves = 1_040_233 // log2((pages + zipfShift) / zipfShift) in 1/65536

	// Canary events come at fixed indices: several an hour at the live rate.
	canaryEvery = 15_000
	canaryAt    = 137

	offsetBase = 6_300_000_000 // Kafka offset of event 0
	againLag   = 3             // how many events later one is produced again
)

// The data centres that produce the stream, each into a topic with its name as prefix.
const (
	Eqiad = "eqiad"
	Codfw = "codfw"
)

// wikiKind is an event type.
type wikiKind struct {
	name   string
	weight int // of 100,000
}

func (k wikiKind) share() int { return k.weight }

var wikiKinds = []wikiKind{{"categorize", 52_000}, {"edit", 42_000}, {"new", 3_000}, {"external", 15},
	{"142", 5}, // a type that is a number in a string
	{"log", 2_980}}

// wiki is one site; its pages have one of these titles and a number.
type wiki struct {
	DB, Domain string
	Weight     int
	Category   string // prefix of the titles of categories
	Titles     []phrase
	categories []phrase
}

func (w *wiki) share() int { return w.Weight }

// Wikipedia is the Wikipedia side of a World. It holds no state: all methods
// may be called from many goroutines.
type Wikipedia struct {
	key   uint64
	again int64
	dc    string // the data centre in charge
}

// Wikipedia returns the Wikipedia events. Where again is above 0, about one
// event in again is one that upstream's producers sent already (Item.Again).
func (w *World) Wikipedia(again int64) *Wikipedia {
	return &Wikipedia{key: keyOf(scramble(uint64(w.seed)), "wikipedia"), again: again, dc: Eqiad}
}

// WikipediaVariant is the timeline's variant for a data centre, Eqiad or Codfw,
// and for how many events it takes until one is produced twice (0: none is).
func WikipediaVariant(dc string, again int64) string {
	if again > 0 {
		return dc + ";again=" + strconv.FormatInt(again, 10)
	}
	return dc
}

// wikipedia returns the events of a timeline's variant.
func (w *World) wikipedia(variant string) (*Wikipedia, error) {
	dc, rest, found := strings.Cut(variant, ";again=")
	again, err := strconv.ParseInt(rest, 10, 64)
	if found && (err != nil || again < 0) {
		return nil, fmt.Errorf("variant %q: bad repetition", variant)
	}
	if dc != Eqiad && dc != Codfw {
		return nil, fmt.Errorf("variant %q: unknown data centre", variant)
	}
	wiki := w.Wikipedia(again)
	wiki.dc = dc
	return wiki, nil
}

// change is what an event is before its frame is made.
type change struct {
	i          int64
	kind       string
	canary     bool
	repeated   bool // i is the index of the first one then
	wiki       *wiki
	title      *phrase
	page       uint64
	idHi, idLo uint64
	rand       rng
}

// origin is the index of the event whose content event i has: i itself, or the
// one that upstream produced before. Repetitions and canaries are not repeated.
func (w *Wikipedia) origin(i int64) int64 {
	if !w.repeats(i) || w.repeats(i-againLag) || isCanary(i-againLag) {
		return i
	}
	return i - againLag
}

func (w *Wikipedia) repeats(i int64) bool {
	return w.again > 0 && i >= againLag && i%w.again == w.again-1
}

func isCanary(i int64) bool { return i%canaryEvery == canaryAt }

func (w *Wikipedia) change(i int64) change {
	o := w.origin(i)
	c := change{i: o, repeated: o != i, rand: rng(derive(w.key, o))}
	r := &c.rand
	c.idHi, c.idLo = r.next(), r.next()
	if isCanary(o) {
		c.canary, c.kind = true, "canary"
		return c
	}
	c.kind = wikiKinds[pick(wikiKinds, r.below(100_000))].name
	c.wiki = wikis[pick(wikis, r.below(wikiTotal))]
	titles := c.wiki.Titles
	if c.kind == "categorize" {
		titles = c.wiki.categories
	}
	c.title = &titles[r.below(len(titles))]
	c.page = r.zipf(pageOctaves, pages)
	return c
}

// At returns the truth about event i, which counts from 0.
func (w *Wikipedia) At(i int64) Item {
	c := w.change(i)
	it := Item{Index: i, Route: event.Data, Kind: c.kind, Again: c.repeated,
		Identity: string(*new(output).uuid(c.idHi, c.idLo)), Offset: offsetBase + i}
	if c.canary {
		it.Route = event.Skip
		return it
	}
	it.Wiki = c.wiki.DB
	it.Title = c.title.raw + " " + strconv.FormatUint(c.page, 10)
	it.Key = it.Wiki + "|" + it.Title
	return it
}

// Items yields the truth about events [from, to).
func (w *Wikipedia) Items(from, to int64) iter.Seq[Item] { return items(from, to, w.At) }

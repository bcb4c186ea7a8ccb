package simulate

import (
	"bytes"
	_ "embed" // texts.json
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf16"
)

// phrase is a piece of text with its JSON encodings, made once so that a frame
// is put together by copying.
type phrase struct {
	raw string
	// plain escapes only what JSON demands (what JSON.stringify writes), html also
	// <, > and & (what Go's encoding/json writes, as Jetstream does), ascii
	// everything outside ASCII, pairs of surrogates included.
	plain, html, ascii string
	// path is raw as a page's URL spells it.
	path string
}

func newPhrase(raw string) phrase {
	return phrase{raw: raw, plain: quoteInner(raw, false), html: quoteInner(raw, true),
		ascii: quoteASCII(raw), path: pagePath(raw)}
}

// UnmarshalText makes a phrase of a JSON string.
func (p *phrase) UnmarshalText(raw []byte) error {
	*p = newPhrase(string(raw))
	return nil
}

// quoteInner is the inside of a JSON string.
func quoteInner(s string, html bool) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(html)
	if err := enc.Encode(s); err != nil { // a string always encodes
		panic(err)
	}
	out := strings.TrimSuffix(b.String(), "\n")
	return out[1 : len(out)-1]
}

func quoteASCII(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '/':
			b.WriteString(`\/`)
		case r >= 0x20 && r < 0x7f:
			b.WriteRune(r)
		case r > 0xffff:
			hi, lo := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, hi, lo)
		default:
			fmt.Fprintf(&b, `\u%04X`, r)
		}
	}
	return b.String()
}

// pagePath percent-encodes a title as MediaWiki does in the address of a page.
func pagePath(s string) string {
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case c == ' ':
			b.WriteByte('_')
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-_.~:/()!*,;@$", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// script is a language with what is written in it.
type script struct {
	Lang   string
	Weight int // of 1,000 posts
	Lines  []phrase
}

func (s *script) share() int { return s.Weight }

// line is one of the script's lines.
func (s *script) line(r *rng) *phrase { return &s.Lines[r.below(len(s.Lines))] }

// texts.json has what the events are written with. The scripts are most of those that people on
// a social network write in, and what breaks readers (bidi controls, stacked marks, markup,
// control characters); words name people and sites.
//
//go:embed texts.json
var textsJSON []byte

var (
	words, scripts, wikis = loadTexts()

	scriptTotal, wikiTotal = total(scripts), total(wikis)
)

func loadTexts() ([]string, []*script, []*wiki) {
	var t struct {
		Words   []string
		Scripts []*script
		Wikis   []*wiki
	}
	if err := json.Unmarshal(textsJSON, &t); err != nil { // it is part of the program
		panic(err)
	}
	for _, w := range t.Wikis {
		for _, title := range w.Titles {
			w.categories = append(w.categories, newPhrase(w.Category+title.raw))
		}
	}
	return t.Words, t.Scripts, t.Wikis
}

func pickScript(r *rng) *script { return scripts[pick(scripts, r.below(scriptTotal))] }

package docs

import (
	"io/fs"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/weir-project/weir/internal/markdown"
)

func fsGlob(pattern string) ([]string, error) { return fs.Glob(Files, pattern) }

// Limits of a search: words of a query, and hits of an answer.
const (
	maxWords = 8
	maxHits  = 40
)

// excerptLength is about how many bytes of a section a hit shows.
const excerptLength = 180

// Hit is a section that a search found.
type Hit struct {
	Path    string `json:"path"`
	Title   string `json:"title"`
	Heading string `json:"heading"` // empty before the first one
	ID      string `json:"id"`      // the heading's anchor
	Excerpt string `json:"excerpt"`
}

// section is a heading with the text up to the next one.
type section struct {
	Hit
	text          string
	lower, header string // in lower case
}

func sectionsOf(p Page, body []markdown.Node) []section {
	list := []section{{Hit: Hit{Path: p.Path, Title: p.Title}}}
	for _, n := range body {
		last := &list[len(list)-1]
		switch n.Tag {
		case "h1":
		case "h2", "h3":
			list = append(list, section{Hit: Hit{Path: p.Path, Title: p.Title, Heading: markdown.Text(n.Children), ID: n.ID}})
		default:
			last.text += " " + markdown.Text([]markdown.Node{n})
		}
	}
	for i := range list {
		s := &list[i]
		s.text = strings.Join(strings.Fields(s.text), " ")
		s.lower, s.header = strings.ToLower(s.text), strings.ToLower(s.Title+" "+s.Heading)
	}
	return list
}

// Search returns the sections that contain every word of a query, the best first: those that
// have the words in their heading, then those that have them most often.
func Search(query string) []Hit {
	words := strings.FieldsFunc(strings.ToLower(query), unicode.IsSpace)
	words = words[:min(len(words), maxWords)]
	type found struct {
		*section
		score int
	}
	var all []found
	for i := range shelf().sections {
		s := &shelf().sections[i]
		if score := s.score(words); score > 0 {
			all = append(all, found{s, score})
		}
	}
	slices.SortStableFunc(all, func(a, b found) int { return b.score - a.score })
	hits := []Hit{}
	for _, f := range all[:min(len(all), maxHits)] {
		h := f.Hit
		h.Excerpt = f.excerpt(words)
		hits = append(hits, h)
	}
	return hits
}

// score says how well a section fits: 0 when it lacks a word.
func (s *section) score(words []string) int {
	sum := 0
	for _, w := range words {
		n := min(strings.Count(s.lower, w), 5)
		if strings.Contains(s.header, w) {
			n += 10
			if strings.EqualFold(s.Heading, w) || strings.EqualFold(s.Title, w) {
				n += 10
			}
		}
		if n == 0 {
			return 0
		}
		sum += n
	}
	return sum
}

// excerpt is the text around the first word that occurs in it.
func (s *section) excerpt(words []string) string {
	at := len(s.lower)
	for _, w := range words {
		if i := strings.Index(s.lower, w); i >= 0 {
			at = min(at, i)
		}
	}
	if at == len(s.lower) || len(s.lower) != len(s.text) { // lower case can change the length
		at = 0
	}
	from := max(0, at-excerptLength/3)
	for from > 0 && s.text[from-1] != ' ' {
		from--
	}
	to := min(len(s.text), from+excerptLength)
	for to < len(s.text) && !utf8.RuneStart(s.text[to]) {
		to++
	}
	text := s.text[from:to]
	if end := strings.LastIndexByte(text, ' '); to < len(s.text) && end > excerptLength/2 {
		text = text[:end] + " "
	}
	if from > 0 {
		text = "… " + text
	}
	if to < len(s.text) {
		text += "…"
	}
	return text
}

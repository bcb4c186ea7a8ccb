package docs

import (
	"cmp"
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
	text                   string
	lower, heading, header string // in lower case; heading is the page's title before the first one
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
		s.lower, s.heading = strings.ToLower(s.text), strings.ToLower(cmp.Or(s.Heading, s.Title))
		s.header = strings.ToLower(s.Title + " " + s.Heading)
	}
	return list
}

// questionWords are in a question for its grammar: no section is found or missed because of one.
var questionWords = strings.Fields("a an the is are was do does did can could should will what how why when where who which " +
	"i my me you your it its this that to of in on for with from and or if have has get many much")

// wordsOf returns the words of a query to look for. A plural finds its singular, too.
func wordsOf(query string) []string {
	all := strings.FieldsFunc(query, unicode.IsSpace)
	words := slices.DeleteFunc(slices.Clone(all), func(w string) bool { return slices.Contains(questionWords, w) })
	if len(words) == 0 {
		words = all
	}
	for i, w := range words {
		if len(w) > 3 {
			words[i] = strings.TrimSuffix(w, "s")
		}
	}
	return words[:min(len(words), maxWords)]
}

// Search returns the sections that contain every word of a query, the best first: those that
// have the words in their heading, then those that have them most often. A query can be a question.
func Search(query string) []Hit {
	query = strings.TrimRight(strings.Join(strings.Fields(strings.ToLower(query)), " "), "?!. ")
	words := wordsOf(query)
	type found struct {
		*section
		score int
	}
	var all []found
	for i := range shelf().sections {
		s := &shelf().sections[i]
		if score := s.score(query, words); score > 0 {
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

// score says how well a section fits: 0 when it lacks a word. The whole query counts most where it
// is the heading, and a word counts more in the section's own heading than in its page's title.
func (s *section) score(query string, words []string) int {
	sum := 0
	for _, w := range words {
		n := min(count(s.lower, w), 5)
		switch {
		case count(s.heading, w) > 0:
			n += 10
		case count(s.header, w) > 0:
			n += 5
		}
		if n == 0 {
			return 0
		}
		sum += n
	}
	if len(words) == 0 {
		return 0
	}
	if heading := strings.TrimRight(s.heading, "?"); heading == query || strings.TrimSuffix(heading, "s") == strings.Join(words, " ") {
		sum += 20
	}
	if strings.Contains(s.heading, query) || strings.Contains(s.lower, query) {
		sum += 5
	}
	return sum
}

// count counts a word where one begins with it: "port" is in "ports", not in "report".
func count(text, word string) int {
	n := 0
	for at := 0; ; {
		i := strings.Index(text[at:], word)
		if i < 0 {
			return n
		}
		if before, _ := utf8.DecodeLastRuneInString(text[:at+i]); at+i == 0 || !unicode.IsLetter(before) {
			n++
		}
		at += i + len(word)
	}
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

package docs

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/weir-project/weir/internal/markdown"
)

// glossary is the path of the page that the terms are read from.
const glossary = "reference/glossary"

// Term is an entry of the glossary.
type Term struct {
	Term string   `json:"term"`
	Also []string `json:"also"` // other forms and names
	Text string   `json:"text"` // one or two sentences
	// Station is the number of the station of the learning path that teaches it; 0 for none.
	Station int `json:"station"`
	// ID is the anchor of its entry.
	ID string `json:"id"`
}

// Terms lists the entries of the glossary.
func Terms() []Term { return shelf().terms }

// entryEnd is the last line of an entry: other names, and the station.
var entryEnd = regexp.MustCompile(`^(?:Also: (.+?)\.)? ?(?:Station ([0-9]+)\.)?$`)

// termsOf reads the entries: a heading, text, and a last line in italics.
func termsOf(body []markdown.Node) []Term {
	var list []Term
	for _, n := range body {
		switch {
		case n.Tag == "h2":
			list = append(list, Term{Term: markdown.Text(n.Children), Also: []string{}, ID: n.ID})
		case n.Tag != "p" || len(list) == 0:
		case isEnd(n):
			last := &list[len(list)-1]
			m := entryEnd.FindStringSubmatch(markdown.Text(n.Children))
			if m[1] != "" {
				last.Also = strings.Split(m[1], ", ")
			}
			last.Station, _ = strconv.Atoi(m[2]) // digits, or nothing
		default:
			last := &list[len(list)-1]
			last.Text = strings.TrimSpace(last.Text + " " + markdown.Text(n.Children))
		}
	}
	return list
}

// isEnd reports whether a paragraph is the last line of an entry.
func isEnd(n markdown.Node) bool {
	return len(n.Children) == 1 && n.Children[0].Tag == "em" && entryEnd.MatchString(markdown.Text(n.Children))
}

// linkStations makes links of the stations in the last lines of entries: on GitHub there are no
// pages to link to.
func linkStations(body []markdown.Node) {
	for _, n := range body {
		if n.Tag != "p" || !isEnd(n) {
			continue
		}
		em := &n.Children[0]
		text := markdown.Text(em.Children)
		if at := strings.LastIndex(text, "Station "); at >= 0 {
			station := strings.TrimSuffix(text[at:], ".")
			em.Children = []markdown.Node{{Text: text[:at]},
				{Tag: "a", Href: "/learn/" + strings.TrimPrefix(station, "Station "), Children: []markdown.Node{{Text: station}}}, {Text: "."}}
		}
	}
}

// Package docs has weir's documents, for the web UI: their list, their text, a search, and the
// terms of the glossary. It owns no text: that is in the Markdown files beside it, which are
// written for GitHub, and whose links this package turns into paths of the web UI.
package docs

import (
	"cmp"
	"embed"
	"errors"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/weir-project/weir/internal/markdown"
)

// Files has the documents, each with the path of its Markdown file below docs, and the pictures
// that they show. screenshots/lab-NAME.svg is the plot of a weir lab NAME --short.
//
//go:embed *.md */*.md screenshots/*.png screenshots/*.svg
var Files embed.FS

// Start is the path of the page that lists the others.
const Start = "README"

// ErrNoPage is the error for a page that does not exist.
var ErrNoPage = errors.New("the documents have no such page")

// Page is a document in the list.
type Page struct {
	Path  string `json:"path"` // below /docs, such as how-to/apache-kafka
	Title string `json:"title"`
	Part  string `json:"part"` // empty for the start page
}

// Document is the text of a page. Links to other pages are paths of the web UI.
type Document struct {
	Page
	Body []markdown.Node `json:"body"`
}

// parts are the parts in reading order, by the directory or the file name.
var parts = []struct{ path, title string }{
	{Start, ""}, {"tutorial", "Tutorial"}, {"how-to", "How-to guides"}, {"labs", "Labs"}, {"explanation", "Explanation"},
	{"reference", "Reference"}, {"teaching", "Teaching"},
}

// partOf returns the position of a page's part, and its title.
func partOf(page string) (at int, title string) {
	first, _, _ := strings.Cut(page, "/")
	for i, p := range parts {
		if p.path == first {
			return i, p.title
		}
	}
	return len(parts), "More"
}

// library is all pages, read once.
type library struct {
	pages    []Page
	sections []section
	terms    []Term
}

var shelf = sync.OnceValue(func() *library {
	l := &library{}
	for _, pattern := range []string{"*.md", "*/*.md"} {
		names, _ := fsGlob(pattern)
		for _, name := range names {
			body := parsed(name)
			p := Page{Path: strings.TrimSuffix(name, ".md"), Title: titleOf(body)}
			_, p.Part = partOf(p.Path)
			l.pages = append(l.pages, p)
		}
	}
	slices.SortFunc(l.pages, func(a, b Page) int {
		x, _ := partOf(a.Path)
		y, _ := partOf(b.Path)
		return cmp.Or(x-y, strings.Compare(a.Path, b.Path))
	})
	for _, p := range l.pages {
		body := parsed(p.Path + ".md")
		l.sections = append(l.sections, sectionsOf(p, body)...)
		if p.Path == glossary {
			l.terms = termsOf(body)
		}
	}
	return l
})

func parsed(name string) []markdown.Node {
	src, _ := Files.ReadFile(name) // a name of Files' own list
	return slices.DeleteFunc(markdown.Parse(src), isComment)
}

// isComment reports whether a paragraph is an HTML comment, which is for the tests that run or
// write a document.
func isComment(n markdown.Node) bool {
	return n.Tag == "p" && len(n.Children) > 0 && strings.HasPrefix(n.Children[0].Text, "<!--")
}

// titleOf is the text of the first heading.
func titleOf(body []markdown.Node) string {
	for _, n := range body {
		if n.Tag == "h1" {
			return markdown.Text(n.Children)
		}
	}
	return ""
}

// Pages lists the documents in reading order.
func Pages() []Page { return slices.Clone(shelf().pages) }

// Read returns a page by its path, with or without .md; the empty path is the start page. It
// fails with ErrNoPage.
func Read(name string) (Document, error) {
	name = cmp.Or(strings.TrimSuffix(strings.Trim(name, "/"), ".md"), Start)
	i := slices.IndexFunc(shelf().pages, func(p Page) bool { return p.Path == name })
	if i < 0 {
		return Document{}, ErrNoPage
	}
	d := Document{Page: shelf().pages[i], Body: parsed(name + ".md")}
	relink(d.Body, path.Dir(name))
	if name == glossary {
		linkStations(d.Body)
	}
	return d, nil
}

// repository is where files are read that the program does not have.
const repository = "https://github.com/weir-project/weir/blob/main/"

// relink turns the links of a page in a directory of docs, as GitHub follows them, into those of
// the web UI.
func relink(list []markdown.Node, dir string) {
	for i := range list {
		n := &list[i]
		switch n.Tag {
		case "a":
			n.Href = address(n.Href, dir)
		case "img":
			n.Src = address(n.Src, dir)
		}
		relink(n.Children, dir)
	}
}

func address(link, dir string) string {
	if link == "" || strings.HasPrefix(link, "/") || strings.HasPrefix(link, "#") || strings.Contains(link, ":") {
		return link
	}
	file, anchor, found := strings.Cut(link, "#")
	if found {
		anchor = "#" + anchor
	}
	to := path.Join(dir, file)
	switch out, outside := strings.CutPrefix(to, "../"); {
	case outside:
		return repository + out + anchor
	case to == Start+".md" || to == ".":
		return "/docs" + anchor
	}
	return "/docs/" + strings.TrimSuffix(to, ".md") + anchor
}

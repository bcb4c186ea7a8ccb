// Package markdown turns the documents of weir into nodes, which the web UI draws and the
// terminal prints. It renders no HTML: a page builds elements from nodes, so a document cannot
// carry markup of its own.
package markdown

import (
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	extast "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"
)

// Node is an element of a document, or a piece of text where Tag is empty.
type Node struct {
	// Tag is the name of the HTML element: p, h1 to h6, ul, ol, li, pre, code, em, strong, a, table,
	// thead, tbody, tr, th, td, blockquote, img, hr or br.
	Tag string `json:"tag,omitempty"`
	// Text is the text of a text node, of pre and of code.
	Text string `json:"text,omitempty"`
	// Href is the target of a link, Src the address of a picture and Alt its description.
	Href string `json:"href,omitempty"`
	Src  string `json:"src,omitempty"`
	Alt  string `json:"alt,omitempty"`
	// ID is the anchor of a heading, as GitHub makes it; Lang the language of a code block.
	ID       string `json:"id,omitempty"`
	Lang     string `json:"lang,omitempty"`
	Children []Node `json:"children,omitempty"`
}

var parse = goldmark.New(goldmark.WithExtensions(extension.Table), goldmark.WithParserOptions(parser.WithAutoHeadingID())).Parser()

// Parse returns the nodes of a document in CommonMark with tables. Raw HTML becomes text.
func Parse(src []byte) []Node {
	return children(parse.Parse(text.NewReader(src)), src)
}

func children(n ast.Node, src []byte) (list []Node) {
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		for _, made := range convert(c, src) {
			// Neighbouring texts are one: the parser cuts them at every character that could mean something.
			if last := len(list) - 1; made.Tag == "" && last >= 0 && list[last].Tag == "" {
				list[last].Text += made.Text
				continue
			}
			list = append(list, made)
		}
	}
	return list
}

func convert(n ast.Node, src []byte) []Node {
	inside := func(tag string) []Node { return []Node{{Tag: tag, Children: children(n, src)}} }
	switch n := n.(type) {
	case *ast.Text:
		return textOf(n, src)
	case *ast.String:
		return []Node{{Text: string(n.Value)}}
	case *ast.CodeSpan:
		return []Node{{Tag: "code", Text: Text(children(n, src))}}
	case *ast.FencedCodeBlock:
		return []Node{{Tag: "pre", Lang: string(n.Language(src)), Text: lines(n, src)}}
	case *ast.CodeBlock:
		return []Node{{Tag: "pre", Text: lines(n, src)}}
	case *ast.HTMLBlock:
		all := lines(n, src)
		if n.HasClosure() {
			all += string(n.ClosureLine.Value(src))
		}
		return []Node{{Tag: "p", Children: []Node{{Text: all}}}}
	case *ast.RawHTML:
		return []Node{{Text: string(n.Segments.Value(src))}}
	case *ast.Heading:
		h := Node{Tag: "h" + string(rune('0'+n.Level)), Children: children(n, src)}
		if id, ok := n.AttributeString("id"); ok {
			if b, ok := id.([]byte); ok {
				h.ID = string(b)
			}
		}
		return []Node{h}
	case *ast.List:
		if n.IsOrdered() {
			return inside("ol")
		}
		return inside("ul")
	case *ast.Emphasis:
		if n.Level == 1 {
			return inside("em")
		}
		return inside("strong")
	case *ast.Link:
		return []Node{{Tag: "a", Href: string(n.Destination), Children: children(n, src)}}
	case *ast.AutoLink:
		return []Node{{Tag: "a", Href: string(n.URL(src)), Children: []Node{{Text: string(n.Label(src))}}}}
	case *ast.Image:
		return []Node{{Tag: "img", Src: string(n.Destination), Alt: Text(children(n, src))}}
	case *extast.TableHeader:
		return []Node{{Tag: "thead", Children: []Node{{Tag: "tr", Children: cells(n, "th", src)}}}}
	case *extast.TableRow:
		return []Node{{Tag: "tr", Children: cells(n, "td", src)}}
	case *extast.Table:
		return table(n, src)
	case *ast.ListItem:
		return inside("li")
	case *ast.Blockquote:
		return inside("blockquote")
	case *ast.Paragraph:
		return inside("p")
	case *ast.ThematicBreak:
		return []Node{{Tag: "hr"}}
	}
	return children(n, src) // a text block: the content of a tight list's item
}

func textOf(n *ast.Text, src []byte) []Node {
	t := Node{Text: string(n.Value(src))}
	switch {
	case n.HardLineBreak():
		return []Node{t, {Tag: "br"}}
	case n.SoftLineBreak():
		t.Text += " "
	}
	return []Node{t}
}

func table(n ast.Node, src []byte) []Node {
	t, body := Node{Tag: "table"}, Node{Tag: "tbody"}
	for _, row := range children(n, src) {
		if row.Tag == "thead" {
			t.Children = append(t.Children, row)
		} else {
			body.Children = append(body.Children, row)
		}
	}
	t.Children = append(t.Children, body)
	return []Node{t}
}

func cells(n ast.Node, tag string, src []byte) (list []Node) {
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		list = append(list, Node{Tag: tag, Children: children(c, src)})
	}
	return list
}

func lines(n ast.Node, src []byte) string {
	var b strings.Builder
	for i := range n.Lines().Len() {
		s := n.Lines().At(i)
		b.Write(s.Value(src))
	}
	return b.String()
}

// Text returns the text of nodes without its structure: a heading's title, or what a search
// looks at. Blocks are separated by a space.
func Text(list []Node) string {
	var b strings.Builder
	write(&b, list)
	return strings.TrimSpace(b.String())
}

func write(b *strings.Builder, list []Node) {
	for _, n := range list {
		b.WriteString(n.Text)
		write(b, n.Children)
		switch n.Tag {
		case "", "code", "em", "strong", "a":
		default:
			b.WriteByte(' ')
		}
	}
}

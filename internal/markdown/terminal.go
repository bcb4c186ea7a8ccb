package markdown

import (
	"strconv"
	"strings"

	"github.com/weir-project/weir/internal/visible"
)

// Terminal returns nodes as lines of plain text, at most width columns where words allow it. Code
// blocks and tables keep their lines. Addresses of links are left out, since documents name what
// they link to.
func Terminal(list []Node, width int) string {
	p := printer{width: width}
	p.blocks(list, "", "")
	return strings.TrimLeft(p.b.String(), "\n")
}

type printer struct {
	b     strings.Builder
	width int
}

// blocks prints block elements. first begins the first line, rest all others.
func (p *printer) blocks(list []Node, first, rest string) {
	var inline []Node
	flush := func() {
		if len(inline) > 0 {
			p.wrap(spoken(inline), first, rest)
			first, inline = rest, nil
		}
	}
	for _, n := range list {
		if !block(n.Tag) {
			inline = append(inline, n)
			continue
		}
		flush()
		p.block(n, first, rest)
		first = rest
	}
	flush()
}

func block(tag string) bool {
	switch tag {
	case "", "code", "em", "strong", "a", "br", "img":
		return false
	}
	return true
}

func (p *printer) block(n Node, first, rest string) {
	switch n.Tag {
	case "h1", "h2", "h3", "h4", "h5", "h6":
		title := spoken(n.Children)
		p.gap()
		p.wrap(title, first, rest)
		if n.Tag == "h1" || n.Tag == "h2" {
			line := map[string]string{"h1": "=", "h2": "-"}[n.Tag]
			p.line(rest + strings.Repeat(line, min(visible.Width(title), p.width-visible.Width(rest))))
		}
		p.gap()
	case "ul", "ol":
		for i, item := range n.Children {
			mark := "- "
			if n.Tag == "ol" {
				mark = strconv.Itoa(i+1) + ". "
			}
			p.blocks(item.Children, first+mark, rest+strings.Repeat(" ", len(mark)))
			first = rest
		}
		if rest == "" {
			p.gap()
		}
	case "pre":
		p.gap()
		for _, l := range strings.Split(strings.TrimRight(n.Text, "\n"), "\n") {
			p.line(rest + "    " + l)
		}
		p.gap()
	case "table":
		p.gap()
		p.table(n, rest)
		p.gap()
	case "blockquote":
		p.blocks(n.Children, first+"| ", rest+"| ")
	case "hr":
		p.gap()
	default:
		p.blocks(n.Children, first, rest)
		p.gap()
	}
}

func (p *printer) line(s string) { p.b.WriteString(strings.TrimRight(s, " ") + "\n") }

// gap makes one empty line, unless there is one.
func (p *printer) gap() {
	if s := p.b.String(); s != "" && !strings.HasSuffix(s, "\n\n") {
		p.b.WriteByte('\n')
	}
}

func (p *printer) wrap(s, first, rest string) {
	for _, para := range strings.Split(s, "\n") {
		line, empty := first, true
		for _, word := range strings.Fields(para) {
			if !empty && visible.Width(line)+1+visible.Width(word) > p.width {
				p.line(line)
				line, empty = rest, true
			}
			if !empty {
				line += " "
			}
			line, empty = line+word, false
		}
		p.line(line)
		first = rest
	}
}

// spoken is the text of inline elements, with a new line for each break.
func spoken(list []Node) string {
	var b strings.Builder
	for _, n := range list {
		switch n.Tag {
		case "br":
			b.WriteByte('\n')
		case "img":
			b.WriteString(n.Alt)
		case "code":
			b.WriteString("`" + n.Text + "`")
		default:
			b.WriteString(n.Text + spoken(n.Children))
		}
	}
	return b.String()
}

// table prints rows in columns as wide as their widest cell.
func (p *printer) table(n Node, indent string) {
	var rows [][]string
	for _, part := range n.Children {
		for _, row := range part.Children {
			var cells []string
			for _, c := range row.Children {
				cells = append(cells, spoken(c.Children))
			}
			rows = append(rows, cells)
		}
	}
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], visible.Width(cell))
		}
	}
	for _, row := range rows {
		line := indent
		for i, cell := range row {
			line += cell + strings.Repeat(" ", widths[i]-visible.Width(cell)+2)
		}
		p.line(line)
	}
}

package markdown

import (
	"reflect"
	"testing"
)

func TestParse(t *testing.T) {
	text := func(s string) []Node { return []Node{{Text: s}} }
	for _, c := range []struct {
		name, src string
		want      []Node
	}{
		{"heading", "# One *two*", []Node{{Tag: "h1", ID: "one-two", Children: []Node{{Text: "One "}, {Tag: "em", Children: text("two")}}}}},
		{"lines are one paragraph", "a\nb_c", []Node{{Tag: "p", Children: text("a b_c")}}},
		{"hard break", "a\\\nb", []Node{{Tag: "p", Children: []Node{{Text: "a"}, {Tag: "br"}, {Text: "b"}}}}},
		{"HTML is text", "a <b onclick=x>", []Node{{Tag: "p", Children: text("a <b onclick=x>")}}},
		{"HTML block is text", "<script>\nx\n</script>\n", []Node{{Tag: "p", Children: text("<script>\nx\n</script>\n")}}},
		{"fence", "```console\n$ weir up\n```", []Node{{Tag: "pre", Lang: "console", Text: "$ weir up\n"}}},
		{"indented", "    a\n      b", []Node{{Tag: "pre", Text: "a\n  b\n"}}},
		{"code, link, picture", "`a*` [b](c.md#d) ![e](f.png)", []Node{{Tag: "p", Children: []Node{{Tag: "code", Text: "a*"}, {Text: " "},
			{Tag: "a", Href: "c.md#d", Children: text("b")}, {Text: " "}, {Tag: "img", Src: "f.png", Alt: "e"}}}}},
		{"list", "1. a\n2. b\n   - c", []Node{{Tag: "ol", Children: []Node{{Tag: "li", Children: text("a")},
			{Tag: "li", Children: []Node{{Text: "b"}, {Tag: "ul", Children: []Node{{Tag: "li", Children: text("c")}}}}}}}}},
		{"table", "| a | b |\n|---|---|\n| `c` | d |", []Node{{Tag: "table", Children: []Node{
			{Tag: "thead", Children: []Node{{Tag: "tr", Children: []Node{{Tag: "th", Children: text("a")}, {Tag: "th", Children: text("b")}}}}},
			{Tag: "tbody", Children: []Node{{Tag: "tr", Children: []Node{{Tag: "td", Children: []Node{{Tag: "code", Text: "c"}}}, {Tag: "td", Children: text("d")}}}}}}}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Parse([]byte(c.src)); !reflect.DeepEqual(got, c.want) {
				t.Errorf("nodes\n%+v, want\n%+v", got, c.want)
			}
		})
	}
}

func TestTerminal(t *testing.T) {
	src := "# Keys\n\nOne two three four, and `five` [six](x.md).\n\n- a long item that wraps here\n- b\n\n1. first\n\n   second\n\n```\ncode stays as long as it is written\n```\n\n| a | bb |\n|---|---|\n| ccc | d |\n"
	want := "Keys\n====\n\nOne two three four,\nand `five` six.\n\n- a long item that\n  wraps here\n- b\n\n1. first\n\n   second\n\n    code stays as long as it is written\n\na    bb\nccc  d\n\n"
	if got := Terminal(Parse([]byte(src)), 20); got != want {
		t.Errorf("text\n%q, want\n%q", got, want)
	}
}

func TestText(t *testing.T) {
	if got := Text(Parse([]byte("## A `b`\n\nc *d*\n\n- e\n- f"))); got != "A b c d e f" {
		t.Errorf("text %q", got)
	}
}

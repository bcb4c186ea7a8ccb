package markdown

import (
	"strings"
	"testing"
)

// tags are the elements that pages and the terminal know.
var tags = strings.Fields("p h1 h2 h3 h4 h5 h6 ul ol li pre code em strong a table thead tbody tr th td blockquote img hr br")

// FuzzParse parses documents of any bytes: no element is one that nobody knows, and the terminal prints them.
func FuzzParse(f *testing.F) {
	f.Add([]byte("# One *two*\n\n- a\n- b\n\n| a | b |\n|---|---|\n| `c` | [d](e) |\n"))
	f.Add([]byte("<script>\nx\n</script>\n\n```go\nx\n```\n![a](b \"c\")\n> q\n\n***\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		nodes := Parse(src)
		var check func(list []Node)
		check = func(list []Node) {
			for _, n := range list {
				if n.Tag != "" && !strings.Contains(" "+strings.Join(tags, " ")+" ", " "+n.Tag+" ") {
					t.Errorf("%q has an element %q", src, n.Tag)
				}
				check(n.Children)
			}
		}
		check(nodes)
		_ = Text(nodes)
		_ = Terminal(nodes, 40)
	})
}

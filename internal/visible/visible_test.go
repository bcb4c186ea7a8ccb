package visible

import (
	"testing"
)

func TestVisible(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"plain text, ünïcode, 日本語", "plain text, ünïcode, 日本語"},
		{"\x1b[2J\x1b]0;title\x07", `\x1b[2J\x1b]0;title\x07`},
		{"one\ntwo\r\tthree", `one\ntwo\r\tthree`},
		{"\u009b31m", `\u009b31m`},                             // C1: a control sequence in one character
		{"a\u202egnp.exe", `a\u202egnp.exe`},                   // right-to-left override
		{"a\u2066b\u2069", `a\u2066b\u2069`},                   // isolates
		{"tag\U000e0041", `tag\U000e0041`},                     // invisible tag characters
		{"bad \xff\xc3 utf8", `bad \xff\xc3 utf8`},             // not UTF-8: byte by byte
		{"kept \uFFFD", "kept \uFFFD"},                         // a replacement character that was sent
		{"👩\u200d👩\u200d👧 \u2764\ufe0f", "👩\u200d👩\u200d👧 ❤️"}, // emoji are made with joiners
		{"nul\x00del\x7f", `nul\x00del\x7f`},
		{"para\u2029line\u2028", `para\u2029line\u2028`},
	} {
		if got := Text(c.in); got != c.want {
			t.Errorf("visible(%q) = %q, want %q", c.in, got, c.want)
		}
	}
}

func TestClip(t *testing.T) {
	for _, c := range []struct {
		in      string
		columns int
		want    string
	}{
		{"short", 10, "short"},
		{"exactly", 7, "exactly"},
		{"too long", 5, "too …"},
		{"日本語", 6, "日本語"},
		{"日本語", 5, "日本…"},
		{"日本語", 4, "日…"},
		{"e\u0301e\u0301e\u0301", 3, "e\u0301e\u0301e\u0301"},
		{"anything", 0, ""},
		{"anything", 1, "…"},
	} {
		got := Clip(c.in, c.columns)
		if got != c.want {
			t.Errorf("clip(%q, %d) = %q, want %q", c.in, c.columns, got, c.want)
		}
		if Width(got) > max(c.columns, 0) {
			t.Errorf("clip(%q, %d) takes %d columns", c.in, c.columns, Width(got))
		}
	}
}

package visible

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzText shows any bytes. Nothing that steers a terminal or hides text is left, and what is cut fits.
func FuzzText(f *testing.F) {
	f.Add("plain \x1b[2J\u202e\U000e0041\xff\u009b", 5)
	f.Add("日本語 e\u0301 👩\u200d👧", 3)
	f.Fuzz(func(t *testing.T, s string, columns int) {
		got := Text(s)
		if !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool {
			return r < 0x20 || r >= 0x7f && r <= 0x9f || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0x2028 || r == 0x2029 || r >= 0xe0000 && r <= 0xe007f
		}) {
			t.Errorf("%q is shown as %q", s, got)
		}
		if columns %= 200; Width(Clip(got, columns)) > max(columns, 0) {
			t.Errorf("%q, cut to %d columns, takes %d", got, columns, Width(Clip(got, columns)))
		}
	})
}

package jsonscan

import (
	"encoding/json"
	"strings"
	"testing"
)

// scanText scans a string that is given with its quotes.
func scanText(t *testing.T, quoted string) Text {
	t.Helper()
	var s Scanner
	s.Reset([]byte(quoted))
	text := s.Text()
	if err := s.End(); err != nil {
		t.Fatalf("%q: %v", quoted, err)
	}
	return text
}

func TestText(t *testing.T) {
	for _, quoted := range []string{
		`""`, `"a"`, `"abc"`, `"\u0061bc"`, `"a\u0062\u0063"`, `"é"`, `"\u00e9"`, `"🌊"`, `"\ud83c\udf0a"`, `"\ud83c"`, `"\udf0a\ud83c\udf0a"`, `"\ud83c\u0041"`, `"\ud83c\n"`,
		`"\ud83cabcdef"`, `"\ud83c\ud83c\udf0a"`, "\"\xff\"", "\"a\xff\xfe\xc3b\"", "\"\xed\xa0\xbc\"", "\"\xf0\x9f\x8c\"", `"\u0000\u001f\u007f"`, `"\"\\\/\b\f\n\r\t"`,
		`"\uFFFD\uffff\uD7FF\uE000"`, `"` + strings.Repeat(`\u0061`, 64) + `"`, `"` + strings.Repeat("\xff", 64) + `"`, `"` + strings.Repeat("a", 64) + `"`,
	} {
		var want string
		if err := json.Unmarshal([]byte(quoted), &want); err != nil {
			t.Fatal(err)
		}
		text := scanText(t, quoted)
		if got := string(text.Append([]byte("before "))); got != "before "+want {
			t.Errorf("%s: appended %q, want %q", quoted, got, want)
		}
		if view, ok := text.View(); ok != (quoted == `"`+want+`"`) || ok && string(view) != want {
			t.Errorf("%s: view %q %v of %q", quoted, view, ok, want)
		}
		if text.Empty() != (want == "") || !text.Is(want) || text.Is(want+"x") || want != "" && text.Is(want[1:]) {
			t.Errorf("%s: is empty %v, is %q %v", quoted, text.Empty(), want, text.Is(want))
		}
		for _, limit := range []int{len(want) - 1, len(want), len(want) + 1} {
			short := want
			if limit < len(want) {
				short = "(other)"
			}
			if got := text.Short(limit, "(other)"); got != short {
				t.Errorf("%s: at most %d bytes: %q, want %q", quoted, limit, got, short)
			}
			if got := text.Longer(limit); got != (limit < len(want)) {
				t.Errorf("%s: longer than %d: %v", quoted, limit, got)
			}
		}
	}
}

func TestPlain(t *testing.T) {
	if text := Plain([]byte("142")); !text.Is("142") || text.Short(3, "") != "142" {
		t.Errorf("%+v", text)
	}
}

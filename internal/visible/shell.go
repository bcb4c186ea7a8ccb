package visible

import (
	"fmt"
	"runtime"
	"strings"
)

const plainRunes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:/+@=,"

// ShellWord quotes what a shell would take apart, and shows what hides in it. On Windows it does
// so for PowerShell.
func ShellWord(s string) string { return shellWord(s, runtime.GOOS) }

func shellWord(s, system string) string {
	if system == "windows" {
		return windowsWord(s)
	}
	plain := s != "" && strings.Trim(s, plainRunes) == ""
	if plain {
		return s
	}
	if strings.IndexFunc(s, Hidden) < 0 {
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	var b strings.Builder // without hidden characters: any program can choose a name
	for _, r := range s {
		switch {
		case Hidden(r):
			// Byte by byte: what bash makes of \U depends on the locale.
			for _, c := range []byte(string(r)) {
				fmt.Fprintf(&b, `\x%02x`, c)
			}
		case r == '\'' || r == '\\':
			b.WriteByte('\\')
			fallthrough
		default:
			b.WriteRune(r)
		}
	}
	return "$'" + b.String() + "'"
}

// windowsWord quotes for PowerShell: what double quotes would expand ($, `) stays text in single
// ones. A path with spaces gets double quotes, which the command prompt knows, too.
func windowsWord(s string) string {
	const path = plainRunes + `\~`
	s = Text(s)
	switch {
	case s != "" && strings.Trim(s, path) == "":
		return s
	case strings.Trim(s, path+" ()") == "":
		return `"` + s + `"`
	}
	return "'" + powershellQuotes.Replace(s) + "'"
}

// powershellQuotes doubles all that PowerShell takes for a single quote.
var powershellQuotes = strings.NewReplacer("'", "''", "\u2018", "\u2018\u2018", "\u2019", "\u2019\u2019", "\u201a", "\u201a\u201a", "\u201b", "\u201b\u201b")

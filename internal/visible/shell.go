package visible

import (
	"fmt"
	"strings"
)

// ShellWord quotes what a shell would take apart, and shows what hides in it.
func ShellWord(s string) string {
	plain := s != "" && strings.IndexFunc(s, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:/+@=,", r)
	}) < 0
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

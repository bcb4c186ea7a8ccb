// Package jsontest damages JSON texts, for the tests of what reads them. It
// knows what JSON looks like, so that many of its mutants are still valid and
// differ in what they say. Nothing but tests imports it.
package jsontest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
)

// tokens are whole values and pieces that a reader can stumble over.
var tokens = []string{
	`null`, `true`, `false`, `0`, `-0`, `-1`, `1e3`, `1.0`, `9223372036854775807`, `9223372036854775808`, `-9223372036854775808`,
	`18446744073709551616`, `00`, `1.`, `.5`, `+1`, `-`, `1e`, `NaN`, `""`, `"x"`, `"commit"`, `"edit"`, `"canary"`, `"\u0000"`, `"\\"`, `"\n"`,
	`"\ud83c\udf0a"`, `"\ud83c"`, `"\udf0a\ud83c"`, `"\u00e9"`, `"é"`, "\"\xff\"", "\"\xed\xa0\xbc\"", "\"\x1f\"", `"\x"`, `"\u12"`,
	`{}`, `[]`, `[{}]`, `{"a":1}`, `[1,]`, `{"a":1,}`, `{"a"}`, `{1:2}`, `"\u0064id":"y"`, `,"did":"z"`, `"type":"new",`, `"kind":7,`,
	`{`, `}`, `[`, `]`, `,`, `:`, `"`, `\`, ` `, "\t\r\n", "\v", "\u00a0", "\ufeff", "//", "\x00", "\x7f",
}

// Mutate returns a copy of one of the texts with one to four random changes.
func Mutate(rng *rand.Rand, texts [][]byte) []byte {
	text := slices.Clone(texts[rng.IntN(len(texts))])
	for range 1 + rng.IntN(4) {
		text = change(rng, text, texts)
	}
	return text
}

func change(rng *rand.Rand, text []byte, texts [][]byte) []byte {
	if len(text) == 0 {
		return text
	}
	at := rng.IntN(len(text))
	end := min(len(text), at+1+rng.IntN(12))
	token := []byte(tokens[rng.IntN(len(tokens))])
	switch rng.IntN(9) {
	case 0: // one bit
		text[at] ^= 1 << rng.IntN(8)
	case 1: // a few bytes less
		return slices.Delete(text, at, end)
	case 2: // a few bytes twice
		return slices.Insert(text, at, slices.Clone(text[at:end])...)
	case 3: // something more
		return slices.Insert(text, at, token...)
	case 4: // cut off
		return text[:at]
	case 5, 6: // another value, if this is one
		if from := bytes.IndexByte(text[at:], ':'); from >= 0 {
			from += at + 1
			if n := bytes.IndexAny(text[from:], ",}]"); n >= 0 {
				return slices.Replace(text, from, from+n, token...)
			}
		}
	case 7: // another way to write a character, if it is in a string
		return slices.Replace(text, at, at+1, fmt.Appendf(nil, `\u%04x`, text[at])...)
	case 8: // the end of another text
		other := texts[rng.IntN(len(texts))]
		return append(text[:at], other[rng.IntN(len(other)):]...)
	}
	return text
}

package jsonscan

import (
	"unicode/utf16"
	"unicode/utf8"
)

// Text is a string of a JSON text. The zero Text is empty.
type Text struct {
	raw []byte // what stands between the quotes
	odd bool   // it has escapes or invalid UTF-8: it is not its own text
}

// Plain returns a Text of ASCII bytes that stand for themselves.
func Plain(ascii []byte) Text { return Text{raw: ascii} }

// Empty reports whether the string has no characters.
func (t Text) Empty() bool { return len(t.raw) == 0 }

// View returns the string's bytes as a view into the JSON text; false where
// there is no such view because of escapes or invalid UTF-8.
func (t Text) View() (view []byte, ok bool) { return t.raw, !t.odd }

// Longer reports whether the string has more than limit bytes.
func (t Text) Longer(limit int) bool {
	if t.odd && 3*len(t.raw) > limit { // at worst U+FFFD, three bytes, takes the place of one
		return len(AppendText(nil, t.raw)) > limit
	}
	return len(t.raw) > limit
}

// Append appends the string to dst, as encoding/json would decode it.
func (t Text) Append(dst []byte) []byte {
	if t.odd {
		return AppendText(dst, t.raw)
	}
	return append(dst, t.raw...)
}

// Is reports whether the string is name.
func (t Text) Is(name string) bool {
	if t.odd {
		return t.Short(len(name), "") == name
	}
	return string(t.raw) == name
}

// Short returns the string; other where it is longer than limit in bytes.
func (t Text) Short(limit int, other string) string {
	if !t.odd {
		if len(t.raw) > limit {
			return other
		}
		return string(t.raw)
	}
	if len(t.raw) > 6*limit { // the longest way to write a byte is \u00xx
		return other
	}
	text := AppendText(nil, t.raw)
	if len(text) > limit {
		return other
	}
	return string(text)
}

// AppendText appends to dst what the valid body of a JSON string stands for.
// Like encoding/json it writes U+FFFD for each byte of invalid UTF-8 and for
// each surrogate that is not half of a pair. dst may be an empty slice of the
// memory of other strings, but not of raw.
func AppendText(dst, raw []byte) []byte {
	for i := 0; i < len(raw); {
		c := raw[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRune(raw[i:])
			dst = utf8.AppendRune(dst, r)
			i += n
			continue
		}
		i++
		if c == '\\' {
			c = raw[i]
			i++
			switch c {
			case 'b':
				c = '\b'
			case 'f':
				c = '\f'
			case 'n':
				c = '\n'
			case 'r':
				c = '\r'
			case 't':
				c = '\t'
			case 'u':
				r := hex4(raw[i:])
				i += 4
				if utf16.IsSurrogate(r) {
					r = pair(r, raw[i:])
					if r != utf8.RuneError {
						i += 6
					}
				}
				dst = utf8.AppendRune(dst, r)
				continue
			}
		}
		dst = append(dst, c)
	}
	return dst
}

// pair returns the character of the surrogate and the one escaped at the start
// of rest; U+FFFD where they are no pair.
func pair(r rune, rest []byte) rune {
	if len(rest) < 6 || rest[0] != '\\' || rest[1] != 'u' {
		return utf8.RuneError
	}
	return utf16.DecodeRune(r, hex4(rest[2:]))
}

// hex4 returns the value of the four hexadecimal digits that p begins with.
func hex4(p []byte) rune {
	return hexValue(p[0])<<12 | hexValue(p[1])<<8 | hexValue(p[2])<<4 | hexValue(p[3])
}

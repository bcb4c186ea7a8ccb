package jsonscan

import (
	"encoding/binary"
	"math/bits"
	"strconv"
)

// space returns the position of the first byte from i on that is no white space.
func space(data []byte, i int) int {
	for i < len(data) && data[i] <= ' ' && 1<<data[i]&(1<<' '|1<<'\t'|1<<'\n'|1<<'\r') != 0 {
		i++
	}
	return i
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// stringEnd returns the position of the quote that ends the string whose body
// begins at i, whether the body has escapes, and whether it may have bytes
// outside ASCII (those up to seven bytes after it are seen, too); or where and
// what is wrong.
//
// It looks at eight bytes at a time. In special, the high bit of a byte is set
// where the byte is a quote or a control character, which are what is less than
// 0x21 once bit 1 is flipped, or a backslash. A subtraction's borrow can set more
// of them, but only above a true one, and only the lowest is used.
func stringEnd(data []byte, i int) (end int, escaped, high bool, what string) {
	var seen uint64
	for {
		var c byte
		if i+8 <= len(data) {
			w := binary.LittleEndian.Uint64(data[i:])
			special := (((w ^ 2*ones) - ('"'-1)*ones) | ((w ^ '\\'*ones) - ones)) &^ w & highs
			seen |= w
			if special == 0 {
				i += 8
				continue
			}
			n := bits.TrailingZeros64(special) &^ 7
			i += n >> 3
			c = byte(w >> n)
		} else {
			for ; ; i++ {
				if i >= len(data) {
					return i, false, false, "unexpected end"
				}
				if c = data[i]; c == '"' || c == '\\' || c < ' ' {
					break
				}
				seen |= uint64(c)
			}
		}
		switch {
		case c == '"':
			return i, escaped, seen&highs != 0, ""
		case c < ' ':
			return i, false, false, "control character in a string"
		}
		escaped = true
		if i, what = escape(data, i); what != "" {
			return i, false, false, what
		}
	}
}

// escape returns the position after the escape whose backslash is at i.
func escape(data []byte, i int) (end int, what string) {
	if i+1 >= len(data) {
		return len(data), "unexpected end"
	}
	switch data[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2, ""
	case 'u':
		for j := i + 2; j < i+6; j++ {
			if j >= len(data) {
				return j, "unexpected end"
			}
			if hexValue(data[j]) < 0 {
				return j, "invalid escape in a string"
			}
		}
		return i + 6, ""
	}
	return i + 1, "invalid escape in a string"
}

// scalar returns the position after the number or literal at i.
func scalar(data []byte, i int) (end int, what string) {
	var word string
	switch c := data[i]; {
	case c == '-' || isDigit(c):
		return number(data, i)
	case c == 't':
		word = "true"
	case c == 'f':
		word = "false"
	case c == 'n':
		word = "null"
	default:
		return i, "expected a value"
	}
	for j := range len(word) {
		if i+j >= len(data) || data[i+j] != word[j] {
			return i + j, "invalid literal"
		}
	}
	return i + len(word), ""
}

// number returns the position after the number at i.
func number(data []byte, i int) (end int, what string) {
	if data[i] == '-' {
		i++
	}
	from := i
	i = digits(data, i)
	if i == from || data[from] == '0' && i > from+1 {
		return from, "invalid number"
	}
	if i < len(data) && data[i] == '.' {
		from = i + 1
		if i = digits(data, from); i == from {
			return i, "invalid number"
		}
	}
	if i < len(data) && data[i]|0x20 == 'e' {
		from = i + 1
		if from < len(data) && (data[from] == '+' || data[from] == '-') {
			from++
		}
		if i = digits(data, from); i == from {
			return i, "invalid number"
		}
	}
	return i, ""
}

func digits(data []byte, i int) int {
	for i < len(data) && isDigit(data[i]) {
		i++
	}
	return i
}

func isDigit(c byte) bool { return c-'0' < 10 }

// parseInt returns the value of a valid JSON number; false where it has a
// fraction or an exponent or does not fit.
func parseInt(raw []byte) (int64, bool) {
	if len(raw) > len("-9223372036854775808") { // so that the conversion takes no memory
		return 0, false
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil {
		return 0, false
	}
	return n, true
}

// hexValue returns the value of a hexadecimal digit, -1 for any other byte.
func hexValue(c byte) rune {
	switch {
	case isDigit(c):
		return rune(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return rune(c|0x20-'a') + 10
	}
	return -1
}

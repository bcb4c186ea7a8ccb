// Package jsonscan reads one JSON text in a single pass: it hands out the few
// members that a caller asks for and validates everything else on the way, so
// that a frame that was read to its end is known to be whole and well formed.
// It allocates nothing and never recurses.
//
// It accepts what encoding/json's Valid accepts, including invalid UTF-8 inside
// strings (the bytes of a frame are stored as they came, and both upstreams
// write with encoders that cannot produce any), with one exception: nesting
// beyond MaxDepth. It knows nothing of any upstream's events, and it does not
// build values: that is what encoding/json is for.
package jsonscan

import (
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// MaxDepth is how deep objects and arrays may nest, the outermost counted as 1.
// encoding/json allows 10,000, but what is stored is read by others, and their
// parsers give up or crash far earlier (Python's at about 1,000, Jackson at
// 1,000, PHP at 512, serde_json at 128). Upstream's own events stay below 32.
const MaxDepth = 512

// Kind is the JSON type of a value, which its first byte shows.
type Kind byte

// The JSON types of values. None is what follows a syntax error or the end.
const (
	None   Kind = 0
	Null   Kind = 'n'
	Bool   Kind = 't'
	Number Kind = '0'
	String Kind = '"'
	Object Kind = '{'
	Array  Kind = '['
)

// SyntaxError says what is wrong with a JSON text, without quoting it.
type SyntaxError struct {
	// Offset is where the scanner stopped, in bytes from the start.
	Offset int
	// What is wrong there.
	What string
}

func (e *SyntaxError) Error() string { return e.What + " at byte " + strconv.Itoa(e.Offset) }

// Scanner walks over one JSON text. The first syntax error ends it: from then
// on every method returns nothing, and End returns the error. So callers check
// once, at the end, and must not use what they were given before that.
type Scanner struct {
	data  []byte
	pos   int
	depth int  // objects entered and not yet left
	first bool // the object that was just entered has given no member yet
	what  string

	open [MaxDepth/64 + 1]uint64 // skip's stack, a bit a level: set is an object
	name [256]byte               // the unescaped form of the last member name
}

// Reset starts over on data, which the caller must not change meanwhile.
func (s *Scanner) Reset(data []byte) {
	s.data, s.pos, s.depth, s.first, s.what = data, 0, 0, false, ""
}

// Next returns the JSON type of the value that comes next.
func (s *Scanner) Next() Kind {
	i := space(s.data, s.pos)
	s.pos = i
	if i >= len(s.data) {
		return None
	}
	switch c := s.data[i]; c {
	case '{', '[', '"', 'n':
		return Kind(c)
	case 't', 'f':
		return Bool
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return Number
	}
	return None
}

// Enter begins to read the next value's members where it is an object;
// otherwise it skips the value and returns false.
func (s *Scanner) Enter() bool {
	if s.Next() != Object {
		s.Skip()
		return false
	}
	s.pos++
	s.depth++
	s.first = true
	if s.depth > MaxDepth {
		s.fail(s.pos, "nested too deep")
	}
	return s.what == ""
}

// Member returns the next member name of the object that was entered last; its
// value must be read or skipped before the next call. At the object's end it
// returns false, and the enclosing object is the current one again.
//
// The name is valid until the next call. Escapes in it are resolved, so that a
// comparison with a name of up to 14 ASCII characters finds every spelling of
// it; a longer one that has escapes, and bytes of invalid UTF-8, stay as they
// stand and compare equal to no name that anybody asks for.
func (s *Scanner) Member() (name []byte, ok bool) {
	data, i := s.data, s.pos
	i = space(data, i)
	if i < len(data) && data[i] == '}' && s.what == "" {
		s.pos = i + 1
		s.depth--
		s.first = false
		return nil, false
	}
	if !s.first {
		if i >= len(data) || data[i] != ',' {
			return nil, s.fail(i, "expected a comma or the end of an object")
		}
		i = space(data, i+1)
	}
	s.first = false
	if i >= len(data) || data[i] != '"' {
		return nil, s.fail(i, "expected a member name")
	}
	i++
	end, escaped, _, what := stringEnd(data, i)
	if what != "" {
		return nil, s.fail(end, what)
	}
	name = data[i:end]
	if escaped && len(name) <= len(s.name)/3 { // unescaping makes three bytes of one at worst
		name = AppendText(s.name[:0], name)
	}
	i = space(data, end+1)
	if i >= len(data) || data[i] != ':' {
		return nil, s.fail(i, "expected a colon")
	}
	s.pos = i + 1
	return name, true
}

// Text reads the next value where it is a string; otherwise it skips it and
// returns the zero Text.
func (s *Scanner) Text() Text {
	if s.Next() != String {
		s.Skip()
		return Text{}
	}
	i := s.pos + 1
	end, escaped, high, what := stringEnd(s.data, i)
	if what != "" {
		s.fail(end, what)
		return Text{}
	}
	s.pos = end + 1
	raw := s.data[i:end:end]
	return Text{raw: raw, odd: escaped || high && !utf8.Valid(raw)}
}

// Int reads the next value where it is an integer that fits 64 bits, written
// without fraction and exponent; otherwise it skips it and returns its type and
// false.
func (s *Scanner) Int() (n int64, kind Kind, ok bool) {
	kind = s.Next()
	raw := s.Skip()
	if kind != Number || raw == nil {
		return 0, kind, false
	}
	n, ok = parseInt(raw)
	return n, kind, ok
}

// Skip reads over the next value and returns it as it stands.
func (s *Scanner) Skip() []byte {
	from := space(s.data, s.pos)
	end, what := s.skip(from)
	if what != "" {
		s.fail(end, what)
		return nil
	}
	s.pos = end
	return s.data[from:end:end]
}

// End checks that nothing but white space is left, and returns the first error.
func (s *Scanner) End() error {
	if s.what == "" {
		if i := space(s.data, s.pos); i < len(s.data) {
			s.fail(i, "data after the value")
		}
	}
	if s.what != "" {
		return &SyntaxError{Offset: s.pos, What: s.what}
	}
	return nil
}

// EndObject is End for a text that must be an object: entered is what Enter returned.
func (s *Scanner) EndObject(entered bool) error {
	if err := s.End(); err != nil {
		return fmt.Errorf("parse JSON: %w", err)
	}
	if !entered {
		return errNotObject
	}
	return nil
}

var errNotObject = errors.New("not a JSON object")

// fail notes the first error and leaves nothing to read.
func (s *Scanner) fail(at int, what string) bool {
	if s.what == "" {
		if at >= len(s.data) {
			what = "unexpected end"
		}
		s.what, s.pos = what, min(at, len(s.data))
		s.data = s.data[:s.pos]
	}
	return false
}

// skip returns the position after the value at i, or where and what is wrong.
func (s *Scanner) skip(i int) (end int, what string) {
	data := s.data
	depth := s.depth // containers around i
	object := false  // the innermost of those that were opened here is an object

value:
	i = space(data, i)
	if i >= len(data) {
		return i, "expected a value"
	}
	switch c := data[i]; c {
	case '"':
		if i, _, _, what = stringEnd(data, i+1); what != "" {
			return i, what
		}
		i++
	case '{', '[':
		if depth == MaxDepth {
			return i, "nested too deep"
		}
		object = c == '{'
		s.push(depth, object)
		depth++
		i = space(data, i+1)
		if i < len(data) && data[i] == c+2 { // in ASCII, '}' is '{'+2 and ']' is '['+2
			goto closing
		}
		if object {
			goto member
		}
		goto value
	default:
		if i, what = scalar(data, i); what != "" {
			return i, what
		}
	}

after:
	if depth == s.depth {
		return i, ""
	}
	i = space(data, i)
	if i >= len(data) {
		return i, "unexpected end"
	}
	switch c := data[i]; {
	case c == ',' && object:
		i = space(data, i+1)
		goto member
	case c == ',':
		i++
		goto value
	case c == '}' && object, c == ']' && !object:
		goto closing
	case object:
		return i, "expected a comma or the end of an object"
	default:
		return i, "expected a comma or the end of an array"
	}

closing:
	i++
	depth--
	object = depth > s.depth && s.isObject(depth-1)
	goto after

member:
	if i >= len(data) || data[i] != '"' {
		return i, "expected a member name"
	}
	if i, _, _, what = stringEnd(data, i+1); what != "" {
		return i, what
	}
	i = space(data, i+1)
	if i >= len(data) || data[i] != ':' {
		return i, "expected a colon"
	}
	i++
	goto value
}

func (s *Scanner) push(level int, object bool) {
	bit := uint64(1) << (level & 63)
	if object {
		s.open[level>>6] |= bit
	} else {
		s.open[level>>6] &^= bit
	}
}

func (s *Scanner) isObject(level int) bool { return s.open[level>>6]>>(level&63)&1 != 0 }

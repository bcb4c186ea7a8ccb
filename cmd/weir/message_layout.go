package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/visible"
)

// messageLayout is the text of --format: each part appends to the line of a message.
type messageLayout struct {
	parts []func(line []byte, m *inspect.Message) []byte
	buf   []byte
}

// layoutFields are the placeholders. The letters are those of kcat; %v is rpk's word for %s.
const layoutFields = "%t %p %o %k %v %h %T, %s (like %v), %K and %S (sizes of key and value), %%"

// parseLayout reads a text with placeholders. On a terminal, bytes that could steer it are
// shown as escapes.
func parseLayout(format string, terminal bool) (*messageLayout, error) {
	l := &messageLayout{}
	bytes := func(line, b []byte) []byte { return append(line, b...) }
	if terminal {
		bytes = func(line, b []byte) []byte { return append(line, visible.Text(string(b))...) }
	}
	for i := 0; i < len(format); i++ {
		c := format[i]
		if c != '%' && c != '\\' {
			l.literal(c)
			continue
		}
		if i++; i == len(format) {
			return nil, fmt.Errorf("%q ends after %c; write %c%c for the character itself", format, c, c, c)
		}
		if c == '%' {
			if !l.field(format[i], bytes) {
				return nil, fmt.Errorf("%%%s is unknown; there are %s", visible.Text(format[i:i+1]), layoutFields)
			}
			continue
		}
		b, n, err := escape(format[i:])
		if err != nil {
			return nil, err
		}
		l.literal(b)
		i += n - 1
	}
	return l, nil
}

// escape reads what follows a backslash, and how long it is.
func escape(s string) (b byte, n int, err error) {
	if i := strings.IndexByte(`nrt\0`, s[0]); i >= 0 {
		return "\n\r\t\\\x00"[i], 1, nil
	}
	if s[0] != 'x' {
		return 0, 0, fmt.Errorf(`\%s is unknown; there are \n \r \t \\ \0 and \xHH`, visible.Text(s[:1]))
	}
	if len(s) >= 3 {
		if v, err := strconv.ParseUint(s[1:3], 16, 8); err == nil {
			return byte(v), 3, nil
		}
	}
	return 0, 0, errors.New(`\x needs two hexadecimal digits, such as \x1f`)
}

func (l *messageLayout) literal(b byte) {
	l.parts = append(l.parts, func(line []byte, _ *inspect.Message) []byte { return append(line, b) })
}

// field adds a placeholder; false for an unknown one.
func (l *messageLayout) field(c byte, bytes func(line, b []byte) []byte) bool {
	size := func(line, b []byte) []byte {
		if b == nil {
			return append(line, "-1"...)
		}
		return strconv.AppendInt(line, int64(len(b)), 10)
	}
	add := map[byte]func(line []byte, m *inspect.Message) []byte{
		't': func(line []byte, m *inspect.Message) []byte { return bytes(line, []byte(m.Topic)) },
		'p': func(line []byte, m *inspect.Message) []byte { return strconv.AppendInt(line, int64(m.Partition), 10) },
		'o': func(line []byte, m *inspect.Message) []byte { return strconv.AppendInt(line, m.Offset, 10) },
		'k': func(line []byte, m *inspect.Message) []byte { return bytes(line, m.Key) },
		'v': func(line []byte, m *inspect.Message) []byte { return bytes(line, m.Value) },
		's': func(line []byte, m *inspect.Message) []byte { return bytes(line, m.Value) },
		'K': func(line []byte, m *inspect.Message) []byte { return size(line, m.Key) },
		'S': func(line []byte, m *inspect.Message) []byte { return size(line, m.Value) },
		'T': func(line []byte, m *inspect.Message) []byte {
			return strconv.AppendInt(line, m.Timestamp.UnixMilli(), 10)
		},
		'h': func(line []byte, m *inspect.Message) []byte {
			for i, h := range m.Headers {
				if i > 0 {
					line = append(line, ',')
				}
				line = append(bytes(line, []byte(h.Key)), '=')
				if h.Value == nil {
					line = append(line, "NULL"...) // as kcat writes it
				}
				line = bytes(line, h.Value)
			}
			return line
		},
		'%': func(line []byte, _ *inspect.Message) []byte { return append(line, '%') },
	}[c]
	if add != nil {
		l.parts = append(l.parts, add)
	}
	return add != nil
}

// line is a message in this layout. It is valid until the next call.
func (l *messageLayout) line(m inspect.Message) []byte {
	l.buf = l.buf[:0]
	for _, add := range l.parts {
		l.buf = add(l.buf, &m)
	}
	return l.buf
}

package redisd

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/weir-project/weir/internal/intake"
)

// Limits of one request, and of all requests that were not answered.
const (
	maxRequest = 32 << 20 // bytes
	maxArgs    = 1 << 18
	maxInline  = 4 << 10
	maxHeld    = 128 << 20 // bytes
)

// errProtocol is in the chain of what a client did wrong; its text is sent to it
// before the connection is closed.
var errProtocol = errors.New("Protocol error") //nolint:staticcheck // this is what Redis answers

// errForeign ends a connection of something that speaks another protocol: a web
// page can make a browser send lines to any port of its own machine.
var errForeign = fmt.Errorf("%w: this is a Redis server, not a web server", errProtocol)

// requestReader reads requests. Memory grows with what has arrived, not with what
// a length claims.
type requestReader struct {
	r        *bufio.Reader
	request  *intake.Request
	deadline func(time.Time) error // of the connection
}

// next reads one request, of at least one argument. It is counted in q.request.
func (q *requestReader) next() ([]string, error) {
	for {
		first, err := q.r.Peek(1)
		if err != nil {
			return nil, err
		}
		_ = q.deadline(time.Now().Add(intake.Deadline))
		var args []string
		switch b := first[0]; {
		case b == '*':
			args, err = q.array()
		case b > '~' || b < ' ' && b != '\r' && b != '\n':
			return nil, fmt.Errorf("%w: unexpected byte 0x%02x", errProtocol, b)
		default:
			args, err = q.inline()
		}
		_ = q.deadline(time.Time{})
		if err != nil {
			return nil, err
		}
		if len(args) > 0 {
			return args, nil
		}
	}
}

// account counts n bytes that have arrived against the limits.
func (q *requestReader) account(n int) error {
	if q.request.Size()+int64(n) > maxRequest {
		return fmt.Errorf("%w: request larger than %d bytes", errProtocol, maxRequest)
	}
	return q.request.Add(n)
}

// line reads up to "\n" and returns it without the line end.
func (q *requestReader) line() (string, error) {
	b, err := q.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) || len(b) > maxInline {
		return "", fmt.Errorf("%w: too big inline request", errProtocol)
	}
	if err != nil {
		return "", err
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

// number reads a line that is a prefix and a number.
func (q *requestReader) number(prefix byte, limit int, what string) (int, error) {
	l, err := q.line()
	if err != nil {
		return 0, err
	}
	if l == "" || l[0] != prefix {
		return 0, fmt.Errorf("%w: expected '%c'", errProtocol, prefix)
	}
	n, err := strconv.Atoi(l[1:])
	if err != nil || n > limit || n < 0 && prefix == '$' {
		return 0, fmt.Errorf("%w: invalid %s length", errProtocol, what)
	}
	return n, nil
}

func (q *requestReader) array() ([]string, error) {
	n, err := q.number('*', maxArgs, "multibulk")
	if err != nil || n <= 0 {
		return nil, err
	}
	args := make([]string, 0, min(n, 64))
	for range n {
		size, err := q.number('$', maxRequest, "bulk")
		if err != nil {
			return nil, err
		}
		arg, err := q.bulk(size)
		if err != nil {
			return nil, err
		}
		args = append(args, arg)
	}
	return args, nil
}

// bulk reads size bytes and a line end.
func (q *requestReader) bulk(size int) (string, error) {
	if q.request.Size()+int64(size) > maxRequest {
		return "", fmt.Errorf("%w: request larger than %d bytes", errProtocol, maxRequest)
	}
	if err := q.account(32); err != nil { // a string header or two
		return "", err
	}
	var arg strings.Builder
	if size <= q.r.Size() { // a buffer's worth, so that most arguments are allocated once
		arg.Grow(size)
	}
	for arg.Len() < size {
		if _, err := q.r.Peek(1); err != nil {
			return "", err
		}
		piece, _ := q.r.Peek(min(q.r.Buffered(), size-arg.Len()))
		if err := q.account(len(piece)); err != nil {
			return "", err
		}
		arg.Write(piece)
		_, _ = q.r.Discard(len(piece))
	}
	end, err := q.r.Peek(2)
	if err != nil {
		return "", err
	}
	if end[0] != '\r' || end[1] != '\n' {
		return "", fmt.Errorf("%w: expected a line end after an argument", errProtocol)
	}
	_, err = q.r.Discard(2)
	return arg.String(), err
}

// inline reads a command typed by hand (telnet, nc).
func (q *requestReader) inline() ([]string, error) {
	l, err := q.line()
	if err != nil {
		return nil, err
	}
	words := strings.Fields(l)
	if len(words) == 0 {
		return nil, nil
	}
	if first := strings.ToUpper(words[0]); first == "POST" || first == "HOST:" ||
		len(words) > 1 && strings.HasPrefix(words[len(words)-1], "HTTP/") {
		return nil, errForeign
	}
	for i := range len(l) {
		if b := l[i]; b < ' ' && b != '\t' || b == 0x7f {
			return nil, fmt.Errorf("%w: unexpected byte 0x%02x", errProtocol, b)
		}
	}
	args, ok := splitInline(l)
	if !ok {
		return nil, fmt.Errorf("%w: unbalanced quotes in request", errProtocol)
	}
	return args, nil
}

// word is an argument at the beginning of a line that is typed by hand: bare text, then perhaps
// quoted text, then a space or the end. Only \' is an escape in single quotes.
var word = regexp.MustCompile(`^(?s)([^ \t"']*)(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\+[^\\])*)')?(?:[ \t]+|$)`)

// escape is an escape in double quotes.
var escape = regexp.MustCompile(`(?s)\\(?:x[0-9a-fA-F]{2}|.)`)

// escapes are the letters that have a meaning of their own after a backslash.
var escapes = map[string]string{`\n`: "\n", `\r`: "\r", `\t`: "\t", `\b`: "\b", `\a`: "\a"}

// splitInline splits a line as Redis does. It reports false where quotes are not balanced.
func splitInline(l string) (args []string, ok bool) {
	for l = strings.TrimLeft(l, " \t"); l != ""; {
		m := word.FindStringSubmatch(l)
		if m == nil {
			return nil, false
		}
		double := escape.ReplaceAllStringFunc(m[2], func(e string) string {
			if n, err := strconv.ParseUint(e[2:], 16, 8); err == nil && len(e) == 4 {
				return string([]byte{byte(n)})
			}
			return cmp.Or(escapes[e], e[1:])
		})
		args, l = append(args, m[1]+double+strings.ReplaceAll(m[3], `\'`, "'")), l[len(m[0]):]
	}
	return args, true
}

package redisd

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/weir-project/weir/internal/intake"
)

// plainRequest reads one array of arguments in the plainest way that the protocol allows, and returns what
// is left. ok is false where it is not one.
func plainRequest(in string) (args []string, rest string, ok bool) {
	number := func(prefix byte, limit int) (n int, ok bool) {
		line, after, found := strings.Cut(in, "\n")
		if !found || len(line) >= maxInline || line == "" || line[0] != prefix {
			return 0, false
		}
		in = after
		n, err := strconv.Atoi(strings.TrimRight(line[1:], "\r"))
		return n, err == nil && n <= limit
	}
	n, ok := number('*', maxArgs)
	for ; ok && n > 0; n-- {
		var size int
		if size, ok = number('$', maxRequest); !ok || size < 0 || len(in) < size+2 || in[size:size+2] != "\r\n" {
			return nil, "", false
		}
		args, in = append(args, in[:size]), in[size+2:]
	}
	return args, in, ok
}

// FuzzRequests compares the reader of requests with the plain one, however the bytes are cut into reads.
// What it counts is never more than what arrived and a little for each argument.
func FuzzRequests(f *testing.F) {
	for _, in := range []string{"*1\r\n$4\r\nPING\r\n", "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\n\r\n\r\n", "*0\r\n*1\r\n$0\r\n\r\n", "*-1\r\n", "*1\n$1\nx\r\n", "PING\r\n", "*2\r\n$-1\r\n"} {
		f.Add(in, true)
	}
	f.Fuzz(func(t *testing.T, in string, byByte bool) {
		var r io.Reader = strings.NewReader(in)
		if byByte {
			r = iotest.OneByteReader(r)
		}
		budget := intake.NewBudget(1 << 40)
		q := &requestReader{r: bufio.NewReaderSize(r, 16<<10), request: budget.Request(func() {}), deadline: func(time.Time) error { return nil }}
		got, err := q.next()
		if held := q.request.Size(); held > int64(len(in)+32*(len(in)/4+1)) {
			t.Errorf("%d bytes are counted of %d", held, len(in))
		}
		for rest := in; strings.HasPrefix(rest, "*"); {
			want, left, ok := plainRequest(rest)
			if rest = left; !ok {
				if err == nil {
					t.Errorf("%q is read as %q", in, got)
				}
				return
			}
			if len(want) > 0 {
				if err != nil || !slices.Equal(got, want) {
					t.Errorf("%q: %q, %v; want %q", in, got, err, want)
				}
				return
			}
		}
		if err != nil && !errors.Is(err, errProtocol) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%q: %v", in, err)
		}
	})
}

// FuzzSnapshot loads snapshots of any bytes. What can be loaded is written, and loaded again, to the same.
func FuzzSnapshot(f *testing.F) {
	open := func() *Server {
		s, err := Open(Config{Addr: "127.0.0.1:0"})
		if err != nil {
			f.Fatal(err)
		}
		f.Cleanup(func() { _ = s.Close() })
		return s
	}
	e := &encoder{}
	e.count(1)
	e.b = append(e.b, typeString)
	e.str("k")
	e.num(0)
	e.str("v")
	f.Add(e.b)
	full := open()
	for _, command := range []string{"HSET h a 1", "RPUSH l x y", "SADD s m", "ZADD z 1.5 m", "XADD x 5-1 f v", "XGROUP CREATE x g 0", "XREADGROUP GROUP g c COUNT 1 STREAMS x >"} {
		full.inner(nil).do(0, strings.Fields(command)...)
	}
	body, _, err := full.encode()
	if err != nil || len(body) < 60 {
		f.Fatalf("a seed of %d bytes, %v", len(body), err)
	}
	f.Add(body)
	a, b := open(), open()
	f.Fuzz(func(t *testing.T, body []byte) {
		a.redis.FlushAll()
		b.redis.FlushAll()
		if a.load(body) != nil || a.expiring.Load() {
			a.expiring.Store(false)
			return
		}
		first, _, err := a.encode()
		if err != nil {
			t.Skip(fmt.Sprint("what miniredis has cannot be written: ", err))
		}
		if err := b.load(first); err != nil {
			t.Fatalf("what was written cannot be loaded: %v", err)
		}
		if second, _, err := b.encode(); err != nil || !bytes.Equal(first, second) {
			t.Errorf("written %q, loaded and written %q, %v", first, second, err)
		}
	})
}

package schedules

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
)

// rawRedis speaks RESP on a plain connection.
type rawRedis struct {
	c net.Conn
	r *bufio.Reader
}

func dialRedis(dial dialer, addr string) (*rawRedis, error) {
	c, err := dial(context.Background(), "tcp", addr)
	if err != nil {
		return nil, err
	}
	r := &rawRedis{c, bufio.NewReader(c)}
	_, err = r.do("SELECT", "1")
	return r, err
}

// do sends a command. The answer is a string, an int64, nil or a slice of those.
func (r *rawRedis) do(args ...string) (any, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	if _, err := io.WriteString(r.c, b.String()); err != nil {
		return nil, err
	}
	return r.answer()
}

func (r *rawRedis) answer() (any, error) {
	line, err := r.r.ReadString('\n')
	if err != nil {
		return nil, err
	}
	line = strings.TrimSuffix(line, "\r\n")
	n, _ := strconv.ParseInt(line[1:], 10, 64)
	switch line[0] {
	case '+':
		return line[1:], nil
	case '-':
		return nil, fmt.Errorf("redis: %s", line[1:])
	case ':':
		return n, nil
	case '$':
		if n < 0 {
			return nil, nil
		}
		b := make([]byte, n+2)
		if _, err := io.ReadFull(r.r, b); err != nil {
			return nil, err
		}
		return string(b[:n]), nil
	case '*':
		list := make([]any, n)
		for i := range list {
			if list[i], err = r.answer(); err != nil {
				return nil, err
			}
		}
		return list, nil
	}
	return nil, fmt.Errorf("redis: unknown answer %q", line)
}

// counts is the hash of one partition.
type counts struct {
	found bool
	next  int64
	kinds map[string]int64
}

func (r *rawRedis) counts(group, topic string, partition int32) (c counts, err error) {
	answer, err := r.do("HGETALL", fmt.Sprintf("weir:tally:%s:%s:%d", group, topic, partition))
	if err != nil {
		return c, err
	}
	list, ok := answer.([]any)
	if !ok {
		return c, fmt.Errorf("redis: HGETALL answered %v", answer)
	}
	c.kinds = map[string]int64{}
	for i := 0; i+1 < len(list); i += 2 {
		field, value := list[i].(string), list[i+1].(string)
		kind, isKind := strings.CutPrefix(field, "k:")
		if field != "next" && !isKind {
			continue
		}
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return c, fmt.Errorf("redis: field %s is %q", field, value)
		}
		if isKind {
			c.kinds[kind] = n
		} else {
			c.found, c.next = true, n
		}
	}
	return c, nil
}

package intake

import (
	"bytes"
	"log/slog"
	"net"
	"strings"
	"testing"
)

var somebody = &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}

func TestTheLongestIdleConnectionIsDisplaced(t *testing.T) {
	var out bytes.Buffer
	p := NewPlaces("here", 3, slog.New(slog.NewTextHandler(&out, nil)))
	var gone []int
	var places []*Place
	enter := func() *Place {
		i := len(places)
		c := p.Enter(somebody, func() { gone = append(gone, i) })
		if c != nil {
			places = append(places, c)
		}
		return c
	}
	for range 3 {
		enter()
	}
	places[0].Begin()
	places[0].End()   // 1 is idle for longest now
	places[1].Begin() // and waits for a response
	if enter() == nil || len(gone) != 1 || gone[0] != 2 {
		t.Fatalf("displaced %v, not the one that never sent anything", gone)
	}
	if enter() == nil || len(gone) != 2 || gone[1] != 0 {
		t.Fatalf("displaced %v, not the one that sent a request and then nothing", gone)
	}
	for _, c := range places[3:] {
		c.Begin()
	}
	if enter() != nil || p.Refused() != 1 {
		t.Errorf("one more than the bound, though every other waits for a response; %d refused", p.Refused())
	}
	places[1].End()
	places[1].Leave()
	if enter() == nil || len(gone) != 2 {
		t.Errorf("displaced %v, though there is a place", gone)
	}
	for range 1000 {
		enter()
	}
	if n := strings.Count(out.String(), "\n"); n != 1 || p.Displaced() < 1000 {
		t.Errorf("%d connections displaced, %d lines in the log:\n%s", p.Displaced(), n, &out)
	}
}

// Connections of this process are admitted beyond the bound, from the first one
// that the listener accepts. Those of others are not, whatever address they have.
func TestOwnConnectionsAreAdmitted(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "[::1]"} {
		l, err := net.Listen("tcp", host+":0")
		if err != nil {
			t.Logf("no %s here: %v", host, err)
			continue
		}
		defer l.Close()
		p := NewPlaces("here", 0, slog.New(slog.DiscardHandler))
		for i := range 200 {
			var nc net.Conn
			if i%2 == 0 {
				nc, err = Dialer{}.DialContext(t.Context(), "tcp", l.Addr().String())
			} else {
				nc, err = net.Dial("tcp", l.Addr().String())
			}
			if err != nil {
				t.Fatal(err)
			}
			in, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			c := p.Enter(in.RemoteAddr(), func() { t.Error("an own connection is displaced") })
			if own := i%2 == 0; (c != nil) != own || own && !c.own {
				t.Fatalf("connection %d from %v: %+v", i, in.RemoteAddr(), c)
			}
			_, _ = nc.Close(), in.Close()
		}
	}
	if _, err := (Dialer{}).DialContext(t.Context(), "tcp", "127.0.0.1:1"); err == nil {
		t.Error("connected to nothing")
	}
	own.Range(func(a, _ any) bool {
		t.Errorf("%v is still known", a)
		return true
	})
}

func TestShare(t *testing.T) {
	for _, c := range []struct {
		descriptors uint64
		broker, web int
	}{
		{1 << 62, 2000, 1000}, {20000, 2000, 1000}, {18256, 2000, 1000}, // half of 18,000
		{4096, 426, 213}, {1024, 85, 42}, {512, 28, 14}, {16, 1, 1},
	} {
		broker, web := share(2000, c.descriptors), share(1000, c.descriptors)
		if broker != c.broker || web != c.web {
			t.Errorf("with %d descriptors: %d for a broker and %d for the web server, not %d and %d",
				c.descriptors, broker, web, c.broker, c.web)
		}
		if all := uint64(4*broker + web); c.descriptors >= 512 && all+kept > c.descriptors {
			t.Errorf("with %d descriptors, clients get %d", c.descriptors, all)
		}
	}
}

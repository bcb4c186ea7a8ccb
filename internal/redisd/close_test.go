package redisd

import (
	"math/rand/v2"
	"net"
	"runtime"
	"testing"
	"time"
)

// TestCloseWakesThoseWhoWait closes the server at the moment at which clients begin to
// wait for something: none of them may be waited for in turn.
func TestCloseWakesThoseWhoWait(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for range 100 {
		s, stop := open(t, Config{})
		var conns []net.Conn
		for range 8 {
			c, err := net.Dial("tcp", s.Addr())
			if err != nil {
				t.Fatal(err)
			}
			conns = append(conns, c)
		}
		for _, c := range conns {
			if _, err := c.Write([]byte("BLPOP never 0\r\n")); err != nil {
				t.Fatal(err)
			}
			for range rnd.IntN(2000) {
				runtime.Gosched()
			}
		}
		stop()
		for _, c := range conns {
			_ = c.Close()
		}
	}
}

package cluster

import (
	"net"
	"strconv"
	"testing"
)

// Embedded brokers listen below the ports that operating systems give to clients: one of
// those could take the port of a broker that is killed, before its restart.
func TestNoClientGetsTheBrokersPorts(t *testing.T) {
	for _, addrs := range [][]string{nil, {"127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"}} {
		e, err := Open(t.Context(), Embedded, Config{Addrs: addrs})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		for _, addr := range e.Addrs() {
			_, port, err := net.SplitHostPort(addr)
			if err != nil {
				t.Fatal(err)
			}
			if n, err := strconv.Atoi(port); err != nil || n == 0 || n >= 32768 {
				t.Errorf("a broker listens on %s, a port that any client may get", addr)
			}
		}
	}
}

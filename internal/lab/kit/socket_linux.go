package kit

import (
	"net"

	"golang.org/x/sys/unix"
)

// unsent is how many bytes wait in a socket's send queue (SIOCOUTQ: what the other
// side has not acknowledged), 0 where the system does not report it.
func unsent(c *net.TCPConn) int64 { return ask(c, unix.SIOCOUTQ) }

// unread is how many bytes wait in a socket's receive queue (SIOCINQ).
func unread(c *net.TCPConn) int64 { return ask(c, unix.SIOCINQ) }

func ask(c *net.TCPConn, request uint) (n int64) {
	if c == nil {
		return 0
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) { // a closed one has nothing waiting
		if v, err := unix.IoctlGetInt(int(fd), request); err == nil {
			n = int64(v)
		}
	})
	return n
}

//go:build unix

package intake

import (
	"net"
	"net/netip"
	"syscall"
)

// descriptors returns how many files and connections this process may open.
func descriptors() (uint64, error) {
	var l syscall.Rlimit
	err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l)
	return uint64(l.Cur), err //nolint:unconvert // signed on some systems
}

// isLocal reports whether an address is one of this machine. Whether the system
// would bind it is not enough: it can be configured to bind any.
func isLocal(a netip.Addr) bool {
	if a.IsLoopback() {
		return true
	}
	all, _ := net.InterfaceAddrs()
	for _, l := range all {
		if n, ok := l.(*net.IPNet); ok && n.IP.Equal(a.AsSlice()) {
			return true
		}
	}
	return false
}

// control binds a socket before it is connected, and calls mark with its address.
// It binds the server's own IP address, which the system would choose as well.
// Connections to other machines are left alone.
func control(mark func(netip.AddrPort)) func(network, address string, c syscall.RawConn) error {
	return func(_, address string, c syscall.RawConn) error {
		server, err := netip.ParseAddrPort(address)
		if err != nil || !isLocal(server.Addr()) {
			return nil //nolint:nilerr // there is nothing to mark
		}
		var from syscall.Sockaddr = &syscall.SockaddrInet6{Addr: server.Addr().As16()}
		if server.Addr().Is4() {
			from = &syscall.SockaddrInet4{Addr: server.Addr().As4()}
		}
		return c.Control(func(fd uintptr) {
			if syscall.Bind(int(fd), from) != nil {
				return
			}
			switch at, _ := syscall.Getsockname(int(fd)); a := at.(type) {
			case *syscall.SockaddrInet4:
				mark(netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)))
			case *syscall.SockaddrInet6:
				mark(netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port)))
			}
		})
	}
}

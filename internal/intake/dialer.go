package intake

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"
)

// own holds the local addresses of the connections that a Dialer opened. An
// address is added before its connection is, so a listener of this process knows
// the connection when it accepts it.
var own sync.Map // netip.AddrPort to nothing

// Dialer opens connections that the listeners of this process admit always. A
// connection to any other server is an ordinary one. The zero value can be used.
type Dialer struct {
	// Timeout bounds the time of opening; 0 means no bound.
	Timeout time.Duration
}

// DialContext has the meaning of net.Dialer's.
func (d Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	var marked []netip.AddrPort // one for each address that is tried
	var mu sync.Mutex           // IPv4 and IPv6 may be tried at the same time
	forget := func(except netip.AddrPort) {
		mu.Lock()
		defer mu.Unlock()
		for _, a := range marked {
			if a != except {
				own.Delete(a)
			}
		}
	}
	nd := net.Dialer{Timeout: d.Timeout}
	nd.Control = control(func(a netip.AddrPort) {
		mu.Lock()
		defer mu.Unlock()
		own.Store(a, nil)
		marked = append(marked, a)
	})
	nc, err := nd.DialContext(ctx, network, address)
	if err != nil {
		forget(netip.AddrPort{})
		return nil, err
	}
	local := addrPort(nc.LocalAddr())
	forget(local)
	tcp, isTCP := nc.(*net.TCPConn)
	if _, ok := own.Load(local); !ok || !isTCP {
		return nc, nil
	}
	return &ownConn{TCPConn: tcp, local: local}, nil
}

// ownConn forgets its address when it is closed.
type ownConn struct {
	*net.TCPConn
	local netip.AddrPort
}

// Close implements net.Conn.
func (c *ownConn) Close() error {
	own.Delete(c.local) // before the system can give the port to somebody else
	return c.TCPConn.Close()
}

func isOwn(remote net.Addr) bool {
	_, ok := own.Load(addrPort(remote))
	return ok
}

func addrPort(a net.Addr) netip.AddrPort {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	p := t.AddrPort()
	return netip.AddrPortFrom(p.Addr().Unmap().WithZone(""), p.Port())
}

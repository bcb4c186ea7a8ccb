package judge

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"sync"
)

// Proxy is the address of Redis that the program sees. It can stop a request before Redis has
// it, or the response of one that Redis has carried out, which is where a crash does harm.
type Proxy struct {
	ln     net.Listener
	target string
	wg     sync.WaitGroup

	mu     sync.Mutex
	mode   proxyMode
	caught chan struct{} // closed when a request was stopped
	gone   chan struct{} // closed when the connections that are open now are to be closed
	conns  map[net.Conn]struct{}
	seen   int
	left   bool // a client has closed a connection on which a request waited
	closed bool
}

type proxyMode uint8

const (
	pass proxyMode = iota
	stopBefore
	stopAfter
	stopped // one request was stopped, and every later one waits
	down    // connections are refused
)

// changes are commands that change counts, as clients write them.
var changes = [][]byte{[]byte("INCR"), []byte("INCRBY"), []byte("HINCRBY"), []byte("EVAL"), []byte("EVALSHA"), []byte("EXEC"),
	[]byte("FCALL"),
	[]byte("SET"), []byte("MSET"), []byte("HSET")}

func openProxy(addr, target string) (*Proxy, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for Redis: %w", err)
	}
	p := &Proxy{ln: ln, target: target, gone: make(chan struct{}), conns: map[net.Conn]struct{}{}}
	p.wg.Go(p.accept)
	return p, nil
}

// Addr is where it listens.
func (p *Proxy) Addr() string { return p.ln.Addr().String() }

// Seen is how many connections there were.
func (p *Proxy) Seen() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen
}

// Left reports whether a client has closed a connection since a request was stopped: it waits
// for the response no longer.
func (p *Proxy) Left() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.left
}

// Before stops the next change before Redis has it. The channel is closed then.
func (p *Proxy) Before() <-chan struct{} { return p.arm(stopBefore) }

// After stops the response of the next change, which Redis has carried out.
func (p *Proxy) After() <-chan struct{} { return p.arm(stopAfter) }

func (p *Proxy) arm(m proxyMode) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mode, p.caught, p.left = m, make(chan struct{}), false
	return p.caught
}

// Reset closes all connections, with what was stopped, and lets new ones through.
func (p *Proxy) Reset() { p.cut(pass) }

// Down closes all connections and refuses new ones until Reset.
func (p *Proxy) Down() { p.cut(down) }

func (p *Proxy) cut(m proxyMode) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mode = m
	close(p.gone)
	p.gone = make(chan struct{})
	for c := range p.conns {
		_ = c.Close()
	}
	clear(p.conns)
}

// Close ends everything.
func (p *Proxy) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	err := p.ln.Close()
	p.cut(down)
	p.wg.Wait()
	return err
}

func (p *Proxy) accept() {
	for {
		c, err := p.ln.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		refuse := p.mode == down || p.closed
		if !refuse {
			p.seen++
			p.conns[c] = struct{}{}
		}
		gone := p.gone
		p.mu.Unlock()
		if refuse {
			_ = c.Close()
			continue
		}
		p.wg.Go(func() { p.serve(c, gone) })
	}
}

// serve passes on what a connection carries.
func (p *Proxy) serve(client net.Conn, gone <-chan struct{}) {
	defer client.Close()
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	after := make(chan struct{}, 1) // the next response is stopped
	var back sync.WaitGroup
	back.Go(func() {
		defer client.Close()
		p.responses(client, server, after, gone)
	})
	p.requests(client, server, after, gone)
	_ = server.Close()
	back.Wait()
	p.mu.Lock()
	delete(p.conns, client)
	p.mu.Unlock()
}

// requests passes on requests.
func (p *Proxy) requests(client, server net.Conn, after chan<- struct{}, gone <-chan struct{}) {
	b := make([]byte, 64<<10)
	for {
		n, err := client.Read(b)
		if err != nil {
			p.clientEnded(gone)
			return
		}
		if !p.admit(b[:n], after) {
			_, _ = io.Copy(io.Discard, client) // until one side closes the connection
			p.clientEnded(gone)
			return
		}
		if _, err := server.Write(b[:n]); err != nil {
			return
		}
	}
}

// clientEnded notes that a connection has ended, where the client has closed it.
func (p *Proxy) clientEnded(gone <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-gone:
	default:
		p.left = p.left || p.mode == stopped
	}
}

// admit decides whether a request goes to Redis.
func (p *Proxy) admit(request []byte, after chan<- struct{}) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.mode == stopped:
		return false
	case p.mode == pass || !isChange(request):
		return true
	case p.mode == stopBefore:
		p.mode = stopped
		close(p.caught)
		return false
	case p.mode == stopAfter:
		p.mode = stopped
		after <- struct{}{}
		return true
	}
	return false
}

// isChange reports whether a request has a command that changes counts.
func isChange(request []byte) bool {
	upper := bytes.ToUpper(request)
	for _, c := range changes {
		if bytes.Contains(upper, append(append([]byte("\r\n"), c...), '\r', '\n')) {
			return true
		}
	}
	return false
}

// responses passes on responses, but for one that is stopped.
func (p *Proxy) responses(client, server net.Conn, after <-chan struct{}, gone <-chan struct{}) {
	b := make([]byte, 64<<10)
	for {
		n, err := server.Read(b)
		if err != nil {
			return
		}
		select {
		case <-after:
			p.mu.Lock()
			caught := p.caught
			p.mu.Unlock()
			close(caught)
			<-gone
			return
		default:
		}
		if _, err := client.Write(b[:n]); err != nil {
			return
		}
	}
}

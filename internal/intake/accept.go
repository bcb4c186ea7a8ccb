package intake

import (
	"errors"
	"net"
	"slices"
	"syscall"
	"time"
)

// Accept waits for the next connection of a listener. It returns an error when the
// listener is closed. An error that may pass, such as a lack of file descriptors, is
// logged, and Accept tries again; for a descriptor the longest idle connection is closed.
func (p *Places) Accept(l net.Listener) (net.Conn, error) {
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		nc, err := l.Accept()
		if err == nil || errors.Is(err, net.ErrClosed) {
			return nc, err
		}
		var passes interface{ Temporary() bool } // Windows has error codes of its own
		if (!errors.As(err, &passes) || !passes.Temporary()) && !isOneOf(err, syscall.ECONNABORTED, syscall.ENOBUFS, syscall.ENOMEM) {
			return nil, err
		}
		if isOneOf(err, syscall.EMFILE, syscall.ENFILE) {
			p.displace()
		}
		p.mu.Lock()
		if now := time.Now(); now.Sub(p.failed) > logEvery {
			p.failed = now
			p.log.Warn("cannot accept connections; if the descriptors are used up, raise the limit with ulimit -n", "listener", p.name, "error", err)
		}
		p.mu.Unlock()
		<-time.After(pause)
	}
}

func isOneOf(err error, codes ...error) bool {
	return slices.ContainsFunc(codes, func(code error) bool { return errors.Is(err, code) })
}

package intake

import (
	"errors"
	"log/slog"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// failing is a listener whose Accept fails with each error in turn.
type failing struct {
	net.Listener
	errs []error
}

func (l *failing) Accept() (net.Conn, error) {
	err := l.errs[0]
	l.errs = l.errs[1:]
	return nil, err
}

// A lack of descriptors passes and costs an idle connection its place; an unknown error
// and the end of the listener end the loop.
func TestAcceptOutlivesALackOfDescriptors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		accept := func(err syscall.Errno) error {
			return &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", err)}
		}
		for _, end := range []error{net.ErrClosed, errors.New("listener closed")} {
			p := NewPlaces("test", 2, slog.New(slog.DiscardHandler))
			closed := 0
			p.Enter(&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}, func() { closed++ })
			begun := time.Now()
			l := &failing{errs: []error{accept(syscall.ECONNABORTED), accept(syscall.ENOBUFS), accept(syscall.EMFILE), end}}
			if _, err := p.Accept(l); !errors.Is(err, end) || closed != 1 || len(l.errs) != 0 {
				t.Errorf("%v, %d idle connections closed, %d errors left", err, closed, len(l.errs))
			}
			if waited := time.Since(begun); waited != 35*time.Millisecond {
				t.Errorf("waited %v", waited)
			}
		}
	})
}

package node

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strings"

	"github.com/weir-project/weir/internal/cli"
)

// DefaultListen is where the web UI is.
const DefaultListen = "127.0.0.1:8080"

// Listen is the address of the web UI, and the clients that may use it.
type Listen struct {
	Addr      string // host:port, or off
	Given     bool   // chosen by the user: no other port is taken in its place
	TokenFile string
	Hosts     []string // by which it may be asked for, besides localhost
	ReadOnly  bool     // refuses every change, also over the control socket
}

// open listens. Where the default port is taken, it takes a free one, with a note.
func (l *Listen) open() (net.Listener, string, error) {
	host, _, err := net.SplitHostPort(l.Addr)
	if err != nil {
		return nil, "", cli.UsageError("give --listen as host:port, such as "+DefaultListen+", or off", "the web UI cannot be at %q: %w", l.Addr, err)
	}
	ln, err := net.Listen("tcp", l.Addr)
	note := ""
	if errors.Is(err, errAddressTaken) && !l.Given {
		note = "port 8080 is taken by another program, so the web UI took a free one"
		ln, err = net.Listen("tcp", net.JoinHostPort(host, "0"))
	}
	if err != nil {
		return nil, "", cli.RuntimeError("stop what uses it, or give another --listen", "the web UI cannot be at %s: %w", l.Addr, err)
	}
	return ln, note, nil
}

// Limits of a token in bytes. Shorter ones can be guessed over a network.
const (
	minToken = 16
	maxToken = 1024
)

var hostName = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?$`)

// hosts checks the names.
func (l *Listen) hosts() (names []string, err error) {
	for _, h := range l.Hosts {
		name := strings.TrimSuffix(strings.ToLower(strings.TrimSpace(h)), ".")
		if _, err := netip.ParseAddr(name); err == nil || !hostName.MatchString(name) {
			return nil, cli.UsageError("give the names alone, such as weir.example.org; addresses work anyway", "--allow-host %q is not a host name", h)
		}
		names = append(names, name)
	}
	return names, nil
}

// token reads the token, empty where no file is given. No error quotes the token.
func (l *Listen) token() (token string, err error) {
	if l.TokenFile == "" {
		return "", nil
	}
	f, err := os.Open(l.TokenFile)
	if err == nil {
		var text []byte
		text, err = io.ReadAll(io.LimitReader(f, maxToken+2)) // a line's end, which may be two bytes, is not the token's
		token = strings.TrimRight(string(text), "\r\n")
		_ = f.Close()
	}
	switch n := len(token); {
	case err != nil:
	case n > maxToken:
		err = fmt.Errorf("%s holds more, and a token has %d to %d characters", l.TokenFile, minToken, maxToken)
	case n < minToken:
		err = fmt.Errorf("%s holds %d, and a token has %d to %d characters", l.TokenFile, n, minToken, maxToken)
	case strings.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c > '~' }):
		err = fmt.Errorf("%s holds more than one line, or characters that a token cannot have", l.TokenFile)
	}
	if err != nil {
		return "", cli.UsageError("write one with: openssl rand -hex 24 > FILE", "--token-file: %w", err)
	}
	return token, nil
}

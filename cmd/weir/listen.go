package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/weir-project/weir/internal/cli"
)

// defaultListen is where the pages are.
const defaultListen = "127.0.0.1:8080"

// listenFlag is where the pages answer, and to whom.
type listenFlag struct {
	addr      string
	tokenFile string
	hosts     []string
	app       *app
}

func (l *listenFlag) add(flags *pflag.FlagSet, a *app) {
	l.addAddress(flags, a)
	flags.StringVar(&l.tokenFile, "token-file", "", "`FILE` with the token that the pages ask for (default: none on loopback, else one that is drawn and printed)")
	flags.StringSliceVar(&l.hosts, "allow-host", nil, "`NAMES` besides localhost by which the pages may be asked for, as behind a proxy")
}

// addAddress adds --listen alone, for a command that serves no pages.
func (l *listenFlag) addAddress(flags *pflag.FlagSet, a *app) {
	l.app = a
	flags.StringVar(&l.addr, "listen", defaultListen, "`ADDR` of the web pages, as host:port; off for none")
}

func (l *listenFlag) given() bool { return l.app.given["listen"] != "" }

// open listens. The default port gives way to a free one when it is taken.
func (l *listenFlag) open() (net.Listener, string, error) {
	host, _, err := net.SplitHostPort(l.addr)
	if err != nil {
		return nil, "", cli.UsageError("give --listen as host:port, such as "+defaultListen+", or off", "web pages cannot be at %q: %w", l.addr, err)
	}
	ln, err := net.Listen("tcp", l.addr)
	note := ""
	if errors.Is(err, syscall.EADDRINUSE) && !l.given() {
		note = "port 8080 is taken by another program, so the web pages took a free one"
		ln, err = net.Listen("tcp", net.JoinHostPort(host, "0"))
	}
	if err != nil {
		return nil, "", cli.RuntimeError("stop what uses it, or give another --listen", "the web pages cannot be at %s: %w", l.addr, err)
	}
	return ln, note, nil
}

// uiGuard is whom the pages let in: who has the token, under which names.
type uiGuard struct {
	token string // empty where none was given
	hosts []string
}

// Limits of a token in bytes. Shorter ones can be guessed over a network.
const (
	minToken = 16
	maxToken = 1024
)

var hostName = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?$`)

// guard reads the token and checks the names. No error quotes the token.
func (l *listenFlag) guard() (uiGuard, error) {
	var g uiGuard
	for _, h := range l.hosts {
		name := strings.TrimSuffix(strings.ToLower(strings.TrimSpace(h)), ".")
		if _, err := netip.ParseAddr(name); err == nil || !hostName.MatchString(name) {
			return g, cli.UsageError("give the names alone, such as weir.example.org; addresses are answered to anyway", "--allow-host %q is no host name", h)
		}
		g.hosts = append(g.hosts, name)
	}
	if l.tokenFile == "" {
		return g, nil
	}
	const draw = "write one with: openssl rand -hex 24 > FILE"
	f, err := os.Open(l.tokenFile)
	if err != nil {
		return g, cli.UsageError(draw, "--token-file: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxToken+2)) // a line's end, which may be two bytes, is not the token's
	if err != nil {
		return g, cli.UsageError(draw, "--token-file: %w", err)
	}
	g.token = strings.TrimRight(string(text), "\r\n")
	if n := len(g.token); n < minToken || n > maxToken {
		return g, cli.UsageError(draw, "--token-file: %s holds %s, and a token has %d to %d characters", l.tokenFile, sizeOfToken(n), minToken, maxToken)
	}
	for _, c := range []byte(g.token) {
		if c <= ' ' || c > '~' {
			return g, cli.UsageError(draw, "--token-file: %s holds more than one line, or characters that a token cannot have", l.tokenFile)
		}
	}
	return g, nil
}

func sizeOfToken(n int) string {
	if n > maxToken {
		return "more"
	}
	return fmt.Sprint(n)
}

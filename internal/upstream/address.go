package upstream

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
)

// ParseURL reads the URL that a user gave for a source, without its fragment. Errors name the
// source, repeat no password, and end with want, which shows the right form.
func ParseURL(source, server, raw, want string, schemes ...string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		var ue *url.Error // repeats the URL, which may hold a password
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return nil, fmt.Errorf("%s URL: %w: %s", source, err, want)
	}
	shown := u.Redacted()
	if u.User == nil { // a slip before a password hides it from the parser
		shown = shown[strings.LastIndexByte(shown, '@')+1:]
	}
	switch {
	case !slices.Contains(schemes, u.Scheme):
		return nil, fmt.Errorf("%s URL %q: %s", source, shown, want)
	case u.Hostname() == "":
		return nil, fmt.Errorf("%s URL %q has no host: %s", source, shown, want)
	case u.User != nil:
		return nil, fmt.Errorf("%s URL %q has a user in it, which %s knows nothing of: %s", source, shown, server, want)
	}
	u.Fragment = ""
	return u, nil
}

// Address returns host:port of a URL, which is what a cursor calls the server.
func Address(u *url.URL) string {
	port := "80"
	if u.Scheme == "https" || u.Scheme == "wss" {
		port = "443"
	}
	return net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), port))
}

// OpenError returns the error of a stream that could not be opened. It explains a certificate
// that could not be verified: the usual causes are on the user's side.
func OpenError(host string, err error) error {
	var bad *tls.CertificateVerificationError
	if errors.As(err, &bad) {
		return fmt.Errorf("open stream at %s: %w: the answer does not come from that server (a proxy or a network login in between?),"+
			" or this machine's clock or certificates are wrong; SSL_CERT_FILE names other certificates to trust", host, err)
	}
	return fmt.Errorf("open stream at %s: %w", host, err)
}

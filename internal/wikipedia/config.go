package wikipedia

import (
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/weir-project/weir/internal/upstream"
)

// DefaultURL is Wikimedia's stream of every change to every wiki.
const DefaultURL = "https://stream.wikimedia.org/v2/stream/recentchange"

// Config says what to receive.
type Config struct {
	// URL of the stream, http or https; empty means DefaultURL.
	URL string
	// UserAgent names this client and a contact, which Wikimedia enforces; empty
	// means weir and its project's URL.
	UserAgent string
	// Dial connects to the server or a proxy; nil means a net.Dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// RootCAs verifies the server's certificate; nil means the system's.
	RootCAs *x509.CertPool
	// Log gets what is worth knowing about a connection; nil discards it.
	Log *slog.Logger
}

func parseURL(raw string) (*url.URL, error) {
	if raw == "" {
		raw = DefaultURL
	}
	const want = "want https://HOST/v2/stream/recentchange"
	u, err := upstream.ParseURL(Name, "the stream", raw, want, "http", "https")
	if err != nil {
		return nil, err
	}
	switch {
	case !recentChanges(u.Path):
		return nil, fmt.Errorf("wikipedia URL %q names other streams than recentchange, the only one that weir understands: %s", u.Redacted(), want)
	case u.Path == "" || u.Path == "/":
		u.Path = "/v2/stream/recentchange"
	}
	return u, nil
}

// recentChanges reports whether a path of EventStreams names nothing but the
// stream of recent changes. What another path brings is seen when it is read.
func recentChanges(path string) bool {
	_, streams, ok := strings.Cut(path, "/v2/stream/")
	streams = strings.Trim(streams, "/")
	if !ok || streams == "" {
		return true
	}
	for name := range strings.SplitSeq(streams, ",") {
		if name != "recentchange" && name != "mediawiki.recentchange" {
			return false
		}
	}
	return true
}

// scope names what the URL asks for: its streams, sorted.
func scope(u *url.URL) string {
	streams := strings.Split(path.Base(u.Path), ",")
	slices.Sort(streams)
	return strings.Join(slices.Compact(streams), ",")
}

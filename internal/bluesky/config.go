package bluesky

import (
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/weir-project/weir/internal/upstream"
)

// DefaultURLs are the public Jetstream servers, the new (v2) ones first, the
// legacy (v1) ones after them.
var DefaultURLs = []string{
	"wss://jetstream.us-east.bsky.network/subscribe",
	"wss://jetstream.us-west.bsky.network/subscribe",
	"wss://jetstream1.us-east.bsky.network/subscribe",
	"wss://jetstream2.us-east.bsky.network/subscribe",
	"wss://jetstream1.us-west.bsky.network/subscribe",
	"wss://jetstream2.us-west.bsky.network/subscribe",
}

// MaxCollections is how many collections one subscription can name (Jetstream's limit).
const MaxCollections = 100

// Config says what to subscribe to.
type Config struct {
	// URLs are the servers in order of preference, as ws://HOST/subscribe or
	// wss://HOST/subscribe; nil means DefaultURLs.
	URLs []string
	// Collections are the NSIDs wanted, or prefixes as in `app.bsky.*`, at most
	// MaxCollections. nil, or one that is `*`, means everything. Account and
	// identity events come whatever is wanted.
	Collections []string
	// Compress asks for zstd frames. Worth it only where the network is the
	// bottleneck: decompressing costs several times what decoding does.
	Compress bool
	// Dictionary is Jetstream's zstd dictionary, needed with Compress: a file of
	// the Jetstream project that weir does not contain.
	Dictionary []byte
	// UserAgent names this client to the server; empty means a default.
	UserAgent string
	// Dial connects to a server or a proxy; nil means a net.Dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// RootCAs verifies the servers' certificates; nil means the system's.
	RootCAs *x509.CertPool
	// Log gets what is worth knowing about a connection; nil discards it.
	Log *slog.Logger
}

// host is one server and what is known of it.
type host struct {
	url  *url.URL
	addr string // host:port: what a cursor calls it
	// numbers says whether its frames carry sequence numbers.
	numbers numbering
	probe   upstream.Probe
	refused error     // why it cannot be used, for good
	until   time.Time // when it may be asked again
}

// numbering is what is known of a server's sequence numbers.
type numbering uint8

const (
	unknown    numbering = iota
	numbered             // v2: frames carry `cursor`
	unnumbered           // v1
)

func parseHosts(urls []string) ([]*host, error) {
	if len(urls) == 0 {
		urls = DefaultURLs
	}
	hosts := make([]*host, 0, len(urls))
	for _, raw := range urls {
		u, err := parseURL(raw)
		if err != nil {
			return nil, err
		}
		hosts = append(hosts, &host{url: u, addr: upstream.Address(u)})
	}
	return hosts, nil
}

func parseURL(raw string) (*url.URL, error) {
	const want = "want ws://HOST/subscribe or wss://HOST/subscribe"
	u, err := upstream.ParseURL(Name, "Jetstream", raw, want, "ws", "wss")
	if err != nil {
		return nil, err
	}
	shown := u.Redacted()
	if strings.Contains(u.Path, "network.bsky.jetstream.subscribeEvents") {
		return nil, fmt.Errorf("bluesky URL %q is of another wire format: %s", shown, want)
	}
	if u.Query().Has("wantedDids") {
		return nil, fmt.Errorf("bluesky URL %q sets wantedDids, which weir cannot resume: a position says what was asked for,"+
			" and has no accounts in it; leave it out, and filter what you read from Kafka by the key, which is the account (DID)", shown)
	}
	for _, own := range []string{"cursor", "wantedCollections", "compress", "requireHello", "maxMessageSizeBytes"} {
		if u.Query().Has(own) {
			return nil, fmt.Errorf("bluesky URL %q sets %s, which is set by weir: leave it out", shown, own)
		}
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/subscribe"
	}
	return u, nil
}

// scope is the set of collections wanted, sorted; empty means everything.
type scope []string

func parseScope(collections []string) (scope, error) {
	var s scope
	for _, c := range collections {
		if c == "*" {
			return nil, nil
		}
		if !isNSID(c) {
			return nil, fmt.Errorf("collection %q is neither a name like app.bsky.feed.post nor a prefix like app.bsky.*, nor * for everything", c)
		}
		s = append(s, c)
	}
	slices.Sort(s)
	s = slices.Compact(s)
	if len(s) > MaxCollections {
		return nil, fmt.Errorf("%d collections, and Jetstream takes at most %d: use prefixes (app.bsky.*), or * for everything", len(s), MaxCollections)
	}
	return s, nil
}

// nsid is an NSID (AT Protocol) of at most 317 bytes, or a prefix of some.
var nsid = regexp.MustCompile(`^[a-zA-Z0-9-]+(\.[a-zA-Z0-9-]+)+(\.\*)?$`)

func isNSID(s string) bool { return len(strings.TrimSuffix(s, ".*")) <= 317 && nsid.MatchString(s) }

// String is what a cursor calls the scope.
func (s scope) String() string {
	if len(s) == 0 {
		return "*"
	}
	return strings.Join(s, ",")
}

// covers reports whether a subscription of this scope is sent the event of that
// identity: every account and identity event, and commits to its collections.
func (s scope) covers(id string) bool {
	parts := strings.Split(id, string(separator))
	if len(s) == 0 || len(parts) != 5 { // did, rev, collection, rkey, operation
		return true
	}
	return slices.ContainsFunc(s, func(want string) bool {
		if prefix, ok := strings.CutSuffix(want, "*"); ok {
			return strings.HasPrefix(parts[2], prefix)
		}
		return parts[2] == want
	})
}

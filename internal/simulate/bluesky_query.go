package simulate

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// Limits of a subscription, as both versions of Jetstream have them.
const (
	maxWantedCollections = 100
	maxWantedDIDs        = 10_000
	maxClientMessage     = 10_000_000 // bytes

	// Cursors of at least this are microseconds, smaller ones sequence numbers
	// (Jetstream v2).
	firstTimeCursor = 1_000_000_000_000_000
)

// filter is what a subscriber wants. It is replaced as a whole.
type filter struct {
	names    map[string]bool // with prefixes both empty: all collections
	prefixes []string
	dids     map[string]bool // nil: all accounts
	maxSize  int             // bytes; 0: no limit
}

// optionsUpdate is what a client may send.
type optionsUpdate struct {
	Type    string `json:"type"`
	Payload struct {
		WantedCollections   []string `json:"wantedCollections"`
		WantedDIDs          []string `json:"wantedDids"`
		MaxMessageSizeBytes int      `json:"maxMessageSizeBytes"`
	} `json:"payload"`
}

// newFilter checks the wishes of a client. The texts of its errors are the real
// servers', which differ by version.
func newFilter(version int, collections, dids []string, maxSize int) (*filter, error) {
	invalid := "subscribe: invalid options"
	if version == 1 {
		invalid = "invalid subscriber options"
	}
	f := &filter{maxSize: max(maxSize, 0)}
	for _, c := range collections {
		if prefix, ok := strings.CutSuffix(c, "*"); ok && strings.HasSuffix(prefix, ".") {
			f.prefixes = append(f.prefixes, prefix)
			continue
		}
		if !validNSID(c) {
			return nil, fmt.Errorf("%s: invalid collection: %s", invalid, c)
		}
		if f.names == nil {
			f.names = map[string]bool{}
		}
		f.names[c] = true
	}
	if len(f.names)+len(f.prefixes) > maxWantedCollections {
		if version == 1 {
			return nil, fmt.Errorf("%s: too many wanted collections", invalid)
		}
		return nil, fmt.Errorf("%s: too many wanted collections: > %d", invalid, maxWantedCollections)
	}
	for _, d := range dids {
		if !validDID(d) {
			if version == 1 {
				return nil, errors.New(invalid)
			}
			return nil, fmt.Errorf("%s: invalid DID: %s", invalid, d)
		}
		if f.dids == nil {
			f.dids = map[string]bool{}
		}
		f.dids[d] = true
	}
	if len(f.dids) > maxWantedDIDs {
		if version == 1 {
			return nil, fmt.Errorf("%s: too many wanted DIDs", invalid)
		}
		return nil, fmt.Errorf("%s: too many wanted DIDs: %d > %d", invalid, len(f.dids), maxWantedDIDs)
	}
	return f, nil
}

func (f *filter) everything() bool { return f.names == nil && f.prefixes == nil && f.dids == nil }

func (f *filter) wantsCollection(name string) bool {
	if f.names == nil && f.prefixes == nil || f.names[name] {
		return true
	}
	for _, p := range f.prefixes {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}

// subscription is a request that was understood.
type subscription struct {
	filter    *filter
	hello     bool // send nothing before an options_update
	zstd      bool
	hasCursor bool
	cursor    int64
}

// parseSubscription reads the query. An error is the text of a 400.
func parseSubscription(version int, r *http.Request) (*subscription, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, fmt.Errorf("subscribe: invalid options: %w", err)
	}
	size, err := strconv.Atoi(q.Get("maxMessageSizeBytes"))
	if err != nil || size < 0 {
		size = 0 // what is no number is no limit, by the protocol's documentation
	}
	s := &subscription{
		hello: q.Get("requireHello") == "true",
		zstd:  q.Get("compress") == "true" || strings.Contains(r.Header.Get("Socket-Encoding"), "zstd"),
	}
	if s.filter, err = newFilter(version, q["wantedCollections"], q["wantedDids"], size); err != nil {
		return nil, err
	}
	raw := q.Get("cursor")
	if raw == "" {
		return s, nil
	}
	s.hasCursor = true
	if s.cursor, err = strconv.ParseInt(raw, 10, 64); err != nil {
		if version == 1 {
			return nil, fmt.Errorf("invalid cursor: %s", raw)
		}
		return nil, fmt.Errorf("subscribe: invalid cursor: %q", raw)
	}
	if s.cursor < 0 && version == 2 {
		return nil, fmt.Errorf("subscribe: invalid cursor: negative value %d", s.cursor)
	}
	return s, nil
}

// parseUpdate reads a message of a client. ok is false for a message of a type
// that servers ignore; code is the close code that an error is answered with.
func parseUpdate(version int, p []byte) (f *filter, ok bool, code int, err error) {
	var u optionsUpdate
	if err := json.Unmarshal(p, &u); err != nil {
		return nil, false, 1007, errors.New("bad SubscriberSourcedMessage envelope")
	}
	if u.Type != "options_update" {
		return nil, false, 0, nil
	}
	f, err = newFilter(version, u.Payload.WantedCollections, u.Payload.WantedDIDs, u.Payload.MaxMessageSizeBytes)
	return f, true, 1008, err
}

// validNSID checks a collection's name: at least three parts, the last one of
// letters and digits (atproto.com/specs/nsid).
func validNSID(s string) bool {
	parts := strings.Split(s, ".")
	if len(parts) < 3 || len(s) > 317 {
		return false
	}
	for k, p := range parts {
		if len(p) == 0 || len(p) > 63 || p[0] == '-' || p[len(p)-1] == '-' {
			return false
		}
		for i := range len(p) {
			c := p[i]
			letter := c|0x20 >= 'a' && c|0x20 <= 'z'
			digit := c >= '0' && c <= '9'
			switch {
			case letter, digit && (i > 0 || k > 0 && k < len(parts)-1):
			case c == '-' && k < len(parts)-1:
			default:
				return false
			}
		}
	}
	return true
}

// validDID checks an account's identifier (atproto.com/specs/did).
func validDID(s string) bool {
	rest, ok := strings.CutPrefix(s, "did:")
	method, id, found := strings.Cut(rest, ":")
	if !ok || !found || method == "" || id == "" || len(s) > 2048 || id[len(id)-1] == ':' {
		return false
	}
	for i := range len(method) {
		if method[i] < 'a' || method[i] > 'z' {
			return false
		}
	}
	for i := range len(id) {
		c := id[i]
		letter, digit := c|0x20 >= 'a' && c|0x20 <= 'z', c >= '0' && c <= '9'
		if !letter && !digit && strings.IndexByte("._:%-", c) < 0 {
			return false
		}
	}
	return true
}

package simulate

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/gorilla/websocket"
)

// Limits of a subscription, as Jetstream has them.
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
	dids     map[string]bool // empty: all accounts
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

// newFilter checks what a client asks for. The texts of its errors are the real servers'.
func newFilter(collections, dids []string, maxSize int) (*filter, error) {
	f := &filter{names: map[string]bool{}, dids: map[string]bool{}, maxSize: max(maxSize, 0)}
	for _, c := range collections {
		if prefix, ok := strings.CutSuffix(c, "*"); ok && strings.HasSuffix(prefix, ".") {
			f.prefixes = append(f.prefixes, prefix)
		} else if !validNSID(c) {
			return nil, fmt.Errorf("subscribe: invalid options: invalid collection: %s", c)
		} else {
			f.names[c] = true
		}
	}
	if len(f.names)+len(f.prefixes) > maxWantedCollections {
		return nil, fmt.Errorf("subscribe: invalid options: too many wanted collections: > %d", maxWantedCollections)
	}
	for _, d := range dids {
		if !validDID(d) {
			return nil, fmt.Errorf("subscribe: invalid options: invalid DID: %s", d)
		}
		f.dids[d] = true
	}
	if len(f.dids) > maxWantedDIDs {
		return nil, fmt.Errorf("subscribe: invalid options: too many wanted DIDs: %d > %d", len(f.dids), maxWantedDIDs)
	}
	return f, nil
}

func (f *filter) wantsCollection(name string) bool {
	return len(f.names)+len(f.prefixes) == 0 || f.names[name] ||
		slices.ContainsFunc(f.prefixes, func(p string) bool { return strings.HasPrefix(name, p) })
}

// subscription is a request that was understood.
type subscription struct {
	filter *filter
	hello  bool  // send nothing before an options_update
	cursor int64 // noCursor: live events
}

const noCursor = -1

// parseSubscription reads the query. An error is the text of a 400.
func parseSubscription(r *http.Request) (*subscription, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, fmt.Errorf("subscribe: invalid options: %w", err)
	}
	size, err := strconv.Atoi(q.Get("maxMessageSizeBytes"))
	if err != nil {
		size = 0 // what is not a number is no limit, by the protocol's documentation
	}
	s := &subscription{hello: q.Get("requireHello") == "true", cursor: noCursor}
	if s.filter, err = newFilter(q["wantedCollections"], q["wantedDids"], size); err != nil {
		return nil, err
	}
	if raw := q.Get("cursor"); raw != "" {
		if s.cursor, err = strconv.ParseInt(raw, 10, 64); err != nil {
			return nil, fmt.Errorf("subscribe: invalid cursor: %q", raw)
		}
		if s.cursor < 0 {
			return nil, fmt.Errorf("subscribe: invalid cursor: negative value %d", s.cursor)
		}
	}
	return s, nil
}

// parseUpdate reads a message of a client. The filter is nil for a message of a
// type that servers ignore; code is the close code that an error is answered with.
func parseUpdate(p []byte) (f *filter, code int, err error) {
	var u optionsUpdate
	if json.Unmarshal(p, &u) != nil {
		return nil, websocket.CloseInvalidFramePayloadData, errors.New("bad SubscriberSourcedMessage envelope")
	}
	if u.Type == "options_update" {
		f, err = newFilter(u.Payload.WantedCollections, u.Payload.WantedDIDs, u.Payload.MaxMessageSizeBytes)
	}
	return f, websocket.ClosePolicyViolation, err
}

// Shapes of identifiers, from atproto.com/specs/nsid and atproto.com/specs/did.
var (
	nsidSyntax = regexp.MustCompile(`^[a-zA-Z]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)+\.[a-zA-Z][a-zA-Z0-9]{0,62}$`)
	didSyntax  = regexp.MustCompile(`^did:[a-z]+:[a-zA-Z0-9._:%-]*[a-zA-Z0-9._%-]$`)
)

// validNSID checks a collection's name.
func validNSID(s string) bool { return len(s) <= 317 && nsidSyntax.MatchString(s) }

// validDID checks an account's identifier.
func validDID(s string) bool { return len(s) <= 2048 && didSyntax.MatchString(s) }

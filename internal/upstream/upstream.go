// Package upstream holds what the sources have in common in dealing with a
// server on the internet: its URL, why a stream could not be opened, what an HTTP
// answer that is not a stream means for the next attempt, where events come from, and
// how missing events are noted. It opens no connection and knows no wire format.
package upstream

import (
	"bytes"
	"cmp"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/weir-project/weir/internal/event"
)

// Project is where people find out what weir is; it stands in the User-Agent.
const Project = "https://github.com/weir-project/weir"

// UserAgent is what weir calls itself to a server. Wikimedia's policy asks for
// a name, a version and a contact.
func UserAgent(version string) string {
	return "weir/" + cmp.Or(version, "dev") + " (+" + Project + ")"
}

// Refusal makes an error of an answer that is not a stream. Client errors are
// permanent, save those that time heals (408, 421, 425, 429); anything else is worth
// another try, after Retry-After where there is one. body is the start of the
// answer's body, and hint, which may be empty, the way out for this status.
func Refusal(host string, resp *http.Response, body []byte, hint string) *event.StreamError {
	status := resp.StatusCode
	e := &event.StreamError{RetryAfter: RetryAfter(resp.Header, time.Now())}
	switch status {
	case http.StatusRequestTimeout, http.StatusMisdirectedRequest, http.StatusTooEarly, http.StatusTooManyRequests:
	default:
		e.Permanent = status >= 400 && status < 500
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s answered %d %s", host, status, http.StatusText(status))
	kind := ContentType(resp.Header)
	switch {
	case isPage(kind, body):
		b.WriteString(" with a web page, not with a stream")
		if kind != "" {
			fmt.Fprintf(&b, " (Content-Type %s)", kind)
		}
		b.WriteString(": is there a proxy or a network login (captive portal) in between?")
	case status == http.StatusOK && kind != "":
		fmt.Fprintf(&b, " with Content-Type %s, not with a stream", kind)
	default:
		if quote := firstLine(body); quote != "" {
			fmt.Fprintf(&b, " (%q)", quote)
		}
	}
	if hint != "" {
		b.WriteString(": " + hint)
	}
	if e.RetryAfter > 0 {
		fmt.Fprintf(&b, "; asked to wait %s", e.RetryAfter.Round(time.Second))
		if e.RetryAfter > event.MaxRetryAfter {
			fmt.Fprintf(&b, ", of which weir waits %s", event.MaxRetryAfter)
		}
	}
	e.Err = fmt.Errorf("%s", b.String())
	return e
}

// Plain returns an error when the body of a stream's answer is encoded, though
// weir asked for none: read as it is, such a stream would yield nothing for ever.
func Plain(host string, h http.Header) error {
	encoding := strings.ToLower(strings.Join(h.Values("Content-Encoding"), ", "))
	for one := range strings.SplitSeq(encoding, ",") {
		if one = strings.TrimSpace(one); one != "" && one != "identity" {
			return fmt.Errorf("%s sends the stream with Content-Encoding %s, though weir asked for none (identity): something between, such as a proxy,"+
				" encodes it; let it pass the stream on unchanged, or go around it (NO_PROXY)", host, clip(encoding))
		}
	}
	return nil
}

// ContentType returns the media type of an answer, without parameters.
func ContentType(h http.Header) string {
	kind, _, _ := strings.Cut(strings.ToLower(h.Get("Content-Type")), ";")
	return clip(strings.TrimSpace(kind))
}

// clip returns what a server wrote in a header, quoted unless it is short and plain.
func clip(value string) string {
	cut := value[:min(len(value), 80)]
	if q := strconv.Quote(cut); cut != value || q != `"`+cut+`"` {
		return q
	}
	return value
}

// isPage reports whether an answer is HTML, by its media type or by its first bytes.
func isPage(kind string, body []byte) bool {
	if kind == "text/html" || kind == "application/xhtml+xml" {
		return true
	}
	start := bytes.ToLower(bytes.TrimSpace(body[:min(len(body), 64)]))
	return bytes.HasPrefix(start, []byte("<!doctype html")) || bytes.HasPrefix(start, []byte("<html"))
}

// firstLine returns the first line of what a server said, at most 120 bytes.
func firstLine(body []byte) string {
	line, _, _ := bytes.Cut(bytes.TrimSpace(body), []byte("\n"))
	return strings.TrimSpace(strings.ToValidUTF8(string(line[:min(len(line), 120)]), "?"))
}

// RetryAfter returns the wait that a Retry-After header asks for, in seconds or
// as a date (RFC 9110, section 10.2.3); 0 where there is none that makes sense.
func RetryAfter(h http.Header, now time.Time) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if s, err := strconv.ParseUint(v, 10, 31); err == nil {
		return time.Duration(s) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}

// maxSeed is the longest seed in bytes that a simulated upstream may name.
const maxSeed = 64

// Origin returns where the events of a stream come from, given the header of
// the answer that opened it.
func Origin(h http.Header) string {
	seed := h.Get(event.OriginHeader)
	if seed == "" {
		return event.OriginLive
	}
	return event.OriginSimulated + ":" + seed[:min(len(seed), maxSeed)]
}

// SameOrigin returns a permanent error when the events of host come from
// elsewhere than those stored so far. An empty want accepts any.
func SameOrigin(host, want, got string) error {
	if want == "" || want == got {
		return nil
	}
	return &event.StreamError{Permanent: true, Err: fmt.Errorf("%s sends events of origin %q, but those stored so far are of %q, and the two never share a topic:"+
		" use another data directory (--data) or other topics, or the upstream that they came from", host, got, want)}
}

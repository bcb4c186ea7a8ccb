package wikipedia

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"regexp"
	"time"

	"github.com/weir-project/weir/internal/event"
)

// outcome is what decoding an event comes to, whoever does it.
type outcome struct {
	malformed      bool
	route          event.Route
	kind, key, id  string
	timeUS         int64
	classifiedKind string
}

// reference decodes with encoding/json into maps, slowly and by the rules that
// Decode, Identify and Classify document.
func reference(data []byte) (o outcome) {
	o.malformed, o.classifiedKind = true, event.MalformedKind
	var env map[string]any
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if !json.Valid(data) || dec.Decode(&env) != nil || env == nil {
		return o
	}
	kind := refText(env, "type")
	if n, ok := env["type"].(json.Number); ok {
		kind = n.String()
	}
	switch {
	case len(kind) > event.MaxKind:
		o.classifiedKind = event.OtherKind
	case kind != "":
		o.classifiedKind = kind
	}
	meta, _ := env["meta"].(map[string]any)
	if us, ok := refTime(refText(meta, "dt")); ok && us > 0 {
		o.timeUS = us
	} else if n, ok := env["timestamp"].(json.Number); ok {
		if s, err := n.Int64(); err == nil && s > 0 && s <= 9223372036854 {
			o.timeUS = s * 1000000
		}
	}
	id, canaryEvent := refText(meta, "id"), refText(meta, "domain") == "canary"
	place, title := refText(env, "wiki"), refText(env, "title")
	if place == "" {
		place = refText(meta, "domain")
	}
	if len(id) > 2048 || !canaryEvent && (kind == "" || len(place) > 2048 || len(title) > 2048) {
		return o
	}
	o.malformed = false
	if o.id = id; id == "" {
		sum := sha256.Sum256(data)
		o.id = "sha256:" + hex.EncodeToString(sum[:])
	}
	if canaryEvent {
		o.route, o.kind = event.Skip, "canary"
		return o
	}
	o.route, o.kind, o.key = event.Data, o.classifiedKind, place+"|"+title
	return o
}

func refText(object map[string]any, name string) string {
	s, _ := object[name].(string)
	return s
}

// strict is what time.Parse is not: it takes one-digit hours, a comma and any
// offset.
var strict = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$`)

func refTime(s string) (us int64, ok bool) {
	at, err := time.Parse(time.RFC3339, s)
	if err != nil || !strict.MatchString(s) {
		return 0, false
	}
	return at.UnixMicro(), true
}

package bluesky

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/weir-project/weir/internal/event"
)

// outcome is what decoding a frame comes to, whoever does it.
type outcome struct {
	malformed      bool
	route          event.Route
	kind, key, id  string
	seq, timeUS    int64
	classifiedKind string
}

// reference decodes with encoding/json into maps, slowly and by the rules that
// Decode, Identify and Classify document.
func reference(frame []byte) (o outcome) {
	o.malformed, o.classifiedKind = true, event.MalformedKind
	var env map[string]any
	dec := json.NewDecoder(bytes.NewReader(frame))
	dec.UseNumber()
	if !json.Valid(frame) || dec.Decode(&env) != nil || env == nil {
		return o
	}
	commit, _ := env["commit"].(map[string]any)
	kind, did, op := refText(env, "kind"), refText(env, "did"), refText(commit, "operation")
	switch {
	case len(op) > event.MaxKind:
		o.classifiedKind = event.OtherKind
	case op != "":
		o.classifiedKind = op
	case kind == "account" || kind == "identity":
		o.classifiedKind = kind
	}
	var timeOK, seqOK bool
	if o.timeUS, timeOK = refNumber(env, "time_us"); env["time_us"] == nil {
		timeOK = false
	}
	o.seq, seqOK = refNumber(env, "cursor")

	var parts []string
	innerOK := true
	switch kind {
	case "":
		if env["error"] != nil {
			o.malformed, o.route, o.kind = false, event.Reject, event.ReasonError
		}
		return o
	case "commit":
		o.route, o.kind = event.Data, op
		if len(op) > event.MaxKind {
			o.kind = event.OtherKind
		}
		parts = []string{did, refText(commit, "rev"), refText(commit, "collection"), refText(commit, "rkey"), op}
	case "account", "identity":
		o.route, o.kind = event.Account, kind
		in, _ := env[kind].(map[string]any)
		var seq int64
		seq, innerOK = refNumber(in, "seq")
		last := strconv.FormatInt(seq, 10)
		if seq == 0 {
			last = refText(in, "time")
			if last == "" || len(last) > 2048 {
				sum := sha256.Sum256(frame)
				last = "sha256:" + hex.EncodeToString(sum[:])
			}
		}
		parts = []string{did, kind, last}
	default:
		o.malformed, o.route, o.kind = false, event.Reject, event.ReasonUnknown
		return o
	}
	o.malformed = !timeOK || !seqOK || !innerOK
	for i, part := range parts {
		if part == "" || len(part) > 2048 {
			o.malformed = true
		}
		parts[i] = strings.NewReplacer(`\`, `\\`, "\n", `\n`).Replace(part)
	}
	o.key, o.id = did, strings.Join(parts, "\n")
	if o.malformed {
		return outcome{malformed: true, seq: o.seq, timeUS: o.timeUS, classifiedKind: o.classifiedKind}
	}
	return o
}

func refText(object map[string]any, name string) string {
	s, _ := object[name].(string)
	return s
}

// refNumber returns a member that may be absent or null, but not anything else
// than an integer from 0 on.
func refNumber(object map[string]any, name string) (n int64, ok bool) {
	v := object[name]
	if v == nil {
		return 0, true
	}
	literal, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(literal.String(), 10, 64)
	if err != nil || n < 0 {
		return 0, false
	}
	return n, true
}

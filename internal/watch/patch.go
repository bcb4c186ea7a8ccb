package watch

import (
	"bytes"
	"encoding/json"
)

// diff returns the RFC 7396 merge patch that turns one JSON value into another, nil where
// they are equal. Members stay bytes, so that numbers keep all their digits and what did not
// change is not taken apart.
func diff(from, to json.RawMessage) json.RawMessage {
	if bytes.Equal(from, to) {
		return nil
	}
	before, after := members(from), members(to)
	if before == nil || after == nil {
		return to
	}
	patch := map[string]json.RawMessage{}
	for name, now := range after {
		if p := diff(before[name], now); p != nil {
			patch[name] = p
		}
	}
	for name, was := range before {
		if _, ok := after[name]; !ok && string(was) != "null" { // null and absent are one to a merge patch
			patch[name] = json.RawMessage("null")
		}
	}
	if len(patch) == 0 {
		return nil
	}
	b, err := json.Marshal(patch)
	if err != nil { // no patch of valid JSON comes here
		return to
	}
	return b
}

// members takes an object apart, nil for other values.
func members(v json.RawMessage) (m map[string]json.RawMessage) {
	if len(v) > 0 && v[0] == '{' {
		_ = json.Unmarshal(v, &m) // what encoding/json wrote
	}
	return m
}

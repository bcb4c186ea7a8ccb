package watch

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
)

// diff returns the RFC 7396 merge patch that turns one JSON object into another,
// nil where they are equal.
func diff(from, to map[string]any) map[string]any {
	var patch map[string]any
	set := func(k string, v any) {
		if patch == nil {
			patch = map[string]any{}
		}
		patch[k] = v
	}
	for k, now := range to {
		was, ok := from[k]
		if !ok {
			set(k, now)
			continue
		}
		a, aObject := was.(map[string]any)
		b, bObject := now.(map[string]any)
		switch {
		case aObject && bObject:
			if p := diff(a, b); p != nil {
				set(k, p)
			}
		case !reflect.DeepEqual(was, now):
			set(k, now)
		}
	}
	for k, was := range from {
		if _, ok := to[k]; !ok && was != nil { // null and absent are one to a merge patch
			set(k, nil)
		}
	}
	return patch
}

// document is a State in the form that patches are made of. Entries of the large
// maps are kept as bytes too, so that what did not change is not taken apart.
type document struct {
	head     map[string]any // everything but the sections
	sections map[string]map[string][]byte
}

// newDocument encodes a state in pieces.
func newDocument(s *State) (*document, error) {
	d := &document{sections: map[string]map[string][]byte{}}
	for name, entries := range map[string]any{"streams": s.Streams, "topics": s.Topics, "groups": s.Groups} {
		section := map[string][]byte{}
		for it := reflect.ValueOf(entries).MapRange(); it.Next(); {
			b, err := json.Marshal(it.Value().Interface())
			if err != nil {
				return nil, fmt.Errorf("encode the state's %s: %w", name, err)
			}
			section[it.Key().String()] = b
		}
		d.sections[name] = section
	}
	head := *s
	head.Streams, head.Topics, head.Groups = nil, nil, nil
	b, err := json.Marshal(&head)
	if err != nil {
		return nil, fmt.Errorf("encode the state: %w", err)
	}
	if d.head, err = decode(b); err != nil {
		return nil, err
	}
	for name := range d.sections {
		delete(d.head, name)
	}
	return d, nil
}

// decode keeps numbers as they are written: offsets need all 64 bits.
func decode(b []byte) (map[string]any, error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	var m map[string]any
	if err := dec.Decode(&m); err != nil {
		return nil, fmt.Errorf("decode the state: %w", err)
	}
	return m, nil
}

// patchFrom returns the merge patch from an earlier document to this one as JSON.
func (d *document) patchFrom(old *document) ([]byte, error) {
	patch := diff(old.head, d.head)
	if patch == nil {
		patch = map[string]any{}
	}
	for name, entries := range d.sections {
		was := old.sections[name]
		section := map[string]any{}
		for k, b := range entries {
			if bytes.Equal(b, was[k]) {
				continue
			}
			now, err := decode(b)
			if err != nil {
				return nil, err
			}
			before := map[string]any{}
			if was[k] != nil {
				if before, err = decode(was[k]); err != nil {
					return nil, err
				}
			}
			if p := diff(before, now); p != nil {
				section[k] = p
			}
		}
		for k := range was {
			if _, ok := entries[k]; !ok {
				section[k] = nil
			}
		}
		if len(section) > 0 {
			patch[name] = section
		}
	}
	b, err := json.Marshal(patch)
	if err != nil {
		return nil, fmt.Errorf("encode a patch: %w", err)
	}
	return b, nil
}

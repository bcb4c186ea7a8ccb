package send

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Text says how a text becomes a record.
type Text struct {
	// Key is the key of each record; nil for none.
	Key []byte
	// Separator is between key and value; empty where the text is the value.
	Separator []byte
	// Null makes an empty value null: a tombstone.
	Null      bool
	Headers   []kgo.RecordHeader
	Partition int32 // -1: the key chooses
}

// Record makes a record of a text, which stays in it.
func (t *Text) Record(text []byte, r *kgo.Record) error {
	*r = kgo.Record{Key: t.Key, Value: text, Headers: t.Headers, Partition: t.Partition}
	if len(t.Separator) > 0 {
		at := bytes.Index(text, t.Separator)
		if at < 0 {
			return fmt.Errorf("the separator %q between key and value is missing", t.Separator)
		}
		r.Key, r.Value = text[:at:at], text[at+len(t.Separator):]
	}
	if t.Null && len(r.Value) == 0 {
		r.Value = nil
	}
	return nil
}

// Header reads a header as NAME=VALUE. Without = its value is null.
func Header(text string) (h kgo.RecordHeader, err error) {
	name, value, given := strings.Cut(text, "=")
	if h.Key = name; given {
		h.Value = []byte(value)
	}
	if h.Key == "" {
		return h, errors.New("a header needs a name: NAME=VALUE")
	}
	return h, nil
}

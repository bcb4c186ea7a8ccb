package inspect

import (
	"encoding/base64"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// WireMessage is a Message as JSON, the same for the commands and the pages. Key,
// value and headers are text where they are UTF-8, which loses nothing, and
// base64 where not; null where there is none.
type WireMessage struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	// Time is null where the stored timestamp is out of range: before 1970 or after
	// the year 9999. Timestamp is the stored number then, as text, because readers
	// of JSON round numbers of that size. A producer that sends microseconds or
	// nanoseconds instead of milliseconds stores such numbers.
	Time        *time.Time   `json:"time"`
	Timestamp   string       `json:"timestamp,omitempty"`
	Headers     []WireHeader `json:"headers"`
	Key         *string      `json:"key"`
	KeyBase64   string       `json:"key_base64,omitempty"`
	Value       *string      `json:"value"`
	ValueBase64 string       `json:"value_base64,omitempty"`
	// ValueSize is the value's whole size in bytes; Truncated says that only its
	// beginning is here.
	ValueSize int  `json:"value_size"`
	Truncated bool `json:"truncated,omitempty"`
	// Gap is the offsets right before the message that hold none.
	Gap *Gap `json:"gap,omitempty"`
}

// WireHeader is a header of a WireMessage.
type WireHeader struct {
	Name string `json:"name"`
	// NameBase64 is the name where that is not UTF-8. Name has a replacement character in it then.
	NameBase64 string  `json:"name_base64,omitempty"`
	Value      *string `json:"value"`
	Base64     string  `json:"value_base64,omitempty"`
}

// Wire returns the message with at most limit bytes of its value; 0 means all.
func (m *Message) Wire(limit int) WireMessage {
	out := WireMessage{Topic: m.Topic, Partition: m.Partition, Offset: m.Offset, Headers: []WireHeader{}, ValueSize: len(m.Value), Gap: m.Gap}
	if t := m.Timestamp.UTC(); m.TimeInRange() {
		out.Time = &t
	} else {
		out.Timestamp = strconv.FormatInt(t.UnixMilli(), 10)
	}
	out.Key, out.KeyBase64 = wireText(m.Key)
	v := m.Value
	if limit > 0 && len(v) > limit {
		out.Truncated = true
		v = v[:limit]
		for len(v) > limit-utf8.UTFMax && !utf8.Valid(v) { // not in the middle of a character
			v = v[:len(v)-1]
		}
	}
	out.Value, out.ValueBase64 = wireText(v)
	for _, h := range m.Headers {
		w := WireHeader{Name: strings.ToValidUTF8(h.Key, "\uFFFD")}
		if w.Name != h.Key {
			w.NameBase64 = base64.StdEncoding.EncodeToString([]byte(h.Key))
		}
		w.Value, w.Base64 = wireText(h.Value)
		out.Headers = append(out.Headers, w)
	}
	return out
}

func wireText(b []byte) (text *string, b64 string) {
	switch {
	case b == nil:
		return nil, ""
	case !utf8.Valid(b):
		return nil, base64.StdEncoding.EncodeToString(b)
	}
	s := string(b)
	return &s, ""
}

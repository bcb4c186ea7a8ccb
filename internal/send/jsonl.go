package send

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/inspect"
)

// JSON says how a line of JSON becomes a record. It reads what `weir messages -o jsonl` prints:
// key, value, headers and time of a message are those of the record.
type JSON struct {
	// KeepPartition writes each record to the partition that the line names. Otherwise
	// the key chooses.
	KeepPartition bool
	// Headers are added to those of the line.
	Headers   []kgo.RecordHeader
	Partition int32 // -1: the key chooses, or the line
}

// jsonLine is a message as inspect.WireMessage writes it. A value must be there, because a null
// value means something: it deletes the key of a compacted topic.
type jsonLine struct {
	inspect.WireMessage
	Value wireValue `json:"value"`
}

type wireValue struct {
	given bool
	text  *string
}

// UnmarshalJSON implements json.Unmarshaler.
func (v *wireValue) UnmarshalJSON(b []byte) error {
	v.given = true
	if json.Unmarshal(b, &v.text) != nil {
		return errors.New(`"value" is not text: write JSON as text, with \" for each quote`)
	}
	return nil
}

// Record makes a record of a line.
func (j *JSON) Record(line []byte, r *kgo.Record) (skip bool, err error) {
	if line = bytes.TrimSpace(line); len(line) == 0 {
		return true, nil
	}
	if line[0] != '{' {
		return false, errors.New("it does not begin with {: --input jsonl reads a JSON object a line, as weir messages -o jsonl prints them")
	}
	var m jsonLine
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&m); err != nil {
		return false, fmt.Errorf("it is not as weir messages -o jsonl prints a message: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return false, errors.New("something follows the JSON object")
	}
	switch {
	case m.Truncated:
		return false, errors.New("only the beginning of its value is there (truncated): take the messages from weir messages -o jsonl")
	case !m.Value.given && m.ValueBase64 == "":
		return false, errors.New(`it has no "value"; null is a tombstone`)
	}
	*r = kgo.Record{Partition: j.Partition}
	if j.KeepPartition {
		r.Partition = m.Partition
	}
	if r.Key, err = wireBytes("key", m.Key, m.KeyBase64); err != nil {
		return false, err
	}
	if r.Value, err = wireBytes("value", m.Value.text, m.ValueBase64); err != nil {
		return false, err
	}
	if r.Timestamp, err = wireTime(&m.WireMessage); err != nil {
		return false, err
	}
	for _, h := range m.Headers {
		name, err := wireBytes("name", &h.Name, h.NameBase64)
		if err != nil {
			return false, err
		}
		value, err := wireBytes("value", h.Value, h.Base64)
		if err != nil {
			return false, fmt.Errorf("header %q: %w", h.Name, err)
		}
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: string(name), Value: value})
	}
	r.Headers = append(r.Headers, j.Headers...)
	return false, nil
}

// wireBytes is the opposite of how inspect.WireMessage writes bytes.
func wireBytes(what string, text *string, b64 string) ([]byte, error) {
	switch {
	case b64 != "":
		b, err := base64.StdEncoding.DecodeString(b64)
		if err != nil {
			return nil, fmt.Errorf("%q is not base64: %w", what+"_base64", err)
		}
		return b, nil
	case text == nil:
		return nil, nil
	}
	return []byte(*text), nil
}

// maxMillis is as far from 1970 as a time in nanoseconds reaches, in milliseconds.
const maxMillis = math.MaxInt64 / 1_000_000

// wireTime is the time of a message; now where the line has none.
func wireTime(m *inspect.WireMessage) (t time.Time, err error) {
	switch {
	case m.Timestamp != "":
		ms, err := strconv.ParseInt(m.Timestamp, 10, 64)
		if err != nil {
			return t, fmt.Errorf(`"timestamp" %q is not a number of milliseconds`, m.Timestamp)
		}
		t = time.UnixMilli(ms)
	case m.Time != nil:
		t = *m.Time
	default:
		return t, nil
	}
	if ms := t.UnixMilli(); ms < -maxMillis || ms > maxMillis { // the client counts nanoseconds
		return t, fmt.Errorf("its time is %d ms after 1970, and weir send can write the years 1678 to 2262 only: "+
			"take the time out of the line for the present one", ms)
	}
	return t, nil
}

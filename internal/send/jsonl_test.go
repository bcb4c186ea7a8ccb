package send_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/send"
)

// TestJSONKeepsEverything: a message that was written as JSON is the same record again.
func TestJSONKeepsEverything(t *testing.T) {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	at := time.UnixMilli(1730176462123)
	for name, want := range map[string]kgo.Record{
		"text":            {Key: []byte("k"), Value: []byte("v\n\"{}<&>\u2028\u202e\ufffd\U0001f600"), Timestamp: at},
		"null":            {Timestamp: at},
		"empty":           {Key: []byte{}, Value: []byte{}, Timestamp: at},
		"bytes":           {Key: all, Value: all, Timestamp: at},
		"half characters": {Key: []byte("\xed\xa0\x80"), Value: []byte("a\xff"), Timestamp: at},
		"headers": {Timestamp: at, Headers: []kgo.RecordHeader{{Key: "a", Value: []byte("1")}, {Key: "a"}, {Key: "", Value: []byte{}},
			{Key: "b\xff", Value: all}, {Key: "\ufffd", Value: []byte("x")}}},
		"the first time": {Timestamp: time.UnixMilli(0)},
		"no time":        {Timestamp: time.UnixMilli(-1)},
		"before 1970":    {Timestamp: time.UnixMilli(-9_000_000_000_000)},
		"the year 2255":  {Timestamp: time.UnixMilli(9_000_000_000_000)},
	} {
		m := inspect.Message{Key: want.Key, Value: want.Value, Headers: want.Headers, Timestamp: want.Timestamp, Partition: 2}
		line, err := json.Marshal(m.Wire(0))
		if err != nil {
			t.Fatal(err)
		}
		for partition, how := range map[int32]*send.JSON{-1: {Partition: -1}, 1: {Partition: 1}, 2: {Partition: -1, KeepPartition: true}} {
			var got kgo.Record
			if skip, err := how.Record(line, &got); err != nil || skip {
				t.Errorf("%s: %v, %v: %s", name, skip, err, line)
				continue
			}
			if got.Partition != partition || got.Timestamp.UnixMilli() != want.Timestamp.UnixMilli() || got.Timestamp.IsZero() {
				t.Errorf("%s: partition %d, time %v: %s", name, got.Partition, got.Timestamp, line)
			}
			if !bytes.Equal(got.Key, want.Key) || (got.Key == nil) != (want.Key == nil) || !bytes.Equal(got.Value, want.Value) || (got.Value == nil) != (want.Value == nil) {
				t.Errorf("%s: %q %q, want %q %q", name, got.Key, got.Value, want.Key, want.Value)
			}
			if !reflect.DeepEqual(got.Headers, want.Headers) {
				t.Errorf("%s: headers %q, want %q", name, got.Headers, want.Headers)
			}
		}
	}
}

func TestJSONRefuses(t *testing.T) {
	for line, want := range map[string]string{
		`[{"value":"a"}]`:                              "does not begin with {",
		`plain`:                                        "does not begin with {",
		`{"key":"a"}`:                                  `no "value"`,
		`{"value":{"a":1}}`:                            `"value" is not text`,
		`{"value":7}`:                                  `"value" is not text`,
		`{"value":"a","vallue":"b"}`:                   "vallue",
		`{"value":"a"} {"value":"b"}`:                  "something follows",
		`{"value":"a"`:                                 "not as weir messages",
		`{"value":"a","truncated":true}`:               "truncated",
		`{"value":null,"key_base64":"?"}`:              "not base64",
		`{"value":"a","timestamp":"noon"}`:             "not a number",
		`{"value":"a","timestamp":"1730176462000000"}`: "its time is 1730176462000000 ms",
		`{"value":"a","time":"0001-01-01T00:00:00Z"}`:  "the years 1678 to 2262",
	} {
		var r kgo.Record
		if _, err := (&send.JSON{Partition: -1}).Record([]byte(line), &r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", line, err, want)
		}
	}
	in := send.NewLines(strings.NewReader("{\"value\":\"a\"}\n\n \n{\"value\":null}\n{\"value\":\"\"}\nx\n"), (&send.JSON{Partition: -1}).Record)
	got, err := next(t.Context(), in)
	if strings.Join(got, ",") != "1 =a,4 =,5 =" || err == nil || !strings.HasPrefix(err.Error(), "line 6: it does not begin") {
		t.Errorf("%q, %v", got, err)
	}
}

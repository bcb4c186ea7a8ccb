package send_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/send"
)

// FuzzJSON writes a record as weir messages does and reads it as weir send does; and it reads any line.
func FuzzJSON(f *testing.F) {
	f.Add([]byte("k"), []byte("v"), "name", []byte("x"), int64(1730176462123), `{"value":"a"}`)
	f.Add([]byte{}, []byte("\xff\x00"), "\xff", []byte{}, int64(-1), `{"value":null,"key_base64":"AA=="}`)
	f.Add([]byte("\u2028"), []byte(nil), "", []byte("\ufffd"), int64(0), `{"value":"a","time":"2026-01-01T00:00:00Z"} x`)
	f.Fuzz(func(t *testing.T, key, value []byte, name string, header []byte, ms int64, line string) {
		ms %= 9_000_000_000_000
		m := inspect.Message{Key: key, Value: value, Headers: []kgo.RecordHeader{{Key: name, Value: header}}, Timestamp: time.UnixMilli(ms)}
		text, err := json.Marshal(m.Wire(0))
		if err != nil {
			t.Fatal(err)
		}
		var r kgo.Record
		if skip, err := (&send.JSON{Partition: -1}).Record(text, &r); err != nil || skip {
			t.Fatalf("%s: %v", text, err)
		}
		if !bytes.Equal(r.Key, key) || !bytes.Equal(r.Value, value) || r.Headers[0].Key != name || !bytes.Equal(r.Headers[0].Value, header) || r.Timestamp.UnixMilli() != ms {
			t.Errorf("%s is read as %+v", text, r)
		}
		if skip, err := (&send.JSON{Partition: -1}).Record([]byte(line), &r); err == nil && !skip && !json.Valid([]byte(line)) {
			t.Errorf("%q is taken, and is not JSON", line)
		}
	})
}

// FuzzTemplate fills templates of any text. One whose braces are doubled comes out as the text.
func FuzzTemplate(f *testing.F) {
	f.Add(`{"a":{n},"b":"{uuid}"}`)
	f.Add("{choice a b} {{ {now} {")
	f.Fuzz(func(t *testing.T, text string) {
		if parsed, err := send.ParseTemplate(text); err == nil {
			if got := parsed.Append(nil, 1<<62); !strings.Contains(text, "{") && string(got) != text {
				t.Errorf("%q becomes %q", text, got)
			}
		}
		parsed, err := send.ParseTemplate(strings.ReplaceAll(text, "{", "{{"))
		if err != nil || string(parsed.Append([]byte("before "), 7)) != "before "+text {
			t.Errorf("%q with doubled braces: %v", text, err)
		}
	})
}

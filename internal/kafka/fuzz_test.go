package kafka

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// FuzzProperties writes a setting as Java's Properties.store does and reads it back, behind other text.
// Names of settings have no escapes.
func FuzzProperties(f *testing.F) {
	f.Add("sasl.password", "p=w:d #!\\ \t\n\u00e9", "# a comment\\\n")
	f.Add("a", " leading", "ssl.ca.location:x\\\n  y\r\n")
	f.Add("b", "", "\\")
	f.Fuzz(func(t *testing.T, key, value, before string) {
		if strings.ContainsAny(key, "=: \t\\\n#!") || key == "" || strings.ContainsAny(key+value, "\r\f\ufffd") || !isText(key) || !isText(value) {
			t.Skip("not the name of a setting, or not text that a file can have")
		}
		if lines := strings.Split(before, "\n"); goesOn(strings.TrimLeft(strings.TrimSuffix(lines[len(lines)-1], "\r"), " \t\f")) {
			before += "x"
		}
		got := parseProperties(before + "\n" + key + "=" + stored(value) + "\n")
		if got[key] != value {
			t.Errorf("%q=%q behind %q is read as %q", key, value, before, got)
		}
	})
}

func isText(s string) bool { return strings.ToValidUTF8(s, "") == s }

// stored escapes what has a meaning in the file.
func stored(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case strings.ContainsRune("\\=: #!\t", r):
			b.WriteString("\\" + map[bool]string{true: "t", false: string(r)}[r == '\t'])
		case r == '\n':
			b.WriteString("\\n")
		case r > 0x7e && r < 0x10000:
			fmt.Fprintf(&b, "\\u%04X", r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// FuzzSecurity reads settings of any text. No error has the password in it.
func FuzzSecurity(f *testing.F) {
	f.Add("security.protocol=SASL_SSL\nsasl.mechanism=PLAIN\nsasl.username=u\n", "sasl.password")
	f.Add("security.protocol=SASL_PLAINTEXT\nsasl.mechanism=OAUTHBEARER\n", "sasl.oauthbearer.client.secret")
	f.Add("security.protocol=SSL\nssl.key.location=x\n", "ssl.key.password")
	const secret = "hunter2hunter2"
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text, name string) {
		if strings.Contains(text, secret) || !strings.Contains(name, "password") && !strings.Contains(name, "secret") || strings.ContainsAny(name, "\n\r\\=: \t") {
			t.Skip("another place than that of a secret")
		}
		p := parseProperties(text)
		p[name] = secret
		for _, key := range []string{"location", "file", "url"} { // no file and no server is looked for
			for k := range p {
				if strings.Contains(k, key) {
					delete(p, k)
				}
			}
		}
		s, err := securityOf(p, dir, "")
		if shown := fmt.Sprintf("%v %+v %v", s, s, err); strings.Contains(shown, secret) {
			t.Errorf("%q is shown as %s", p, shown)
		}
	})
}

// FuzzCursor reads records that anybody can have written to the topic of cursors. What is refused says
// where and why, and what is read is written as the same.
func FuzzCursor(f *testing.F) {
	f.Add([]byte(`{"version":1,"source":"bluesky","instance":"me","written_us":17,"cursor":{"host":"h:1","seq":9},"seqs":{"t":5},"counts":{"t":{"create":5}}}`))
	f.Add([]byte(`{"version":1,"source":"bluesky","seqs":{"t":-4}}`))
	f.Add([]byte(`{"version":2,"shape":"unknown"}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		rec, err := decodeCursor("bluesky", &kgo.Record{Topic: TopicCursors, Key: []byte("bluesky"), Value: value})
		if err != nil {
			var ce *CursorError
			if !errors.As(err, &ce) || ce.Out == "" || !strings.Contains(ce.Cause, "record 0 of "+TopicCursors+"/0") {
				t.Errorf("%q: %v", value, err)
			}
			return
		}
		text, err := rec.Encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := decodeCursor("bluesky", &kgo.Record{Key: []byte("bluesky"), Value: text})
		if err != nil || !reflect.DeepEqual(again, rec) {
			t.Errorf("%+v is written and read as %+v, %v", rec, again, err)
		}
	})
}

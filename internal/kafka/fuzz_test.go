package kafka

import (
	"bytes"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

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
			if !errors.As(err, &ce) || ce.Out == "" || !strings.Contains(ce.Cause, "record 0 of "+TopicCursors+" partition 0") {
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

// FuzzSubject reads subjects of certificates of any bytes and names in them, as Kafka makes principals of
// them. A subject of known attributes has the names that crypto/x509 finds, and nothing is left unescaped.
func FuzzSubject(f *testing.F) {
	f.Add([]byte("0\x0c1\n0\b\x06\x03U\x04\x03\x0c\x01x"), "weir", "Duck, Inc.")
	f.Add([]byte("0\x800"), " edges ", `a+b"c\<>;#=`)
	f.Add([]byte{}, "\u202e\x00", "")
	f.Fuzz(func(t *testing.T, raw []byte, name, org string) {
		if dn, err := distinguishedName(raw); err == nil && strings.ContainsAny(dn, "\n\r") && !bytes.ContainsAny(raw, "\n\r") {
			t.Errorf("%x is %q", raw, dn)
		}
		if !utf8.ValidString(name+org) || name == "" || org == "" {
			return
		}
		subject, err := asn1.Marshal(pkix.Name{CommonName: name, Organization: []string{org}}.ToRDNSequence())
		if err != nil {
			return // a text that a certificate cannot have
		}
		dn, err := distinguishedName(subject)
		if err != nil {
			t.Fatalf("%q, %q: %v", name, org, err)
		}
		var plain strings.Builder
		parts := []string{}
		for i := 0; i < len(dn); i++ {
			switch c := dn[i]; {
			case c == '\\' && i+1 < len(dn):
				i++
				plain.WriteByte(dn[i])
			case c == ',':
				parts = append(parts, plain.String())
				plain.Reset()
			default:
				plain.WriteByte(c)
			}
		}
		if parts = append(parts, plain.String()); !slices.Equal(parts, []string{"CN=" + name, "O=" + org}) {
			t.Errorf("%q, %q are %q, whose parts are %q", name, org, dn, parts)
		}
	})
}

// answerOf answers each request with a status and a body.
type answerOf struct {
	status int
	body   []byte
}

func (a *answerOf) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: a.status, Body: io.NopCloser(bytes.NewReader(a.body)), Request: r}, nil
}

// FuzzToken reads the answers of an identity provider and tokens of any bytes. A token that is taken could
// end no message early and is used for at most a day, no error has the secret or the answer in it, and the
// subject is what encoding/json finds.
func FuzzToken(f *testing.F) {
	payload := base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"weir","sub2":1}`))
	f.Add(200, []byte(`{"access_token":"a.`+payload+`.c","expires_in":3600}`))
	f.Add(200, []byte(`{"access_token":"hunter2hunter2 \u0001auth","expires_in":1e300}`))
	f.Add(200, []byte(`{"access_token":"x","expires_in":-5}`))
	f.Add(401, []byte(`{"error":"invalid_client","error_description":"hunter2hunter2"}`))
	f.Add(400, []byte(`{"error":"hunter2hunter2"}`))
	f.Add(302, []byte("<html>"))
	f.Add(200, bytes.Repeat([]byte(" "), maxTokenSize+1))
	const secret = "hunter2hunter2"
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		e := &tokenEndpoint{url: "https://idp.example/token", id: "id", secret: secret, client: &http.Client{Transport: &answerOf{status, body}}}
		token, life, err := e.ask(t.Context())
		if err != nil {
			if text := err.Error(); token != "" || strings.Contains(text, secret) || len(text) > 300 || !strings.Contains(text, "idp.example") {
				t.Errorf("%d %q: %q, %v", status, body, token, err)
			}
			return
		}
		var want struct {
			Token string `json:"access_token"`
		}
		if json.Unmarshal(body, &want) != nil || want.Token != token || status != http.StatusOK {
			t.Errorf("%d %q: %q", status, body, token)
		}
		if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' || r == ',' }) || token == "" || life < 0 || life > 24*time.Hour {
			t.Errorf("%q is taken, with %q for %v", body, token, life)
		}
		subject := ""
		if parts := strings.Split(token, "."); len(parts) > 1 {
			var claims map[string]json.RawMessage
			if text, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "=")); err == nil && json.Unmarshal(text, &claims) == nil {
				for name, raw := range claims { // names in any case count
					if strings.EqualFold(name, "sub") && json.Unmarshal(raw, &subject) == nil && subject != "" {
						break
					}
				}
			}
		}
		if got := tokenSubject(token); got != "" && subject == "" {
			t.Errorf("%q is of %q", token, got)
		}
	})
}

// FuzzAddresses checks lists of --kafka of any text: what is taken has a host and a port, by net's own parser.
func FuzzAddresses(f *testing.F) {
	for _, s := range []string{"127.0.0.1:9092", "a:1,b:2", "[::1]:9092", "localhost", ":9092", "a:0", "a:65536", "a:+1", "a:08", "a:1:2", "", "a:1,", "user@h:1", "[::1:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, list string) {
		addresses := strings.Split(list, ",")
		want := true
		for _, a := range addresses {
			host, port, err := net.SplitHostPort(a)
			n, wrong := strconv.Atoi(port)
			want = want && err == nil && host != "" && wrong == nil && n >= 1 && n <= 65535
		}
		err := Config{Brokers: addresses}.Validate()
		if want != (err == nil) {
			t.Errorf("%q: %v", list, err)
		}
		if err != nil {
			return
		}
		if err := kgo.ValidateOpts(kgo.SeedBrokers(addresses...)); err != nil {
			t.Errorf("%q is taken, and the client refuses it: %v", list, err)
		}
	})
}

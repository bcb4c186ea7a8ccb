package web

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/watch"
)

// large is a number that would make a test write or create too much.
var large = regexp.MustCompile(`[0-9]{3}|[0-9][eE]`)

// FuzzBody sends bodies of any bytes to each operation that takes one. The answer is always JSON. Where
// encoding/json does not decode the body as the operation's type, the status is 400 and the error says so;
// no other body is the server's fault.
func FuzzBody(f *testing.F) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "events"))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(c.Close)
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(cl.Close)
	insp, err := inspect.New(inspect.Config{Client: cl})
	if err != nil {
		f.Fatal(err)
	}
	w, err := watch.New(watch.Config{Inspector: insp})
	if err != nil {
		f.Fatal(err)
	}
	s, err := New(Config{Watch: w, Inspector: insp})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(s.Close)
	var operations []route
	for _, rt := range s.operations() {
		if rt.method == http.MethodPost && rt.body != nil {
			operations = append(operations, rt)
		}
	}
	for i, rt := range operations {
		empty, err := json.Marshal(reflect.New(rt.body).Interface())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), empty)
		f.Add(uint8(i), []byte(`{"confirm":"g","to":"oldest","topic":"events"}`))
		f.Add(uint8(i), append(empty, `{"confirm":"another"}`...)) // one value too many
	}
	for i, body := range []string{"{}", "", "null", "[]", `"x"`, `{"unknown":1}`, `{"confirm":1}`, `{"name":"n"}`, `{"value":"v","key":null,"partition":0}`, `{"value":"v","headers":[[null,null]]}`,
		`{"value_base64":"?"}`, "{} x", `{"name":"\ud800"}`, "{", "\xff"} {
		f.Add(uint8(i), []byte(body))
	}
	places := map[string]string{"topic": "events", "group": "g", "broker": "1", "lab": "latency", "station": "1"}
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		rt := operations[int(which)%len(operations)]
		if large.Match(body) {
			return
		}
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", bytes.NewReader(body))
		for name, value := range places {
			r.SetPathValue(name, value)
		}
		w := httptest.NewRecorder()
		s.operation(rt).ServeHTTP(w, r)
		answer := w.Body.Bytes()
		if !json.Valid(answer) || w.Header().Get("Content-Type") != "application/json" {
			t.Fatalf("%s %q: status %d, %q", rt.path, body, w.Code, answer)
		}
		var e errorAnswer
		if w.Code != http.StatusOK && (json.Unmarshal(answer, &e) != nil || e.Error == "") {
			t.Errorf("%s %q: status %d without a reason: %s", rt.path, body, w.Code, answer)
		}
		dec := json.NewDecoder(bytes.NewReader(body))
		dec.DisallowUnknownFields()
		broken := (dec.Decode(reflect.New(rt.body).Interface()) != nil || !json.Valid(body)) && (len(body) > 0 || !rt.optional)
		switch {
		case broken && (w.Code != http.StatusBadRequest || !strings.HasPrefix(e.Error, "the body of the request is not valid: ")):
			t.Errorf("%s %q: status %d, %s", rt.path, body, w.Code, answer)
		case w.Code >= 500 && w.Code != http.StatusBadGateway:
			t.Errorf("%s %q: status %d, %s", rt.path, body, w.Code, answer)
		}
	})
}

// FuzzHost asks by any name. One is served exactly where it is an address, localhost, a name below it or a
// configured one; and with a token that is set, only with that token.
func FuzzHost(f *testing.F) {
	for _, host := range []string{"localhost", "LOCALHOST:80", "127.0.0.1", "[::1]:8080", "weir.example.org.", "evil.example", "localhost.evil.example", "evil.localhost", "127.0.0.1.evil.example",
		"[::1", "weir.example.org:x", "", "::1", "0x7f000001", "127.1", "localhost:1:2", "[localhost]", "\x00", "[fe80::1%25eth0]", "weir.example.org/x"} {
		f.Add(host, "0123456789abcdef")
		f.Add(host, "0123456789abcdeF")
	}
	const token = "0123456789abcdef"
	guarded := (&Server{cfg: Config{Hosts: []string{"weir.example.org"}, Token: token}}).guard(http.NotFoundHandler())
	known := regexp.MustCompile(`(?is)^[][]*([0-9]{1,3}(\.[0-9]{1,3}){3}|[0-9a-f:.]*:[0-9a-f:.]*(%.+)?|(.*\.)?localhost|weir\.example\.org)\.?[][]*(:.*)?$`)
	ours := regexp.MustCompile(`^(127\.0\.0\.1|\[::1\]|[a-z]+\.localhost|localhost|weir\.example\.org)(:[0-9]+)?$`)
	f.Fuzz(func(t *testing.T, host, given string) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost/api/v1/log", nil)
		r.Host = host
		r.Header.Set("Authorization", "Bearer "+given)
		w := httptest.NewRecorder()
		guarded.ServeHTTP(w, r)
		switch {
		case w.Code != http.StatusMisdirectedRequest && !known.MatchString(host), w.Code == http.StatusMisdirectedRequest && ours.MatchString(host):
			t.Errorf("%q: status %d", host, w.Code)
		case w.Code == http.StatusNotFound && given != token, w.Code == http.StatusUnauthorized && given == token:
			t.Errorf("%q with %q: status %d", host, given, w.Code)
		}
	})
}

// TestBodiesThatAreWrong: a body that an operation does not take is status 400, and changes nothing.
func TestBodiesThatAreWrong(t *testing.T) {
	srv, cl := newServer(t, nil)
	for name, body := range map[string]string{
		"no body at all":               "",
		"a body that is not JSON":      "{",
		"a list in place of an object": `[{"name":"new"}]`,
		"a member of another type":     `{"name":"new","partitions":"one"}`,
		"a member that is misspelled":  `{"name":"new","partition":1}`,
		"a number beyond 32 bits":      `{"name":"new","partitions":4294967297}`,
		"two values":                   `{"name":"new"}{"name":"other"}`,
	} {
		status, _, answer := request(t, http.MethodPost, srv.URL+"/api/v1/topics", body, nil)
		if status != http.StatusBadRequest || !strings.Contains(answer, "the body of the request is not valid") {
			t.Errorf("%s: status %d, %s", name, status, answer)
		}
	}
	meta, err := kadm.NewClient(cl).Metadata(t.Context())
	if err != nil || meta.Topics.Has("new") {
		t.Errorf("a topic was created: %v, %v", meta.Topics.Names(), err)
	}
}

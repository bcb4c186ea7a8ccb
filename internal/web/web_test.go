package web

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/watch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hostile is a value that would run where a page made HTML of it.
const hostile = `{"text":"<img src=x onerror=alert(1)>\u202e</script>","n":9007199254740993}`

// newServer runs a server on a real cluster, without its guards' allowances.
func newServer(t *testing.T, change func(*Config)) (*httptest.Server, *kgo.Client) {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(3), kfake.SeedTopics(3, "events"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.DefaultProduceTopic("events"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	insp, err := inspect.New(inspect.Config{Client: cl})
	if err != nil {
		t.Fatal(err)
	}
	w, err := watch.New(watch.Config{Inspector: insp, Interval: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() { stop(); <-done })
	cfg := Config{Watch: w, Inspector: insp}
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	return srv, cl
}

func request(t *testing.T, method, url string, body string, headers map[string]string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range headers {
		if k == "Host" {
			req.Host = v
		}
		req.Header.Set(k, v)
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	client.CloseIdleConnections()
	return resp.StatusCode, resp.Header, string(b)
}

func TestGuards(t *testing.T) {
	srv, _ := newServer(t, nil)
	reset := srv.URL + "/api/v1/groups/g/reset"
	for _, c := range []struct {
		what, method, url string
		headers           map[string]string
		want              int
	}{
		{"its own address", "GET", srv.URL + "/api/v1/state", nil, 200},
		{"localhost", "GET", srv.URL + "/api/v1/state", map[string]string{"Host": "localhost:8080"}, 200},
		{"a rebound name", "GET", srv.URL + "/api/v1/state", map[string]string{"Host": "evil.example"}, 421},
		{"a name that only begins like localhost", "GET", srv.URL + "/", map[string]string{"Host": "localhost.evil.example"}, 421},
		{"a read by another site", "GET", srv.URL + "/api/v1/state", map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403},
		{"a link on another site", "GET", srv.URL + "/", map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 200},
		{"a change by another site", "POST", reset, map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 403},
		{"a change by another port of this host", "POST", reset, map[string]string{"Sec-Fetch-Site": "same-site"}, 403},
		{"a change by another origin of an old browser", "POST", reset, map[string]string{"Origin": "http://evil.example"}, 403},
		{"a change by a GET", "GET", reset, nil, 404},
		{"no such file", "GET", srv.URL + "/none.js", nil, 404},
		{"a page of the router", "GET", srv.URL + "/topics/a.b-c", nil, 200},
		{"a page below a name that looks like a file's", "GET", srv.URL + "/groups/a.js/b.js", nil, 200},
		{"no such file below a directory called topics", "GET", srv.URL + "/old/topics/app.js", nil, 404},
		{"a file above the root", "GET", srv.URL + "/../web.go", nil, 307},
	} {
		status, h, body := request(t, c.method, c.url, "{}", c.headers)
		if status != c.want {
			t.Errorf("%s: %d, want %d: %s", c.what, status, c.want, body)
		}
		if csp := h.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: the policy is %q", c.what, csp)
		}
	}
}

func TestToken(t *testing.T) {
	srv, _ := newServer(t, func(c *Config) { c.Token = "secret" })
	if status, _, _ := request(t, "GET", srv.URL+"/api/v1/state", "", nil); status != 401 {
		t.Errorf("without a token: %d", status)
	}
	if status, _, _ := request(t, "GET", srv.URL+"/?token=wrong", "", nil); status != 401 {
		t.Errorf("with a wrong one: %d", status)
	}
	if status, _, _ := request(t, "GET", srv.URL+"/api/v1/state", "", map[string]string{"Authorization": "Bearer secret"}); status != 200 {
		t.Errorf("with a bearer token: %d", status)
	}
	status, h, _ := request(t, "GET", srv.URL+"//evil.example/x?token=secret&a=b", "", nil)
	if loc := h.Get("Location"); status != 303 || loc != "/evil.example/x?a=b" {
		t.Errorf("the link leads to %d %q", status, loc)
	}
	cookie := h.Get("Set-Cookie")
	if !strings.Contains(cookie, "HttpOnly") || !strings.Contains(cookie, "SameSite=Strict") {
		t.Errorf("the cookie is %q", cookie)
	}
	name, _, _ := strings.Cut(cookie, ";")
	if status, _, _ := request(t, "GET", srv.URL+"/api/v1/state", "", map[string]string{"Cookie": name}); status != 200 {
		t.Errorf("with the cookie: %d", status)
	}
	if status, _, _ := request(t, "GET", srv.URL+"/healthz", "", nil); status != 200 {
		t.Errorf("health needs a token: %d", status)
	}
}

// get decodes an answer, keeping numbers as they are.
func get(t *testing.T, url string, want int) map[string]any {
	t.Helper()
	status, _, body := request(t, "GET", url, "", nil)
	if status != want {
		t.Fatalf("%s: %d, want %d: %s", url, status, want, body)
	}
	var m map[string]any
	dec := json.NewDecoder(strings.NewReader(body))
	dec.UseNumber()
	if err := dec.Decode(&m); err != nil {
		t.Fatalf("%s: %v: %s", url, err, body)
	}
	return m
}

func produceAll(t *testing.T, cl *kgo.Client, n int) {
	t.Helper()
	var recs []*kgo.Record
	for i := range n {
		recs = append(recs, &kgo.Record{Key: fmt.Appendf(nil, "k%d", i%7), Value: fmt.Appendf(nil, `{"i":%d}`, i), Timestamp: time.UnixMilli(int64(1000 + i)),
			Headers: []kgo.RecordHeader{{Key: "kind", Value: []byte([]string{"even", "odd"}[i%2])}}})
	}
	if err := cl.ProduceSync(t.Context(), recs...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

func TestMessagePagesLoseNothing(t *testing.T) {
	srv, cl := newServer(t, nil)
	produceAll(t, cl, 700)
	base := srv.URL + "/api/v1/topics/events/messages?from=oldest&n=90"
	seen := map[string]bool{}
	for next, pages := base, 0; next != ""; pages++ {
		if pages > 20 {
			t.Fatal("pages without end")
		}
		a := get(t, next, 200)
		for _, m := range a["messages"].([]any) {
			v := m.(map[string]any)["value"].(string)
			if seen[v] {
				t.Errorf("twice: %s", v)
			}
			seen[v] = true
		}
		next = ""
		if c := a["cursor"].(string); c != "" {
			next = base + "&cursor=" + url.QueryEscape(c)
		}
	}
	if len(seen) != 700 {
		t.Errorf("the pages hold %d messages, want 700", len(seen))
	}
	newest := get(t, srv.URL+"/api/v1/topics/events/messages?n=3&header=kind%3Deven", 200)
	var values []string
	for _, m := range newest["messages"].([]any) {
		values = append(values, m.(map[string]any)["value"].(string))
	}
	if got := strings.Join(values, " "); got != `{"i":698} {"i":696} {"i":694}` {
		t.Errorf("the newest even ones are %s", got)
	}
	if newest["command"] != "weir messages events -n 3 --filter header:kind=even" {
		t.Errorf("the command is %v", newest["command"])
	}
}

func TestMessageAsItIs(t *testing.T) {
	srv, cl := newServer(t, nil)
	binary := []byte{0xff, 0x00, '<'}
	large := bytes.Repeat([]byte("é"), 100_000)
	for _, v := range [][]byte{[]byte(hostile), binary, large, nil} {
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Partition: 0, Key: []byte("one"), Value: v}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	list := get(t, srv.URL+"/api/v1/topics/events/messages?from=oldest", 200)["messages"].([]any)
	if len(list) != 4 {
		t.Fatalf("%d messages, want 4", len(list))
	}
	at := func(i int) map[string]any { return list[i].(map[string]any) }
	if at(0)["value"] != hostile {
		t.Errorf("the hostile value is shown as %q", at(0)["value"])
	}
	if at(1)["value"] != nil || at(1)["value_base64"] != "/wA8" {
		t.Errorf("bytes are shown as %v", at(1))
	}
	if v := at(2)["value"].(string); at(2)["truncated"] != true || len(v) > shownValue || strings.Trim(v, "é") != "" {
		t.Errorf("the large value is %d bytes, truncated: %v", len(v), at(2)["truncated"])
	}
	if at(3)["value"] != nil || at(3)["value_base64"] != nil {
		t.Errorf("a tombstone is shown as %v", at(3))
	}
	partition, offset := at(2)["partition"], at(2)["offset"]
	status, h, body := request(t, "GET", fmt.Sprintf("%s/api/v1/topics/events/messages/%v/%v/value", srv.URL, partition, offset), "", nil)
	if status != 200 || body != string(large) || h.Get("Content-Type") != "application/octet-stream" || !strings.HasPrefix(h.Get("Content-Disposition"), "attachment") {
		t.Errorf("the whole value at %v/%v: %d, %d bytes, %.200s %v", partition, offset, status, len(body), body, h)
	}
	get(t, fmt.Sprintf("%s/api/v1/topics/events/messages/%v/99", srv.URL, partition), 404)
	get(t, srv.URL+"/api/v1/topics/none/messages", 404)
	get(t, srv.URL+"/api/v1/topics/events/messages?n=0", 400)
	get(t, srv.URL+"/api/v1/topics/events/messages?cursor=xx", 400)
}

func TestOpenAPINamesWhatIsServed(t *testing.T) {
	srv, _ := newServer(t, nil)
	paths := get(t, srv.URL+"/api/v1/openapi.json", 200)["paths"].(map[string]any)
	if len(paths) < 15 {
		t.Fatalf("%d paths are named", len(paths))
	}
	for p, ops := range paths {
		for method := range ops.(map[string]any) {
			if method != "get" || strings.HasSuffix(p, "/live") || strings.HasSuffix(p, "/tail") {
				continue
			}
			u := strings.NewReplacer("{topic}", "events", "{group}", "g", "{broker}", "0", "{partition}", "0", "{offset}", "0").Replace(p)
			status, _, body := request(t, "GET", srv.URL+u, "", nil)
			if strings.Contains(body, "no such operation") {
				t.Errorf("%s is named and not served: %d %s", p, status, body)
			}
		}
	}
	get(t, srv.URL+"/api/v1/none", 404)
}

// readEvent reads one Server-Sent Event.
func readEvent(t *testing.T, r *bufio.Reader) (name, data string) {
	t.Helper()
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("the stream ended: %v", err)
		}
		line = strings.TrimSuffix(line, "\n")
		if v, ok := strings.CutPrefix(line, "event: "); ok {
			name = v
		} else if v, ok := strings.CutPrefix(line, "data: "); ok {
			data = v
		} else if line == "" {
			return name, data
		}
	}
}

func open(t *testing.T, url string) *bufio.Reader {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%s: %s", url, resp.Status)
	}
	return bufio.NewReader(resp.Body)
}

func TestLive(t *testing.T) {
	srv, cl := newServer(t, nil)
	r := open(t, srv.URL+"/api/v1/live")
	if name, data := readEvent(t, r); name != "snapshot" || !json.Valid([]byte(data)) {
		t.Fatalf("the first event is %s %s", name, data)
	}
	produceAll(t, cl, 10)
	for {
		name, data := readEvent(t, r)
		if name == "patch" && strings.Contains(data, `"events"`) {
			return
		}
	}
}

func TestTail(t *testing.T) {
	srv, cl := newServer(t, nil)
	r := open(t, srv.URL+"/api/v1/topics/events/tail?header=kind%3Dodd")
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() { // until the tail has found the end, nobody knows what is new
		defer close(done)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				cl.ProduceSync(context.Background(), &kgo.Record{Value: []byte("x"), Headers: []kgo.RecordHeader{{Key: "kind", Value: []byte("odd")}}},
					&kgo.Record{Value: []byte("y"), Headers: []kgo.RecordHeader{{Key: "kind", Value: []byte("even")}}})
			}
		}
	}()
	_, data := readEvent(t, r)
	close(stop)
	<-done
	if !strings.Contains(data, `"value":"x"`) || strings.Contains(data, `"value":"y"`) {
		t.Errorf("the tail shows %s", data)
	}
}

type fakeBrokers struct{ killed []int32 }

func (f *fakeBrokers) Kill(_ context.Context, id int32) error {
	if id > 2 {
		return errors.New("there is no such broker")
	}
	f.killed = append(f.killed, id)
	return nil
}
func (f *fakeBrokers) KillHard(ctx context.Context, id int32) error { return f.Kill(ctx, id) }
func (f *fakeBrokers) Restart(context.Context, int32) error         { return nil }

func TestBrokerActions(t *testing.T) {
	brokers := &fakeBrokers{}
	srv, _ := newServer(t, func(c *Config) { c.Brokers = brokers })
	status, _, body := request(t, "POST", srv.URL+"/api/v1/brokers/1/kill", "", nil)
	if status != 200 || len(brokers.killed) != 1 || brokers.killed[0] != 1 || !strings.Contains(body, "weir brokers kill 1") {
		t.Errorf("%d %s, killed %v", status, body, brokers.killed)
	}
	log := get(t, srv.URL+"/api/v1/log", 200)["entries"].([]any)
	if len(log) == 0 || !strings.Contains(fmt.Sprint(log[len(log)-1]), "broker 1 was killed from the page") {
		t.Errorf("the log says %v", log)
	}
	if status, _, _ := request(t, "POST", srv.URL+"/api/v1/brokers/9/kill", "", nil); status != 409 {
		t.Errorf("a broker that does not exist: %d", status)
	}
	external, _ := newServer(t, nil)
	if status, _, body := request(t, "POST", external.URL+"/api/v1/brokers/1/kill", "", nil); status != 409 || !strings.Contains(body, "not weir's own") {
		t.Errorf("a broker of somebody else: %d %s", status, body)
	}
}

func TestResetIsPlannedAndConfirmed(t *testing.T) {
	srv, cl := newServer(t, nil)
	produceAll(t, cl, 20)
	g, err := kgo.NewClient(kgo.SeedBrokers(cl.OptValue(kgo.SeedBrokers).([]string)...), kgo.ConsumerGroup("g"), kgo.ConsumeTopics("events"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit())
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n < 20; {
		n += g.PollFetches(t.Context()).NumRecords()
	}
	if err := g.CommitUncommittedOffsets(t.Context()); err != nil {
		t.Fatal(err)
	}
	reset := func(body string) (int, string) {
		status, _, answer := request(t, "POST", srv.URL+"/api/v1/groups/g/reset", body, nil)
		return status, answer
	}
	if status, a := reset(`{"to":"earliest","confirm":"g"}`); status != 409 {
		t.Errorf("a group with members was reset: %d %s", status, a)
	}
	g.Close()
	if status, a := reset(`{"to":"earliest"}`); status != 200 || !strings.Contains(a, `"applied":false`) || !strings.Contains(a, `"to":0`) {
		t.Errorf("the plan is %d %s", status, a)
	}
	lag := func() any { return get(t, srv.URL+"/api/v1/groups/g", 200)["lag"] }
	if got := lag(); fmt.Sprint(got) != "0" {
		t.Fatalf("planning has moved the group: lag %v", got)
	}
	if status, a := reset(`{"to":"earliest","confirm":"other"}`); status != 400 {
		t.Errorf("a wrong confirmation: %d %s", status, a)
	}
	if status, a := reset(`{"to":"earliest","confirm":"g"}`); status != 200 || !strings.Contains(a, `"applied":true`) {
		t.Errorf("the reset is %d %s", status, a)
	}
	if got := lag(); fmt.Sprint(got) != "20" {
		t.Errorf("after the reset the lag is %v, want 20", got)
	}
	if status, _ := reset(`{"to":"sideways"}`); status != 400 {
		t.Errorf("nowhere: %d", status)
	}
}

func TestServeEndsLiveStreams(t *testing.T) {
	srv, _ := newServer(t, nil)
	s := srv.Config.Handler.(*Server)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	r := open(t, "http://"+l.Addr().String()+"/api/v1/live")
	readEvent(t, r)
	stop()
	if err := <-done; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if _, err := io.ReadAll(r); err == nil {
		return // an orderly end
	}
}

func TestVerifyRunsOnce(t *testing.T) {
	release := make(chan struct{})
	srv, _ := newServer(t, func(c *Config) {
		c.Verify = func(ctx context.Context, progress func(any)) (any, error) {
			progress(map[string]int{"scanned": 5})
			select {
			case <-release:
			case <-ctx.Done():
			}
			return map[string]bool{"ok": true}, nil
		}
	})
	if status, _, body := request(t, "POST", srv.URL+"/api/v1/verify", "", nil); status != 200 || !strings.Contains(body, `"running":true`) {
		t.Fatalf("%d %s", status, body)
	}
	if status, _, _ := request(t, "POST", srv.URL+"/api/v1/verify", "", nil); status != 409 {
		t.Errorf("a second proof beside the first: %d", status)
	}
	close(release)
	for {
		a := get(t, srv.URL+"/api/v1/verify", 200)
		if a["running"] == false {
			if fmt.Sprint(a["report"]) != "map[ok:true]" {
				t.Errorf("the report is %v", a["report"])
			}
			return
		}
	}
}

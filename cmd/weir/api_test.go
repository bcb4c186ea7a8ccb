package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-project/weir/internal/cli"
)

// apiDoc is openapi.json of a running weir.
type apiDoc struct {
	base string
	doc  map[string]any
	seen map[string]bool // operations that were asked, "GET /path"
}

var link = regexp.MustCompile(`http://127\.0\.0\.1:[0-9]+`)

func openAPI(t *testing.T, base string) *apiDoc {
	t.Helper()
	a := &apiDoc{base: base, seen: map[string]bool{}}
	status, _, body := a.ask(t, http.MethodGet, "/api/v1/openapi.json", "")
	if status != http.StatusOK {
		t.Fatalf("openapi.json: %d %s", status, body)
	}
	a.doc = decoded(t, body).(map[string]any)
	return a
}

func decoded(t *testing.T, text string) any {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return v
}

func (a *apiDoc) ask(t *testing.T, method, path, body string) (status int, header http.Header, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, a.base+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if ct := resp.Header.Get("Content-Type"); ct == "text/event-stream" { // one event is enough
		var b bytes.Buffer
		for buf := make([]byte, 4096); !strings.Contains(b.String(), "\n\n"); {
			n, err := resp.Body.Read(buf)
			b.Write(buf[:n])
			if err != nil {
				break
			}
		}
		return resp.StatusCode, resp.Header, b.String()
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(b)
}

// call asks an operation, holds the answer against what openapi.json says of it,
// and returns it decoded.
func (a *apiDoc) call(t *testing.T, method, template, path, body string) any {
	t.Helper()
	a.seen[method+" "+template] = true
	ops, _ := a.doc["paths"].(map[string]any)[template].(map[string]any)
	op, ok := ops[strings.ToLower(method)].(map[string]any)
	if !ok {
		t.Errorf("openapi.json does not know %s %s", method, template)
		return nil
	}
	if body != "" {
		schema := dig(op, "requestBody", "content", "application/json", "schema")
		if err := a.fits(schema, decoded(t, body), "body"); err != nil {
			t.Errorf("%s %s: %v", method, template, err)
		}
	}
	status, header, text := a.ask(t, method, path, body)
	if status != http.StatusOK {
		t.Errorf("%s %s: %d %s", method, path, status, text)
		return nil
	}
	content := dig(op, "responses", "200", "content").(map[string]any)
	kind := header.Get("Content-Type")
	of, ok := content[kind].(map[string]any)
	if !ok {
		t.Errorf("%s %s answers with %s, which is not described", method, path, kind)
		return nil
	}
	schema := of["schema"]
	switch kind {
	case "application/octet-stream", "application/zip", "image/svg+xml":
		return text
	case "application/jsonl":
		text, _, _ = strings.Cut(text, "\n")
		schema = of["itemSchema"]
	case "text/event-stream":
		m := regexp.MustCompile(`(?m)^data: (.*)$`).FindStringSubmatch(text)
		if m == nil {
			t.Errorf("%s %s: no event in %q", method, path, text)
			return nil
		}
		text, schema = m[1], of["itemSchema"]
	}
	v := decoded(t, text)
	if err := a.fits(schema, v, "$"); err != nil {
		t.Errorf("%s %s: %v in %.600s", method, path, err, text)
	}
	return v
}

func dig(v any, path ...string) any {
	for _, p := range path {
		m, _ := v.(map[string]any)
		v = m[p]
	}
	return v
}

// fits checks a value against a schema: types, required members, and no others
// where the schema says so. A keyword that it does not know is an error.
func (a *apiDoc) fits(schema, v any, at string) error {
	s, ok := schema.(map[string]any)
	if !ok {
		return fmt.Errorf("%s: there is no schema", at)
	}
	for k := range s {
		if !slices.Contains([]string{"$ref", "type", "properties", "required", "additionalProperties", "items", "anyOf", "format"}, k) {
			return fmt.Errorf("%s: this test does not know the keyword %s", at, k)
		}
	}
	if ref, ok := s["$ref"].(string); ok {
		return a.fits(dig(a.doc, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...), v, at)
	}
	if any, ok := s["anyOf"].([]any); ok {
		var errs []string
		for _, one := range any {
			err := a.fits(one, v, at)
			if err == nil {
				return nil
			}
			errs = append(errs, err.Error())
		}
		return fmt.Errorf("%s: none of %s", at, strings.Join(errs, "; "))
	}
	if !typeFits(s["type"], v) {
		return fmt.Errorf("%s is %T, want %v", at, v, s["type"])
	}
	switch v := v.(type) {
	case string:
		if s["format"] == "date-time" {
			if _, err := time.Parse(time.RFC3339Nano, v); err != nil {
				return fmt.Errorf("%s: %w", at, err)
			}
		}
	case []any:
		for i, item := range v {
			if err := a.fits(s["items"], item, fmt.Sprintf("%s[%d]", at, i)); err != nil {
				return err
			}
		}
	case map[string]any:
		return a.membersFit(s, v, at)
	}
	return nil
}

func (a *apiDoc) membersFit(s, v map[string]any, at string) error {
	required, _ := s["required"].([]any)
	for _, r := range required {
		if _, ok := v[r.(string)]; !ok {
			return fmt.Errorf("%s lacks %s", at, r)
		}
	}
	properties, _ := s["properties"].(map[string]any)
	for k, member := range v {
		of, known := properties[k]
		if !known {
			if of, known = s["additionalProperties"]; of == false || !known && properties != nil {
				return fmt.Errorf("%s has %s, which is not described", at, k)
			}
			if !known {
				continue // an object of which nothing is said
			}
		}
		if err := a.fits(of, member, at+"."+k); err != nil {
			return err
		}
	}
	return nil
}

func typeFits(want, v any) bool {
	if many, ok := want.([]any); ok {
		return slices.ContainsFunc(many, func(one any) bool { return typeFits(one, v) })
	}
	switch v := v.(type) {
	case nil:
		return want == "null" || want == nil
	case bool:
		return want == "boolean" || want == nil
	case string:
		return want == "string" || want == nil
	case json.Number:
		f, err := v.Float64()
		return want == nil || err == nil && (want == "number" || want == "integer" && f == math.Trunc(f))
	case []any:
		return want == "array" || want == nil
	}
	return want == "object" || want == nil
}

// TestFits: the check finds what it is for.
func TestFits(t *testing.T) {
	a := &apiDoc{doc: decoded(t, `{"components":{"schemas":{"T":{"type":"object","required":["a"],"additionalProperties":false,
		"properties":{"a":{"type":"integer"},"b":{"type":["string","null"]},"c":{"type":"array","items":{"type":"boolean"}},"d":{"type":"string","format":"date-time"}}}}}}`).(map[string]any)}
	schema := decoded(t, `{"$ref":"#/components/schemas/T"}`)
	for text, want := range map[string]bool{
		`{"a":1}`: true, `{"a":1,"b":null,"c":[true],"d":"2026-01-31T12:00:00.5Z"}`: true,
		`{}`: false, `{"a":1.5}`: false, `{"a":"1"}`: false, `{"a":1,"b":2}`: false, `{"a":1,"c":[1]}`: false, `{"a":1,"c":null}`: false, `{"a":1,"x":1}`: false,
		`{"a":1,"d":"yesterday"}`: false, `[]`: false, `null`: false,
	} {
		if err := a.fits(schema, decoded(t, text), "$"); (err == nil) != want {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// callsLabs looks at two reports, and runs a lab until it can be changed.
func callsLabs(t *testing.T, env []string, get func(template, path string) any, post func(template, path, body string) any) {
	t.Helper()
	stdout, _, _ := weir(t, env, "lab", "list", "-o", "json")
	if decoded(t, stdout) == nil {
		t.Fatal("no list of labs")
	}
	home := ""
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, "HOME="); ok {
			home = v
		}
	}
	dirs, err := filepath.Glob(filepath.Join(home, ".local", "share", "weir"))
	if err != nil || len(dirs) != 1 {
		t.Fatalf("data lies in %v, %v", dirs, err)
	}
	for _, name := range []string{"replay-1", "replay-2"} {
		dir := filepath.Join(dirs[0], labsDir, name)
		report := `{"lab":"replay","engine":"embedded","version":"x","started":"2026-01-01T00:00:00Z","seconds":1,"claim":"c","settings":{"rate":1},"verdict":"holds","reason":"r",
			"checks":[{"case":"a","claim":"c","want":"1","got":"1","verdict":"holds"}],"measures":[{"case":"a","name":"n","value":1,"unit":"s"}],
			"lines":[{"case":"a","panel":"p","x":[0,1],"y":[1,2]}],"marks":[{"case":"a","x":1,"text":"t"}]}`
		if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, "report.json"), []byte(report), 0o600),
			os.WriteFile(filepath.Join(dir, "plot.svg"), []byte("<svg/>"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(dig(get("/labs", "/labs"), "reports").([]any)); n != 2 {
		t.Errorf("%d reports are listed", n)
	}
	get("/labs/reports/{report}", "/labs/reports/replay-1")
	if v := get("/labs/reports/{report}/plot.svg", "/labs/reports/replay-1/plot.svg"); v != "<svg/>" {
		t.Errorf("the plot is %v", v)
	}
	get("/labs/compare", "/labs/compare?a=replay-1&b=replay-2")
	post("/labs/{lab}/start", "/labs/backpressure/start", `{"settings":{"preset":"play"}}`)
	eventually(t, "the lab offers its policy", func() bool {
		offered, _ := dig(get("/labs/live", "/labs/live"), "picture", "controls").([]any)
		return len(offered) > 0
	})
	post("/labs/set", "/labs/set", `{"name":"policy","value":"spill"}`)
	post("/labs/stop", "/labs/stop", "")
	eventually(t, "the lab has stopped", func() bool { return dig(get("/labs", "/labs"), "running") == "" })
}

// callsAPI asks every operation of a running weir, holds each answer against its
// schema, and the lists against what the commands print with -o json.
func callsAPI(t *testing.T, env []string, base string) {
	a := openAPI(t, base)
	const v1 = "/api/v1"
	get := func(template, path string) any {
		t.Helper()
		return a.call(t, http.MethodGet, v1+template, v1+path, "")
	}
	post := func(template, path, body string) any {
		t.Helper()
		return a.call(t, http.MethodPost, v1+template, v1+path, body)
	}
	get("/openapi.json", "/openapi.json")
	get("/state", "/state")
	get("/live", "/live")
	get("/history", "/history?series=stream/bluesky/rate&series=none")
	get("/log", "/log?limit=5")
	get("/topics/{topic}/tail", "/topics/bluesky-events/tail")

	hand := post("/topics/{topic}/messages", "/topics/weir.dead-letters/messages", `{"key":"k","value":"{\"n\":1}","headers":[["a","b"]],"partition":null}`)
	again := fmt.Sprintf(`{"key":null,"value":null,"headers":[],"partition":null,"again":{"partition":%v,"offset":%v}}`, dig(hand, "partition"), dig(hand, "offset"))
	post("/topics/{topic}/messages", "/topics/weir.dead-letters/messages", again)
	at := fmt.Sprintf("/topics/weir.dead-letters/messages/%v/%v", dig(hand, "partition"), dig(hand, "offset"))
	get("/topics/{topic}/partition", "/topics/weir.dead-letters/partition?key=k")
	if v := get("/topics/{topic}/messages/{partition}/{offset}/value", at+"/value"); v != `{"n":1}` {
		t.Errorf("the value is %v", v)
	}
	get("/topics/{topic}/messages.jsonl", "/topics/weir.dead-letters/messages.jsonl?from=oldest&n=1")

	terminal := func(args ...string) any {
		t.Helper()
		stdout, stderr, _ := weir(t, env, append(args, "-o", "json")...)
		if stdout == "" {
			t.Fatalf("weir %v: %s", args, stderr)
		}
		return decoded(t, stdout)
	}
	// What moves between two looks is left out: numbers that grow, and whose they are.
	same := func(what string, api, command any, moving ...string) {
		t.Helper()
		if x, y := still(api, moving), still(command, moving); !reflect.DeepEqual(x, y) {
			t.Errorf("%s: the API says\n%v\nthe command\n%v", what, x, y)
		}
	}
	moving := []string{"messages", "bytes", "high", "low", "stable", "lag", "lag_ns", "committed", "end", "last_record", "command", "requests", "others", "note", "warnings", "groups"}
	same("topics", dig(get("/topics", "/topics"), "topics"), terminal("topics"), moving...)
	same("topic", get("/topics/{topic}", "/topics/bluesky-accounts"), terminal("topics", "bluesky-accounts"), moving...)
	same("activity", get("/topics/{topic}/activity", "/topics/bluesky-accounts/activity"), terminal("topics", "activity", "bluesky-accounts"),
		append(moving, "hours", "partitions", "producers", "transactions")...)
	same("groups", dig(get("/groups", "/groups"), "groups"), terminal("groups"), moving...)
	same("group", get("/groups/{group}", "/groups/weir-wikipedia-counter"), terminal("groups", "describe", "weir-wikipedia-counter"), append(moving, "own")...)
	same("brokers", dig(get("/brokers", "/brokers"), "brokers"), terminal("brokers"), moving...)
	get("/brokers/{broker}", "/brokers/1")
	get("/brokers/changes", "/brokers/changes")
	post("/log", "/log", `{"kind":"lab","text":"lab batching was started from a terminal"}`)
	// The offsets behind the newest message are not known yet: the first three are long past here.
	eventually(t, "a partition has more messages than are compared", func() bool {
		v := a.call(t, http.MethodGet, v1+"/topics/{topic}/messages", v1+"/topics/bluesky-events/messages?from=offset&offset=0&partition=0&n=20", "")
		list, _ := dig(v, "messages").([]any)
		return len(list) == 20
	})
	read := url.Values{"from": {"offset"}, "offset": {"0"}, "partition": {"0"}, "n": {"3"}}
	same("messages", dig(get("/topics/{topic}/messages", "/topics/bluesky-events/messages?"+read.Encode()), "messages"),
		terminal("messages", "bluesky-events", "--offset", "0", "--partition", "0", "-n", "3"))
	one := terminal("messages", "weir.dead-letters", "--partition", fmt.Sprint(dig(hand, "partition")), "--offset", fmt.Sprint(dig(hand, "offset")), "-n", "1").([]any)
	same("message", get("/topics/{topic}/messages/{partition}/{offset}", at), one[0], "command", "requests", "others")

	callsTopics(t, get, post)
	post("/groups/{group}/reset", "/groups/weir-bluesky-counter/reset", `{"to":"earliest","topics":[],"partitions":[],"confirm":""}`)
	post("/groups/{group}/import", "/groups/by-hand/import", `{"offsets":[{"topic":"bluesky-events","partition":0,"offset":0}],"confirm":"by-hand"}`)
	post("/groups/{group}/delete-offsets", "/groups/by-hand/delete-offsets", `{"topic":"bluesky-events","partitions":[0],"confirm":""}`)
	post("/groups/{group}/delete", "/groups/by-hand/delete", `{"confirm":"by-hand"}`)
	callsMembers(t, env, post)
	get("/groups/{group}/replay", "/groups/weir-bluesky-counter/replay")
	post("/groups/{group}/replay", "/groups/weir-wikipedia-counter/replay", `{"topic":"","confirm":""}`)
	post("/groups/{group}/replay", "/groups/weir-wikipedia-counter/replay", `{"topic":"wikipedia-edits","confirm":"weir-wikipedia-counter"}`)
	eventually(t, "the replay has ended", func() bool {
		v := get("/groups/{group}/replay", "/groups/weir-wikipedia-counter/replay")
		if text := dig(v, "error"); text != "" {
			t.Fatalf("the replay: %v", text)
		}
		return dig(v, "running") == false && dig(v, "result", "equal") == true && dig(v, "left") == json.Number("0")
	})
	callsBrokers(t, post)
	get("/docs", "/docs")
	get("/docs/page", "/docs/page?path=labs/failover")
	get("/docs/search", "/docs/search?q=high+watermark")
	get("/terms", "/terms")
	callsLabs(t, env, get, post)
	callsLearn(t, get, post)
	callsExercises(t, get)
	post("/verify", "/verify", "")
	var report any
	eventually(t, "the proof is made", func() bool {
		v := get("/verify", "/verify")
		report = dig(v, "report")
		return dig(v, "running") == false
	})
	growing := []string{"scanned", "seconds", "events", "uncounted", "notes"}
	same("verify", report, terminal("verify"), growing...)

	for path, ops := range a.doc["paths"].(map[string]any) {
		for method := range ops.(map[string]any) {
			if !a.seen[strings.ToUpper(method)+" "+path] {
				t.Errorf("%s %s is not called here", method, path)
			}
		}
	}
	// What is refused says why, in the one form that there is.
	for _, path := range []string{"/topics/none", "/groups/none", "/topics/bluesky-events/messages?from=nowhere", "/nothing", "/brokers/x"} {
		status, _, text := a.ask(t, http.MethodGet, v1+path, "")
		if status < 400 || status >= 500 {
			t.Errorf("%s: %d", path, status)
		}
		if err := a.fits(dig(a.doc, "components", "schemas", "ErrorAnswer"), decoded(t, text), "$"); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// callsTopics creates a topic, changes it, empties it and deletes it.
func callsTopics(t *testing.T, get func(template, path string) any, post func(template, path, body string) any) {
	t.Helper()
	get("/topic-settings", "/topic-settings?all=true")
	made := post("/topics", "/topics", `{"name":"made.here","partitions":2,"replicas":1,"config":{"retention.ms":"60000"}}`)
	if got := fmt.Sprintf("%v %v", dig(made, "topic", "partitions"), dig(made, "topic", "replicas")); got != "2 1" {
		t.Errorf("the new topic is %v", made)
	}
	post("/topics/{topic}/alter", "/topics/made.here/alter", `{"set":{"max.message.bytes":"2000"},"unset":["retention.ms"]}`)
	for _, c := range []struct{ operation, body, want string }{
		{"partitions", `{"to":3,"confirm":"made.here"}`, "true"}, {"truncate", `{"before":"end","partitions":[],"confirm":""}`, "false"},
		{"truncate", `{"before":"end","partitions":[0],"confirm":"made.here"}`, "true"}, {"delete", `{"confirm":""}`, "false"}, {"delete", `{"confirm":"made.here"}`, "true"},
	} {
		if a := post("/topics/{topic}/"+c.operation, "/topics/made.here/"+c.operation, c.body); fmt.Sprint(dig(a, "applied")) != c.want {
			t.Errorf("%s %s: %v", c.operation, c.body, a)
		}
	}
}

// callsMembers: a second member takes over partitions, and gives them back.
func callsMembers(t *testing.T, env []string, post func(template, path, body string) any) {
	t.Helper()
	added := post("/groups/{group}/members/add", "/groups/weir-bluesky-counter/members/add", "")
	t.Log(dig(added, "text"))
	if fmt.Sprintf("%v %v %v", dig(added, "members"), dig(added, "own"), dig(added, "moved")) != "2 2 3" {
		t.Errorf("a second member: %v", added)
	}
	removed := post("/groups/{group}/members/remove", "/groups/weir-bluesky-counter/members/remove", "")
	t.Log(dig(removed, "text"))
	if fmt.Sprintf("%v %v %v", dig(removed, "members"), dig(removed, "own"), dig(removed, "moved")) != "1 1 3" {
		t.Errorf("without it: %v", removed)
	}
	// The command does the same, down to nobody, and back.
	for _, c := range []struct{ verb, members string }{{"leave", "0"}, {"join", "1"}} {
		stdout, stderr, code := weir(t, env, "groups", c.verb, "weir-bluesky-counter.accounts", "-o", "json")
		if code != cli.ExitOK || fmt.Sprint(dig(decoded(t, stdout), "members")) != c.members {
			t.Errorf("weir groups %s: exit code %d: %s%s", c.verb, code, stdout, stderr)
		}
	}
	if _, stderr, code := weir(t, env, "groups", "join", "somebody-elses"); code != cli.ExitRuntime || !strings.Contains(stderr, "counters of this weir") {
		t.Errorf("joining a group of nobody: exit code %d: %s", code, stderr)
	}
}

func callsBrokers(t *testing.T, post func(template, path, body string) any) {
	t.Helper()
	post("/brokers/{broker}/kill", "/brokers/2/kill", "")
	post("/brokers/{broker}/restart", "/brokers/2/restart", "")
}

// still is a value without the members that move, at any depth.
func still(v any, moving []string) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, m := range v {
			if !slices.Contains(moving, k) {
				out[k] = still(m, moving)
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = still(v[i], moving)
		}
		return out
	}
	return v
}

package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/watch"
)

// words splits a command line as a shell does.
func words(t *testing.T, line, program string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "bash", "-c", `f() { printf '%s\0' "$@"; cat; }; `+strings.Replace(line, program, "f", 1)).Output()
	if err != nil {
		t.Fatalf("a shell cannot read %s: %v", line, err)
	}
	return strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
}

// TestTopicChanges: a change is planned, confirmed by the topic's name, and logged.
func TestTopicChanges(t *testing.T) {
	srv, cl := newServer(t, nil)
	produceAll(t, cl, 20)
	post := func(path, body string, want int) (a struct {
		Applied bool
		Code    string
		Command string
		Others  []Other
		Plan    struct {
			Messages   int64
			KeysMove   bool `json:"keys_move"`
			Partitions []inspect.TruncatePartition
		}
	}, text string) {
		t.Helper()
		status, _, text := request(t, "POST", srv.URL+"/api/v1"+path, body, nil)
		if err := json.Unmarshal([]byte(text), &a); err != nil || status != want {
			t.Errorf("POST %s %s: %d %s", path, body, status, text)
		}
		return a, text
	}
	a, text := post("/topics", `{"name":"shop.orders","partitions":2,"replicas":3,"config":{"cleanup.policy":"compact,delete","retention.ms":"60000"}}`, 200)
	if a.Command != "weir topics create shop.orders --partitions 2 --replicas 3 --config cleanup.policy=compact,delete --config retention.ms=60000" ||
		!strings.Contains(text, `"topic":{"name":"shop.orders","partitions":2,"replicas":3,"id":"`) {
		t.Errorf("%s", text)
	}
	if a, _ := post("/topics", `{"name":"shop.orders"}`, 409); a.Code != "topic_exists" {
		t.Errorf("the code is %q", a.Code)
	}
	post("/topics", `{"name":"a/b"}`, 409)
	a, text = post("/topics/shop.orders/alter", `{"set":{"retention.ms":"70000","cleanup.policy":"delete"},"unset":["segment.ms"]}`, 200)
	if !strings.Contains(text, `"before":"60000","after":"70000"`) || a.Command != "weir topics alter shop.orders --config cleanup.policy=delete --config retention.ms=70000 --unset segment.ms" {
		t.Errorf("%s", text)
	}

	for _, c := range []struct{ operation, body, command string }{
		{"partitions", `{"to":5,"confirm":"%s"}`, "weir topics add-partitions events 2"},
		{"truncate", `{"before":"","partitions":[],"confirm":"%s"}`, "weir topics truncate events --before end"},
		{"delete", `{"confirm":"%s"}`, "weir topics delete events"},
	} {
		path := "/topics/events/" + c.operation
		if a, text := post(path, fmt.Sprintf(c.body, ""), 200); a.Applied || a.Command != c.command || len(a.Others) == 0 || !strings.HasPrefix(a.Others[0].Tool, "kafka-") {
			t.Errorf("%s is planned: %s", c.operation, text)
		}
		post(path, fmt.Sprintf(c.body, "Events"), 400)
		if a, text := post(path, fmt.Sprintf(c.body, "events"), 200); !a.Applied {
			t.Errorf("%s is confirmed: %s", c.operation, text)
		} else if c.operation == "truncate" && a.Plan.Messages != 20 {
			t.Errorf("%d of 20 messages are deleted", a.Plan.Messages)
		}
	}
	if a, _ := post("/topics/events/delete", `{"confirm":""}`, 404); a.Code != "no_topic" {
		t.Errorf("the code is %q", a.Code)
	}
	log := fmt.Sprint(get(t, srv.URL+"/api/v1/log", 200))
	for _, want := range []string{"topic shop.orders was created with 2 partitions from the page", "topic shop.orders was altered, with cleanup.policy=delete, retention.ms=70000 now, from the page",
		"topic events was given 5 partitions instead of 3 from the page", "topic events was truncated, which deleted 20 messages, from the page", "topic events was deleted, with 0 messages, from the page"} {
		if strings.Count(log, want) != 1 {
			t.Errorf("the log does not say %q once: %s", want, log)
		}
	}
}

// TestProtectedTopics: the error has a code by which the page and the command know it.
func TestProtectedTopics(t *testing.T) {
	s, url := server(t, func(c *Config) {
		i, err := inspect.New(inspect.Config{Client: clientOf(t, c.Inspector), Reserved: []string{"events"}})
		if err != nil {
			t.Fatal(err)
		}
		c.Inspector = i
	})
	for _, operation := range []string{"partitions", "truncate", "delete"} {
		body := `{"confirm":"events"}`
		if operation == "partitions" {
			body = `{"to":7,"confirm":"events"}`
		}
		status, _, text := request(t, "POST", url+"/api/v1/topics/events/"+operation, body, nil)
		if status != 409 || !strings.Contains(text, `"code":"protected"`) || !strings.Contains(text, "--data") {
			t.Errorf("%s: %d %s", operation, status, text)
		}
	}
	if err := NewClient(s).Ask(t.Context(), "POST", "/api/v1/topics/events/delete", DeleteTopicRequest{}, nil); !errors.Is(err, inspect.ErrProtected) {
		t.Errorf("the command reads %v", err)
	}
	status, _, text := request(t, "POST", url+"/api/v1/topics/events/alter", `{"set":{"retention.ms":"70000"}}`, nil)
	if status != 200 || !strings.Contains(text, "weir preflight") {
		t.Errorf("a setting: %d %s", status, text)
	}
}

// TestCommandsOfOtherTools reads the commands as a shell and the tools do.
func TestCommandsOfOtherTools(t *testing.T) {
	s, _ := server(t, func(c *Config) {
		w, err := watch.New(watch.Config{Inspector: c.Inspector}) // which does not run: no broker is known
		if err != nil {
			t.Fatal(err)
		}
		c.Watch = w
		c.Where.Kafka = []string{"--kafka", "broker one:9092", "--kafka-config", "/home/me/my client.properties"}
	})
	at := []string{"--bootstrap-server", "broker one:9092", "--command-config", "/home/me/my client.properties"}
	is := func(o Other, tool string, want ...string) {
		t.Helper()
		if got := words(t, o.Command+" </dev/null", tool); o.Tool != tool || !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", o.Tool, got, want)
		}
	}
	h := s.createOthers(by(""), CreateTopicRequest{Name: "a.b", Partitions: 3, Config: map[string]string{"k": "1,2"}})
	is(h.Others[0], "kafka-topics.sh", append(slices.Clone(at), "--create", "--topic", "a.b", "--partitions", "3", "--config", "k=1,2")...)
	// kafka-configs.sh takes a comma for the next setting, and kafka-topics.sh a dot for any character.
	h = s.alterOthers(by(""), "a.b", map[string]string{"k": "1,2", "l": "3"}, []string{"m", "n"})
	is(h.Others[0], "kafka-configs.sh", append(slices.Clone(at), "--alter", "--entity-type", "topics", "--entity-name", "a.b", "--add-config", "k=[1,2],l=3", "--delete-config", "m,n")...)
	h = s.deleteOthers(by(""), "a.b")
	is(h.Others[0], "kafka-topics.sh", append(slices.Clone(at), "--delete", "--topic", `a\.b`)...)
	is(h.Others[1], "rpk", "topic", "delete", "a.b", "-X", "brokers="+s.address())
	h = s.partitionsOthers(by(""), inspect.PartitionsPlan{Topic: "t", From: 3, To: 5})
	is(h.Others[0], "kafka-topics.sh", append(slices.Clone(at), "--alter", "--topic", "t", "--partitions", "5")...)
	is(h.Others[1], "rpk", "topic", "add-partitions", "t", "--num", "2", "-X", "brokers="+s.address())

	plan := inspect.TruncatePlan{Topic: "t", Partitions: []inspect.TruncatePartition{{Partition: 0, To: 7, Deleted: 7}, {Partition: 1}, {Partition: 2, To: 7, Deleted: 3}}}
	h = s.truncateOthers(by(""), plan)
	got := words(t, h.Others[0].Command, "kafka-delete-records.sh")
	var file struct {
		Partitions []struct {
			Topic             string
			Partition, Offset int64
		}
		Version int
	}
	if err := json.Unmarshal([]byte(got[len(got)-1]), &file); err != nil || file.Version != 1 || fmt.Sprint(file.Partitions) != "[{t 0 7} {t 2 7}]" || got[len(got)-2] != "/dev/stdin" {
		t.Errorf("%q: %v", got, err)
	}
	is(h.Others[1], "rpk", "topic", "trim-prefix", "t", "--offset", "7", "--partitions", "0,2", "-X", "brokers="+s.address())
	plan.Partitions[2].To = 8 // rpk takes one offset for all partitions
	if h = s.truncateOthers(by(""), plan); len(h.Others) != 1 {
		t.Errorf("%+v", h.Others)
	}
}

func TestTopicSettingsInWords(t *testing.T) {
	_, url := server(t, nil)
	some, all := fmt.Sprint(get(t, url+"/api/v1/topic-settings", 200)), fmt.Sprint(get(t, url+"/api/v1/topic-settings?all=true", 200))
	if !strings.Contains(some, "name:retention.ms") || strings.Contains(some, "segment.jitter.ms") || !strings.Contains(all, "name:segment.jitter.ms") {
		t.Errorf("%s\n%s", some, all)
	}
	get(t, url+"/api/v1/topic-settings?all=1", 400)
}

// clientOf opens another client of the cluster of an inspector.
func clientOf(t *testing.T, i *inspect.Inspector) *kgo.Client {
	t.Helper()
	list, err := i.Brokers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(list.Brokers[0].Address))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

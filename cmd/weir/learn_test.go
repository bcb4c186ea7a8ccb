package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/learn"
)

// TestLearnOnATerminal: the stations on a cluster that weir does not run, where each command is a
// process of its own: the progress is in the data directory.
func TestLearnOnATerminal(t *testing.T) {
	s := newGroupShell(t)
	s.fails(cli.ExitFailed, "", []string{"learn", "check", "topic"}, "not done yet: weir sees no topic of yours yet")
	s.must("", "topics", "create", "mine", "--partitions", "2")
	stdout, stderr, code := s.run("", "learn", "check", "2")
	if code != cli.ExitFailed || !strings.Contains(stdout, "weir sees: topic mine has 2 partitions") || !strings.Contains(stderr,
		"this station needs 3") {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
	s.must("", "topics", "add-partitions", "mine", "1", "--yes")
	s.must("", "learn", "check", "topic")
	var list learn.List
	if err := json.Unmarshal([]byte(s.must("", "learn", "-o", "json")), &list); err != nil || !list.Stations[1].Done || list.Next != 1 {
		t.Errorf("%+v %v", list, err)
	}
	if text := s.must("", "learn", "list"); !strings.Contains(text, "A topic of your own") {
		t.Errorf("%s", text)
	}
	text := s.must("", "learn", "show", "keys")
	for _, want := range []string{"4. Keys and order", "topic mine now:", "send mine 1 2 3 4 5 --key anna",
		"learn answer 4 ANSWER", "Not done yet: topic mine has no record with the key anna yet"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	// One broker keeps one replica of each of the three partitions.
	if text := s.must("", "learn", "answer", "2", "9"); !strings.Contains(text, "wrong; the answer is 3") {
		t.Errorf("%s", text)
	}
	if text := s.must("", "learn", "answer", "2", "3"); !strings.HasPrefix(text, "right\n") {
		t.Errorf("%s", text)
	}
	// The list is there without a cluster, too.
	text, stderr, code = s.run("", "learn", "--kafka", "127.0.0.1:1")
	if code != cli.ExitOK || !strings.Contains(text, "done") || !strings.Contains(stderr, " up\n") {
		t.Errorf("without a cluster: exit code %d: %s%s", code, text, stderr)
	}
	s.fails(cli.ExitConnect, "", []string{"learn", "show", "keys", "--kafka", "127.0.0.1:1"}, "weir up")
	s.fails(cli.ExitRuntime, "", []string{"learn", "show", "nothing"}, "no such station")
	s.fails(cli.ExitUsage, "", []string{"learn", "answer", "2"}, "arg")
	s.fails(cli.ExitUsage, "", []string{"learn", "reset"}, "--yes")
	s.must("", "learn", "reset", "2")
	if err := json.Unmarshal([]byte(s.must("", "learn", "reset", "--yes", "-o", "json")), &list); err != nil || list.Stations[1].Done ||
		list.Stations[1].Answered {
		t.Errorf("%+v %v", list, err)
	}
}

// callsLearn calls the operations of Learn on a cluster where station 2 is not done, does it, and
// starts it over.
func callsLearn(t *testing.T, get func(template, path string) any, post func(template, path, body string) any) {
	t.Helper()
	if n := len(dig(get("/learn", "/learn"), "stations").([]any)); n != 13 {
		t.Errorf("%d stations are listed", n)
	}
	if v := get("/learn/{station}", "/learn/topic"); dig(v, "number") != json.Number("2") || dig(v, "picture", "kind") == nil {
		t.Errorf("station topic is %v", v)
	}
	// Three partitions with three replicas each are nine copies.
	if v := post("/learn/{station}/answer", "/learn/2/answer", `{"answer":"8"}`); dig(v, "right") != false || dig(v, "answer") != "9" {
		t.Errorf("answer 8: %v", v)
	}
	post("/topics", "/topics", `{"name":"lesson","partitions":3,"replicas":0,"config":{}}`)
	if v := post("/learn/{station}/check", "/learn/2/check", ""); dig(v, "done") != true {
		t.Errorf("with a topic of three partitions: %v", v)
	}
	if v := post("/learn/reset", "/learn/reset", `{"station":2}`); len(dig(v, "stations").([]any)) != 13 {
		t.Errorf("reset: %v", v)
	}
	post("/topics/{topic}/delete", "/topics/lesson/delete", `{"confirm":"lesson"}`)
}

// countProgram makes this test binary a program that a learner could have written for the exercise count.
const countProgram = "count-events"

func countEvents() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	options, err := redis.ParseURL(os.Getenv("REDIS_URL"))
	if err != nil {
		fmt.Println(err)
		return 1
	}
	counts := redis.NewClient(options)
	cl, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(os.Getenv("KAFKA_BROKER"), ",")...), kgo.ConsumerGroup(os.Getenv("GROUP")),
		kgo.ConsumeTopics(os.Getenv("TOPIC")))
	if err != nil {
		fmt.Println(err)
		return 1
	}
	for ctx.Err() == nil {
		cl.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			var event struct{ Commit struct{ Operation string } }
			if err = json.Unmarshal(r.Value, &event); err == nil {
				err = counts.Incr(context.Background(), event.Commit.Operation).Err()
			}
			if err != nil {
				fmt.Println(err)
			}
		})
	}
	cl.Close() // leaves the group
	return 0
}

// TestLearnProgram: station 13 after real checks, of a program that ends at once and of one that is right.
func TestLearnProgram(t *testing.T) {
	s := newGroupShell(t)
	s.fails(cli.ExitFailed, "", []string{"learn", "check", "13"}, "no program was checked yet")
	check := func(args ...string) int {
		_, stderr, code := s.run("", append([]string{"exercise", "check", "count", "--free-ports", "--", os.Args[0]}, args...)...)
		t.Log(stderr)
		return code
	}
	if code := check("-test.run=^$"); code != cli.ExitFailed {
		t.Fatalf("a program that ends at once: exit code %d", code)
	}
	s.fails(cli.ExitFailed, "", []string{"learn", "check", "13"}, "count has the verdict wrong (the program ended by itself")
	if code := check(countProgram); code != cli.ExitOK {
		t.Fatalf("a program that is right: exit code %d", code)
	}
	if text := s.must("", "learn", "check", "program"); !strings.Contains(text, "your program passed the exercise count: all 2000 events") {
		t.Errorf("%s", text)
	}
}

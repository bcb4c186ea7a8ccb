package learn

import (
	"slices"
	"strings"
	"testing"

	"github.com/weir-project/weir/internal/markdown"
)

// Each command gets the flags that it knows, before a learner's own program and before a comment.
func TestCommandsFindTheCluster(t *testing.T) {
	t.Parallel()
	w := Where{Program: "./weir", Data: []string{"--data", "/d"}, Kafka: []string{"--data", "/d", "--kafka", "k:1"},
		Redis: []string{"--data", "/d", "--kafka", "k:1", "--redis", "redis://r:2/1"}}
	for line, want := range map[string]string{
		"weir topics describe a":                                       "./weir topics describe a --data /d --kafka k:1",
		"weir brokers kill 1  # the leader":                            "./weir brokers kill 1 --data /d  # the leader",
		"weir lab batching --rate 200":                                 "./weir lab batching --rate 200 --data /d --kafka k:1",
		"weir lab backpressure --short":                                "./weir lab backpressure --short --data /d",
		"weir learn counter at-least-once":                             "./weir learn counter at-least-once --data /d --kafka k:1 --redis redis://r:2/1",
		"weir groups reset g --to oldest  # to begin anew":             "./weir groups reset g --to oldest --data /d --kafka k:1 --redis redis://r:2/1  # to begin anew",
		"weir groups describe g":                                       "./weir groups describe g --data /d --kafka k:1",
		"weir exercise start count --lang python":                      "./weir exercise start count --lang python",
		"weir exercise check count --time 9s -- python3 a.py --data x": "./weir exercise check count --time 9s --data /d -- python3 a.py --data x",
	} {
		if got := w.Command(line); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", line, got, want)
		}
	}
	if got := (Where{}).Command("weir verify"); got != "weir verify" {
		t.Error(got)
	}
}

// redis-cli is shown with the address and the database, and never with a password.
func TestRedisCLI(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"redis://127.0.0.1:45293/1":               "redis-cli -u redis://127.0.0.1:45293/1",
		"redis://host:7000":                       "redis-cli -u redis://host:7000/1",
		"redis://ada:hidden@host/3":               "redis-cli -u redis://host/3 --askpass --user ada",
		"redis://host/1?password_file=/run/p":     "redis-cli -u redis://host/1 --askpass",
		"rediss://host/1?ssl_ca_certs=/my ca.pem": "redis-cli -u rediss://host/1 --cacert '/my ca.pem'",
		"redis-cluster://a:1,b:2":                 "redis-cli -c -u redis://a:1",
		"redis-sentinel://a:1,b:2/1":              "",
		"":                                        "",
	} {
		if got := redisCLI(url); got != want {
			t.Errorf("%s: %q, want %q", url, got, want)
		}
	}
	b := newBench(t, func(cfg *Config) { cfg.Where.RedisURL = "redis://127.0.0.1:7001/1" })
	of := func() (n int) {
		for _, c := range b.get("semantics").Others {
			if strings.HasPrefix(c.Command, "redis-cli -u redis://127.0.0.1:7001/1 HGETALL weir:tally:counter-") {
				n++
			}
		}
		return n
	}
	if n := of(); n != 2 {
		t.Errorf("%d commands ask Redis", n)
	}
	b.cfg.Where.RedisURL = "redis-sentinel://a:1/1"
	b.restart()
	if list := b.get("semantics").Others; slices.ContainsFunc(list, func(c Command) bool { return c.Tool == "redis-cli" }) {
		t.Errorf("a command that finds no Redis: %+v", list)
	}
}

// A choice may be given by its letter, and a number as weir's tables write it.
func TestAnswersAsPeopleWriteThem(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.answer("independent", "not at all", true)
	for given, right := range map[string]bool{"a": true, "c": false} {
		if got, err := b.Answer(t.Context(), "independent", given); err != nil || got.Right != right {
			t.Errorf("%s: %+v %v", given, got, err)
		}
	}
	if d := b.get("independent"); !slices.Contains(d.Question.Choices, d.Question.Given) {
		t.Errorf("the letter is kept, and not the choice: %q", d.Question.Given)
	}
	if _, err := b.Answer(t.Context(), "independent", "d"); err == nil ||
		!strings.Contains(err.Error(), `"d" is not one of the choices: not at all; by about`) {
		t.Error(err)
	}
	for given, right := range map[string]bool{"1,667": true, "1667": true, "16,670": false} {
		if got, err := b.Answer(t.Context(), "backpressure", given); err != nil || got.Right != right {
			t.Errorf("%s: %+v %v", given, got, err)
		}
	}
	for _, bad := range []string{"1,66", "1.6", "four"} {
		if _, err := b.Answer(t.Context(), "backpressure", bad); err == nil || !strings.Contains(err.Error(), "is not a whole number") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// A question about offsets follows the topic until it is answered. Then question and explanation stay
// together, whatever the learner writes.
func TestAnsweredQuestionsStay(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	if d := b.get("offsets"); d.Picture.Kind != PictureNone || !strings.Contains(d.Picture.Note, "Create a topic (station 2)") {
		t.Errorf("no picture, and no reason: %+v", d.Picture)
	}
	b.create(orders, 3)
	for _, station := range []string{"producing", "offsets"} {
		text := func() string { return strings.Join(strings.Fields(markdown.Text(b.get(station).Question.Text)), " ") }
		before := text()
		b.write(orders, 2, "", 3)
		now := text()
		if now == before {
			t.Errorf("%s: the question does not follow the topic: %s", station, now)
		}
		b.answer(station, "77", false)
		b.write(orders, 2, "", 4)
		if got := text(); got != now {
			t.Errorf("%s: the question changed after it was answered:\n%s\n%s", station, now, got)
		}
		b.answer(station, map[string]string{"producing": "3", "offsets": "10"}[station], true)
	}
	if d := b.get("offsets"); d.Picture.Note != "" {
		t.Errorf("a reason beside a picture: %+v", d.Picture)
	}
}

// Beside an existing cluster no command is shown that only works on weir's own brokers, and no topic of others
// is taken for the learner's.
func TestCommandsBesideAnExistingCluster(t *testing.T) {
	t.Parallel()
	shown := func(b *bench, station, words string) bool {
		return slices.ContainsFunc(b.get(station).Commands, func(c Command) bool { return strings.Contains(c.Command, words) })
	}
	b := newBench(t, func(cfg *Config) { cfg.Members = true })
	if !shown(b, "replication", "brokers kill 0") && !shown(b, "replication", "brokers kill 1") && !shown(b, "replication", "brokers kill 2") ||
		!shown(b, "groups", "groups join "+counter) {
		t.Errorf("missing: %+v %+v", b.get("replication").Commands, b.get("groups").Commands)
	}
	b = newBench(t, func(cfg *Config) { cfg.Own = "" })
	b.create(orders, 3)
	if shown(b, "replication", "brokers") || shown(b, "groups", "groups join") {
		t.Errorf("cannot work: %+v %+v", b.get("replication").Commands, b.get("groups").Commands)
	}
	if !shown(b, "topic", "topics create my-orders ") || !shown(b, "producing", "send my-orders ") {
		t.Errorf("names a topic of others: %+v %+v", b.get("topic").Commands, b.get("producing").Commands)
	}
	b.create("my-orders", 3)
	if !shown(b, "producing", "send my-orders ") {
		t.Errorf("does not name the learner's topic: %+v", b.get("producing").Commands)
	}
}

package main

import (
	"testing"

	"github.com/weir-project/weir/internal/cli"
)

// TestTopicQuestions: on a terminal, a topic is deleted when its name is typed, and not otherwise.
func TestTopicQuestions(t *testing.T) {
	t.Parallel()
	env := testEnv(t)
	cluster := start(t, env, "", "cluster", "--listen", "off")
	cluster.stderr.waitFor(t, "Ctrl-C stops", startPatience)
	for _, topic := range []string{"one", "two"} {
		if _, stderr, code := weir(t, env, "topics", "create", topic); code != cli.ExitOK {
			t.Fatal(stderr)
		}
	}
	exists := func(topic string) bool {
		t.Helper()
		_, _, code := weir(t, env, "topics", "describe", topic)
		return code == cli.ExitOK
	}
	for _, c := range []struct {
		args     []string
		question string
		answer   string
		code     int
		one, two bool // exist afterwards
	}{
		{[]string{"topics", "delete", "one"}, "Type the topic's name", "y", cli.ExitRuntime, true, true},
		{[]string{"topics", "delete", "one", "two"}, "Type the topics' names", "one", cli.ExitRuntime, true, true},
		{[]string{"topics", "delete", "one"}, "Type the topic's name", "one", cli.ExitOK, false, true},
		{[]string{"topics", "add-partitions", "two", "1"}, "Type the topic's name", "two", cli.ExitOK, false, true},
		{[]string{"topics", "delete", "two"}, "Type the topic's name", "two", cli.ExitOK, false, false},
	} {
		asked := onTerminal(t, env, 100, c.args...)
		asked.out.waitFor(t, c.question, startPatience)
		asked.typeLine(t, c.answer)
		if code := asked.exit(t); code != c.code || exists("one") != c.one || exists("two") != c.two {
			t.Errorf("%q answered with %q: exit code %d, one exists: %t, two exists: %t\n%s", c.args, c.answer, code, exists("one"), exists("two"), asked.out)
		}
	}
}

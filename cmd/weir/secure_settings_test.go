package main

import (
	"encoding/json"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/redisd"
)

// settings spoils what a cluster is set to, reads what weir says, does that, and
// looks whether it is content. Topics of others are used as they are.
func (c *secureCluster) settings(t *testing.T) {
	c.deleteTopics()
	c.alterBrokers(t, kadm.SetConfig, "unclean.leader.election.enable", "true", "log.retention.ms", "60000")
	redis, err := redisd.Open(redisd.Config{Addr: "127.0.0.1:0", Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer redis.Close()
	env := testEnv(t, "WEIR_KAFKA="+strings.Join(c.addresses("CLIENT"), ","), "WEIR_REDIS="+redis.URL(), "WEIR_RATE=300", "WEIR_LISTEN=off")
	within(t, "what the brokers would do with new topics is told", func() bool {
		found, _ := c.preflight(t, env)
		return has(found, "promise-breaking", "cluster", "unclean.leader.election.enable is true") && has(found, "promise-breaking", "cluster", "log.retention.ms is 60000")
	})
	found, _ := c.preflight(t, env)
	if !has(found, "different", "cluster", "offsets.retention.minutes is 60") {
		t.Errorf("what differs is not told: %+v", found)
	}
	c.alterBrokers(t, kadm.DeleteConfig, "unclean.leader.election.enable", "", "log.retention.ms", "")

	// Topics that somebody else has made.
	if _, err := c.admin.CreateTopic(t.Context(), 4, 3, map[string]*string{"min.insync.replicas": kadm.StringPtr("2")}, "wikipedia-edits"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.admin.CreateTopic(t.Context(), 1, 1, nil, "bluesky-accounts"); err != nil {
		t.Fatal(err)
	}
	within(t, "the brokers know the topics", func() bool {
		found, _ := c.preflight(t, env)
		return has(found, "different", "topic wikipedia-edits", "4 partitions") && has(found, "promise-breaking", "topic bluesky-accounts", "replication factor is 1")
	})
	up := spawn(t, env, "up")
	up.out.waitFor(t, "Ctrl-C stops", apachePatience)
	for _, want := range []string{"promise-breaking: topic bluesky-accounts: its replication factor is 1", "different: topic wikipedia-edits: it has 4 partitions instead of 6"} {
		if !strings.Contains(up.out.String(), want) {
			t.Errorf("the start does not say %q:\n%s", want, up.out)
		}
	}
	within(t, "both streams are counted", func() bool {
		now := counted(t, env)
		return sum(now["bluesky"]) >= 200 && sum(now["wikipedia"]) >= 20
	})
	up.signal(t, syscall.SIGTERM)
	up.exitWithin(t, apachePatience)
	verified(t, env)
	within(t, "topics of others stay as they were", func() bool { // the library answers from a cache for a while
		topics, err := c.admin.ListTopics(t.Context(), "wikipedia-edits", "bluesky-accounts")
		return err == nil && len(topics["wikipedia-edits"].Partitions) == 4 && len(topics["bluesky-accounts"].Partitions) == 1
	})

	for _, s := range []struct{ topic, key, value, severity, cause string }{
		{"bluesky-events", "retention.ms", "60000", "promise-breaking", "stores duplicates"},
		{"bluesky-events", "message.timestamp.before.max.ms", "3600000", "promise-breaking", "refuses events older than 1h"},
		{"bluesky-events", "unclean.leader.election.enable", "true", "promise-breaking", "lacks acknowledged events"},
		{"wikipedia-edits", "retention.ms", "86400000", "promise-breaking", "too old to be kept"},
		{"wikipedia-edits", "message.timestamp.after.max.ms", "60000", "promise-breaking", "stamped more than 1m"},
		{"wikipedia-edits", "min.insync.replicas", "1", "promise-breaking", "one broker alone"},
		{"wikipedia-edits", "retention.bytes", "100000000", "different", "counter that is away"},
		{"weir.dead-letters", "retention.bytes", "1000000", "promise-breaking", "counters that pause are overtaken"},
		{"weir.dead-letters", "message.timestamp.type", "LogAppendTime", "different", "broker's clock"},
		{"weir.cursors", "cleanup.policy", "delete", "promise-breaking", "quiet for long"},
	} {
		c.alterTopic(t, s.topic, s.key, s.value)
		where := "topic " + s.topic
		within(t, s.topic+" "+s.key+" is told of", func() bool {
			found, code := c.preflight(t, env)
			return has(found, s.severity, where, s.cause) && code == cli.ExitFailed
		})
		found, _ := c.preflight(t, env)
		for _, f := range found {
			if f.Where == where && strings.Contains(f.Cause, s.cause) {
				c.configure(t, f.Run)
			}
		}
		within(t, "what was said mends "+s.topic+" "+s.key, func() bool {
			found, _ := c.preflight(t, env)
			return !has(found, s.severity, where, s.cause)
		})
	}
	c.deleteTopics()
	if found, code := c.preflight(t, env); code != cli.ExitOK {
		t.Errorf("of a cluster as weir would make it: exit code %d: %+v", code, found)
	}
}

func has(all []kafka.Finding, severity, where, cause string) bool {
	return slices.ContainsFunc(all, func(f kafka.Finding) bool {
		return f.Severity == severity && f.Where == where && strings.Contains(f.Cause, cause) && f.Out != ""
	})
}

func (c *secureCluster) preflight(t *testing.T, env []string) ([]kafka.Finding, int) {
	t.Helper()
	stdout, stderr, code := weir(t, env, "preflight", "-o", "json")
	var all []kafka.Finding
	if err := json.Unmarshal([]byte(stdout), &all); err != nil {
		t.Fatalf("preflight printed %q: %v\n%s", stdout, err, stderr)
	}
	return all, code
}

// configure does what a line of kafka-configs.sh says.
func (c *secureCluster) configure(t *testing.T, line string) {
	t.Helper()
	words := strings.Fields(line)
	if len(words) != 8 || words[0] != "kafka-configs.sh" || words[3] != "--alter" || words[4] != "--topic" || words[6] != "--add-config" {
		t.Fatalf("not the line of a topic's setting: %q", line)
	}
	key, value, _ := strings.Cut(words[7], "=")
	c.alterTopic(t, words[5], key, value)
}

func (c *secureCluster) alterTopic(t *testing.T, topic, key, value string) {
	t.Helper()
	res, err := c.admin.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: key, Value: kadm.StringPtr(value)}}, topic)
	if err == nil {
		err = res[0].Err
	}
	if err != nil {
		t.Fatalf("%s %s=%s: %v", topic, key, value, err)
	}
}

func (c *secureCluster) alterBrokers(t *testing.T, op kadm.IncrementalOp, kv ...string) {
	t.Helper()
	var all []kadm.AlterConfig
	for i := 0; i < len(kv); i += 2 {
		all = append(all, kadm.AlterConfig{Op: op, Name: kv[i], Value: kadm.StringPtr(kv[i+1])})
	}
	res, err := c.admin.AlterBrokerConfigs(t.Context(), all)
	if err == nil {
		err = res[0].Err
	}
	if err != nil {
		t.Fatal(err)
	}
}

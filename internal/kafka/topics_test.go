package kafka_test

import (
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-project/weir/internal/kafka"
)

func TestTopicsAreCreatedOnce(t *testing.T) {
	_, cfg := cluster(t, kfake.SeedTopics(2, kafka.TopicWikipedia))
	cl := client(t, cfg)
	for range 2 {
		if err := kafka.EnsureTopics(t.Context(), cl, kafka.Topics()...); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]struct {
		partitions int
		configs    map[string]string
	}{
		"bluesky-events":    {6, map[string]string{"max.message.bytes": "8388608", "min.insync.replicas": "2"}},
		"bluesky-accounts":  {3, map[string]string{"max.message.bytes": "8388608", "min.insync.replicas": "2"}},
		"weir.dead-letters": {2, map[string]string{"max.message.bytes": "8388608", "min.insync.replicas": "2"}},
		"weir.cursors":      {2, map[string]string{"cleanup.policy": "compact", "min.insync.replicas": "2"}},
		"wikipedia-edits":   {2, map[string]string{"max.message.bytes": "1048588", "min.insync.replicas": "1"}}, // was there
	}
	adm := kadm.NewClient(cl)
	md, err := adm.Metadata(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	described, err := adm.DescribeTopicConfigs(t.Context(), md.Topics.Names()...)
	if err != nil {
		t.Fatal(err)
	}
	configs := map[string][]kadm.Config{}
	for _, c := range described {
		configs[c.Name] = c.Configs
	}
	for name, w := range want {
		d := md.Topics[name]
		if len(d.Partitions) != w.partitions {
			t.Errorf("%s has %d partitions, want %d", name, len(d.Partitions), w.partitions)
		}
		if n := d.Partitions.NumReplicas(); n != 3 {
			t.Errorf("%s has %d replicas, want 3", name, n)
		}
		for k, v := range w.configs {
			var got string
			for _, kv := range configs[name] {
				if kv.Key == k {
					got = *kv.Value
				}
			}
			if got != v {
				t.Errorf("%s: %s = %q, want %s", name, k, got, v)
			}
		}
	}
	if n := len(md.Topics); n != len(want) {
		t.Errorf("%d topics, want %d", n, len(want))
	}
}

func TestMaxBytes(t *testing.T) {
	_, cfg := cluster(t, kfake.SeedTopics(1, "old"))
	cl := client(t, cfg)
	big := kafka.TopicSpec{Name: "big", Partitions: 1, Configs: map[string]string{"max.message.bytes": "99999999"}}
	if err := kafka.EnsureTopics(t.Context(), cl, big); err != nil {
		t.Fatal(err)
	}
	got, err := kafka.MaxBytes(t.Context(), cl, "old", "big", "absent")
	if err != nil {
		t.Fatal(err)
	}
	for topic, want := range map[string]int{"old": 1048588, "big": 8 << 20, "absent": 1000012} {
		if got[topic] != want {
			t.Errorf("%s: %d, want %d", topic, got[topic], want)
		}
	}
}

// all is the purpose of a weir up.
var all = kafka.Ingest("bluesky", kafka.TopicBluesky, kafka.TopicBlueskyAccounts).
	And(kafka.Ingest("wikipedia", kafka.TopicWikipedia)).
	And(kafka.Purpose{Read: []string{kafka.TopicBluesky}, Groups: []string{kafka.GroupBluesky}})

func TestPreflightOfWhatWeirMade(t *testing.T) {
	_, cfg := cluster(t)
	cl := client(t, cfg)
	if err := kafka.EnsureTopics(t.Context(), cl, kafka.Topics()...); err != nil {
		t.Fatal(err)
	}
	findings, err := cfg.Preflight(t.Context(), cl, all)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range findings {
		t.Errorf("unexpected finding: %v", f)
	}
}

func TestPreflightFindsWhatBreaksThePromise(t *testing.T) {
	_, cfg := cluster(t)
	cl := client(t, cfg)
	adm := kadm.NewClient(cl)
	for _, c := range []struct {
		name       string
		partitions int32
		rf         int16
		configs    map[string]string
	}{
		{kafka.TopicBluesky, 6, 1, map[string]string{"max.message.bytes": "1048588"}},
		{kafka.TopicBlueskyAccounts, 4, 3, map[string]string{"min.insync.replicas": "1", "cleanup.policy": "compact"}},
		{kafka.TopicWikipedia, 6, 2, map[string]string{"min.insync.replicas": "3", "message.timestamp.type": "LogAppendTime"}},
		{kafka.TopicDeadLetters, 1, 3, map[string]string{"min.insync.replicas": "2"}},
		{kafka.TopicCursors, 1, 3, map[string]string{"min.insync.replicas": "2", "cleanup.policy": "delete"}},
	} {
		configs := map[string]*string{}
		for k, v := range c.configs {
			configs[k] = &v
		}
		if _, err := adm.CreateTopic(t.Context(), c.partitions, c.rf, configs, c.name); err != nil {
			t.Fatalf("create %s: %v", c.name, err)
		}
	}
	// An old cluster's transactions.
	if _, err := adm.UpdateFeatures(t.Context(), false, kadm.FeatureUpdate{Feature: "transaction.version", MaxVersionLevel: 1, UpgradeType: 2}); err != nil {
		t.Fatal(err)
	}
	findings, err := cfg.Preflight(t.Context(), cl, all)
	if err != nil {
		t.Fatal(err)
	}
	want := []struct {
		severity string
		topic    string // empty for the cluster
		text     string
	}{
		{kafka.Breaks, "", "transaction.version is 1"},
		{kafka.Breaks, kafka.TopicBluesky, "replication factor is 1"},
		{kafka.Different, kafka.TopicBluesky, "max.message.bytes is 1048588"},
		{kafka.Breaks, kafka.TopicBlueskyAccounts, "one broker alone"},
		{kafka.Breaks, kafka.TopicBlueskyAccounts, "only the last stays"},
		{kafka.Different, kafka.TopicBlueskyAccounts, "4 partitions instead of 3"},
		{kafka.Different, kafka.TopicWikipedia, "replication factor is 2 instead"},
		{kafka.Breaks, kafka.TopicWikipedia, "nothing can be written"},
		{kafka.Different, kafka.TopicWikipedia, "broker's clock"},
		{kafka.Breaks, kafka.TopicDeadLetters, "every source needs its own"},
		{kafka.Breaks, kafka.TopicCursors, "every source needs its own"},
		{kafka.Breaks, kafka.TopicCursors, "cleanup.policy is delete"},
	}
	for _, w := range want {
		var found bool
		where := "cluster"
		if w.topic != "" {
			where = "topic " + w.topic
		}
		for _, f := range findings {
			found = found || f.Severity == w.severity && f.Where == where && strings.Contains(f.Cause, w.text) && f.Out != ""
		}
		if !found {
			t.Errorf("no finding (%v) about %q with %q", w.severity, w.topic, w.text)
		}
	}
	for _, f := range findings {
		t.Log(f)
	}
}

func TestPreflightOfASmallCluster(t *testing.T) {
	_, cfg := cluster(t, kfake.NumBrokers(1))
	findings, err := cfg.Preflight(t.Context(), client(t, cfg), all)
	if err != nil {
		t.Fatal(err)
	}
	if len(findings) != 1 || findings[0].Severity != kafka.Different || !strings.Contains(findings[0].Cause, "1 brokers") {
		t.Errorf("findings = %v, want one about the number of brokers", findings)
	}
}

// TestTopicsAreKnownToEveryBroker has a broker that hears of new topics later than others.
func TestTopicsAreKnownToEveryBroker(t *testing.T) {
	c, cfg := cluster(t)
	cl := client(t, cfg)
	const late, denials = 2, 3
	var denied atomic.Int32
	c.ControlKey(int16(kmsg.Metadata), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		m := req.(*kmsg.MetadataRequest)
		if c.CurrentNode() != late || len(m.Topics) != 1 || denied.Load() == denials {
			return nil, nil, false
		}
		denied.Add(1)
		resp := m.ResponseKind().(*kmsg.MetadataResponse)
		for id := range int32(3) {
			b := kmsg.NewMetadataResponseBroker()
			host, port, _ := net.SplitHostPort(c.ListenAddrs()[id])
			n, _ := strconv.Atoi(port)
			b.NodeID, b.Host, b.Port = id, host, int32(n)
			resp.Brokers = append(resp.Brokers, b)
		}
		topic := kmsg.NewMetadataResponseTopic()
		topic.Topic, topic.ErrorCode = m.Topics[0].Topic, kerr.UnknownTopicOrPartition.Code
		resp.Topics = append(resp.Topics, topic)
		return resp, nil, true
	})
	if err := kafka.EnsureTopics(t.Context(), cl, kafka.TopicSpec{Name: "new", Partitions: 2}); err != nil {
		t.Fatal(err)
	}
	if n := denied.Load(); n != denials {
		t.Errorf("it goes on after %d denials of %d", n, denials)
	}
}

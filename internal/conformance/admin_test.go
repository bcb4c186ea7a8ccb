package conformance

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// create asks for a topic and returns what Kafka says.
func create(t *testing.T, name string, partitions int32, replicas int16, configs ...string) error {
	t.Helper()
	set := make(map[string]*string)
	for i := 0; i < len(configs); i += 2 {
		set[configs[i]] = &configs[i+1]
	}
	_, err := adm.CreateTopic(testCtx(t), partitions, replicas, set, name)
	return err
}

// lenient returns what a request is refused with, which the embedded cluster takes.
func lenient(t *testing.T, want *kerr.Error) *kerr.Error {
	t.Helper()
	if differs(t, "lenient") {
		return nil
	}
	return want
}

// What a topic may be is checked when it is created (protocol guide, CreateTopics;
// KIP-464 for the defaults).
func TestCreateTopics(t *testing.T) {
	t.Parallel()
	n := name(t)
	for _, c := range []struct {
		what       string
		name       string
		partitions int32
		replicas   int16
		configs    []string
		want       *kerr.Error
	}{
		{"no partitions", n, 0, 3, nil, kerr.InvalidPartitions},
		{"more replicas than brokers", n, 1, 4, nil, kerr.InvalidReplicationFactor},
		{"no replicas", name(t), 1, 0, nil, lenient(t, kerr.InvalidReplicationFactor)},
		{"a slash in the name", "a/b", 1, 3, nil, kerr.InvalidTopicException},
		{"an empty name", "", 1, 3, nil, kerr.InvalidTopicException},
		{"a name of dots", "..", 1, 3, nil, kerr.InvalidTopicException},
		{"a name of 250 characters", strings.Repeat("x", 250), 1, 3, nil, kerr.InvalidTopicException},
		{"a setting that there is not", name(t), 1, 3, []string{"no.such.setting", "1"}, kerr.InvalidConfig},
		{"a number that is none", name(t), 1, 3, []string{"retention.ms", "soon"}, kerr.InvalidConfig},
		{"a number out of range", name(t), 1, 3, []string{"max.message.bytes", "-1"}, kerr.InvalidConfig},
		{"a word that is none of those", name(t), 1, 3, []string{"cleanup.policy", "burn"}, kerr.InvalidConfig},
	} {
		answered(t, c.what, create(t, c.name, c.partitions, c.replicas, c.configs...), c.want)
	}
	dry, err := adm.ValidateCreateTopics(testCtx(t), 1, 3, nil, n)
	if err = errors.Join(err, dry.Error()); err != nil {
		t.Fatalf("validate only: %v", err)
	}
	if err := create(t, n, -1, -1, "retention.ms", "12345", "cleanup.policy", "compact,delete"); err != nil {
		t.Fatalf("after it was only validated: %v", err)
	}
	known(t, n, -1)
	failed(t, "once more", create(t, n, 1, 3), kerr.TopicAlreadyExists)
	equal(t, "replicas by default", len(detail(t, n, 0).Replicas), 3)
	values := config(t, n)
	equal(t, "retention.ms", values["retention.ms"].value, "12345")
	equal(t, "its source", values["retention.ms"].source, kmsg.ConfigSourceDynamicTopicConfig)
	equal(t, "cleanup.policy", values["cleanup.policy"].value, "compact,delete")
	equal(t, "max.message.bytes", values["segment.index.bytes"].source, values["index.interval.bytes"].source) // both absent, or both defaults
	equal(t, "source of a default", values["delete.retention.ms"].source, kmsg.ConfigSourceDefaultConfig)
	dotted := name(t)
	if err := create(t, dotted+".a", 1, 3); err != nil {
		t.Fatal(err)
	}
	// Metrics write one for the other.
	failed(t, "a name that differs in a dot and an underscore", create(t, dotted+"_a", 1, 3), kerr.InvalidTopicException)
}

// The answer to CreateTopics lists the settings with their sources (KIP-525). Java's admin
// client throws on a source that it does not know, such as -1.
func TestCreateTopicsListsSettings(t *testing.T) {
	t.Parallel()
	req := kmsg.NewPtrCreateTopicsRequest()
	rt := kmsg.NewCreateTopicsRequestTopic()
	rt.Topic, rt.NumPartitions, rt.ReplicationFactor = name(t), 1, 1
	rc := kmsg.NewCreateTopicsRequestTopicConfig()
	rc.Name, rc.Value = "retention.ms", kmsg.StringPtr("60000")
	rt.Configs = append(rt.Configs, rc)
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(testCtx(t), plain)
	if err != nil {
		t.Fatal(err)
	}
	if err := kerr.ErrorForCode(resp.Topics[0].ErrorCode); err != nil {
		t.Fatal(err)
	}
	found := false
	for _, c := range resp.Topics[0].Configs {
		if c.Source < 1 {
			t.Errorf("%s has source %d", c.Name, c.Source)
		}
		if c.Name == "retention.ms" {
			found = true
			equal(t, "its source", kmsg.ConfigSource(c.Source), kmsg.ConfigSourceDynamicTopicConfig)
		}
	}
	if !found {
		t.Error("retention.ms is not listed")
	}
}

// Replicas can be placed by hand (CreateTopics, field assignments).
func TestReplicaAssignment(t *testing.T) {
	t.Parallel()
	ids := brokers(t)
	ask := func(assign map[int32][]int32) (string, error) {
		t.Helper()
		req := kmsg.NewPtrCreateTopicsRequest()
		rt := kmsg.NewCreateTopicsRequestTopic()
		rt.Topic, rt.NumPartitions, rt.ReplicationFactor = name(t), -1, -1
		for p, replicas := range assign {
			a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
			a.Partition, a.Replicas = p, replicas
			rt.ReplicaAssignment = append(rt.ReplicaAssignment, a)
		}
		req.Topics, req.TimeoutMillis = append(req.Topics, rt), 15000
		resp, err := req.RequestWith(testCtx(t), plain)
		if err != nil {
			t.Fatal(err)
		}
		return rt.Topic, kerr.ErrorForCode(resp.Topics[0].ErrorCode)
	}
	_, err := ask(map[int32][]int32{0: {ids[0]}, 2: {ids[1]}})
	failed(t, "a partition is left out", err, kerr.InvalidReplicaAssignment)
	_, err = ask(map[int32][]int32{0: {ids[0], ids[0]}})
	answered(t, "a broker twice", err, lenient(t, kerr.InvalidReplicaAssignment))
	// Nearly all on one broker, which no even spreading does by chance.
	asked := map[int32][]int32{0: {ids[1], ids[2]}}
	for p := int32(1); p < 9; p++ {
		asked[p] = []int32{ids[2], ids[0]}
	}
	n, err := ask(asked)
	if err != nil {
		t.Fatal(err)
	}
	known(t, n, len(asked))
	elsewhere := 0
	for p, replicas := range asked {
		d := detail(t, n, p)
		got, want := fmt.Sprint(d.Leader, d.Replicas), fmt.Sprint(replicas[0], replicas)
		switch {
		case !differs(t, "replica-placement"):
			equal(t, fmt.Sprint("leader and replicas of ", p), got, want)
		case got != want:
			elsewhere++
		}
	}
	if differs(t, "replica-placement") && elsewhere == 0 {
		t.Error("replicas are where they were asked for")
	}
}

type setting struct {
	value  string
	source kmsg.ConfigSource
}

// config returns a topic's configuration.
func config(t *testing.T, topic string) map[string]setting {
	t.Helper()
	rs, err := adm.DescribeTopicConfigs(testCtx(t), topic)
	if err == nil {
		_, err = rs.On(topic, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]setting)
	for _, c := range rs[0].Configs {
		out[c.Key] = setting{c.MaybeValue(), c.Source}
	}
	return out
}

// Settings change one at a time, all at once, and not at all where one is wrong
// (KIP-339; the older AlterConfigs sets everything anew, KIP-133).
func TestAlterConfigs(t *testing.T) {
	t.Parallel()
	top := topic(t, 1, "retention.ms", "1000000", "cleanup.policy", "delete")
	alter := func(cs ...kadm.AlterConfig) error {
		t.Helper()
		rs, err := adm.AlterTopicConfigs(testCtx(t), cs, top)
		if err != nil {
			return err
		}
		return rs[0].Err
	}
	is := func(key, want string) {
		t.Helper()
		eventually(t, func() string { // a broker follows the controller after a moment
			if got := config(t, top)[key].value; got != want {
				return fmt.Sprintf("%s is %q, want %q", key, got, want)
			}
			return ""
		})
	}
	v := func(s string) *string { return &s }
	if err := alter(kadm.AlterConfig{Op: kadm.SetConfig, Name: "max.message.bytes", Value: v("2000000")}); err != nil {
		t.Fatal(err)
	}
	is("max.message.bytes", "2000000")
	is("retention.ms", "1000000")
	if err := alter(kadm.AlterConfig{Op: kadm.AppendConfig, Name: "cleanup.policy", Value: v("compact")}); err != nil {
		t.Fatal(err)
	}
	is("cleanup.policy", "delete,compact")
	if err := alter(kadm.AlterConfig{Op: kadm.SubtractConfig, Name: "cleanup.policy", Value: v("delete")}); err != nil {
		t.Fatal(err)
	}
	is("cleanup.policy", "compact")
	if err := alter(kadm.AlterConfig{Op: kadm.DeleteConfig, Name: "retention.ms"}); err != nil {
		t.Fatal(err)
	}
	is("retention.ms", fmt.Sprint(7*24*60*60*1000))
	answered(t, "one wrong of two", alter(kadm.AlterConfig{Op: kadm.SetConfig, Name: "segment.ms", Value: v("99999")},
		kadm.AlterConfig{Op: kadm.SetConfig, Name: "no.such.setting", Value: v("5")}), kerr.InvalidConfig)
	is("segment.ms", fmt.Sprint(7*24*60*60*1000))
	answered(t, "a number that is none", alter(kadm.AlterConfig{Op: kadm.SetConfig, Name: "retention.ms", Value: v("abc")}), kerr.InvalidConfig)
	is("retention.ms", fmt.Sprint(7*24*60*60*1000))

	dry, err := adm.ValidateAlterTopicConfigs(testCtx(t), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: v("77")}}, top)
	if err = errors.Join(err, dry[0].Err); err != nil {
		t.Fatal(err)
	}
	all, err := adm.AlterTopicConfigsState(testCtx(t), []kadm.AlterConfig{{Name: "retention.ms", Value: v("88000")}}, top)
	if err = errors.Join(err, all[0].Err); err != nil {
		t.Fatal(err)
	}
	is("retention.ms", "88000")
	is("cleanup.policy", "delete") // not named, so the default again
	gone, err := adm.AlterTopicConfigs(testCtx(t), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: v("5")}}, name(t))
	if err != nil {
		t.Fatal(err)
	}
	failed(t, "a topic that there is not", gone[0].Err, kerr.UnknownTopicOrPartition)
}

// A limit takes effect without a restart (topic config max.message.bytes).
func TestConfigTakesEffect(t *testing.T) {
	t.Parallel()
	top := topic(t, 1)
	big := func() int16 {
		t.Helper()
		return send(t, top, 0, batch{id: -1, epoch: -1, sequence: -1, values: []string{strings.Repeat("x", 20_000)}}.bytes()).ErrorCode
	}
	code(t, "20 kB by default", big(), nil)
	few := "10000"
	rs, err := adm.AlterTopicConfigs(testCtx(t), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "max.message.bytes", Value: &few}}, top)
	if err = errors.Join(err, rs[0].Err); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string {
		if c := big(); c != kerr.MessageTooLarge.Code {
			return fmt.Sprint("20 kB with a limit of 10 kB: ", kerr.ErrorForCode(c))
		}
		return ""
	})
}

// Partitions can be added, not taken away; what is there stays (KIP-195).
func TestCreatePartitions(t *testing.T) {
	t.Parallel()
	top := topic(t, 2)
	produce(t, top, 1, "a")
	set := func(n int) error {
		t.Helper()
		rs, err := adm.UpdatePartitions(testCtx(t), n, top)
		if err != nil {
			return err
		}
		return rs[top].Err
	}
	failed(t, "fewer", set(1), kerr.InvalidPartitions)
	answered(t, "as many", set(2), lenient(t, kerr.InvalidPartitions))
	if err := set(5); err != nil {
		t.Fatal(err)
	}
	known(t, top, 5)
	equal(t, "what was there", show(read(t, top, 1, uncommitted)), "0=a")
	produce(t, top, 4, "b")
	equal(t, "the new partition", show(read(t, top, 4, uncommitted)), "0=b")
	rs, err := adm.UpdatePartitions(testCtx(t), 3, name(t))
	if err != nil {
		t.Fatal(err)
	}
	failed(t, "of no topic", rs.Error(), kerr.UnknownTopicOrPartition)
}

// A topic made anew under a name is another topic: another id, offsets from 0, and
// who asks for the old id is told that there is none (KIP-516).
func TestRecreateTopic(t *testing.T) {
	t.Parallel()
	n := topic(t, 1)
	produce(t, n, 0, "a", "b")
	id := func() kadm.TopicID {
		t.Helper()
		list, err := adm.ListTopics(testCtx(t), n)
		if err != nil {
			t.Fatal(err)
		}
		return list[n].ID
	}
	was := id()
	if _, err := adm.DeleteTopic(testCtx(t), n); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string {
		list, err := adm.ListTopics(testCtx(t), n)
		if err != nil || !errors.Is(list[n].Err, kerr.UnknownTopicOrPartition) {
			return fmt.Sprintf("the deleted topic is listed (%v, %v)", err, list[n].Err)
		}
		return ""
	})
	_, err := adm.DeleteTopic(testCtx(t), n)
	failed(t, "delete it again", err, kerr.UnknownTopicOrPartition)
	if err := create(t, n, 1, 3); err != nil {
		t.Fatal(err)
	}
	known(t, n, 1)
	eventually(t, func() string {
		if got := id(); got == was || got == (kadm.TopicID{}) {
			return fmt.Sprintf("topic id %v after %v", got, was)
		}
		return ""
	})
	if start, end := offsets(t, n, 0); start != 0 || end != 0 {
		t.Errorf("the new topic's log is from %d to %d", start, end)
	}
	req := kmsg.NewPtrFetchRequest()
	req.SessionEpoch, req.MaxBytes = -1, 1<<20
	rt := kmsg.NewFetchRequestTopic()
	rt.TopicID = was
	rp := kmsg.NewFetchRequestTopicPartition()
	rp.PartitionMaxBytes = 1 << 20
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	code(t, "fetch by the old id", settled(t, func() int16 {
		resp, err := req.RequestWith(testCtx(t), plain.Broker(int(leader(t, n, 0))))
		if err != nil {
			t.Fatal(err)
		}
		return resp.Topics[0].Partitions[0].ErrorCode
	}), kerr.UnknownTopicID)
}

// A broker does not make topics because somebody asks about them, where
// auto.create.topics.enable is off.
func TestUnknownTopic(t *testing.T) {
	t.Parallel()
	n := name(t)
	for range 2 {
		list, err := adm.ListTopics(testCtx(t), n)
		if err != nil {
			t.Fatal(err)
		}
		failed(t, "metadata", list[n].Err, kerr.UnknownTopicOrPartition)
	}
}

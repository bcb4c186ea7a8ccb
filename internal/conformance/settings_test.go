package conformance

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// alter changes settings of a topic, one request, and returns the topic's error.
func alter(t *testing.T, topic string, cs ...kadm.AlterConfig) error {
	t.Helper()
	rs, err := adm.AlterTopicConfigs(testCtx(t), cs, topic)
	if err != nil {
		return err
	}
	return rs[0].Err
}

func change(op kadm.IncrementalOp, key, value string) kadm.AlterConfig {
	return kadm.AlterConfig{Op: op, Name: key, Value: &value}
}

// becomes waits for a setting's value: a broker follows the controller after a moment.
func becomes(t *testing.T, topic, key, want string) {
	t.Helper()
	eventually(t, func() string {
		if got := config(t, topic)[key].value; got != want {
			return fmt.Sprintf("%s is %q, want %q", key, got, want)
		}
		return ""
	})
}

// Parts are appended to and subtracted from the value that applies, the default included,
// and what comes out has to be a value that the setting may have (KIP-339).
func TestListSettings(t *testing.T) {
	t.Parallel()
	const key = "cleanup.policy"
	for _, c := range []struct {
		what  string
		begin string // the own list value; empty where it has none
		op    kadm.IncrementalOp
		value string
		want  string
		fails *kerr.Error
	}{
		{"append to the default", "", kadm.AppendConfig, "compact", "delete,compact", nil},
		{"append what the default has", "", kadm.AppendConfig, "delete", "delete", nil},
		{"append two to the default", "", kadm.AppendConfig, "delete,compact", "delete,compact", nil},
		{"append to the own list", "compact", kadm.AppendConfig, "delete", "compact,delete", nil},
		{"append what is there", "compact", kadm.AppendConfig, "compact", "compact", nil},
		{"subtract from the own list", "delete,compact", kadm.SubtractConfig, "delete", "compact", nil},
		{"subtract what is not there", "", kadm.SubtractConfig, "compact", "delete", nil},
		{"subtract all", "delete", kadm.SubtractConfig, "delete", "", nil},
		{"append what is no policy", "", kadm.AppendConfig, "burn", "delete", kerr.InvalidConfig},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			var own []string
			if c.begin != "" {
				own = []string{key, c.begin}
			}
			top := topic(t, 1, own...)
			answered(t, c.what, alter(t, top, change(c.op, key, c.value)), c.fails)
			becomes(t, top, key, c.want)
		})
	}
	// Both at once: neither is lost.
	top := topic(t, 1)
	answered(t, "two settings at once", alter(t, top, change(kadm.AppendConfig, key, "compact"), change(kadm.SetConfig, "retention.ms", "77000")), nil)
	becomes(t, top, key, "delete,compact")
	becomes(t, top, "retention.ms", "77000")
	failed(t, "one wrong of two", alter(t, top, change(kadm.SubtractConfig, key, "compact"), change(kadm.SetConfig, "retention.ms", "abc")), kerr.InvalidConfig)
	becomes(t, top, key, "delete,compact")
	failed(t, "append to what is no list", alter(t, top, change(kadm.AppendConfig, "retention.ms", "5")), kerr.InvalidConfig)
}

// What a setting may be is Kafka's to say, and what is taken away needs no value
// (ConfigAdminManager, LogConfig).
func TestSettingsThatAreRefused(t *testing.T) {
	t.Parallel()
	top := topic(t, 1, "retention.ms", "1000000")
	for _, c := range []struct {
		what string
		a    kadm.AlterConfig
		want *kerr.Error
	}{
		{"nothing is set", kadm.AlterConfig{Op: kadm.SetConfig, Name: "retention.ms"}, kerr.InvalidRequest},
		{"nothing is appended", kadm.AlterConfig{Op: kadm.AppendConfig, Name: "cleanup.policy"}, kerr.InvalidRequest},
		{"nothing is subtracted", kadm.AlterConfig{Op: kadm.SubtractConfig, Name: "cleanup.policy"}, kerr.InvalidRequest},
		{"an unknown setting is deleted", kadm.AlterConfig{Op: kadm.DeleteConfig, Name: "no.such.setting"}, nil},
		{"a setting without a value of its own is deleted", kadm.AlterConfig{Op: kadm.DeleteConfig, Name: "segment.ms"}, nil},
		{"segments of a byte less than allowed", change(kadm.SetConfig, "segment.bytes", "1048575"), kerr.InvalidConfig},
		{"the smallest segments", change(kadm.SetConfig, "segment.bytes", "1048576"), nil},
	} {
		answered(t, c.what, alter(t, top, c.a), c.want)
	}
	becomes(t, top, "retention.ms", "1000000")
}

// The older request, which replaces all settings of a topic, refuses the same and then
// changes nothing.
func TestAllSettingsThatAreRefused(t *testing.T) {
	t.Parallel()
	top, ms := topic(t, 1, "segment.ms", "500000"), func(v string) *string { return &v }
	for _, c := range []struct {
		what, key string
		value     *string
		want      *kerr.Error
	}{
		{"a setting that does not exist", "retention.mss", ms("1000000"), kerr.InvalidConfig},
		{"a value that is not a number", "retention.ms", ms("abc"), kerr.InvalidConfig},
		{"no value", "retention.ms", nil, kerr.InvalidRequest},
	} {
		answered(t, c.what, replace(t, top, kadm.AlterConfig{Name: "segment.ms", Value: ms("400000")}, kadm.AlterConfig{Name: c.key, Value: c.value}), c.want)
	}
	becomes(t, top, "segment.ms", "500000")
	answered(t, "another setting", replace(t, top, change(kadm.SetConfig, "retention.ms", "1000000")), nil)
	becomes(t, top, "retention.ms", "1000000")
	becomes(t, top, "segment.ms", "604800000") // the default
}

// replace makes these the only settings of a topic, and returns the topic's error.
func replace(t *testing.T, topic string, cs ...kadm.AlterConfig) error {
	t.Helper()
	rs, err := adm.AlterTopicConfigsState(testCtx(t), cs, topic)
	if err != nil {
		t.Fatal(err)
	}
	return rs[0].Err
}

// Groups of Kafka Streams have a protocol of their own (KIP-1071), beside the classic one.
func TestStreamsGroupsAreOffered(t *testing.T) {
	t.Parallel()
	for id, keys := range offered(t) {
		want := !differs(t, "streams-groups")
		equal(t, fmt.Sprintf("broker %d offers StreamsGroupHeartbeat", id), keys[kmsg.StreamsGroupHeartbeat], want)
	}
}

// Commits are records of a topic that can be listed (protocol guide, "Group membership").
func TestInternalTopics(t *testing.T) {
	t.Parallel()
	answered(t, "commit", commitAt(t, name(t), topic(t, 1), 1, ""), nil)
	all, err := adm.ListTopicsWithInternal(testCtx(t))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "__consumer_offsets exists", all.Has("__consumer_offsets"), !differs(t, "internal-topics"))
}

// A cluster that collects no metrics of its clients does not offer to (KIP-714): a client
// asks where telemetry is in the list of versions.
func TestTelemetryIsNotOffered(t *testing.T) {
	t.Parallel()
	for id, keys := range offered(t) {
		for _, key := range []kmsg.Key{kmsg.GetTelemetrySubscriptions, kmsg.PushTelemetry} {
			equal(t, fmt.Sprintf("broker %d offers %s", id, key.Name()), keys[key], false)
		}
	}
}

// offered returns the requests that each broker offers.
func offered(t *testing.T) map[int32]map[kmsg.Key]bool {
	t.Helper()
	all := map[int32]map[kmsg.Key]bool{}
	for _, id := range brokers(t) {
		req := kmsg.NewPtrApiVersionsRequest()
		req.ClientSoftwareName, req.ClientSoftwareVersion = "weir", "1"
		resp, err := req.RequestWith(testCtx(t), plain.Broker(int(id)))
		if err != nil {
			t.Fatal(err)
		}
		if len(resp.ApiKeys) == 0 {
			t.Fatalf("broker %d lists no requests", id)
		}
		all[id] = map[kmsg.Key]bool{}
		for _, k := range resp.ApiKeys {
			all[id][kmsg.Key(k.ApiKey)] = true
		}
	}
	return all
}

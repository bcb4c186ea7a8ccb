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

// A cluster that collects no metrics of its clients does not offer to (KIP-714): a client
// asks where telemetry is in the list of versions.
func TestTelemetryIsNotOffered(t *testing.T) {
	t.Parallel()
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
		for _, k := range resp.ApiKeys {
			if key := kmsg.Key(k.ApiKey); key == kmsg.GetTelemetrySubscriptions || key == kmsg.PushTelemetry {
				t.Errorf("broker %d offers %s", id, key.Name())
			}
		}
	}
}

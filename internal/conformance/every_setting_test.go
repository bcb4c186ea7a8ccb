package conformance

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// topicSetting is a setting of a topic with its documented default, another value that it
// may have, and one that it may not have (https://kafka.apache.org/documentation/#topicconfigs).
type topicSetting struct{ name, byDefault, other, wrong string }

const maxLong = "9223372036854775807"

var topicSettings = []topicSetting{
	{"cleanup.policy", "delete", "compact,delete", "burn"},
	{"compression.gzip.level", "-1", "9", "10"},
	{"compression.lz4.level", "9", "17", "18"},
	{"compression.type", "producer", "zstd", "rar"},
	{"compression.zstd.level", "3", "22", "23"},
	{"delete.retention.ms", "86400000", "1000", "-1"},
	{"file.delete.delay.ms", "60000", "1000", "-1"},
	{"flush.messages", maxLong, "1000", "0"},
	{"flush.ms", maxLong, "1000", "-1"},
	{"follower.replication.throttled.replicas", "", "0:0,0:1", "0"},
	{"index.interval.bytes", "4096", "1024", "-1"},
	{"leader.replication.throttled.replicas", "", "*", "zero:0"},
	{"local.retention.bytes", "-2", "-2", "-3"},
	{"local.retention.ms", "-2", "-2", "-3"},
	{"max.compaction.lag.ms", maxLong, "100000", "0"},
	{"max.message.bytes", "1048588", "2000000", "-1"},
	{"message.timestamp.after.max.ms", "3600000", "7200000", "-1"},
	{"message.timestamp.before.max.ms", maxLong, "7200000000", "-1"},
	{"message.timestamp.type", "CreateTime", "LogAppendTime", "createtime"},
	{"min.cleanable.dirty.ratio", "0.5", "0.25", "1.5"},
	{"min.compaction.lag.ms", "0", "1000", "-1"},
	{"min.insync.replicas", "1", "2", "0"},
	{"preallocate", "false", "true", "yes"},
	{"remote.log.copy.disable", "false", "false", "on"},
	{"remote.log.delete.on.disable", "false", "false", "on"},
	{"remote.storage.enable", "false", "false", "on"},
	{"retention.bytes", "-1", "1000000", "1.5"},
	{"retention.ms", "604800000", "-1", "-2"},
	{"segment.bytes", "1073741824", "1048576", "1048575"},
	{"segment.index.bytes", "10485760", "1024", "3"},
	{"segment.jitter.ms", "0", "1000", "-1"},
	{"segment.ms", "604800000", "86400000", "0"},
	{"unclean.leader.election.enable", "false", "true", "maybe"},
}

// A topic can be created with a value of its own for every setting, and is described with it.
// Settings without such a value are described with their defaults.
func TestEverySetting(t *testing.T) {
	t.Parallel()
	var all []string
	for _, s := range topicSettings {
		all = append(all, s.name, s.other)
	}
	own, fresh := config(t, topic(t, 1, all...)), config(t, topic(t, 1))
	for _, s := range topicSettings {
		equal(t, "own "+s.name, own[s.name].value, s.other)
		equal(t, "source of the own "+s.name, own[s.name].source, kmsg.ConfigSourceDynamicTopicConfig)
		d, ok := fresh[s.name]
		switch {
		case !ok:
			t.Errorf("%s is not described", s.name)
		case s.name == "segment.bytes" && differs(t, "segment-size"):
			equal(t, "value of the brokers for "+s.name, d.value, "8388608")
		case d.source == kmsg.ConfigSourceDefaultConfig:
			equal(t, "default of "+s.name, d.value, s.byDefault)
		case d.source == kmsg.ConfigSourceDynamicTopicConfig:
			t.Errorf("%s has a value of its own: %+v", s.name, d)
		}
	}
	for name := range fresh {
		if !slices.ContainsFunc(topicSettings, func(s topicSetting) bool { return s.name == name }) {
			t.Errorf("%s is described, and not in the list of this test", name)
		}
	}
}

// One setting can be asked for alone, and one that does not exist is left out of the answer.
func TestDescribeOneSetting(t *testing.T) {
	t.Parallel()
	req := kmsg.NewPtrDescribeConfigsRequest()
	r := kmsg.NewDescribeConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, topic(t, 1)
	r.ConfigNames = []string{"file.delete.delay.ms", "retention.ms", "no.such.setting"}
	req.Resources = append(req.Resources, r)
	resp, err := req.RequestWith(testCtx(t), plain)
	if err != nil {
		t.Fatal(err)
	}
	code(t, "describe", resp.Resources[0].ErrorCode, nil)
	values := make(map[string]string)
	types := make(map[string]kmsg.ConfigType)
	for _, c := range resp.Resources[0].Configs {
		values[c.Name], types[c.Name] = *c.Value, c.ConfigType
	}
	equal(t, "settings", fmt.Sprint(values), "map[file.delete.delay.ms:60000 retention.ms:604800000]")
	equal(t, "type of file.delete.delay.ms", types["file.delete.delay.ms"], kmsg.ConfigTypeLong)
}

// Each setting is changed alone, keeps its value when a wrong one is rejected, and has its
// default again when its own value is deleted.
func TestAlterEverySetting(t *testing.T) {
	t.Parallel()
	top, fresh := topic(t, 1), config(t, topic(t, 1))
	for _, s := range topicSettings {
		answered(t, "set "+s.name, alter(t, top, change(kadm.SetConfig, s.name, s.other)), nil)
		becomes(t, top, s.name, s.other)
		failed(t, fmt.Sprintf("set %s to %q", s.name, s.wrong), alter(t, top, change(kadm.SetConfig, s.name, s.wrong)), kerr.InvalidConfig)
		becomes(t, top, s.name, s.other)
		answered(t, "delete "+s.name, alter(t, top, kadm.AlterConfig{Op: kadm.DeleteConfig, Name: s.name}), nil)
		eventually(t, func() string {
			if got := config(t, top)[s.name]; got != fresh[s.name] {
				return fmt.Sprintf("%s is %+v, want %+v", s.name, got, fresh[s.name])
			}
			return ""
		})
		failed(t, fmt.Sprintf("create a topic with %s=%s", s.name, s.wrong), create(t, name(t), 1, 1, s.name, s.wrong), kerr.InvalidConfig)
	}
}

// Some values are allowed alone and not beside another one (LogConfig.validateValues), and remote
// storage needs brokers that have it.
func TestSettingsThatContradict(t *testing.T) {
	t.Parallel()
	failed(t, "compact earlier than is allowed",
		create(t, name(t), 1, 1, "max.compaction.lag.ms", "1000", "min.compaction.lag.ms", "2000"), kerr.InvalidConfig)
	failed(t, "remote storage", create(t, name(t), 1, 1, "remote.storage.enable", "true"), kerr.InvalidConfig)
	top := topic(t, 1, "min.compaction.lag.ms", "2000")
	failed(t, "the same by a change", alter(t, top, change(kadm.SetConfig, "max.compaction.lag.ms", "1000")), kerr.InvalidConfig)
	equal(t, "max.compaction.lag.ms", config(t, top)["max.compaction.lag.ms"].value, maxLong)
}

// A change to the value that a setting has is accepted, and the setting is the topic's own from
// then on. A change of a topic whose name is not allowed is rejected.
func TestAlterToTheSame(t *testing.T) {
	t.Parallel()
	top := topic(t, 1)
	answered(t, "set the default", alter(t, top, change(kadm.SetConfig, "retention.ms", "604800000")), nil)
	eventually(t, func() string {
		if got := config(t, top)["retention.ms"]; got.source != kmsg.ConfigSourceDynamicTopicConfig {
			return fmt.Sprintf("retention.ms is %+v", got)
		}
		return ""
	})
	answered(t, "delete what has no value", alter(t, top, kadm.AlterConfig{Op: kadm.DeleteConfig, Name: "segment.ms"}), nil)
	if err := alter(t, "a/b", change(kadm.SetConfig, "retention.ms", "1000")); err == nil || !errors.Is(err, kerr.InvalidTopicException) {
		t.Errorf("settings of a topic with a slash: %v", err)
	}
}

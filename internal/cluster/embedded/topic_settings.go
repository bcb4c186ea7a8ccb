package embedded

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// topicSetting checks the value of one setting of topics. It returns what is wrong with
// it, or nothing.
type topicSetting func(value string) string

// topicSettings are the settings that a topic of Apache Kafka 4 has, with what their
// values may be (https://kafka.apache.org/documentation/#topicconfigs). The module
// keeps whatever it is sent: a mistyped retention.ms would then delete nothing, and
// nobody would hear of it.
var topicSettings = map[string]topicSetting{
	cleanupPolicy:                             words("compact", "delete"),
	"compression.gzip.level":                  number(math.MinInt32, math.MaxInt32),
	"compression.lz4.level":                   number(math.MinInt32, math.MaxInt32),
	"compression.type":                        oneOf("uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"),
	"compression.zstd.level":                  number(math.MinInt32, math.MaxInt32),
	"delete.retention.ms":                     number(0, math.MaxInt64),
	"file.delete.delay.ms":                    number(0, math.MaxInt64),
	"flush.messages":                          number(1, math.MaxInt64),
	"flush.ms":                                number(0, math.MaxInt64),
	"follower.replication.throttled.replicas": anyText,
	"index.interval.bytes":                    number(0, math.MaxInt32),
	"leader.replication.throttled.replicas":   anyText,
	"local.retention.bytes":                   number(-2, math.MaxInt64),
	"local.retention.ms":                      number(-2, math.MaxInt64),
	"max.compaction.lag.ms":                   number(1, math.MaxInt64),
	"max.message.bytes":                       number(0, math.MaxInt32),
	"message.timestamp.after.max.ms":          number(0, math.MaxInt64),
	"message.timestamp.before.max.ms":         number(0, math.MaxInt64),
	"message.timestamp.type":                  oneOf("CreateTime", "LogAppendTime"),
	"min.cleanable.dirty.ratio":               share,
	"min.compaction.lag.ms":                   number(0, math.MaxInt64),
	"min.insync.replicas":                     number(1, math.MaxInt32),
	"preallocate":                             oneOf("true", "false"),
	"remote.log.copy.disable":                 oneOf("true", "false"),
	"remote.log.delete.on.disable":            oneOf("true", "false"),
	"remote.storage.enable":                   oneOf("true", "false"),
	"retention.bytes":                         number(math.MinInt64, math.MaxInt64),
	"retention.ms":                            number(-1, math.MaxInt64),
	"segment.bytes":                           number(1<<20, math.MaxInt32),
	"segment.index.bytes":                     number(4, math.MaxInt32),
	"segment.jitter.ms":                       number(0, math.MaxInt64),
	"segment.ms":                              number(1, math.MaxInt64),
	"unclean.leader.election.enable":          oneOf("true", "false"),
}

// badSetting says why a topic cannot have a setting; empty where it can. A nil value
// asks for the default.
func badSetting(name string, value *string) string {
	check, ok := topicSettings[name]
	switch {
	case !ok:
		return "Unknown topic config name: " + name
	case value == nil:
		return ""
	}
	if wrong := check(*value); wrong != "" {
		return fmt.Sprintf("Invalid value %s for configuration %s: %s", *value, name, wrong)
	}
	return ""
}

func anyText(string) string { return "" }

// number takes a whole number from least to most; most tells its type, as in Kafka.
func number(least, most int64) topicSetting {
	bits, kind := 64, "LONG"
	if most == math.MaxInt32 {
		bits, kind = 32, "INT"
	}
	return func(value string) string {
		n, err := strconv.ParseInt(strings.TrimSpace(value), 10, bits)
		switch {
		case err != nil:
			return "Not a number of type " + kind
		case n < least:
			return fmt.Sprintf("Value must be at least %d", least)
		}
		return ""
	}
}

// share takes a number from 0 to 1.
func share(value string) string {
	f, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
	if err != nil || !(f >= 0 && f <= 1) {
		return "Value must be a number from 0 to 1"
	}
	return ""
}

// oneOf takes one of the words, in any case where they are true and false.
func oneOf(allowed ...string) topicSetting {
	return func(value string) string {
		value = strings.TrimSpace(value)
		if slices.Contains(allowed, value) || allowed[0] == "true" && slices.Contains(allowed, strings.ToLower(value)) {
			return ""
		}
		return "Value must be one of: " + strings.Join(allowed, ", ")
	}
}

// words takes a list of the words, which may be empty.
func words(allowed ...string) topicSetting {
	return func(value string) string {
		if strings.TrimSpace(value) == "" {
			return ""
		}
		for w := range strings.SplitSeq(value, ",") {
			if !slices.Contains(allowed, strings.TrimSpace(w)) {
				return "Values must be of: " + strings.Join(allowed, ", ")
			}
		}
		return ""
	}
}

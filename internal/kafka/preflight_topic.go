package kafka

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/weir-project/weir/internal/event"
)

// topicCheck is one topic under examination.
type topicCheck struct {
	spec    TopicSpec
	brokers int
	details kadm.TopicDetail
	config  kadm.ResourceConfig
	tool    tool
}

func (t topicCheck) findings() []Finding {
	return slices.Concat(t.replication(), t.settings(), t.retention(), t.timestamps(), t.shape())
}

func (t topicCheck) finding(s Severity, mend mend, cause string, args ...any) Finding {
	return Finding{Severity: s, Topic: t.spec.Name, Cause: fmt.Sprintf(cause, args...), Out: mend.out, Run: mend.run}
}

// set is the command that changes a setting.
func (t topicCheck) set(kv string) mend {
	return mend{"change it", t.tool.command("kafka-configs.sh", "--alter", "--topic", t.spec.Name, "--add-config", kv)}
}

// reassign is the way to more replicas.
var reassign = mend{out: "raise it with kafka-reassign-partitions.sh"}

func (t topicCheck) replication() []Finding {
	if len(t.details.Partitions) == 0 {
		return nil
	}
	rf := math.MaxInt
	for _, p := range t.details.Partitions {
		rf = min(rf, len(p.Replicas))
	}
	var out []Finding
	switch {
	case t.brokers >= 3 && rf < 2:
		out = append(out, t.finding(Breaks, reassign,
			"its replication factor is %d: when that broker's disk is lost, so are acknowledged events", rf))
	case t.brokers >= 3 && rf < 3:
		out = append(out, t.finding(Different, reassign,
			"its replication factor is %d instead of 3", rf))
	}
	mins, err := strconv.Atoi(value(t.config, "min.insync.replicas"))
	switch {
	case err != nil:
	case mins > rf:
		out = append(out, t.finding(Breaks, t.set("min.insync.replicas="+strconv.Itoa(max(1, rf-1))),
			"min.insync.replicas is %d and the replication factor %d: nothing can be written", mins, rf))
	case mins < 2 && rf >= 3:
		out = append(out, t.finding(Breaks, t.set("min.insync.replicas=2"),
			"min.insync.replicas is %d: an event counts as written when one broker alone has it", mins))
	}
	return out
}

func (t topicCheck) settings() []Finding {
	var out []Finding
	if value(t.config, "unclean.leader.election.enable") == "true" {
		out = append(out, t.finding(Breaks, t.set("unclean.leader.election.enable=false"),
			"unclean leader election is on: a broker that lacks acknowledged events can become the leader"))
	}
	if value(t.config, "message.timestamp.type") == "LogAppendTime" {
		out = append(out, t.finding(Different, t.set("message.timestamp.type=CreateTime"),
			"its records get the broker's clock instead of the event's time"))
	}
	policy := value(t.config, "cleanup.policy")
	compact := strings.Contains(policy, "compact")
	switch {
	case policy == "":
	case t.spec.Name == TopicCursors && policy != "compact":
		out = append(out, t.finding(Breaks, t.set("cleanup.policy=compact"),
			"its cleanup.policy is %s: the position of a stream that is quiet for long is deleted", policy))
	case t.spec.Name != TopicCursors && compact:
		out = append(out, t.finding(Breaks, t.set("cleanup.policy=delete"),
			"its cleanup.policy is %s: of all events with one key only the last stays", policy))
	}
	if n, err := strconv.Atoi(value(t.config, "max.message.bytes")); err == nil && t.spec.Name != TopicCursors && n < event.MaxValue {
		out = append(out, t.finding(Different, t.set("max.message.bytes="+strconv.Itoa(MaxMessageBytes)),
			"its max.message.bytes is %d: larger events go to %s", n, TopicDeadLetters))
	}
	return out
}

func (t topicCheck) shape() []Finding {
	have := int32(len(t.details.Partitions))
	switch shared := t.spec.Name == TopicCursors || t.spec.Name == TopicDeadLetters; {
	case shared && have < t.spec.Partitions:
		return []Finding{t.finding(Breaks, mend{"add partitions", t.tool.command("kafka-topics.sh", "--alter", "--topic", t.spec.Name, "--partitions", strconv.Itoa(int(t.spec.Partitions)))},
			"it has %d partitions, and every source needs its own of %d", have, t.spec.Partitions)}
	case !shared && have != t.spec.Partitions:
		return []Finding{t.finding(Different, mend{out: "nothing needs to be done"}, "it has %d partitions instead of %d", have, t.spec.Partitions)}
	}
	return nil
}

// What retention has to leave.
const (
	// rebuildTime is how much of the end of a topic an ingester that starts reads
	// again, to drop what comes twice: the longest window of a source, 10 minutes,
	// and the 5 minutes between two rounds of a broker's retention.
	rebuildTime = 15 * time.Minute
	// rebuildBytes is the same in bytes of a partition, of the busiest stream.
	rebuildBytes = 16 << 20
)

// streams says of a data topic for how long upstream offers again what was missed
// (a day and more by Jetstream, seven days by EventStreams), and how many bytes a
// second come at the usual rate: 100 posts of 691 B, 40 changes of 1.3 kB.
var streams = map[string]struct {
	replay time.Duration
	rate   float64
}{
	TopicBluesky:         {24 * time.Hour, 70_000},
	TopicBlueskyAccounts: {24 * time.Hour, 0},
	TopicWikipedia:       {7 * 24 * time.Hour, 52_000},
}

// retention judges what a topic deletes. A record's time is its event's: after an
// outage events come that are as old as it was long, and count as that old.
func (t topicCheck) retention() []Finding {
	if t.spec.Name == TopicCursors || !strings.Contains(value(t.config, "cleanup.policy"), "delete") {
		return nil
	}
	var out []Finding
	stream := streams[t.spec.Name]
	ms, err := strconv.ParseInt(value(t.config, "retention.ms"), 10, 64)
	keeps := time.Duration(min(ms, math.MaxInt64/int64(time.Millisecond))) * time.Millisecond
	longer := t.set("retention.ms=" + strconv.FormatInt((max(stream.replay, 24*time.Hour)+24*time.Hour).Milliseconds(), 10))
	switch {
	case err != nil || ms < 0:
	case keeps < rebuildTime:
		out = append(out, t.finding(Breaks, longer,
			"it keeps records for %v (retention.ms): an ingester that starts again does not find its last %v, and stores duplicates of what upstream repeats of them", keeps, rebuildTime))
	case keeps < stream.replay:
		out = append(out, t.finding(Breaks, longer,
			"it keeps records for %v by their events' time (retention.ms), and upstream offers again what was missed in %v: after an outage events arrive too old to be kept, and can be deleted before they are counted", keeps, stream.replay))
	}
	n, err := strconv.ParseInt(value(t.config, "retention.bytes"), 10, 64)
	partitions := int64(max(1, len(t.details.Partitions)))
	lasts := time.Duration(float64(n) * float64(partitions) / max(stream.rate, 1) * float64(time.Second))
	more := t.set("retention.bytes=-1")
	switch {
	case err != nil || n < 0:
	case n < rebuildBytes:
		out = append(out, t.finding(Breaks, more,
			"it keeps %d bytes of a partition (retention.bytes): an ingester that starts again does not find its last minutes, and counters that pause are overtaken", n))
	case stream.rate > 0 && lasts < stream.replay:
		out = append(out, t.finding(Different, more,
			"it keeps %d bytes of a partition (retention.bytes), at the stream's usual rate about %v: partitions of a counter that is away for longer stop", n, lasts.Round(time.Hour)))
	}
	return out
}

// MaxAhead is how far in the future the timestamps of records can be.
const MaxAhead = 10 * time.Minute

// timestamps judges which event times a topic refuses. A refused record fails its
// transaction, and the next one, which holds it again.
func (t topicCheck) timestamps() []Finding {
	if value(t.config, "message.timestamp.type") == "LogAppendTime" {
		return nil
	}
	var out []Finding
	limit := func(key string) (time.Duration, bool) {
		ms, err := strconv.ParseInt(value(t.config, key), 10, 64)
		return time.Duration(min(ms, math.MaxInt64/int64(time.Millisecond))) * time.Millisecond, err == nil && ms >= 0
	}
	if d, ok := limit("message.timestamp.after.max.ms"); ok && d < MaxAhead {
		out = append(out, t.finding(Breaks, t.set("message.timestamp.after.max.ms=3600000"),
			"it refuses events stamped more than %v ahead, and weir's can be %v: one would be refused for ever, and the stream stand still", d, MaxAhead))
	}
	if d, ok := limit("message.timestamp.before.max.ms"); ok && d < streams[t.spec.Name].replay {
		out = append(out, t.finding(Breaks, t.set("message.timestamp.before.max.ms="+strconv.FormatInt(math.MaxInt64, 10)),
			"it refuses events older than %v, and after an outage they can be %v old: one would be refused for ever, and the stream stand still", d, streams[t.spec.Name].replay))
	}
	return out
}

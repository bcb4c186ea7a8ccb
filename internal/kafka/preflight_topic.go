package kafka

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/weir-project/weir/internal/event"
)

// topicCheck is one topic under examination.
type topicCheck struct {
	Config
	spec     TopicSpec
	brokers  int
	details  kadm.TopicDetail
	settings kadm.ResourceConfig
	found    []Finding
}

func (t *topicCheck) findings() []Finding {
	t.replication()
	t.safety()
	t.retention()
	t.timestamps()
	t.shape()
	return t.found
}

// when adds a finding, of which out is the way out, where wrong is true, and returns wrong.
func (t *topicCheck) when(wrong bool, s string, out Finding, cause string, args ...any) bool {
	if wrong {
		out.Severity, out.Where, out.Cause = s, onTopic(t.spec.Name), fmt.Sprintf(cause, args...)
		t.found = append(t.found, out)
	}
	return wrong
}

// number is a setting; ok is false where the cluster does not report it.
func (t *topicCheck) number(key string) (n int64, ok bool) {
	n, err := strconv.ParseInt(value(t.settings, key), 10, 64)
	return n, err == nil
}

// time is a setting in milliseconds, which is no limit where it is negative.
func (t *topicCheck) time(key string) (d time.Duration, limited bool) {
	ms, ok := t.number(key)
	return time.Duration(min(ms, math.MaxInt64/int64(time.Millisecond))) * time.Millisecond, ok && ms >= 0
}

// set is the command that changes a setting.
func (t *topicCheck) set(key string, value any) Finding {
	return Finding{Out: "change it", Run: t.command("kafka-configs.sh", "--alter", "--topic", t.spec.Name, "--add-config", fmt.Sprint(key, "=", value))}
}

// reassign is the way to more replicas.
var reassign = Finding{Out: "raise it with kafka-reassign-partitions.sh"}

func (t *topicCheck) replication() {
	if len(t.details.Partitions) == 0 {
		return
	}
	rf := math.MaxInt
	for _, p := range t.details.Partitions {
		rf = min(rf, len(p.Replicas))
	}
	_ = t.when(t.brokers >= 3 && rf < 2, Breaks, reassign, "its replication factor is %d: when that broker's disk is lost, so are acknowledged events", rf) ||
		t.when(t.brokers >= 3 && rf < 3, Different, reassign, "its replication factor is %d instead of 3", rf)
	const key = "min.insync.replicas"
	n, ok := t.number(key)
	mins := int(n)
	_ = t.when(ok && mins > rf, Breaks, t.set(key, max(1, rf-1)), "%s is %d and the replication factor %d: nothing can be written", key, mins, rf) ||
		t.when(ok && mins < 2 && rf >= 3, Breaks, t.set(key, 2), "%s is %d: an event counts as written when one broker alone has it", key, mins)
}

func (t *topicCheck) safety() {
	cursors := t.spec.Name == TopicCursors
	t.when(value(t.settings, "unclean.leader.election.enable") == "true", Breaks, t.set("unclean.leader.election.enable", false),
		"unclean leader election is on: a broker that lacks acknowledged events can become the leader")
	t.when(value(t.settings, "message.timestamp.type") == "LogAppendTime", Different, t.set("message.timestamp.type", "CreateTime"),
		"its records get the broker's clock instead of the event's time")
	policy := value(t.settings, "cleanup.policy")
	t.when(cursors && policy != "" && policy != "compact", Breaks, t.set("cleanup.policy", "compact"),
		"its cleanup.policy is %s: the position of a stream that is quiet for long is deleted", policy)
	t.when(!cursors && strings.Contains(policy, "compact"), Breaks, t.set("cleanup.policy", "delete"),
		"its cleanup.policy is %s: of all events with one key only the last stays", policy)
	n, ok := t.number("max.message.bytes")
	t.when(ok && !cursors && n < event.MaxValue, Different, t.set("max.message.bytes", MaxMessageBytes),
		"its max.message.bytes is %d: larger events go to %s", n, TopicDeadLetters)
}

func (t *topicCheck) shape() {
	have, want := int32(len(t.details.Partitions)), t.spec.Partitions
	shared := t.spec.Name == TopicCursors || t.spec.Name == TopicDeadLetters
	add := Finding{Out: "add partitions", Run: t.command("kafka-topics.sh", "--alter", "--topic", t.spec.Name, "--partitions", strconv.Itoa(int(want)))}
	t.when(shared && have < want, Breaks, add, "it has %d partitions, and every source needs its own of %d", have, want)
	t.when(!shared && have != want, Different, Finding{Out: "nothing needs to be done"}, "it has %d partitions instead of %d", have, want)
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

// retention checks what a topic deletes. A record's time is its event's: after an
// outage events come that are as old as it was long, and count as that old.
func (t *topicCheck) retention() {
	if t.spec.Name == TopicCursors || !strings.Contains(value(t.settings, "cleanup.policy"), "delete") {
		return
	}
	stream := streams[t.spec.Name]
	keeps, limited := t.time("retention.ms")
	longer := t.set("retention.ms", (max(stream.replay, 24*time.Hour) + 24*time.Hour).Milliseconds())
	_ = t.when(limited && keeps < rebuildTime, Breaks, longer,
		"it keeps records for %v (retention.ms): an ingester that starts again does not find its last %v, and stores duplicates of what upstream repeats of them", keeps, rebuildTime) ||
		t.when(limited && keeps < stream.replay, Breaks, longer,
			"it keeps records for %v by their events' time (retention.ms), and upstream offers again what was missed in %v: after an outage events arrive too old to be kept, and can be deleted before they are counted", keeps, stream.replay)
	n, ok := t.number("retention.bytes")
	limited = ok && n >= 0
	lasts := time.Duration(float64(n) * float64(max(1, len(t.details.Partitions))) / max(stream.rate, 1) * float64(time.Second))
	more := t.set("retention.bytes", -1)
	_ = t.when(limited && n < rebuildBytes, Breaks, more,
		"it keeps %d bytes of a partition (retention.bytes): an ingester that starts again does not find its last minutes, and counters that pause are overtaken", n) ||
		t.when(limited && stream.rate > 0 && lasts < stream.replay, Different, more,
			"it keeps %d bytes of a partition (retention.bytes), at the stream's usual rate about %v: partitions of a counter that is away for longer stop", n, lasts.Round(time.Hour))
}

// MaxAhead is how far in the future the timestamps of records can be.
const MaxAhead = 10 * time.Minute

// timestamps checks which event times a topic refuses. A refused record fails its
// transaction, and the next one, which holds it again.
func (t *topicCheck) timestamps() {
	if value(t.settings, "message.timestamp.type") == "LogAppendTime" {
		return
	}
	d, limited := t.time("message.timestamp.after.max.ms")
	t.when(limited && d < MaxAhead, Breaks, t.set("message.timestamp.after.max.ms", 3600000),
		"it refuses events stamped more than %v ahead, and weir's can be %v: one would be refused for ever, and the stream stand still", d, MaxAhead)
	d, limited = t.time("message.timestamp.before.max.ms")
	replay := streams[t.spec.Name].replay
	t.when(limited && d < replay, Breaks, t.set("message.timestamp.before.max.ms", math.MaxInt64),
		"it refuses events older than %v, and after an outage they can be %v old: one would be refused for ever, and the stream stand still", d, replay)
}

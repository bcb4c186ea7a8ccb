package kafka

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-project/weir/internal/event"
)

// Severity says how much a Finding matters.
type Severity uint8

// Severities of a Finding.
const (
	// Different from what weir would have made; the promise holds.
	Different Severity = iota + 1
	// Breaks the promise: events can be lost, doubled or refused.
	Breaks
)

// String returns the severity as the CLI shows it.
func (s Severity) String() string {
	if s == Breaks {
		return "promise-breaking"
	}
	return "different"
}

// Finding is one thing about a cluster that a user should know before trusting
// it with events.
type Finding struct {
	Severity Severity
	// Topic is empty for what concerns the cluster.
	Topic string
	// Cause says what is so and what follows from it.
	Cause string
	// Out says what to do about it.
	Out string
}

// String returns the finding as one line.
func (f Finding) String() string {
	where := "cluster"
	if f.Topic != "" {
		where = "topic " + f.Topic
	}
	return fmt.Sprintf("%s: %s: %s; %s", f.Severity, where, f.Cause, f.Out)
}

// Preflight checks whether a cluster, and those of weir's topics that exist in
// it, can keep the promise. What the cluster does not tell is not judged.
func Preflight(ctx context.Context, cl *kgo.Client) ([]Finding, error) {
	specs := Topics()
	names := make([]string, 0, len(specs))
	for _, s := range specs {
		names = append(names, s.Name)
	}
	adm := kadm.NewClient(cl)
	md, err := adm.Metadata(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("ask for topics: %w", err)
	}
	configs, err := adm.DescribeTopicConfigs(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("ask for topic settings: %w", err)
	}
	var out []Finding
	if n := len(md.Brokers); n < 3 {
		out = append(out, Finding{Different, "", fmt.Sprintf("there are %d brokers, so every event is on fewer than three", n),
			"use three brokers or more where losing one must not matter"})
	}
	features, err := transactionVersion(ctx, cl)
	if err != nil {
		return nil, err
	}
	out = append(out, features...)
	for _, s := range specs {
		d, ok := md.Topics[s.Name]
		if !ok || errors.Is(d.Err, kerr.UnknownTopicOrPartition) {
			continue
		}
		if d.Err != nil {
			return nil, fmt.Errorf("ask for topic %s: %w", s.Name, d.Err)
		}
		c, err := configs.On(s.Name, nil)
		if err != nil || c.Err != nil {
			c = kadm.ResourceConfig{Name: s.Name} // not allowed to know
		}
		t := topicCheck{spec: s, brokers: len(md.Brokers), details: d, config: c}
		out = append(out, t.findings()...)
	}
	return out, nil
}

// transactionVersion reports a cluster whose transactions are of the old kind.
func transactionVersion(ctx context.Context, cl *kgo.Client) ([]Finding, error) {
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "weir", "0"
	resp, err := req.RequestWith(ctx, cl)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil {
		return nil, fmt.Errorf("ask for features: %w", err)
	}
	var level int16
	for _, f := range resp.FinalizedFeatures {
		if f.Name == "transaction.version" {
			level = f.MaxVersionLevel
		}
	}
	if level >= 2 {
		return nil, nil
	}
	return []Finding{{Breaks, "", fmt.Sprintf("the feature transaction.version is %d, and below 2 a delayed request can end a later transaction than it meant", level),
		"with Kafka 4 or later: kafka-features.sh upgrade --feature transaction.version=2"}}, nil
}

// topicCheck is one topic under examination.
type topicCheck struct {
	spec    TopicSpec
	brokers int
	details kadm.TopicDetail
	config  kadm.ResourceConfig
}

func (t topicCheck) findings() []Finding {
	return slices.Concat(t.replication(), t.settings(), t.shape())
}

func (t topicCheck) finding(s Severity, out, cause string, args ...any) Finding {
	return Finding{s, t.spec.Name, fmt.Sprintf(cause, args...), out}
}

// set is the command that changes a setting.
func (t topicCheck) set(kv string) string {
	return "kafka-configs.sh --alter --topic " + t.spec.Name + " --add-config " + kv
}

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
		out = append(out, t.finding(Breaks, "raise it with kafka-reassign-partitions.sh",
			"its replication factor is %d: when that broker's disk is lost, so are acknowledged events", rf))
	case t.brokers >= 3 && rf < 3:
		out = append(out, t.finding(Different, "raise it with kafka-reassign-partitions.sh",
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
		return []Finding{t.finding(Breaks, fmt.Sprintf("kafka-topics.sh --alter --topic %s --partitions %d", t.spec.Name, t.spec.Partitions),
			"it has %d partitions, and every source needs its own of %d", have, t.spec.Partitions)}
	case !shared && have != t.spec.Partitions:
		return []Finding{t.finding(Different, "nothing needs to be done", "it has %d partitions instead of %d", have, t.spec.Partitions)}
	}
	return nil
}

package inspect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/weir-project/weir/internal/scan"
	"github.com/weir-project/weir/internal/tally"
	"github.com/weir-project/weir/internal/topicconf"
)

// RejectedError is a change that the brokers have rejected.
type RejectedError struct {
	Err    error  // Kafka's error code
	Reason string // the brokers' own words, or Kafka's description of the code
}

// Error returns the brokers' reason and the error code.
func (e *RejectedError) Error() string {
	name := e.Err.Error()
	if k, ok := errors.AsType[*kerr.Error](e.Err); ok {
		name = k.Message
	}
	return fmt.Sprintf("the broker rejects it: %s (%s)", strings.TrimSuffix(e.Reason, "."), name)
}

// Unwrap returns Kafka's error.
func (e *RejectedError) Unwrap() error { return e.Err }

// rejected makes a RejectedError of an error code and the broker's message. Other errors stay as
// they are: the request may not have reached a broker.
func rejected(err error, message string) error {
	k, ok := errors.AsType[*kerr.Error](err)
	switch {
	case !ok:
		return err
	case errors.Is(err, kerr.TopicAlreadyExists):
		return ErrTopicExists
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return ErrNoTopic
	}
	return &RejectedError{Err: err, Reason: cmp.Or(message, k.Description)}
}

// maxTopicName is the longest name of a topic.
const maxTopicName = 249

// CheckTopicName returns an error for a name that Kafka does not allow for a topic.
func CheckTopicName(name string) error {
	odd := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '_' && r != '-'
	}
	switch {
	case name == "":
		return notAsAsked("the topic has no name: give one of letters, digits, dots, underscores and hyphens")
	case len(name) > maxTopicName:
		return notAsAsked("the name of the topic has %d characters: Kafka allows %d", len(name), maxTopicName)
	case name == "." || name == ".." || strings.ContainsFunc(name, odd):
		return notAsAsked("%q is not a name for a topic: use letters, digits, dots, underscores and hyphens", name)
	}
	return nil
}

// NewTopic is a topic to create.
type NewTopic struct {
	Name string
	// Partitions and Replicas are the cluster's default where they are 0.
	Partitions int32
	Replicas   int16
	// Config are the settings that differ from the cluster's.
	Config map[string]string
}

// CreatedTopic is a topic as it was created.
type CreatedTopic struct {
	Name       string `json:"name"`
	Partitions int    `json:"partitions"`
	Replicas   int    `json:"replicas"`
	ID         string `json:"id,omitempty"`
}

// CreateTopic creates a topic and waits until it can be written. A name that is taken is
// ErrTopicExists.
func (i *Inspector) CreateTopic(ctx context.Context, t NewTopic) (c CreatedTopic, err error) {
	defer wrap(&err, "create topic %q", t.Name)
	if err := CheckTopicName(t.Name); err != nil {
		return c, err
	}
	if t.Partitions < 0 || t.Replicas < 0 {
		return c, notAsAsked("the number of partitions or replicas is negative: give at least 1, or 0 for the cluster's default")
	}
	config := make(map[string]*string, len(t.Config))
	for k, v := range t.Config {
		config[k] = &v
	}
	resp, err := i.admin.CreateTopic(ctx, cmp.Or(t.Partitions, -1), cmp.Or(t.Replicas, -1), config, t.Name)
	if err != nil {
		return c, rejected(err, resp.ErrMessage)
	}
	if err := scan.AwaitTopics(ctx, i.cfg.Client, 1, t.Name); err != nil {
		return c, fmt.Errorf("it is created, but it cannot be written yet: %w", err)
	}
	_, d, err := i.lookUp(ctx, t.Name)
	if err != nil {
		return c, err
	}
	c = CreatedTopic{Name: t.Name, Partitions: len(d.Partitions), ID: tally.TopicUUID(d.ID)}
	c.Replicas, _, _ = Replication(d)
	return c, nil
}

// SettingChange is what was done to one setting of a topic.
type SettingChange struct {
	Name   string `json:"name"`
	Before string `json:"before"`
	After  string `json:"after"`
	// BeforeSource and AfterSource say where the values come from, as in Setting. Empty where
	// the cluster did not report the setting.
	BeforeSource string `json:"before_source"`
	AfterSource  string `json:"after_source"`
}

// AlterTopic sets some settings of a topic and returns others to the cluster's default. It sends
// only those that change, and returns them.
func (i *Inspector) AlterTopic(ctx context.Context, name string, set map[string]string, unset []string) (
	changes []SettingChange, err error) {
	defer wrap(&err, "alter topic %q", name)
	changes = []SettingChange{}
	if len(set)+len(unset) == 0 {
		return changes, notAsAsked("say which settings to set or to unset")
	}
	for _, n := range unset {
		if _, both := set[n]; both {
			return changes, notAsAsked("%s is both set and unset: choose one", n)
		}
	}
	meta, err := i.Metadata(ctx, name)
	if err != nil {
		return changes, err
	}
	if _, err := unnamed(meta, name); err != nil {
		return changes, err
	}
	before, err := i.settingsByName(ctx, name)
	if err != nil {
		return changes, err
	}
	requests, err := alterations(before, set, unset)
	if err != nil || len(requests) == 0 {
		return changes, err
	}
	responses, err := i.admin.AlterTopicConfigs(ctx, requests, name)
	if err != nil {
		return changes, rejected(err, "")
	}
	if r, err := responses.On(name, nil); cmp.Or(err, r.Err) != nil {
		return changes, rejected(cmp.Or(r.Err, err), r.ErrMessage)
	}
	after, err := i.settled(ctx, name, requests)
	if err != nil {
		return changes, fmt.Errorf("the settings are changed, but they cannot be read back: %w", err)
	}
	for _, r := range requests {
		b, a := before[r.Name], after[r.Name]
		changes = append(changes, SettingChange{Name: r.Name, Before: b.Value, After: a.Value, BeforeSource: b.Source, AfterSource: a.Source})
	}
	return changes, nil
}

// alterations are the settings that change. Brokers accept that a setting is unset that does not
// exist, so a mistyped name is found here.
func alterations(before map[string]Setting, set map[string]string, unset []string) (out []kadm.AlterConfig, _ error) {
	for _, n := range slices.Sorted(maps.Keys(set)) {
		v := set[n]
		if b := before[n]; b.Source != sourceTopic || b.Value != strings.TrimSpace(v) {
			out = append(out, kadm.AlterConfig{Op: kadm.SetConfig, Name: n, Value: &v})
		}
	}
	for _, n := range slices.Compact(slices.Sorted(slices.Values(unset))) {
		b, reported := before[n]
		if _, known := topicconf.Named(n); !known && !reported {
			return nil, notAsAsked("a topic has no setting %q to unset", n)
		}
		if b.Source == sourceTopic {
			out = append(out, kadm.AlterConfig{Op: kadm.DeleteConfig, Name: n})
		}
	}
	return out, nil
}

func (i *Inspector) settingsByName(ctx context.Context, topic string) (map[string]Setting, error) {
	all, err := i.TopicSettings(ctx, topic)
	out := make(map[string]Setting, len(all))
	for _, s := range all {
		out[s.Name] = s
	}
	return out, err
}

// settlePatience bounds the wait for a broker to know changed settings: each learns of them on its own.
const settlePatience = 5 * time.Second

// settled reads the settings of a topic until they are those that were asked for.
func (i *Inspector) settled(ctx context.Context, topic string, asked []kadm.AlterConfig) (map[string]Setting, error) {
	deadline := time.After(settlePatience)
	for {
		now, err := i.settingsByName(ctx, topic)
		if err != nil {
			return now, err
		}
		behind := slices.ContainsFunc(asked, func(a kadm.AlterConfig) bool {
			s := now[a.Name]
			if a.Op == kadm.DeleteConfig {
				return s.Source == sourceTopic
			}
			return s.Source != sourceTopic || s.Value != strings.TrimSpace(*a.Value) // brokers trim it, too
		})
		if !behind {
			return now, nil
		}
		select {
		case <-ctx.Done():
			return now, ctx.Err()
		case <-deadline:
			return now, nil // the broker writes a value in its own way
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// PartitionsPlan is what adding partitions would do. Apply does it.
type PartitionsPlan struct {
	Topic string `json:"topic"`
	From  int    `json:"from"`
	To    int    `json:"to"`
	// KeysMove says that the topic has had records: from then on, a key can be in another partition
	// than the records that were written with it before.
	KeysMove bool `json:"keys_move"`

	i *Inspector
}

// PlanPartitions looks up what more partitions would change, and changes nothing.
func (i *Inspector) PlanPartitions(ctx context.Context, topic string, to int) (plan PartitionsPlan, err error) {
	defer wrap(&err, "add partitions to topic %q", topic)
	plan = PartitionsPlan{Topic: topic, To: to, i: i}
	meta, d, err := i.changeable(ctx, topic)
	if err != nil {
		return plan, err
	}
	if plan.From = len(d.Partitions); to <= plan.From {
		return plan, notAsAsked("it has %d partitions, and Kafka cannot remove partitions: give a larger number than %d", plan.From, plan.From)
	}
	at := i.bounds(ctx, meta, LogStarts, LogEnds)
	for _, p := range d.Partitions {
		_, high, err := at.of(topic, p.Partition)
		if err != nil {
			return plan, err
		}
		plan.KeysMove = plan.KeysMove || high > 0
	}
	return plan, nil
}

// Apply adds the partitions and waits until they can be written.
func (p PartitionsPlan) Apply(ctx context.Context) (err error) {
	defer wrap(&err, "add partitions to topic %q", p.Topic)
	responses, err := p.i.admin.UpdatePartitions(ctx, p.To, p.Topic)
	if err != nil {
		return rejected(err, "")
	}
	if r, err := responses.On(p.Topic, nil); cmp.Or(err, r.Err) != nil {
		return rejected(cmp.Or(r.Err, err), r.ErrMessage)
	}
	if err := scan.AwaitTopics(ctx, p.i.cfg.Client, p.To, p.Topic); err != nil {
		return fmt.Errorf("they are added, but they cannot be written yet: %w", err)
	}
	return nil
}

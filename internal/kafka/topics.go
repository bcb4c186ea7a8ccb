package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/scan"
)

// Topics that weir writes. The two data topics carry the names that the original
// scripts use.
const (
	TopicBluesky         = "bluesky-events"
	TopicBlueskyAccounts = "bluesky-accounts"
	TopicWikipedia       = "wikipedia-edits"
	TopicDeadLetters     = "weir.dead-letters"
	TopicCursors         = "weir.cursors"
)

// Consumer groups that count.
const (
	GroupBluesky   = "weir-bluesky-counter"
	GroupWikipedia = "weir-wikipedia-counter" //nolint:gosec // the name of a group is no secret
)

// Headers of the records that weir writes. A dead letter has all of them, other
// records have the first four. All values are text.
const (
	HeaderKind = "kind" // what is counted; of a dead letter the reason
	HeaderSeq  = "seq"  // decimal, dense from 0 per source and topic
	HeaderHost = "host" // upstream's host:port
	// HeaderReceived is when the event's bytes had arrived at the socket: decimal Unix
	// microseconds, by the clock of the machine that ingests.
	HeaderReceived = "received"

	HeaderSource = "source" // bluesky or wikipedia
	HeaderSize   = "size"   // decimal: bytes of the whole frame, of which the value is the head
	HeaderSHA256 = "sha256" // hexadecimal digest of the whole frame
	HeaderDetail = "detail" // why it was rejected, in words
)

// MaxMessageBytes is the max.message.bytes of the topics that weir creates for
// events: room for the 4 MiB that Wikimedia documents, with headers.
const MaxMessageBytes = 8 << 20

// sources lists the sources by their partition in the topics that they share. A
// source has its own so that another one's open transaction cannot hide its
// records below the last stable offset. The order is part of the data: append.
var sources = []string{"bluesky", "wikipedia"}

// Partition returns the partition of the cursor and dead-letter topics that
// belongs to a source, or an error for a name that is none.
func Partition(source string) (int32, error) {
	if i := slices.Index(sources, source); i >= 0 {
		return int32(i), nil
	}
	return 0, fmt.Errorf("unknown source %q: want one of %q", source, sources)
}

// TransactionalID returns the transactional id of a source's ingester. It is the
// same in every process, so that a new one fences its predecessor.
func TransactionalID(source string) string { return "weir-ingest-" + source }

// TopicSpec is a topic as weir creates it.
type TopicSpec struct {
	Name       string
	Partitions int32
	// Configs are the topic's settings where they differ from the cluster's.
	Configs map[string]string
}

// Topics returns all topics of weir as it creates them.
func Topics() []TopicSpec {
	data := func(name string, partitions int32) TopicSpec {
		return TopicSpec{name, partitions, map[string]string{"max.message.bytes": strconv.Itoa(MaxMessageBytes)}}
	}
	return []TopicSpec{
		data(TopicBluesky, 6),
		data(TopicBlueskyAccounts, 3),
		data(TopicWikipedia, 6),
		data(TopicDeadLetters, int32(len(sources))),
		{TopicCursors, int32(len(sources)), map[string]string{
			"cleanup.policy": "compact",
			// Only closed segments are compacted, and a cursor is written several
			// times a second: with the default of 1 GiB nothing ever would be.
			"segment.bytes": strconv.Itoa(16 << 20),
		}},
	}
}

// EnsureTopics creates the topics that do not exist, replicated over up to three
// brokers, and waits until they can be written and every broker knows them. Existing topics stay as they are,
// whatever their partitions and settings: Preflight checks those.
func EnsureTopics(ctx context.Context, cl *kgo.Client, specs ...TopicSpec) error {
	adm := kadm.NewClient(cl)
	var names, created []string
	for _, s := range specs {
		names = append(names, s.Name)
	}
	md, err := adm.Metadata(ctx, names...)
	if err != nil {
		return fmt.Errorf("ask for topics: %w", err)
	}
	for _, s := range specs {
		switch d, ok := md.Topics[s.Name]; {
		case !ok || errors.Is(d.Err, kerr.UnknownTopicOrPartition):
			if err := create(ctx, adm, s, len(md.Brokers)); err != nil {
				return fmt.Errorf("create topic %s: %w", s.Name, err)
			}
			created = append(created, s.Name)
		case d.Err != nil:
			return fmt.Errorf("ask for topic %s: %w", s.Name, d.Err)
		}
	}
	return scan.AwaitTopics(ctx, cl, 1, created...)
}

func create(ctx context.Context, adm *kadm.Client, s TopicSpec, brokers int) error {
	configs := make(map[string]*string, len(s.Configs)+1)
	for k, v := range s.Configs {
		configs[k] = &v
	}
	if brokers >= 3 { // with fewer, one broker that is away would stop all writing
		configs["min.insync.replicas"] = kadm.StringPtr("2")
	}
	resp, err := adm.CreateTopic(ctx, s.Partitions, int16(min(3, max(1, brokers))), configs, s.Name)
	switch {
	case errors.Is(err, kerr.TopicAlreadyExists): // another weir was faster
		return nil
	case err != nil && resp.ErrMessage != "":
		return fmt.Errorf("%w: %s", err, resp.ErrMessage)
	}
	return err
}

// MaxBytes returns the max.message.bytes of topics, in bytes and by name: at most
// MaxMessageBytes, and the default of Kafka where the cluster does not report it.
func MaxBytes(ctx context.Context, cl *kgo.Client, topics ...string) (map[string]int, error) {
	out := make(map[string]int, len(topics))
	for _, t := range topics {
		out[t] = defaultMaxBytes
	}
	configs, err := topicConfigs(ctx, cl, topics)
	if err != nil {
		return nil, err
	}
	for t, c := range configs {
		if n, err := strconv.Atoi(value(c, "max.message.bytes")); err == nil && n > 0 {
			out[t] = min(n, MaxMessageBytes)
		}
	}
	return out, nil
}

// defaultMaxBytes is what the library and older clusters allow; Kafka's own
// default is a little more.
const defaultMaxBytes = 1_000_012

// value returns a setting, or "" where the cluster does not say.
func value(c kadm.ResourceConfig, key string) string {
	for _, kv := range c.Configs {
		if kv.Key == key && kv.Value != nil {
			return *kv.Value
		}
	}
	return ""
}

// TimestampError says that a broker refused a record because of its time
// (INVALID_TIMESTAMP). Settings that are too narrow are named by the preflight, so
// this mostly is a clock that is wrong: a broker's, or this machine's.
type TimestampError struct {
	Topic string
	// Time is the record's, Now this machine's when it was refused.
	Time, Now time.Time
	Err       error
}

func (e *TimestampError) Error() string {
	distance, side := e.Time.Sub(e.Now), "ahead of"
	if distance < 0 {
		distance, side = -distance, "behind"
	}
	return fmt.Sprintf("a broker refuses records of %s because of their time: one of %s, %v %s this machine's clock, is by the broker's clock "+
		"further ahead than message.timestamp.after.max.ms allows or older than message.timestamp.before.max.ms does (INVALID_TIMESTAMP); "+
		"set the clocks of the brokers and of this machine right, or widen these settings of the topic",
		e.Topic, e.Time.UTC().Format(time.RFC3339), distance.Round(time.Millisecond), side)
}

func (e *TimestampError) Unwrap() error { return e.Err }

// Writable rejects the topic whose records steer weir's ingesters.
func Writable(topic string) error {
	if topic == TopicCursors {
		return fmt.Errorf("%s holds the offsets of weir's ingesters in their streams, and a record by hand would stop them: write to another topic", topic)
	}
	return nil
}

package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-project/weir/internal/scan"
	"github.com/weir-project/weir/internal/visible"
)

// Severities of a Finding.
const (
	// Different from what weir would have made; the promise holds.
	Different = "different"
	// Breaks the promise: events can be lost, duplicated or rejected.
	Breaks = "promise-breaking"
)

// Finding is one thing about a cluster or a Redis that a user should know before
// trusting it with events.
type Finding struct {
	Severity string `json:"severity"`
	// Where is what it is about: "cluster", "topic NAME" or "redis".
	Where string `json:"where"`
	// Cause says what is so and what follows from it, Out what to do about it.
	Cause string `json:"cause"`
	Out   string `json:"out"`
	// Run is the command for a shell that does it; empty where one command is not enough.
	Run string `json:"run,omitempty"`
	// Denied is set where the client lacks a permission without which the purpose
	// cannot be served at all.
	Denied bool `json:"-"`
}

// Breaks reports whether the promise does not hold with it.
func (f *Finding) Breaks() bool { return f.Severity == Breaks }

// onCluster is the Where of findings about the cluster itself.
const onCluster = "cluster"

func onTopic(name string) string { return "topic " + name }

// Purpose is what is to be done with a cluster. It decides which topics are
// judged and what has to be allowed.
type Purpose struct {
	// Write are topics that are written, and read back at the start.
	Write []string
	// Read are topics that are read alone.
	Read []string
	// Transactions are transactional ids.
	Transactions []string
	// Groups are consumer groups to be members of.
	Groups []string
}

// Ingest is the purpose of a source's ingester. data are its topics of events.
func Ingest(source string, data ...string) Purpose {
	return Purpose{Write: append(slices.Clone(data), TopicDeadLetters, TopicCursors), Transactions: []string{TransactionalID(source)}}
}

// And is both purposes together.
func (p Purpose) And(q Purpose) Purpose {
	both := Purpose{Write: union(p.Write, q.Write), Read: union(p.Read, q.Read), Transactions: union(p.Transactions, q.Transactions), Groups: union(p.Groups, q.Groups)}
	both.Read = slices.DeleteFunc(both.Read, func(t string) bool { return slices.Contains(both.Write, t) })
	return both
}

// union is a, and of b what a lacks.
func union(a, b []string) []string {
	return slices.Concat(a, slices.DeleteFunc(slices.Clone(b), func(s string) bool { return slices.Contains(a, s) }))
}

// Specs are the topics of the purpose, as weir creates them.
func (p Purpose) Specs() []TopicSpec {
	return slices.DeleteFunc(Topics(), func(s TopicSpec) bool {
		return !slices.Contains(p.Write, s.Name) && !slices.Contains(p.Read, s.Name)
	})
}

// command is a command line of one of Kafka's own tools for this cluster.
func (c Config) command(name string, args ...string) string {
	words := []string{name, "--bootstrap-server", c.Brokers[0]}
	if c.Security != nil {
		words = append(words, "--command-config", "admin.properties")
	}
	words = append(words, args...)
	for i, w := range words {
		words[i] = visible.ShellWord(w)
	}
	return strings.Join(words, " ")
}

// Preflight checks whether a cluster, and those of the purpose's topics that exist
// in it, can keep the promise, and whether the client may do what the purpose
// needs. What the cluster does not report is not checked. cl is a client of c. The
// findings that break the promise come first, missing permissions before all.
func (c Config) Preflight(ctx context.Context, cl *kgo.Client, p Purpose) ([]Finding, error) {
	specs := p.Specs()
	var names []string
	for _, s := range specs {
		names = append(names, s.Name)
	}
	md, access, err := topicsOf(ctx, cl, append(slices.Clone(names), topicTransactions, topicOffsets))
	if err != nil {
		return nil, err
	}
	configs, err := topicConfigs(ctx, cl, append(slices.Clone(names), topicTransactions))
	if err != nil {
		return nil, err
	}
	denied, err := c.access(ctx, cl, p)
	if err != nil {
		return nil, err
	}
	features, err := c.transactionVersion(ctx, cl)
	if err != nil {
		return nil, err
	}
	out := append([]Finding{}, c.topicAccess(access, p)...) // never nil: it is printed as a list
	out = append(out, denied...)
	if n := len(md.Brokers); n < 3 {
		out = append(out, Finding{Severity: Different, Where: onCluster, Cause: fmt.Sprintf("there are %d brokers, so every event is on fewer than three", n),
			Out: "use three brokers or more where losing one must not matter"})
	}
	out = append(out, append(features, c.reachable(ctx, md.Brokers)...)...)
	absent := false
	for _, s := range specs {
		switch d, ok := md.Topics[s.Name]; {
		case !ok || errors.Is(d.Err, kerr.UnknownTopicOrPartition):
			absent = true
		case errors.Is(d.Err, kerr.TopicAuthorizationFailed): // reported with the permissions
		case d.Err != nil:
			return nil, fmt.Errorf("ask for topic %s: %w", s.Name, d.Err)
		default:
			t := topicCheck{Config: c, spec: s, brokers: len(md.Brokers), details: d, settings: configs[s.Name]}
			out = append(out, t.findings()...)
		}
	}
	out = append(out, brokerSettings(ctx, kadm.NewClient(cl), brokerCheck{Config: c, md: md, transactions: configs[topicTransactions], absent: absent})...)
	// Missing permissions, what breaks the promise, the rest.
	rank := func(f Finding) int { return slices.Index([]bool{f.Denied, f.Breaks(), true}, true) }
	slices.SortStableFunc(out, func(a, b Finding) int { return rank(a) - rank(b) })
	return out, nil
}

// topicsOf asks for topics, whether they may be seen or not, and for what is allowed
// with each.
func topicsOf(ctx context.Context, cl *kgo.Client, names []string) (kadm.Metadata, map[string]topicAccess, error) {
	req := scan.MetadataRequest(names...)
	req.IncludeTopicAuthorizedOperations = true
	md, resp, err := scan.Metadata(ctx, cl, req)
	if err != nil {
		return md, nil, fmt.Errorf("ask for topics: %w", err)
	}
	access := map[string]topicAccess{}
	for _, t := range resp.Topics {
		if t.Topic != nil {
			access[*t.Topic] = topicAccess(t)
		}
	}
	return md, access, nil
}

// topicConfigs are the settings of topics; of one whose settings may not be seen
// there are none. They are asked for one by one, since kadm ends with the first that
// is forbidden.
func topicConfigs(ctx context.Context, cl *kgo.Client, names []string) (map[string]kadm.ResourceConfig, error) {
	out := make(map[string]kadm.ResourceConfig, len(names))
	for _, n := range names {
		configs, err := kadm.NewClient(cl).DescribeTopicConfigs(ctx, n)
		if err != nil && !errors.Is(err, kerr.TopicAuthorizationFailed) {
			return nil, fmt.Errorf("ask for the settings of topic %s: %w", n, err)
		}
		for _, c := range configs {
			if c.Err == nil && err == nil {
				out[n] = c
			}
		}
	}
	return out, nil
}

// transactionVersion reports a cluster whose transactions are of the old kind.
func (c Config) transactionVersion(ctx context.Context, cl *kgo.Client) ([]Finding, error) {
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
	return []Finding{{Severity: Breaks, Where: onCluster,
		Cause: fmt.Sprintf("the feature transaction.version is %d, and below 2 a delayed request can end a later transaction than it meant", level),
		Out:   "with Kafka 4 or later, raise it",
		Run:   c.command("kafka-features.sh", "upgrade", "--feature", "transaction.version=2")}}, nil
}

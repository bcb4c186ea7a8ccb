package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"golang.org/x/sync/errgroup"
)

// Topics that brokers make for themselves.
const (
	topicTransactions = "__transaction_state"
	topicOffsets      = "__consumer_offsets"
)

// reachable reports brokers that cannot be connected to where the cluster says
// that they are: the usual mistake of a cluster behind a container or a tunnel.
func (c Config) reachable(ctx context.Context, brokers kadm.BrokerDetails) []Finding {
	cl, err := c.NewClient()
	if err != nil {
		return nil // it has connected before
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	found := make([][]Finding, len(brokers))
	var g errgroup.Group
	for i, b := range brokers {
		g.Go(func() error {
			addr := net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))
			if conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr); err == nil {
				_ = conn.Close()
			} else {
				found[i] = []Finding{{Severity: Breaks, Where: onCluster, Cause: fmt.Sprintf("it says that broker %d is at %s, which cannot be reached from here: %v", b.NodeID, addr, netCause(err)),
					Out: "start that broker, or set advertised.listeners of the listener that weir uses to an address that this machine reaches"}}
			}
			return nil
		})
	}
	_ = g.Wait()
	return slices.Concat(found...)
}

// brokerCheck is what the settings of brokers are checked with.
type brokerCheck struct {
	Config
	md           kadm.Metadata
	transactions kadm.ResourceConfig           // of the topic of transactions
	absent       bool                          // some topic is still to be made, with the brokers' defaults
	values       map[string]map[string][]int32 // setting, value, brokers
}

// brokerSettings checks the settings that no topic shows: what the brokers make
// and accept by themselves.
func brokerSettings(ctx context.Context, adm *kadm.Client, b brokerCheck) []Finding {
	out := b.internalTopics()
	all := make([]int32, 0, len(b.md.Brokers))
	for _, d := range b.md.Brokers {
		all = append(all, d.NodeID)
	}
	configs, err := adm.DescribeBrokerConfigs(ctx, all...)
	denied := errors.Is(err, kerr.ClusterAuthorizationFailed)
	if err != nil && !denied && len(configs) == 0 {
		return out // brokers that do not answer are not checked
	}
	b.values = map[string]map[string][]int32{}
	for _, r := range configs {
		denied = denied || errors.Is(r.Err, kerr.ClusterAuthorizationFailed)
		id, _ := strconv.ParseInt(r.Name, 10, 32)
		for _, kv := range r.Configs {
			if kv.Value == nil {
				continue
			}
			if b.values[kv.Key] == nil {
				b.values[kv.Key] = map[string][]int32{}
			}
			b.values[kv.Key][*kv.Value] = append(b.values[kv.Key][*kv.Value], int32(id))
		}
	}
	if denied {
		out = append(out, b.mayNotSee("the settings of the brokers, which are not checked (replication of transactions, limits of transactions and sessions)", "--cluster"))
	}
	for _, r := range brokerRules {
		out = append(out, b.check(r)...)
	}
	return out
}

// internalTopics checks the topics of transactions and of groups where they exist.
func (b *brokerCheck) internalTopics() []Finding {
	check := func(topic string, settings kadm.ResourceConfig) []Finding {
		t := topicCheck{Config: b.Config, spec: TopicSpec{Name: topic}, brokers: len(b.md.Brokers), details: b.md.Topics[topic], settings: settings}
		if t.details.Err == nil {
			t.replication()
		}
		return t.found
	}
	transactions, offsets := check(topicTransactions, b.transactions), check(topicOffsets, kadm.ResourceConfig{})
	for i := range transactions {
		transactions[i].Cause += " (it holds which transactions were committed)"
	}
	for i := range offsets {
		// weir's own positions are in Redis: what is lost here is what tools show.
		offsets[i].Severity = Different
		offsets[i].Cause = fmt.Sprintf("it has fewer than %d replicas: groups stand still while its broker is away, and their lag is lost with its disk; counts are not",
			min(3, len(b.md.Brokers)))
	}
	return append(transactions, offsets...)
}

// rule is what a setting of a broker has to be.
type rule struct {
	key      string
	severity string
	// when says whether the setting matters; nil is always.
	when func(b *brokerCheck) bool
	// A number below least or above most is wrong, and so is the text bad. A limit of 0 is
	// none, and a negative number is none of the broker's limits.
	least, most int64
	bad         string
	// cause says what follows; it stands behind "KEY is VALUE: ".
	cause string
	// want is a good value, empty where nothing needs to be done.
	want string
}

// wrong reports whether a value is to be reported.
func (r *rule) wrong(value string) bool {
	n, err := strconv.ParseInt(value, 10, 64)
	return r.bad != "" && value == r.bad || err == nil && n >= 0 && (n < r.least || r.most > 0 && n > r.most)
}

// newTopics holds where weir still makes topics, with the brokers' defaults.
func newTopics(b *brokerCheck) bool { return b.absent }

// lacks holds where a topic of the brokers does not exist yet, and there are brokers
// enough to make it well.
func lacks(topic string) func(*brokerCheck) bool {
	return func(b *brokerCheck) bool { return len(b.md.Brokers) >= 3 && b.md.Topics[topic].Err != nil }
}

// Milliseconds that clients of weir ask for.
const (
	transactionMillis = 15_000 // ingest's transactions
	sessionMillis     = 45_000 // count's membership, the library's default
)

// brokerRules are Kafka's own names and meanings of settings:
// https://kafka.apache.org/documentation/#brokerconfigs.
var brokerRules = []rule{
	{key: "transaction.state.log.replication.factor", severity: Breaks, when: lacks(topicTransactions), least: 3, want: "3",
		cause: "which transactions were committed would be on fewer than three brokers, and lost with their disks"},
	{key: "transaction.state.log.min.isr", severity: Breaks, when: lacks(topicTransactions), least: 2, want: "2",
		cause: "a commit would count when one broker alone knows of it"},
	{key: "offsets.topic.replication.factor", severity: Different, when: lacks(topicOffsets), least: 3, want: "3",
		cause: "groups stand still while a broker is away, and the lag that tools show can be lost; counts are not"},
	{key: "transaction.max.timeout.ms", severity: Breaks, least: transactionMillis, want: "900000",
		cause: "weir's transactions ask for 15000, and are refused: nothing can be ingested"},
	{key: "group.min.session.timeout.ms", severity: Breaks, most: sessionMillis, want: "6000",
		cause: "weir's counters ask for sessions of 45000, and are refused: nothing can be counted"},
	{key: "group.max.session.timeout.ms", severity: Breaks, least: sessionMillis, want: "1800000",
		cause: "weir's counters ask for sessions of 45000, and are refused: nothing can be counted"},
	{key: "socket.request.max.bytes", severity: Breaks, least: MaxMessageBytes + 1<<20, want: "104857600",
		cause: "a request with a large event closes the connection, again and again"},
	{key: "unclean.leader.election.enable", severity: Breaks, when: newTopics, bad: "true", want: "false",
		cause: "topics are made with it: a broker that lacks acknowledged events can become the leader"},
	{key: "log.message.timestamp.type", severity: Different, when: newTopics, bad: "LogAppendTime", want: "CreateTime",
		cause: "topics are made with it: records get the broker's clock instead of the event's time"},
	{key: "log.retention.ms", severity: Breaks, when: newTopics, least: rebuildTime.Milliseconds(), want: "604800000",
		cause: "topics are made with it: an ingester that starts again does not find its last minutes, and stores duplicates of what upstream repeats"},
	{key: "auto.create.topics.enable", severity: Different, when: newTopics, bad: "true",
		cause: "a program that asks for a topic of weir before weir has made it makes it, with the cluster's defaults; weir itself never does"},
	{key: "offsets.retention.minutes", severity: Different, least: 24 * 60, want: "10080",
		cause: "the lag that tools show of a group that is away for longer is forgotten; counts are not"},
}

// check applies one rule, and names the brokers where they differ.
func (b *brokerCheck) check(r rule) (out []Finding) {
	values := b.values[r.key]
	for _, v := range slices.Sorted(maps.Keys(values)) {
		if r.when != nil && !r.when(b) || !r.wrong(v) {
			continue
		}
		where := ""
		if len(values) > 1 {
			where = " on brokers " + numbers(values[v])
		}
		f := Finding{Severity: r.severity, Where: onCluster, Cause: fmt.Sprintf("%s is %s%s: %s", r.key, v, where, r.cause), Out: "nothing needs to be done"}
		if r.want != "" {
			f.Out = fmt.Sprintf("set %s=%s in the brokers' server.properties, or where your provider keeps such settings", r.key, r.want)
		}
		out = append(out, f)
	}
	return out
}

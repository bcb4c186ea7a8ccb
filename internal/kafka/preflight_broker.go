package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"

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
				found[i] = []Finding{{Severity: Breaks, Cause: fmt.Sprintf("it says that broker %d is at %s, which cannot be reached from here: %v", b.NodeID, addr, netCause(err)),
					Out: "start that broker, or set advertised.listeners of the listener that weir uses to an address that this machine reaches"}}
			}
			return nil
		})
	}
	_ = g.Wait()
	return slices.Concat(found...)
}

// brokerCheck is what the settings of brokers are judged by.
type brokerCheck struct {
	md           kadm.Metadata
	transactions kadm.ResourceConfig // of the topic of transactions
	absent       bool                // some topic is still to be made, with the brokers' defaults
	tool         tool
	values       map[string]map[string][]int32 // setting, value, brokers
}

// brokerSettings judges the settings that no topic shows: what the brokers make
// and accept by themselves.
func (c Config) brokerSettings(ctx context.Context, adm *kadm.Client, b brokerCheck) []Finding {
	b.tool = c.tool()
	out := b.internalTopics()
	all := make([]int32, 0, len(b.md.Brokers))
	for _, d := range b.md.Brokers {
		all = append(all, d.NodeID)
	}
	configs, err := adm.DescribeBrokerConfigs(ctx, all...)
	if err != nil && !errors.Is(err, kerr.ClusterAuthorizationFailed) && len(configs) == 0 {
		return out // brokers that do not answer are not judged
	}
	b.values = map[string]map[string][]int32{}
	denied := errors.Is(err, kerr.ClusterAuthorizationFailed)
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
		out = append(out, c.mayNotSee("the settings of the brokers, which are not judged (replication of transactions, limits of transactions and sessions)", "--cluster"))
	}
	for _, r := range brokerRules {
		out = append(out, b.check(r)...)
	}
	return out
}

// internalTopics checks the topics of transactions and of groups where they exist.
func (b brokerCheck) internalTopics() []Finding {
	check := func(topic string, config kadm.ResourceConfig) []Finding {
		t := topicCheck{spec: TopicSpec{Name: topic}, brokers: len(b.md.Brokers), details: b.md.Topics[topic], config: config, tool: b.tool}
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
		offsets[i].Severity, offsets[i].Cause = Different, fmt.Sprintf("it has fewer than %d replicas: groups stand still while its broker is away, and their lag is lost with its disk; counts are not", min(3, len(b.md.Brokers)))
	}
	return append(transactions, offsets...)
}

// rule is what a setting of a broker has to be.
type rule struct {
	key      string
	severity Severity
	// wrong reports whether a value is to be told of.
	wrong func(b *brokerCheck, v string) bool
	// cause says what follows; it stands behind "KEY is VALUE: ".
	cause string
	// want is a good value, empty where nothing needs to be done.
	want string
}

// between holds for numbers from least to most.
func between(least, most int64) func(*brokerCheck, string) bool {
	return func(_ *brokerCheck, v string) bool {
		i, err := strconv.ParseInt(v, 10, 64)
		return err == nil && i >= least && i <= most
	}
}

func below(n int64) func(*brokerCheck, string) bool { return between(0, n-1) }
func above(n int64) func(*brokerCheck, string) bool { return between(n+1, math.MaxInt64) }

func is(want string) func(*brokerCheck, string) bool {
	return func(_ *brokerCheck, v string) bool { return v == want }
}

// with adds a condition to one.
func with(cond func(*brokerCheck) bool, wrong func(*brokerCheck, string) bool) func(*brokerCheck, string) bool {
	return func(b *brokerCheck, v string) bool { return cond(b) && wrong(b, v) }
}

func absentTopic(b *brokerCheck) bool { return b.absent }

// noTransactions: the topic of transactions does not exist yet, and there are
// brokers enough to make it well.
func noTransactions(b *brokerCheck) bool {
	return len(b.md.Brokers) >= 3 && b.md.Topics[topicTransactions].Err != nil
}

func noOffsets(b *brokerCheck) bool {
	return len(b.md.Brokers) >= 3 && b.md.Topics[topicOffsets].Err != nil
}

// Milliseconds that clients of weir ask for.
const (
	transactionMillis = 15_000 // ingest's transactions
	sessionMillis     = 45_000 // count's membership, the library's default
)

// brokerRules are Kafka's own names and meanings of settings:
// https://kafka.apache.org/documentation/#brokerconfigs.
var brokerRules = []rule{
	{"transaction.state.log.replication.factor", Breaks, with(noTransactions, below(3)),
		"which transactions were committed would be on fewer than three brokers, and lost with their disks", "3"},
	{"transaction.state.log.min.isr", Breaks, with(noTransactions, below(2)),
		"a commit would count when one broker alone knows of it", "2"},
	{"offsets.topic.replication.factor", Different, with(noOffsets, below(3)),
		"groups stand still while a broker is away, and the lag that tools show can be lost; counts are not", "3"},
	{"transaction.max.timeout.ms", Breaks, below(transactionMillis),
		"weir's transactions ask for 15000, and are refused: nothing can be ingested", "900000"},
	{"group.min.session.timeout.ms", Breaks, above(sessionMillis),
		"weir's counters ask for sessions of 45000, and are refused: nothing can be counted", "6000"},
	{"group.max.session.timeout.ms", Breaks, below(sessionMillis),
		"weir's counters ask for sessions of 45000, and are refused: nothing can be counted", "1800000"},
	{"socket.request.max.bytes", Breaks, below(MaxMessageBytes + 1<<20),
		"a request with a large event closes the connection, again and again", "104857600"},
	{"unclean.leader.election.enable", Breaks, with(absentTopic, is("true")),
		"topics are made with it: a broker that lacks acknowledged events can become the leader", "false"},
	{"log.message.timestamp.type", Different, with(absentTopic, is("LogAppendTime")),
		"topics are made with it: records get the broker's clock instead of the event's time", "CreateTime"},
	{"log.retention.ms", Breaks, with(absentTopic, below(rebuildTime.Milliseconds())),
		"topics are made with it: an ingester that starts again does not find its last minutes, and stores duplicates of what upstream repeats", "604800000"},
	{"auto.create.topics.enable", Different, with(absentTopic, is("true")),
		"a program that asks for a topic of weir before weir has made it makes it, with the cluster's defaults; weir itself never does", ""},
	{"offsets.retention.minutes", Different, below(24 * 60),
		"the lag that tools show of a group that is away for longer is forgotten; counts are not", "10080"},
}

// check applies one rule, and names the brokers where they differ.
func (b *brokerCheck) check(r rule) []Finding {
	var out []Finding
	values := b.values[r.key]
	for _, v := range slices.Sorted(maps.Keys(values)) {
		if !r.wrong(b, v) {
			continue
		}
		where := ""
		if len(values) > 1 {
			where = " on brokers " + strings.Trim(strings.ReplaceAll(fmt.Sprint(values[v]), " ", ", "), "[]")
		}
		f := Finding{Severity: r.severity, Cause: fmt.Sprintf("%s is %s%s: %s", r.key, v, where, r.cause), Out: "nothing needs to be done"}
		if r.want != "" {
			f.Out = fmt.Sprintf("set %s=%s in the brokers' server.properties, or where your provider keeps such settings", r.key, r.want)
		}
		out = append(out, f)
	}
	return out
}

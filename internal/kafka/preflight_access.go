package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// nobodyKnows stands for the principal in a command where it is not known.
const nobodyKnows = "User:NAME-OF-THIS-LOGIN"

// principal is the name that the cluster's access rules have for this client.
func (c Config) principal() string { return cmp.Or(c.Security.Principal(), nobodyKnows) }

// allow is what an administrator runs to allow something.
func (c Config) allow(operations []string, resource ...string) Finding {
	args := append([]string{"--add", "--allow-principal", c.principal()}, each("--operation", operations)...)
	out := "an administrator of the cluster adds it"
	if c.principal() == nobodyKnows {
		out += ", with the name that the cluster gives this login"
	}
	return Finding{Where: onCluster, Out: out, Run: c.command("kafka-acls.sh", append(args, resource...)...)}
}

// mayNotSee is the finding that something could not be checked.
func (c Config) mayNotSee(what string, resource ...string) Finding {
	f := c.allow([]string{"DescribeConfigs"}, resource...)
	f.Severity, f.Cause = Different, fmt.Sprintf("%s may not see %s", c.principal(), what)
	return f
}

// denied is the finding that something without which nothing goes is not allowed.
func (c Config) denied(what string, operations []string, resource ...string) Finding {
	f := c.allow(operations, resource...)
	f.Severity, f.Denied, f.Cause = Breaks, true, fmt.Sprintf("%s may not %s", c.principal(), what)
	return f
}

// probeTime bounds asking for coordinators, which may be away.
const probeTime = 10 * time.Second

// access reports what the purpose needs beyond topics and the cluster does not allow. It changes
// nothing in the cluster. A cluster that does not say is believed to allow all.
func (c Config) access(ctx context.Context, cl *kgo.Client, p Purpose) ([]Finding, error) {
	var out []Finding
	probe, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	for _, id := range p.Transactions {
		// The producer id is one that no broker gives out, so that the request ends
		// no transaction; whether it is allowed is asked before.
		req := kmsg.NewPtrEndTxnRequest()
		req.TransactionalID, req.ProducerID = id, math.MaxInt64
		resp, err := req.RequestWith(probe, cl)
		if err == nil {
			err = kerr.ErrorForCode(resp.ErrorCode)
		}
		if errors.Is(err, kerr.TransactionalIDAuthorizationFailed) {
			out = append(out, c.denied("write in transactions as "+id, []string{"Write"}, "--transactional-id", id))
		}
	}
	var groups []string
	for _, g := range p.Groups {
		// No member has this ID, so this heartbeat renews no session.
		req := kmsg.NewPtrHeartbeatRequest()
		req.Group, req.MemberID = g, "weir-preflight"
		resp, err := req.RequestWith(probe, cl)
		if err == nil {
			err = kerr.ErrorForCode(resp.ErrorCode)
		}
		if errors.Is(err, kerr.GroupAuthorizationFailed) {
			groups = append(groups, g)
		}
	}
	if len(groups) > 0 {
		out = append(out, c.denied("be a member of the groups "+strings.Join(groups, ", "), []string{"Read"}, each("--group", groups)...))
	}
	return out, ctx.Err()
}

// each puts an option before every name.
func each(option string, names []string) (out []string) {
	for _, n := range names {
		out = append(out, option, n)
	}
	return out
}

// topicAccess is what the cluster says about this client and a topic.
type topicAccess kmsg.MetadataResponseTopic

// hidden reports whether the cluster does not even say that the topic exists.
func (t topicAccess) hidden() bool { return t.ErrorCode == kerr.TopicAuthorizationFailed.Code }
func (t topicAccess) absent() bool { return t.ErrorCode == kerr.UnknownTopicOrPartition.Code }

// may reports whether an operation is allowed, as far as the cluster says.
func (t topicAccess) may(op kmsg.ACLOperation) bool {
	return !t.hidden() && (t.AuthorizedOperations == math.MinInt32 || t.AuthorizedOperations&(1<<op) != 0)
}

// topicAccess reports what is not allowed on the purpose's topics, those that lack
// the same together.
func (c Config) topicAccess(have map[string]topicAccess, p Purpose) []Finding {
	var out []Finding
	sets := map[string][]string{} // topics by what they lack
	var unseen, unmade []string
	for _, n := range union(p.Write, p.Read) {
		t := have[n]
		var lacks []string
		lack := func(op kmsg.ACLOperation, name string, needed bool) {
			if needed && !t.may(op) {
				lacks = append(lacks, name)
			}
		}
		// Read and Write each imply Describe, and Create is asked of the topic alone,
		// which allows less than on the cluster.
		lack(kmsg.ACLOperationRead, "Read", true)
		lack(kmsg.ACLOperationWrite, "Write", slices.Contains(p.Write, n))
		lack(kmsg.ACLOperationCreate, "Create", t.absent())
		if len(lacks) > 0 {
			key := strings.Join(lacks, ",")
			sets[key] = append(sets[key], n)
		}
		if t.hidden() {
			unmade = append(unmade, n)
		}
		if !t.absent() && !t.may(kmsg.ACLOperationDescribeConfigs) {
			unseen = append(unseen, n)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(sets)) {
		ops, topics := strings.Split(key, ","), sets[key]
		out = append(out, c.denied(fmt.Sprintf("%s topic %s", strings.ToLower(strings.Join(ops, " and ")), strings.Join(topics, ", ")), ops, each("--topic", topics)...))
	}
	if len(unmade) > 0 {
		f := c.allow([]string{"Create"}, each("--topic", unmade)...)
		f.Severity, f.Cause = Different, fmt.Sprintf("%s may not see whether topic %s exists", c.principal(), strings.Join(unmade, ", "))
		f.Out = "create those that do not exist, or allow weir to create them; where all exist, nothing is needed"
		out = append(out, f)
	}
	if len(unseen) > 0 {
		out = append(out, c.mayNotSee(fmt.Sprintf("the settings of topic %s, which are not checked; events over %d bytes become dead letters", strings.Join(unseen, ", "), defaultMaxBytes),
			each("--topic", unseen)...))
	}
	return out
}

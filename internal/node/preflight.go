package node

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/tally"
)

func ofRedis(list []tally.Finding) (out []kafka.Finding) {
	for _, f := range list {
		severity := kafka.Different
		if f.Breaks {
			severity = kafka.Breaks
		}
		out = append(out, kafka.Finding{Severity: severity, Where: "redis", Cause: f.Cause, Out: f.Out})
	}
	return out
}

// Preflight checks whether the cluster can keep what weir promises.
func (t *Target) Preflight(ctx context.Context, p kafka.Purpose) ([]kafka.Finding, error) {
	cl, err := t.OpenKafka(ctx)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	return t.KafkaConfig("weir-preflight").Preflight(ctx, cl, p)
}

// PreflightRedis checks the Redis that the counts would be in. One that may delete
// counts, or that forbids what counting needs, is a finding and not an error.
func (t *Target) PreflightRedis(ctx context.Context) ([]kafka.Finding, error) {
	store, err := t.OpenStore(ctx)
	breaks := kafka.Finding{Severity: kafka.Breaks, Where: "redis"}
	if policy, ok := errors.AsType[*tally.PolicyError](err); ok {
		breaks.Cause = fmt.Sprintf("its maxmemory-policy is %s: it may delete counts when memory is short, and weir does not start", policy.Policy)
		breaks.Out, breaks.Run = "set it to noeviction", "redis-cli CONFIG SET maxmemory-policy noeviction"
		return []kafka.Finding{breaks}, nil
	}
	if denied, ok := errors.AsType[*tally.PermissionError](err); ok {
		breaks.Cause = fmt.Sprintf("user %s may not use %s", denied.User, strings.Join(denied.Lacks, ", "))
		breaks.Out, breaks.Run = "an administrator allows it", denied.Rule
		return []kafka.Finding{breaks}, nil
	}
	if err != nil {
		return nil, err
	}
	defer store.Close()
	return ofRedis(store.Findings()), nil
}

// prepareTopics reports once what an existing cluster cannot promise, fails where it
// forbids what this process needs, and makes the topics. The brokers of a weir are
// known.
func (t *Target) prepareTopics(ctx context.Context, p kafka.Purpose) error {
	cl, err := t.OpenKafka(ctx)
	if err != nil {
		return err
	}
	defer cl.Close()
	if t.own != nil && t.own.brokers != nil || t.Running != nil && t.Running.OwnKafka {
		return kafka.EnsureTopics(ctx, cl, kafka.Topics()...)
	}
	findings, err := t.KafkaConfig("weir-preflight").Preflight(ctx, cl, p)
	if err != nil {
		return err
	}
	missing := false
	for _, f := range findings {
		t.Report(f)
		missing = missing || f.Denied
	}
	if missing && !t.AllowDenied {
		return cli.RuntimeError("see the findings above, with the commands that add the permissions; weir preflight prints them again",
			"the cluster at %s does not allow what this needs", strings.Join(t.Kafka, ","))
	}
	return kafka.EnsureTopics(ctx, cl, p.Specs()...)
}

package node

import (
	"context"

	"github.com/weir-project/weir/internal/ingest"
	"github.com/weir-project/weir/internal/kafka"
)

// Ping returns why the cluster does not answer, in a user's words. An operation that opens clients
// of its own, with other errors, calls it first.
func (t *Target) Ping(ctx context.Context) error {
	cl, err := t.OpenKafka(ctx)
	if err == nil {
		cl.Close()
	}
	return err
}

// Cursor returns the cursor of a source, and whether there is one.
func (t *Target) Cursor(ctx context.Context, s Source) (rec kafka.CursorRecord, found bool, err error) {
	if err := t.Ping(ctx); err != nil {
		return rec, false, err
	}
	return kafka.PeekCursor(ctx, t.KafkaConfig("weir-cursor"), s.Name)
}

// PlanCursor reads the topics of a source, from which a new cursor can be made. It calls begin
// when the cluster has answered.
func (t *Target) PlanCursor(ctx context.Context, s Source, begin func()) (*ingest.CursorPlan, error) {
	if err := t.Ping(ctx); err != nil {
		return nil, err
	}
	begin()
	cfg := ingest.PlanConfig{Kafka: t.KafkaConfig("weir-cursor"), Source: s.Name, Locate: s.Locate, Topics: s.ingested()}
	return ingest.PlanCursor(ctx, cfg)
}

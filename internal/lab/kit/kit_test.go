package kit

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/kafka"
)

// TestReadBackWaitsForATransaction commits a transaction when the reading has begun: on Apache
// Kafka a producer has its answer before the transaction's markers are in the partitions.
func TestReadBackWaitsForATransaction(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "t"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	cfg := kafka.Config{Brokers: cluster.ListenAddrs()}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	client := func(opts ...kgo.Opt) *kgo.Client {
		cl, err := cfg.NewClient(append(opts, kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(cl.Close)
		return cl
	}
	plain, tx := client(), client(kgo.TransactionalID("open"))
	if err := plain.ProduceSync(ctx, &kgo.Record{Topic: "t", Value: []byte("plain")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if err := tx.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := tx.ProduceSync(ctx, &kgo.Record{Topic: "t", Partition: 1, Value: []byte("in the transaction")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	var got []string
	err = ReadBack(ctx, cfg, plain, func(r *kgo.Record) {
		if got = append(got, string(r.Value)); len(got) == 1 {
			if err := tx.EndTransaction(ctx, kgo.TryCommit); err != nil {
				t.Error(err)
			}
		}
	}, "t")
	if want := []string{"plain", "in the transaction"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("want %q, got %q, %v", want, got, err)
	}
}

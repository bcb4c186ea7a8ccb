package ingest

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestListed: a topic that the client has not loaded is waited for until the time is
// up, and one that it loads meanwhile is waited for no longer.
func TestListed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := new(kfake.VirtualNetwork)
		cluster, err := kfake.NewCluster(kfake.Ports(9001), kfake.ListenFn(network.Listen), kfake.SeedTopics(3, "events"))
		if err != nil {
			t.Fatal(err)
		}
		defer cluster.Close()
		cl, err := kgo.NewClient(kgo.SeedBrokers("127.0.0.1:9001"), kgo.Dialer(network.DialContext))
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := listed(short, cl, "events"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("an unknown topic: %v", err)
		}
		done := make(chan error, 1)
		go func() { done <- listed(t.Context(), cl, "events") }()
		synctest.Wait()
		select {
		case err := <-done:
			t.Errorf("listed before it is loaded: %v", err)
		default:
		}
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "events"}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

package judge

import (
	"slices"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/weir-project/weir/internal/cluster/local"
)

// Checks that start at the same time try the same default ports. Each of them starts, and it
// is said to have the default ports only where it has those of the brokers and of Redis.
func TestDefaultPorts(t *testing.T) { // not parallel: it changes the default ports
	addrs, err := local.Free("127.0.0.1", 4)
	if err != nil {
		t.Fatal(err)
	}
	brokers, redis := defaultBrokers, defaultRedis
	defer func() { defaultBrokers, defaultRedis = brokers, redis }()
	defaultBrokers, defaultRedis = addrs[:3], addrs[3]

	benches := make([]*Bench, 8)
	var starting errgroup.Group
	for i := range benches {
		starting.Go(func() (err error) {
			benches[i], err = open(t.Context(), Config{Exercise: "count", Progress: func(string) {}})
			return err
		})
	}
	if err := starting.Wait(); err != nil {
		t.Error(err)
	}
	var atBrokers, atRedis int
	for _, b := range benches {
		if b == nil {
			continue
		}
		kafkaThere, redisThere := slices.Equal(b.Kafka.Brokers, defaultBrokers), b.Proxy.Addr() == defaultRedis
		if kafkaThere {
			atBrokers++
		}
		if redisThere {
			atRedis++
		}
		if b.defaults != (kafkaThere && redisThere) {
			t.Errorf("brokers at %v and Redis at %s: default ports %t", b.Kafka.Brokers, b.Proxy.Addr(), b.defaults)
		}
		if err := b.close(); err != nil {
			t.Error(err)
		}
	}
	if atBrokers > 1 || atRedis != 1 {
		t.Errorf("%d checks have the brokers' default ports and %d have Redis', want at most 1 and 1", atBrokers, atRedis)
	}
}

package scan

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// leadersPatience is how long new partitions may take to have leaders: brokers of a
// machine that is busy with other things need more than seconds.
const leadersPatience = time.Minute

// AwaitTopics waits until the topics have at least so many partitions, until every partition
// has a leader, and until no broker denies that they exist: each broker learns of new topics
// and partitions on its own. No names are nothing to wait for.
func AwaitTopics(ctx context.Context, cl *kgo.Client, partitions int, names ...string) error {
	if len(names) == 0 {
		return nil
	}
	req := MetadataRequest(names...)
	ctx, cancel := context.WithTimeout(ctx, leadersPatience)
	defer cancel()
	for {
		md, err := req.RequestWith(ctx, cl)
		switch {
		case err != nil:
		case !led(md, partitions):
			err = errors.New("some partitions have no leader yet")
		case slices.ContainsFunc(md.Brokers, func(b kmsg.MetadataResponseBroker) bool {
			// One that cannot be asked is left out: it may be stopping, and clients go to another one, too.
			md, err := req.RequestWith(ctx, cl.Broker(int(b.NodeID)))
			return err == nil && !led(md, partitions)
		}):
			err = errors.New("some brokers do not know of them yet")
		default:
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for new topics %q: %w", names, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// led reports whether the topics that were asked for are there and all partitions have a leader.
func led(md *kmsg.MetadataResponse, partitions int) bool {
	return !slices.ContainsFunc(md.Topics, func(t kmsg.MetadataResponseTopic) bool {
		return t.ErrorCode != 0 || len(t.Partitions) < max(1, partitions) || slices.ContainsFunc(t.Partitions, func(p kmsg.MetadataResponseTopicPartition) bool {
			return p.ErrorCode != 0 || p.Leader < 0
		})
	})
}

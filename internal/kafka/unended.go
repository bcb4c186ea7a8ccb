package kafka

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Unended explains why a transactional id cannot be had: the coordinator has decided on
// the end of its last transaction and does not bring it about. It does so for good when
// a partition refuses the marker of the end (Apache Kafka 4.3 gives up then, and begins
// again when the coordinator moves). nil where that is not so. It takes at most 4 s.
func Unended(ctx context.Context, cl *kgo.Client, transactionalID string) error {
	ctx, cancel := context.WithTimeout(ctx, explainTimeout)
	defer cancel()
	all, err := kadm.NewClient(cl).DescribeTransactions(ctx, transactionalID)
	if err != nil {
		return nil // what is not told is not judged
	}
	if d := all[transactionalID]; d.Err == nil && strings.HasPrefix(d.State, "Prepare") {
		return unended(d, time.Now())
	}
	return nil
}

func unended(d kadm.DescribedTransaction, now time.Time) *UnavailableError {
	var where []string
	for _, t := range d.Topics.Sorted() {
		where = append(where, fmt.Sprintf("%s %v", t.Topic, t.Partitions))
	}
	since := now.Sub(time.UnixMilli(d.StartTimestamp)).Round(time.Second)
	return &UnavailableError{ReasonTransaction,
		fmt.Sprintf("broker %d does not end the last transaction of %s: it is in state %s, begun %v ago, and its markers are missing at %s",
			d.Coordinator, d.TxnID, d.State, since, strings.Join(where, ", ")),
		fmt.Sprintf("see what that broker prints, mend it (a message.timestamp.before.max.ms of a topic that refuses the markers, too?), "+
			"and start that broker again (weir brokers kill %d and restart %d, where weir runs them): it goes on by itself", d.Coordinator, d.Coordinator)}
}

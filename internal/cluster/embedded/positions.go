package embedded

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// answerOffsetFetch tells who asks for the positions of a group that there is not
// that it has none. The module says that the group does not exist, which Kafka tells
// members alone, and Java's consumer with a group and partitions of its own choice
// ends on it before it has committed anything. While a transaction is about to give
// such a group its first positions, who asks for stable ones is told to wait.
func (c *Cluster) answerOffsetFetch(ctx context.Context, req *kmsg.OffsetFetchRequest, r *kmsg.OffsetFetchResponse) {
	if r.Version <= 7 {
		if r.ErrorCode != kerr.GroupIDNotFound.Code {
			return
		}
		code := c.unstable(ctx, req, req.Group)
		r.ErrorCode, r.Topics = 0, []kmsg.OffsetFetchResponseTopic{}
		for _, t := range req.Topics {
			st := kmsg.NewOffsetFetchResponseTopic()
			st.Topic = t.Topic
			for _, p := range t.Partitions {
				sp := kmsg.NewOffsetFetchResponseTopicPartition()
				sp.Partition, sp.Offset, sp.LeaderEpoch, sp.Metadata, sp.ErrorCode = p, -1, -1, kmsg.StringPtr(""), code
				st.Partitions = append(st.Partitions, sp)
			}
			r.Topics = append(r.Topics, st)
		}
		return
	}
	for i := range min(len(r.Groups), len(req.Groups)) {
		g, asked := &r.Groups[i], req.Groups[i]
		if g.ErrorCode != kerr.GroupIDNotFound.Code || asked.MemberID != nil {
			continue
		}
		code := c.unstable(ctx, req, g.Group)
		g.ErrorCode, g.Topics = 0, []kmsg.OffsetFetchResponseGroupTopic{}
		for _, t := range asked.Topics {
			st := kmsg.NewOffsetFetchResponseGroupTopic()
			st.Topic, st.TopicID = t.Topic, t.TopicID
			for _, p := range t.Partitions {
				sp := kmsg.NewOffsetFetchResponseGroupTopicPartition()
				sp.Partition, sp.Offset, sp.LeaderEpoch, sp.Metadata, sp.ErrorCode = p, -1, -1, kmsg.StringPtr(""), code
				st.Partitions = append(st.Partitions, sp)
			}
			g.Topics = append(g.Topics, st)
		}
	}
}

// unstable returns UNSTABLE_OFFSET_COMMIT where req asks for stable positions and
// an open transaction holds some of the group, and otherwise 0. In memory, which
// tests alone use, nothing is staged.
func (c *Cluster) unstable(ctx context.Context, req *kmsg.OffsetFetchRequest, group string) int16 {
	if c.intents == nil || !req.RequireStable {
		return 0
	}
	open, err := c.transactions(ctx)
	if err != nil {
		return kerr.UnstableOffsetCommit.Code // to ask again is always safe
	}
	c.intents.mu.Lock()
	defer c.intents.mu.Unlock()
	for p, staged := range c.intents.staged {
		// What a transaction staged that timed out stays until there is much of it.
		alive := slices.ContainsFunc(open, func(t kmsg.ListTransactionsResponseTransactionState) bool {
			return t.ProducerID == p.id && t.TransactionState == "Ongoing"
		})
		if alive && slices.ContainsFunc(staged, func(o stagedOffset) bool { return o.Group == group }) {
			return kerr.UnstableOffsetCommit.Code
		}
	}
	return 0
}

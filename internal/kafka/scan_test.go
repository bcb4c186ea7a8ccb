package kafka_test

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-project/weir/internal/kafka"
)

// A leader that was just elected knows its high watermark a moment later.
func TestBoundsAfterAnElection(t *testing.T) {
	c, cfg := cluster(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	cl := client(t, cfg, kgo.DefaultProduceTopic("t"))
	if err := cl.ProduceSync(t.Context(), kgo.StringRecord("v")).FirstErr(); err != nil {
		t.Fatal(err)
	}
	refusals := 3
	c.ControlKey(int16(kmsg.ListOffsets), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		asked := req.(*kmsg.ListOffsetsRequest).Topics[0]
		if asked.Partitions[0].Timestamp != -1 || refusals == 0 { // the end
			return nil, nil, false
		}
		refusals--
		resp := req.ResponseKind().(*kmsg.ListOffsetsResponse)
		top := kmsg.NewListOffsetsResponseTopic()
		part := kmsg.NewListOffsetsResponseTopicPartition()
		top.Topic, part.ErrorCode = asked.Topic, kerr.OffsetNotAvailable.Code
		top.Partitions = append(top.Partitions, part)
		resp.Topics = append(resp.Topics, top)
		return resp, nil, true
	})
	got, err := kafka.Bounds(t.Context(), cl, "t")
	if err != nil || got[kafka.TopicPartition{Topic: "t", Partition: 0}] != (kafka.Bound{Start: 0, End: 1}) {
		t.Errorf("bounds are %v: %v", got, err)
	}
	if refusals != 0 {
		t.Errorf("%d refusals were not asked for", refusals)
	}
}

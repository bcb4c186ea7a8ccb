package embedded

import (
	"errors"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Records that are rejected arrive when the rejection has ended, once and in order.
func TestRejectRecords(t *testing.T) {
	c := open(t, Config{})
	createTopic(t, c.Addrs(), "top", 1, nil)
	cl := client(t, c.Addrs(), manual())
	produce(t, cl, "top", 0, "before")
	lift, err := c.RejectRecords("top")
	if err != nil {
		t.Fatal(err)
	}
	once := client(t, c.Addrs(), manual(), kgo.RecordRetries(0), kgo.DisableIdempotentWrite())
	if err := once.ProduceSync(testCtx(t), &kgo.Record{Topic: "top", Value: []byte("x")}).FirstErr(); !errors.Is(err, kerr.NotEnoughReplicas) {
		t.Errorf("the error is %v", err)
	}
	for _, v := range []string{"a", "b"} {
		cl.Produce(testCtx(t), &kgo.Record{Topic: "top", Value: []byte(v)}, nil)
	}
	if got := consume(t, c.Addrs(), "top", 0); !slices.Equal(got, []string{"before"}) {
		t.Errorf("while records are rejected the topic has %q", got)
	}
	if n := lift(); n == 0 {
		t.Error("no request was rejected")
	}
	if err := cl.Flush(testCtx(t)); err != nil {
		t.Fatal(err)
	}
	if got := consume(t, c.Addrs(), "top", 0); !slices.Equal(got, []string{"before", "a", "b"}) {
		t.Errorf("afterwards the topic has %q", got)
	}
}

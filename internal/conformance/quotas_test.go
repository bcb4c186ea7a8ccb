package conformance

import (
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// quota sets or (with rate 0) removes a quota of a client id.
func quota(t *testing.T, clientID, key string, rate float64) {
	t.Helper()
	rs, err := adm.AlterClientQuotas(testCtx(t), []kadm.AlterClientQuotaEntry{{
		Entity: kadm.ClientQuotaEntity{{Type: "client-id", Name: &clientID}},
		Ops:    []kadm.AlterClientQuotaOp{{Key: key, Value: rate, Remove: rate == 0}},
	}})
	if err == nil {
		err = rs[0].Err
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Quotas are kept for users and client ids (KIP-546) and enforced by telling the
// client how long it has to be silent (KIP-219).
func TestQuotas(t *testing.T) {
	t.Parallel()
	id := name(t)
	quota(t, id, "producer_byte_rate", 2000)
	quota(t, id, "consumer_byte_rate", 2000)
	told := func() map[string]float64 {
		t.Helper()
		all, err := adm.DescribeClientQuotas(testCtx(t), true, []kadm.DescribeClientQuotaComponent{{Type: "client-id", MatchName: &id, MatchType: kmsg.QuotasMatchTypeExact}})
		if err != nil {
			t.Fatal(err)
		}
		values := make(map[string]float64)
		for _, q := range all {
			for _, v := range q.Values {
				values[v.Key] = v.Value
			}
		}
		return values
	}
	eventually(t, func() string {
		if q := told(); q["producer_byte_rate"] != 2000 || q["consumer_byte_rate"] != 2000 || len(q) != 2 {
			return fmt.Sprint("described as ", q)
		}
		return ""
	})
	top := topic(t, 1)
	cl := client(t, kgo.ClientID(id), kgo.MaxVersions(rawVersions()))
	lead := cl.Broker(int(leader(t, top, 0)))
	records := batch{id: -1, epoch: -1, sequence: -1, values: []string{strings.Repeat("x", 50_000)}}.bytes()
	write := func() int32 {
		t.Helper()
		req := produceRequest(top, 0, records)
		resp, err := req.RequestWith(testCtx(t), lead)
		if err != nil {
			t.Fatal(err)
		}
		code(t, "produce", resp.Topics[0].Partitions[0].ErrorCode, nil)
		return resp.ThrottleMillis
	}
	if differs(t, "quotas") {
		for range 3 {
			equal(t, "throttle time", write(), 0)
		}
	} else if first := write(); first == 0 {
		t.Error("50 kB at 2 kB/s were not throttled")
	}
	// A fetch is answered late and empty, and a request at all, once it went too far.
	read := func() int32 {
		t.Helper()
		req := kmsg.NewPtrFetchRequest()
		req.MinBytes, req.MaxBytes, req.SessionEpoch = 0, 16<<20, -1
		rt := kmsg.NewFetchRequestTopic()
		rt.Topic = top
		rp := kmsg.NewFetchRequestTopicPartition()
		rp.PartitionMaxBytes = 16 << 20
		rt.Partitions = append(rt.Partitions, rp)
		req.Topics = append(req.Topics, rt)
		reader := client(t, kgo.ClientID(id), kgo.MaxVersions(rawVersions())) // a connection of its own, that nobody silenced
		resp, err := req.RequestWith(testCtx(t), reader.Broker(int(leader(t, top, 0))))
		if err != nil {
			t.Fatal(err)
		}
		return resp.ThrottleMillis
	}
	busy := name(t)
	quota(t, busy, "request_percentage", 0.01)
	ask := func() int32 {
		t.Helper()
		req := kmsg.NewPtrMetadataRequest()
		resp, err := req.RequestWith(testCtx(t), client(t, kgo.ClientID(busy)))
		if err != nil {
			t.Fatal(err)
		}
		return resp.ThrottleMillis
	}
	if differs(t, "quotas") {
		equal(t, "throttle time of a fetch", read(), 0)
		equal(t, "throttle time of a request", ask(), 0)
	} else {
		eventually(t, func() string {
			if read() == 0 {
				return "a consumer of 50 kB at 2 kB/s is not throttled"
			}
			return ""
		})
		eventually(t, func() string {
			if ask() == 0 {
				return "requests beyond a hundredth of a percent of a thread's time are not throttled"
			}
			return ""
		})
	}
	quota(t, id, "producer_byte_rate", 0)
	quota(t, id, "consumer_byte_rate", 0)
	eventually(t, func() string {
		if q := told(); len(q) != 0 {
			return fmt.Sprint("after the removal described as ", q)
		}
		return ""
	})
	rs, err := adm.AlterClientQuotas(testCtx(t), []kadm.AlterClientQuotaEntry{{
		Entity: kadm.ClientQuotaEntity{{Type: "client-id", Name: &id}}, Ops: []kadm.AlterClientQuotaOp{{Key: "no_such_rate", Value: 1}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	answered(t, "a quota that there is not", rs[0].Err, lenient(t, kerr.InvalidRequest))
}

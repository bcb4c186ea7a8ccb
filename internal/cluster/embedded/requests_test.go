package embedded

import (
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"reflect"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// fill sets the exported fields of v to small nonsense.
func fill(r *rand.Rand, v reflect.Value, depth int) {
	switch v.Kind() {
	case reflect.Pointer:
		if r.IntN(3) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(r, v.Elem(), depth)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Field(i); f.CanSet() && v.Type().Field(i).Name != "UnknownTags" && v.Type().Field(i).Name != "Version" {
				fill(r, f, depth)
			}
		}
	case reflect.Slice:
		if depth > 4 {
			return
		}
		n := r.IntN(3)
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(r, v.Index(i), depth+1)
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(r, v.Index(i), depth)
		}
	case reflect.String:
		v.SetString([]string{"", "t", "t", "g", "weir", "\x00", "a.b"}[r.IntN(7)])
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n := []int64{-1, 0, 0, 0, 1, 2, -2, 100, 1 << 40}[r.IntN(9)]
		v.SetInt(reflect.ValueOf(n).Convert(v.Type()).Int())
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(r.IntN(4)))
	case reflect.Float64:
		v.SetFloat([]float64{-1, 0, 1}[r.IntN(3)])
	}
}

// Requests that are well formed and make no sense, of every kind and version: a
// panic of the module would end the process, and weir with it.
func TestNonsenseIsSurvived(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	c := open(t, Config{Dir: t.TempDir()})
	createTopic(t, c.Addrs(), "t", 2, nil)
	cl := client(t, c.Addrs(), manual())
	produce(t, cl, "t", 0, "a", "b", "c")
	f := kmsg.NewRequestFormatter(kmsg.FormatterClientID("nonsense"))
	sent := 0
	for key := range int16(kmsg.MaxKey + 1) {
		if kmsg.RequestForKey(key) == nil {
			continue
		}
		for version := range kmsg.RequestForKey(key).MaxVersion() + 1 {
			for range 3 {
				req := kmsg.RequestForKey(key)
				req.SetVersion(version)
				fill(r, reflect.ValueOf(req).Elem(), 0)
				nc, err := net.Dial("tcp", c.Addrs()[r.IntN(Size)])
				if err != nil {
					t.Fatal(err)
				}
				if _, err := nc.Write(f.AppendRequest(nil, req, 1)); err != nil {
					t.Fatal(err)
				}
				// Some wait for others by design: what counts is that it was taken.
				_ = nc.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
				_, _ = io.ReadFull(nc, make([]byte, 4))
				_ = nc.Close()
				sent++
			}
		}
	}
	if sent < 1000 {
		t.Fatalf("only %d requests sent", sent)
	}
	createTopic(t, c.Addrs(), "alive", 1, nil)
}

// TestDescribePartitionsForJava: a null list of eligible leaders ends Java's admin
// client with a NullPointerException.
func TestDescribePartitionsForJava(t *testing.T) {
	c, err := Open(t.Context(), Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.Addrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if _, err := kadm.NewClient(cl).CreateTopic(t.Context(), 3, 3, nil, "t"); err != nil {
		t.Fatal(err)
	}
	req := kmsg.NewPtrDescribeTopicPartitionsRequest()
	topic := kmsg.NewDescribeTopicPartitionsRequestTopic()
	topic.Topic = "t"
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(t.Context(), cl)
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 3 {
		t.Fatalf("the answer is %+v", resp.Topics)
	}
	for _, p := range resp.Topics[0].Partitions {
		if p.EligibleLeaderReplicas == nil || p.LastKnownELR == nil {
			t.Errorf("partition %d has a null list: %+v", p.Partition, p)
		}
	}
}

// kafka-topics --create reads the configuration in the answer: null ends it with
// an error after the topic was made.
func TestCreateTopicsForJava(t *testing.T) {
	c := open(t, Config{})
	cl := client(t, c.Addrs())
	req := kmsg.NewPtrCreateTopicsRequest()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = "t", 1, 1
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(testCtx(t), cl)
	if err != nil || len(resp.Topics) != 1 || resp.Topics[0].ErrorCode != 0 {
		t.Fatalf("create: %v %+v", err, resp)
	}
	if resp.Topics[0].Configs == nil {
		t.Error("the configuration is null")
	}
}

// Tools ask every broker for its transactions and show what all of them say.
func TestTransactionsAreListedOnce(t *testing.T) {
	c := open(t, Config{})
	createTopic(t, c.Addrs(), "t", 1, nil)
	for _, id := range []string{"a", "b", "c", "d"} {
		tx := client(t, c.Addrs(), kgo.TransactionalID(id))
		if err := tx.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := tx.ProduceSync(testCtx(t), &kgo.Record{Topic: "t"}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := tx.EndTransaction(testCtx(t), kgo.TryCommit); err != nil {
			t.Fatal(err)
		}
	}
	listed := map[string]int{}
	for _, shard := range client(t, c.Addrs()).RequestSharded(testCtx(t), kmsg.NewPtrListTransactionsRequest()) {
		if shard.Err != nil {
			t.Fatal(shard.Err)
		}
		for _, s := range shard.Resp.(*kmsg.ListTransactionsResponse).TransactionStates {
			listed[s.TransactionalID]++
		}
	}
	if want := map[string]int{"a": 1, "b": 1, "c": 1, "d": 1}; !maps.Equal(listed, want) {
		t.Errorf("listed %v, want %v", listed, want)
	}
}

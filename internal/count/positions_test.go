package count

import (
	"fmt"
	"maps"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-project/weir/internal/tally"
)

func stoppedWith(m *running, text string) (n, others int) {
	for _, p := range m.Stats().Partitions {
		if strings.Contains(p.Stopped, text) {
			n++
		} else if p.Stopped == "" {
			others++
		}
	}
	return n, others
}

func (r *rig) position(p int32, next string) {
	r.t.Helper()
	if err := r.raw.HSet(ctx, fmt.Sprintf("weir:tally:%s:%s:%d", group, topic, p), "next", next).Err(); err != nil {
		r.t.Fatal(err)
	}
}

// Whatever makes a position unusable: that partition stops, the others count,
// nothing jumps, and a reset makes it go on.
func TestUnusablePositionsStopOnePartition(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		spoil func(r *rig)
		want  string
	}{
		"deleted before it was counted": {func(r *rig) {
			var o kadm.Offsets
			o.AddOffset(topic, 0, 8, -1)
			if _, err := r.adm.DeleteRecords(ctx, o); err != nil {
				r.t.Fatal(err)
			}
			r.position(0, "2")
		}, "deleted from the log"},
		"beyond the end":   {func(r *rig) { r.position(0, "5000") }, "the log ends at offset"},
		"not a number":     {func(r *rig) { r.position(0, "many") }, "not a number"},
		"of another type":  {func(r *rig) { r.raw.Set(ctx, "weir:tally:counter:events:0", "x", 0) }, "holds a string"},
		"of another topic": {func(r *rig) { r.raw.HSet(ctx, "weir:tally:counter:events:0", "topic_id", "other", "next", "1") }, "created again"},
	} {
		for when, running := range map[string]bool{"at start": false, "while running": true} {
			t.Run(name+" "+when, func(t *testing.T) {
				t.Parallel()
				r := newRig(t)
				m := r.start("")
				r.produce(40)
				r.counted("first")
				if !running {
					m.stop()
				}
				tc.spoil(r)
				if !running {
					m = r.start("")
				}
				r.eventually("stopped: "+tc.want, func() bool {
					n, others := stoppedWith(m, tc.want)
					return n == 1 && others == parts-1
				})
				before := r.raw.Dump(ctx, "weir:tally:counter:events:0").Val() + fmt.Sprint(r.raw.HGetAll(ctx, "weir:tally:counter:events:0").Val())
				// The others go on.
				next := m.Stats().Partitions[1].Next
				r.produce(8)
				r.eventually("others count", func() bool { s := m.Stats(); return s.Partitions[1].Next > next })
				after := r.raw.Dump(ctx, "weir:tally:counter:events:0").Val() + fmt.Sprint(r.raw.HGetAll(ctx, "weir:tally:counter:events:0").Val())
				if before != after {
					t.Errorf("the stopped partition was changed: %s to %s", before, after)
				}
				if log := m.log.String(); !strings.Contains(log, "partition stopped") || !strings.Contains(log, tc.want) {
					t.Errorf("the log does not say it:\n%s", log)
				}
				// A reset makes it go on from there.
				var o kadm.ListedOffset
				ends, err := r.adm.ListEndOffsets(ctx, topic)
				if err != nil {
					t.Fatal(err)
				}
				o, _ = ends.Lookup(topic, 0)
				store := r.store()
				if err := store.Reset(ctx, group, topic, 0, "", o.Offset); err != nil {
					t.Fatal(err)
				}
				r.eventually("goes on", func() bool { n, others := stoppedWith(m, tc.want); return n == 0 && others == parts })
				r.write(true, &kgo.Record{Partition: 0, Value: []byte(`{"op":"after"}`)})
				r.eventually("counts again", func() bool {
					return r.raw.HGet(ctx, "weir:tally:counter:events:0", "k:after").Val() == "1"
				})
			})
		}
	}
}

func TestDeletedAndRecreatedTopic(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	m := r.start("")
	r.produce(40)
	r.counted("first")
	r.txn.Close()
	r.connect()
	if _, err := r.adm.DeleteTopics(ctx, topic); err != nil {
		t.Fatal(err)
	}
	r.eventually("stopped as deleted", func() bool { n, _ := stoppedWith(m, "was deleted"); return n == parts })
	if _, err := r.adm.CreateTopics(ctx, parts, 1, nil, topic); err != nil {
		t.Fatal(err)
	}
	r.produce(400)
	<-time.After(3 * quick.check)
	r.want = map[string]int64{"create": 20, "delete": 10, "update": 10}
	if got := r.stored(); !maps.Equal(got, r.want) {
		t.Fatalf("the new topic was counted on top of the old one: %v", got)
	}
	m.stop()
	m = r.start("")
	r.eventually("a new member stops too", func() bool { n, _ := stoppedWith(m, "created again"); return n == parts })
	details, err := r.adm.ListTopics(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	store := r.store()
	for p := range int32(parts) {
		if err := store.Reset(ctx, group, topic, p, tally.TopicUUID(details[topic].ID), 0); err != nil {
			t.Fatal(err)
		}
	}
	r.want = map[string]int64{"create": 200, "delete": 100, "update": 100}
	r.counted("the new topic")
	r.settled(m)
}

// The client in hand never reads a recreated topic; after a reset a new one does.
func TestRecreatedWhileRunningAndReset(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	m := r.start("")
	r.produce(40)
	r.counted("first")
	r.txn.Close()
	r.connect()
	if _, err := r.adm.DeleteTopics(ctx, topic); err != nil {
		t.Fatal(err)
	}
	if _, err := r.adm.CreateTopics(ctx, parts, 1, nil, topic); err != nil {
		t.Fatal(err)
	}
	r.eventually("stopped", func() bool { n, _ := stoppedWith(m, "created again"); return n == parts })
	r.produce(80)
	details, err := r.adm.ListTopics(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	store := r.store()
	for p := range int32(parts) {
		if err := store.Reset(ctx, group, topic, p, tally.TopicUUID(details[topic].ID), 0); err != nil {
			t.Fatal(err)
		}
	}
	r.want = map[string]int64{"create": 40, "delete": 20, "update": 20}
	r.counted("the new topic")
	r.settled(m)
}

// A few kilobytes that decompress to 70 MiB must not be decompressed.
func TestDecompressionBomb(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	m := r.start("")
	bomb, err := kgo.NewClient(kgo.SeedBrokers(r.cluster.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.DefaultProduceTopic(topic), kgo.ProducerBatchMaxBytes(100<<20), kgo.BrokerMaxWriteBytes(200<<20), kgo.ProducerBatchCompression(kgo.ZstdCompression()))
	if err != nil {
		t.Fatal(err)
	}
	defer bomb.Close()
	if err := bomb.ProduceSync(ctx, &kgo.Record{Partition: 2, Value: make([]byte, 70<<20)}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	r.eventually("stopped", func() bool {
		n, others := stoppedWith(m, "decompresses to more than 64 MiB")
		return n == 1 && others == parts-1
	})
	r.write(true, &kgo.Record{Partition: 1, Value: []byte(`{"op":"fine"}`)})
	r.want["fine"] = 1
	r.counted("the others")
}

// An error that passes, for a position that is in the log: counting goes on from
// the position, which the client believes to be at already.
func TestFetchErrorsThatPass(t *testing.T) {
	for name, code := range map[string]int16{
		"unknown": -1, "out of range": 1, "corrupt": 2, "not authorized": 29, "storage": 56, "unsupported compression": 76,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.produce(40)
			var fired atomic.Int32
			r.cluster.ControlKey(1, func(kreq kmsg.Request) (kmsg.Response, error, bool) {
				req := kreq.(*kmsg.FetchRequest)
				if len(req.Topics) == 0 || fired.Load() >= 6 {
					return nil, nil, false
				}
				r.cluster.KeepControl()
				fired.Add(1)
				resp := req.ResponseKind().(*kmsg.FetchResponse)
				for _, rt := range req.Topics {
					ft := kmsg.NewFetchResponseTopic()
					ft.Topic, ft.TopicID = rt.Topic, rt.TopicID
					for _, rp := range rt.Partitions {
						fp := kmsg.NewFetchResponseTopicPartition()
						fp.Partition, fp.ErrorCode = rp.Partition, code
						fp.HighWatermark, fp.LastStableOffset, fp.LogStartOffset = -1, -1, -1
						ft.Partitions = append(ft.Partitions, fp)
					}
					resp.Topics = append(resp.Topics, ft)
				}
				return resp, nil, true
			})
			m := r.start("")
			r.counted("after the errors")
			if fired.Load() == 0 {
				t.Error("the fault did not fire")
			}
			r.settled(m)
		})
	}
}

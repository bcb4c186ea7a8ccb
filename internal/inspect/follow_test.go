package inspect_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-project/weir/internal/inspect"
)

const followPatience = time.Minute

// following is a Read that follows the topic.
type following struct {
	t      *testing.T
	cancel context.CancelFunc
	values chan string
	ended  chan error
}

// follow begins to follow the topic, behind the message that it writes first.
func (b *bench) follow(q inspect.Query) *following {
	b.t.Helper()
	ctx, cancel := context.WithCancel(b.t.Context())
	f := &following{t: b.t, cancel: cancel, values: make(chan string, 100), ended: make(chan error, 1)}
	q.Topic, q.Follow = topic, true
	go func() {
		_, err := b.Read(ctx, q, func(m inspect.Message) error {
			f.values <- string(m.Value)
			return nil
		})
		f.ended <- err
	}()
	b.t.Cleanup(cancel)
	return f
}

// next waits for a message with a value.
func (f *following) next(want string) {
	f.t.Helper()
	select {
	case got := <-f.values:
		if got != want {
			f.t.Fatalf("the next message is %q, want %q", got, want)
		}
	case err := <-f.ended:
		f.t.Fatalf("it ended before %q came: %v", want, err)
	case <-time.After(followPatience):
		f.t.Fatalf("%q does not come", want)
	}
}

// end waits for the error with which following ends.
func (f *following) end() error {
	f.t.Helper()
	select {
	case err := <-f.ended:
		return err
	case <-time.After(followPatience):
		f.t.Fatal("it does not end")
		return nil
	}
}

// Messages in partitions that are added are followed, from the first one on.
func TestFollowNewPartitions(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	f := b.follow(inspect.Query{})
	chosen := b.follow(inspect.Query{Partitions: []int32{0}})
	b.write(at(0, 1))
	f.next("1")
	chosen.next("1")
	if rs, err := b.admin.UpdatePartitions(t.Context(), parts+2, topic); err != nil || rs.Error() != nil {
		t.Fatal(err, rs.Error())
	}
	late := b.client()
	for i, p := range []int32{parts + 1, parts} {
		if err := late.ProduceSync(t.Context(), at(p, 10+i)).FirstErr(); err != nil {
			t.Fatal(err)
		}
		f.next([]string{"10", "11"}[i])
	}
	b.write(at(0, 20))
	f.next("20")
	chosen.next("20") // nothing of the partitions that it does not name
	for _, f := range []*following{f, chosen} {
		f.cancel()
		if err := f.end(); err != nil {
			t.Error(err)
		}
	}
}

// Messages that are deleted while the topic is followed are no reason to stop, whether they were
// shown before or not.
func TestFollowTruncated(t *testing.T) {
	b := newBench(t)
	b.write(at(0, 1), at(0, 2), at(0, 3))
	f := b.follow(inspect.Query{})
	for _, v := range []string{"1", "2", "3"} {
		f.next(v)
	}
	b.truncate(0, -1)
	b.write(at(0, 4))
	f.next("4")
	b.truncate(0, 4)
	b.write(at(0, 5), at(1, 6))
	f.next("5")
	f.next("6")
	f.cancel()
	if err := f.end(); err != nil {
		t.Error(err)
	}
}

func (b *bench) truncate(partition int32, to int64) {
	b.t.Helper()
	var os kadm.Offsets
	os.Add(kadm.Offset{Topic: topic, Partition: partition, At: to})
	rs, err := b.admin.DeleteRecords(b.t.Context(), os)
	if err = errors.Join(err, rs.Error()); err != nil {
		b.t.Fatal(err)
	}
}

// A topic that is deleted ends the following. So does one that is created again under its name,
// also where it has as many messages as the old one: the first of them would be left out.
func TestFollowDeletedTopic(t *testing.T) {
	b := newBench(t)
	b.write(at(0, 1), at(0, 2))
	f := b.follow(inspect.Query{})
	f.next("1")
	f.next("2")
	if _, err := b.admin.DeleteTopic(t.Context(), topic); err != nil {
		t.Fatal(err)
	}
	if err := f.end(); !errors.Is(err, inspect.ErrNoTopic) {
		t.Errorf("a deleted topic ends it with %v", err)
	}
}

func TestFollowRecreatedTopic(t *testing.T) {
	t.Parallel()
	for name, records := range map[string]int{"shorter": 1, "as long": 2, "longer": 4} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.write(at(0, 1), at(0, 2))
			f := b.follow(inspect.Query{})
			f.next("1")
			f.next("2")
			if err := errors.Join(b.cluster.DeleteTopic(topic), b.cluster.CreateTopic(topic, parts, nil)); err != nil {
				t.Fatal(err)
			}
			cl := b.client()
			for i := range records {
				if err := cl.ProduceSync(t.Context(), at(0, 10+i)).FirstErr(); err != nil {
					t.Fatal(err)
				}
			}
			// It may have looked between the two.
			if err := f.end(); err == nil || !strings.Contains(err.Error(), "created again") && !errors.Is(err, inspect.ErrNoTopic) {
				t.Errorf("it ends with %v", err)
			}
		})
	}
}

// A broker that lost records ends the following: what is written next has offsets that were shown before.
func TestFollowShorterLog(t *testing.T) {
	b := newBench(t)
	b.write(at(0, 1), at(0, 2))
	f := b.follow(inspect.Query{})
	f.next("1")
	f.next("2")
	var fired atomic.Bool
	b.cluster.ControlKey(int16(kmsg.ListOffsets), func(req kmsg.Request) (kmsg.Response, error, bool) {
		b.cluster.KeepControl()
		resp := req.ResponseKind().(*kmsg.ListOffsetsResponse)
		zero := false
		for _, rt := range req.(*kmsg.ListOffsetsRequest).Topics {
			st := kmsg.NewListOffsetsResponseTopic()
			st.Topic = rt.Topic
			for _, rp := range rt.Partitions {
				sp := kmsg.NewListOffsetsResponseTopicPartition()
				sp.Partition, sp.Offset = rp.Partition, 0
				zero = zero || rp.Partition == 0
				st.Partitions = append(st.Partitions, sp)
			}
			resp.Topics = append(resp.Topics, st)
		}
		if !zero || fired.Swap(true) { // once
			return nil, nil, false
		}
		return resp, nil, true
	})
	for ms := 3; !fired.Load(); ms++ {
		b.write(at(0, ms))
	}
	b.write(at(0, 1000))
	for {
		select {
		case got := <-f.values:
			if got == "1000" {
				t.Fatal("it goes on")
			}
		case err := <-f.ended:
			if err == nil || !strings.Contains(err.Error(), "below 2") && !strings.Contains(err.Error(), "the broker lost records") {
				t.Errorf("it ends with %v", err)
			}
			return
		case <-time.After(followPatience):
			t.Fatal("it does not end")
		}
	}
}

package send_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/send"
)

// TestWriteReportsEveryRecord: records of several partitions are reported in the order of
// the input, each with the place where it lies.
func TestWriteReportsEveryRecord(t *testing.T) {
	b := newBench(t)
	var text strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&text, "key%d:value%d\n", i%100, i+1)
	}
	w, reported := b.writer(topic, send.Options{})
	result, err := w.Write(t.Context(), lines(text.String(), -1))
	if err != nil {
		t.Fatal(err)
	}
	stored, records := b.stored(topic)
	if result.Records != 5000 || len(*reported) != 5000 || len(stored) != 5000 {
		t.Fatalf("%d records, %d reported, %d stored", result.Records, len(*reported), len(stored))
	}
	places := map[string]string{}
	for _, s := range stored {
		value, place, _ := strings.Cut(s, " ")
		places[value] = place
	}
	for i, got := range *reported {
		value := fmt.Sprintf("value%d", i+1)
		if want := fmt.Sprintf("%d %s %s", i+1, value, places[value]); got != want {
			t.Fatalf("report %d is %q, want %q", i+1, got, want)
		}
	}
	// Within a partition, records of a key lie in the order of the input.
	last, perPartition := map[string]int{}, map[int32]int64{}
	for _, r := range records {
		n, err := strconv.Atoi(strings.TrimPrefix(string(r.Value), "value"))
		if err != nil || n <= last[string(r.Key)] {
			t.Fatalf("%s lies behind value %d of its key", r.Value, last[string(r.Key)])
		}
		last[string(r.Key)] = n
		perPartition[r.Partition]++
	}
	for _, l := range result.Landed {
		if l.Records != perPartition[l.Partition] || l.First != 0 || l.Last != l.Records-1 {
			t.Errorf("landed %+v, stored %v", l, perPartition)
		}
	}
	if len(result.Landed) != 3 {
		t.Errorf("landed in %+v", result.Landed)
	}
}

// TestFailedLineIsNamed: the records before a line that cannot be written are written, those
// after it are not sent, and the error says so.
func TestFailedLineIsNamed(t *testing.T) {
	b := newBench(t)
	for _, c := range []struct {
		topic, text    string
		written, total int64
		cause          error
		says           []string
	}{
		{topic, "a\nb\n" + strings.Repeat("x", 3000) + "\n", 2, 1, kerr.MessageTooLarge,
			[]string{"line 3 was not written", "larger than the topic's max.message.bytes (2000)"}},
		{compacted, "a\nb\n", 0, 1, nil,
			[]string{"line 1 was not written", "no key", "no line was written, and nothing after line 1 was sent"}},
	} {
		w, reported := b.writer(c.topic, send.Options{Placed: true})
		result, err := w.Write(t.Context(), lines(c.text, 0))
		failed, ok := errors.AsType[*send.FailedError](err)
		if !ok || failed.Total != c.total || failed.Written != c.written || result.Records != c.written || c.cause != nil && !errors.Is(err, c.cause) {
			t.Errorf("%s: %v, result %+v", c.topic, err, result)
			continue
		}
		for _, part := range c.says {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: the error does not say %q: %v", c.topic, part, err)
			}
		}
		if stored, _ := b.stored(c.topic); int64(len(stored)) != c.written || int64(len(*reported)) != c.written {
			t.Errorf("%s: stored %q, reported %q", c.topic, stored, *reported)
		}
	}
	w, _ := b.writer(topic, send.Options{Placed: true})
	if _, err := w.Write(t.Context(), lines("a\n", 3)); err == nil || !strings.Contains(err.Error(), "has no partition 3, but 0 to 2") {
		t.Errorf("a partition that does not exist: %v", err)
	}
}

// TestBrokerRejectsABatch: all lines of a batch that a broker rejects are named, and what
// is said to be written is stored.
func TestBrokerRejectsABatch(t *testing.T) {
	b := newBench(t)
	w, reported := b.writer(topic, send.Options{Placed: true})
	requests, rejected := 0, 0
	b.cluster.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		b.cluster.KeepControl()
		if requests++; requests != 2 {
			return nil, nil, false
		}
		rejected++
		resp := req.ResponseKind().(*kmsg.ProduceResponse)
		for _, asked := range req.(*kmsg.ProduceRequest).Topics {
			answer := kmsg.NewProduceResponseTopic()
			answer.Topic, answer.TopicID = asked.Topic, asked.TopicID
			for _, p := range asked.Partitions {
				part := kmsg.NewProduceResponseTopicPartition()
				part.Partition, part.ErrorCode = p.Partition, kerr.InvalidTimestamp.Code
				answer.Partitions = append(answer.Partitions, part)
			}
			resp.Topics = append(resp.Topics, answer)
		}
		return resp, nil, true
	})
	var text strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&text, "%d-%s\n", i+1, strings.Repeat("x", 100))
	}
	_, err := w.Write(t.Context(), lines(text.String(), 0))
	failed, ok := errors.AsType[*send.FailedError](err)
	if !ok || rejected != 1 || failed.Total == 0 || !errors.Is(err, kerr.InvalidTimestamp) || !strings.Contains(err.Error(), "message.timestamp.before.max.ms") {
		t.Fatalf("%d batches were rejected: %v", rejected, err)
	}
	if len(failed.Spans) == 0 || failed.Spans[0].From <= 1 || failed.Spans[0].To <= failed.Spans[0].From {
		t.Errorf("the second batch is %+v", failed.Spans)
	}
	stored, _ := b.stored(topic)
	if failed.Written != int64(len(stored)) || failed.Written+failed.Total != failed.Sent || len(*reported) != len(stored) {
		t.Errorf("%d were written and %d not, of %d sent; %d are stored, %d reported", failed.Written, failed.Total, failed.Sent, len(stored), len(*reported))
	}
	for _, s := range stored {
		n, _ := strconv.ParseInt(s[:strings.Index(s, "-")], 10, 64)
		if slices.ContainsFunc(failed.Spans, func(sp send.Span) bool { return n >= sp.From && n <= sp.To }) || n > failed.Sent {
			t.Errorf("line %d is stored, but not by %v", n, err)
		}
	}
}

// TestTransaction: all records are written or none.
func TestTransaction(t *testing.T) {
	b := newBench(t)
	w, _ := b.writer(topic, send.Options{Transaction: "t1"})
	if _, err := w.Write(t.Context(), lines("a\nb\n"+strings.Repeat("x", 3000), -1)); err == nil || !strings.Contains(err.Error(), "the transaction was aborted") {
		t.Errorf("a line that fails: %v", err)
	}
	if stored, _ := b.stored(topic); len(stored) != 0 {
		t.Errorf("stored %q", stored)
	}
	w, _ = b.writer(topic, send.Options{Transaction: "t2"})
	if result, err := w.Write(t.Context(), lines("c\nd\n", -1)); err != nil || result.Records != 2 {
		t.Errorf("%v, %+v", err, result)
	}
	if stored, _ := b.stored(topic); len(stored) != 2 {
		t.Errorf("stored %q", stored)
	}
}

// TestAcksAndCodecs: each way of writing stores the same.
func TestAcksAndCodecs(t *testing.T) {
	b := newBench(t)
	want := 0
	for _, acks := range send.Acks {
		for _, codec := range send.Compressions {
			w, reported := b.writer(topic, send.Options{Acks: acks, Compression: codec, Placed: true})
			result, err := w.Write(t.Context(), lines("a\nb\n", 1))
			if want += 2; err != nil || result.Records != 2 || len(*reported) != 2 {
				t.Fatalf("acks=%s %s: %+v, %v", acks, codec, result, err)
			}
			if first := result.Landed[0].First; acks == "0" && first != -1 || acks != "0" && first != int64(want-2) {
				t.Errorf("acks=%s %s: first offset %d", acks, codec, first)
			}
		}
	}
	stored, _ := b.stored(topic)
	// Without acks the writer does not wait for the broker, which may store the last records a moment later.
	for end := time.Now().Add(time.Minute); len(stored) < want && time.Now().Before(end); stored, _ = b.stored(topic) {
		<-time.After(10 * time.Millisecond)
	}
	if len(stored) != want {
		t.Errorf("%d records are stored, want %d", len(stored), want)
	}
}

// TestStop: when the context ends, what was sent is written and reported.
func TestStop(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancel(t.Context())
	from, to := io.Pipe()
	defer to.Close()
	in := send.NewLines(from, func(line []byte, r *kgo.Record) (bool, error) { *r = kgo.Record{Value: line}; return false, nil })
	w, _ := b.writer(topic, send.Options{})
	w.Progress = func(n int64) {
		if n == 2 {
			cancel()
		}
	}
	go func() { _, _ = io.WriteString(to, "a\nb\nhalf a li") }()
	_, err := w.Write(ctx, in)
	stopped, ok := errors.AsType[*send.StoppedError](err)
	if !ok || stopped.Written != 2 || stopped.Sent != 2 || !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if stored, _ := b.stored(topic); len(stored) != 2 {
		t.Errorf("stored %q", stored)
	}
}

// TestBrokersThatAreGone: the writing ends, and says what is not known.
func TestBrokersThatAreGone(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for name, o := range map[string]send.Options{"idempotent": {}, "a transaction": {Transaction: "t"}} {
		w, _ := b.writer(topic, o)
		w.Patience = 3 * time.Second
		var once sync.Once
		from, to := io.Pipe()
		w.Progress = func(int64) { once.Do(func() { b.cluster.Close(); _, _ = io.WriteString(to, "b\n"); _ = to.Close() }) }
		go func() { _, _ = io.WriteString(to, "a\n") }()
		_, err := w.Write(t.Context(), plainLines(from))
		if !errors.Is(err, send.ErrUnconfirmed) || !strings.Contains(err.Error(), "line 2 was not written: the brokers did not confirm it in time") {
			t.Errorf("%s: %v", name, err)
		}
		b = newBench(t)
	}
}

func TestLookUp(t *testing.T) {
	b := newBench(t)
	if _, err := send.LookUp(t.Context(), b.cl, "none"); !errors.Is(err, inspect.ErrNoTopic) {
		t.Errorf("an unknown topic: %v", err)
	}
	if _, err := send.LookUp(t.Context(), b.cl, "__consumer_offsets"); err == nil {
		t.Error("a topic of Kafka's own can be written to")
	}
	if found, err := send.LookUp(t.Context(), b.cl, topic); err != nil || found.Partitions != 3 || found.MaxBytes != 2000 || found.Compacted {
		t.Errorf("%+v, %v", found, err)
	}
}

package learn

import (
	"context"
	"errors"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/markdown"
)

var place = regexp.MustCompile(`offset (\d+) of partition (\d+) of topic (\S+?)\.`)

// asked reads from the text of a question which record it is about, and returns that record, read
// with a client of the test's own.
func (b *bench) asked() *kgo.Record {
	b.Helper()
	m := place.FindStringSubmatch(markdown.Text(b.get("events").Question.Text))
	if m == nil {
		b.Fatalf("the question names no record: %+v", b.get("events").Question)
	}
	offset, _ := strconv.ParseInt(m[1], 10, 64)
	partition, _ := strconv.ParseInt(m[2], 10, 32)
	cl := b.client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{m[3]: {int32(partition): kgo.NewOffset().At(offset)}}))
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	for _, r := range cl.PollRecords(ctx, 1).Records() {
		if r.Offset == offset {
			return r
		}
	}
	b.Fatalf("no record at %v", m)
	return nil
}

func TestEvents(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	if d := b.get("1"); d.Question.Kind != "" || d.Check.Done || d.Picture.Kind != PictureNone {
		t.Fatalf("a question about no record: %+v", d)
	}
	b.open("events", "not answered")
	for i, key := range []string{"did:a", "did:b", "did:c", "did:d", "did:e"} {
		b.write(stream, int32(i%2), key, 2)
	}
	b.open("events", "not answered")
	r := b.asked()
	d := b.get("events")
	if d.Question.Kind != Choice || len(d.Question.Choices) != keyChoices {
		t.Fatalf("%+v", d.Question)
	}
	if m := d.Picture.Message; m == nil || m.Partition == r.Partition && m.Offset == r.Offset || len(d.Picture.Partitions) != 2 {
		t.Errorf("the picture shows the answer, or no record: %+v", d.Picture)
	}
	if c := d.Commands[0].Command; !strings.Contains(c, "--offset "+strconv.FormatInt(r.Offset, 10)+" ") || !strings.Contains(c, stream) {
		t.Errorf("the command does not open the record: %s", c)
	}
	for _, wrong := range d.Question.Choices {
		if wrong != string(r.Key) {
			b.answer("events", wrong, false, "not in this record", string(r.Key))
			b.open("events", "is wrong")
			break
		}
	}
	if _, err := b.Answer(t.Context(), "events", "did:z"); !errors.Is(err, ErrAnswer) {
		t.Errorf("an answer that is not a choice: %v", err)
	}
	if again := b.asked(); again.Offset != r.Offset || again.Partition != r.Partition {
		t.Error("the question changed")
	}
	b.answer("events", string(r.Key), true, "Right")
	b.done("events", string(r.Key))

	// Records that retention has deleted are asked about no more.
	if err := b.Reset(1); err != nil {
		t.Fatal(err)
	}
	r = b.asked()
	ends, err := b.admin.ListEndOffsets(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.admin.DeleteRecords(t.Context(), ends.Offsets()); err != nil {
		t.Fatal(err)
	}
	b.write(stream, 1, "did:new", 1)
	if again := b.asked(); again.Topic == r.Topic && again.Partition == r.Partition && again.Offset == r.Offset ||
		string(again.Key) != "did:new" {
		t.Errorf("asked about %v", again)
	}
}

// Records without a key are asked about by the size of their value.
func TestEventsWithoutKeys(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.write(stream, 0, "", 11)
	r := b.asked()
	want := strconv.Itoa(len(r.Value))
	if d := b.get("events"); d.Question.Kind != Number {
		t.Fatalf("%+v", d.Question)
	}
	b.answer("events", "77", false)
	if _, err := b.Answer(t.Context(), "events", "one"); !errors.Is(err, ErrAnswer) {
		t.Errorf("an answer that is not a number: %v", err)
	}
	b.answer("events", want, true)
	if got, err := b.Answer(t.Context(), "events", " 0"+want); err != nil || !got.Right {
		t.Errorf("the same number, written otherwise: %+v %v", got, err)
	}
	b.done("events")
}

func TestTopic(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.answer("topic", "3", false, "3 × 3 = 9", "copies of the same partition")
	b.answer("topic", "9", true)
	b.open("topic", "no topic of yours yet")
	b.create("two", 2)
	b.open("topic", "topic two has 2 partitions; this station needs 3")
	if p := b.get("topic").Picture; p.Topic != "two" || len(p.Partitions) != 2 || len(p.Partitions[0].Replicas) != 3 {
		t.Errorf("%+v", p)
	}
	b.create("four", 4)
	b.open("topic")
	b.create("any-name", 3)
	b.done("topic", "topic any-name has 3 partitions")
	b.create("-flag", 3) // sorts first
	if got := b.get("keys").Commands[0].Command; got != "weir send any-name 1 2 3 4 5 --key anna" {
		t.Errorf("commands name another topic: %s", got)
	}
}

func TestTopicWithFourPartitions(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.create("four", 4)
	b.open("topic", "topic four has 4 partitions", "exactly 3", "cannot remove")
}

func TestProducing(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.open("producing", "create a topic")
	if q := b.get("producing").Question; q.Kind != "" {
		t.Errorf("a question without a topic: %+v", q)
	}
	if _, err := b.Answer(t.Context(), "producing", "1"); !errors.Is(err, ErrNotNow) {
		t.Errorf("%v", err)
	}
	b.create("one", 1)
	b.open("producing", "only one partition")
	b.create(orders, 3)
	b.open("producing", "no records yet")
	b.write(orders, 2, "anna", 2)
	b.write(orders, 1, "ben", 1)
	b.open("producing", "only records with a key (3)")
	b.answer("producing", "3", false, "end offset of 1")
	b.answer("producing", "2", true)
	b.write(orders, 2, "", 4)
	b.open("producing", "4 records without a key, all in partition 2")
	b.write(orders, 0, "", 1)
	b.done("producing", "partition 0 of orders: 1 record without a key", "partition 1 of orders: 0 records",
		"partition 2 of orders: 4 records")
	if p := b.get("producing").Picture; p.Kind != PictureLanes || p.Topic != orders || p.Partitions[2].End != 6 {
		t.Errorf("%+v", p)
	}
}

// The hash is Kafka's: these values are those of its own test, org.apache.kafka.common.utils.UtilsTest,
// without their sign.
func TestMurmur2(t *testing.T) {
	for key, want := range map[string]int32{"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536,
		"abc": 479470107} {
		if got := murmur2([]byte(key)); got != uint32(want)&0x7fffffff {
			t.Errorf("%s: %d, want %d", key, got, uint32(want)&0x7fffffff)
		}
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.open("keys", "create a topic")
	b.create(orders, 3)
	b.open("keys", "no record with the key anna")
	byKey := b.client(kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)))
	write := func(topic, key, value string) int32 {
		t.Helper()
		r, err := byKey.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Key: []byte(key), Value: []byte(value)}).First()
		if err != nil {
			t.Fatal(err)
		}
		return r.Partition
	}
	for _, v := range []string{"1", "2", "3", "4", "5"} {
		write(orders, "ben", v)
	}
	b.open("keys", "other keys", "none with exactly the key anna")
	var predicted int32
	for _, v := range []string{"1", "2", "3", "4"} {
		predicted = write(orders, "anna", v)
	}
	b.open("keys", "4 records with the key anna", "needs 5")
	b.answer("keys", strconv.Itoa(int(predicted+1)%3), false, "remainder")
	b.answer("keys", "7", false, "numbered from 0 to 2")
	b.answer("keys", strconv.Itoa(int(predicted)), true, "remainder")
	b.write(orders, (predicted+1)%3, "anna", 1)
	b.open("keys", "in 2 partitions", "order is lost")
	b.create("again", 3)
	for _, v := range []string{"1", "2", "3", "4", "5"} {
		write("again", "anna", v)
	}
	b.done("keys", "5 records with the key anna", `"1" at `, `"5" at `)
}

// Another tool's hash is as good: what counts is that the key stays in one partition.
func TestKeysOfAnotherHash(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.create(orders, 3)
	other := int32(murmur2([]byte("anna"))+1) % 3
	b.write(orders, other, "anna", 5)
	b.done("keys", "another hash")
}

// On an existing cluster, topics that were there before are not the learner's.
func TestExistingCluster(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(cfg *Config) { cfg.Own = "" })
	b.create("theirs", 3)
	b.open("topic", "no topic of yours yet")
	b.restart()
	b.create("mine", 2)
	b.open("topic", "topic mine has 2 partitions")
	b.restart()
	b.open("topic", "topic mine has 2 partitions")
	if err := b.Reset(0); err != nil {
		t.Fatal(err)
	}
	b.restart()
	b.open("topic", "topic mine has 2 partitions")
	if _, err := b.admin.CreatePartitions(t.Context(), 1, "mine"); err != nil {
		t.Fatal(err)
	}
	b.done("topic", "topic mine has 3 partitions")
}

// A cluster that does not answer is reported, and nothing is marked done.
func TestNoCluster(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	got, err := b.Check(ctx, "topic")
	if err != nil || got.Done || !strings.Contains(got.Reason, "cannot look into the cluster") {
		t.Errorf("%+v %v", got, err)
	}
	d, err := b.Get(ctx, "topic")
	if err != nil || d.Done || d.Question.Kind != "" || d.Picture.Kind != PictureNone || d.Picture.Partitions == nil {
		t.Errorf("%+v %v", d, err)
	}
}

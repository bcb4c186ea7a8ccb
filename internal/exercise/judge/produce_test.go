package judge

import (
	"errors"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/simulate"
)

// rightProduced is a stream of an account event and five posts of two authors, and what a right program
// leaves of it. The offset of a record is the index of its event.
func rightProduced() (items []simulate.Item, output []*kgo.Record) {
	items = []simulate.Item{{Index: 0, Route: event.Account, Kind: "account", Key: "ann"}}
	for i, kind := range []string{"create", "create", "update", "delete", "create"} {
		index, author := int64(i+1), []string{"ann", "bob"}[i%2]
		value := fmt.Sprintf(`{"did": %q, "kind": "commit", "commit": {"operation": %q, "collection": "post", "rkey": "k%d", "rev": "r1"}}`,
			author, kind, index)
		items = append(items, simulate.Item{Index: index, Route: event.Data, Kind: kind, Key: author,
			Identity: fmt.Sprintf("%s/post/k%d/%s/r1", author, index, kind)})
		output = append(output, at("posts", 0, index, author, value))
	}
	return items, output
}

func TestProduceFinds(t *testing.T) {
	t.Parallel()
	again := func(r *kgo.Record, offset int64) *kgo.Record {
		return at(r.Topic, r.Partition, offset, string(r.Key), string(r.Value))
	}
	for name, c := range map[string]struct {
		change func(output []*kgo.Record) []*kgo.Record
		want   said
	}{
		"a right program": {func(o []*kgo.Record) []*kgo.Record { return o }, said{}},
		"an account event is stored, too": {func(o []*kgo.Record) []*kgo.Record {
			return append(o, at("posts", 0, 6, "x", `{"did": "ann", "kind": "account"}`))
		}, said{}},
		"a value is not an event": {func(o []*kgo.Record) []*kgo.Record { o[1].Value = []byte("b"); return o }, said{
			"a value is not the JSON of an event", "what the stream has sent", "as it is", []string{"posts 0/2"}}},
		"an event without an author": {func(o []*kgo.Record) []*kgo.Record { o[1].Value = []byte(`{"kind": "commit"}`); return o }, said{
			"a value is not the JSON of an event", "", "", []string{"posts 0/2"}}},
		"a post is missing": {func(o []*kgo.Record) []*kgo.Record { return o[:4] }, said{
			"1 of 5 posts are missing in the topic posts", "dropped them", "Flush before the end", []string{"posts -1/-1"}}},
		"a type is missing": {func(o []*kgo.Record) []*kgo.Record { return append(o[:3], o[4]) }, said{
			"no event of type delete is stored: 1 of 5 posts are missing", "only some types", "whatever its operation is",
			[]string{"posts -1/-1"}}},
		"another key": {func(o []*kgo.Record) []*kgo.Record { o[2].Key = []byte("k3"); return o }, said{
			`a record has the key "k3", not its author's DID`, "The key chooses the partition", "field did", []string{"posts 0/3"}}},
		"no key": {func(o []*kgo.Record) []*kgo.Record { o[2].Key = nil; return o }, said{
			"a record has no key", "", "", []string{"posts 0/3"}}},
		"an author in two partitions": {func(o []*kgo.Record) []*kgo.Record { o[4].Partition = 1; return o }, said{
			"the posts of one author are in partition 0 and in partition 1", "only within a partition", "Let the key choose",
			[]string{"posts 0/3", "posts 1/5"}}},
		"the order of an author": {func(o []*kgo.Record) []*kgo.Record { o[0].Offset, o[2].Offset = 3, 1; return o }, said{
			"two posts of one author are in the wrong order: event 1 stands after event 3", "overtake each other", "enable.idempotence",
			[]string{"posts 0/1", "posts 0/3"}}},
		"a batch is duplicated": {func(o []*kgo.Record) []*kgo.Record { return append(o, again(o[0], 6), again(o[2], 7)) }, said{
			"2 posts are duplicated", "writes it twice", "enable.idempotence", []string{"posts 0/1", "posts 0/6"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			items, output := rightProduced()
			err := (&Bench{Output: "posts"}).judgeStored(t.Context(), c.change(output), items)
			f, ok := errors.AsType[*Finding](err)
			if err != nil && !ok {
				t.Fatal(err)
			}
			mustFind(t, f, c.want)
		})
	}
}

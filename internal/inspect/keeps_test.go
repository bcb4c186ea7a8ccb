package inspect_test

import (
	"testing"
	"time"

	"github.com/weir-project/weir/internal/inspect"
)

func TestLimit(t *testing.T) {
	const day = 24 * time.Hour
	ms := day.Milliseconds()
	for _, tc := range []struct {
		keeps   inspect.Keeps
		deleted bool
		age     time.Duration
		logSize int64
		want    inspect.Limit
	}{
		{inspect.Keeps{MS: ms, Bytes: 1}, false, 2 * day, 5, inspect.Limit{By: inspect.ByNothing}},
		{inspect.Keeps{MS: ms, Bytes: -1}, true, day - time.Hour, 5, inspect.Limit{By: inspect.ByTime, Value: ms}},
		{inspect.Keeps{MS: ms, Bytes: -1}, true, day / 2, 5, inspect.Limit{By: inspect.ByLogSize, Value: 5}},
		{inspect.Keeps{MS: ms, Bytes: 7}, true, day / 2, 5, inspect.Limit{By: inspect.ByBytes, Value: 7}},
		{inspect.Keeps{MS: -1, Bytes: -1}, true, 1000 * day, 0, inspect.Limit{By: inspect.BySomebody}},
		{inspect.Keeps{MS: ms, Bytes: 7, Compacts: true}, true, 2 * day, 5, inspect.Limit{By: inspect.ByPolicy}},
	} {
		if got := tc.keeps.Limit(tc.deleted, tc.age, tc.logSize); got != tc.want {
			t.Errorf("%+v, deleted %v, %v old, %d in all: %+v, want %+v", tc.keeps, tc.deleted, tc.age, tc.logSize, got, tc.want)
		}
	}
}

func TestWhatATopicKeeps(t *testing.T) {
	b := newBench(t)
	set := func(name, value string) {
		t.Helper()
		if _, err := b.AlterTopic(t.Context(), topic, map[string]string{name: value}, nil); err != nil {
			t.Fatal(err)
		}
	}
	set("retention.ms", "1000")
	set("retention.bytes", "77")
	set("cleanup.policy", "compact")
	all, err := b.Keeps(t.Context(), []string{topic, "missing"})
	if want := (inspect.Keeps{MS: 1000, Bytes: 77, Compacts: true}); err != nil || len(all) != 1 || all[topic] != want {
		t.Errorf("%+v, %v; want %+v of one topic", all, err, want)
	}
	set("cleanup.policy", "compact,delete")
	if all, err := b.Keeps(t.Context(), []string{topic}); err != nil || all[topic].Compacts {
		t.Errorf("%+v, %v; what is compacted and deleted is limited by time", all, err)
	}
}

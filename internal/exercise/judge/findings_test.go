package judge

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// said is what a finding must say. Why and hint are parts of its texts, and evidence is
// "topic partition/offset" of each record, or the words of what was observed. Without a headline there
// must be no finding.
type said struct {
	headline, why, hint string
	evidence            []string
}

// mustFind compares a finding with what it must say.
func mustFind(t *testing.T, f *Finding, want said) {
	t.Helper()
	if f == nil {
		f = &Finding{}
	}
	if f.Headline != want.headline {
		t.Errorf("the headline is\n%s\nwant\n%s", f.Headline, want.headline)
	}
	if !strings.Contains(f.Why, want.why) {
		t.Errorf("the reason is\n%s\nwithout %q", f.Why, want.why)
	}
	if !strings.Contains(f.Hint, want.hint) {
		t.Errorf("the hint is\n%s\nwithout %q", f.Hint, want.hint)
	}
	var evidence []string
	for _, e := range f.Evidence {
		if e.Topic == "" {
			evidence = append(evidence, e.What)
			continue
		}
		evidence = append(evidence, fmt.Sprintf("%s %d/%d", e.Topic, e.Partition, e.Offset))
	}
	if !slices.Equal(evidence, want.evidence) {
		t.Errorf("the evidence is %q, want %q", evidence, want.evidence)
	}
}

// at makes a record at a place.
func at(topic string, partition int32, offset int64, key, value string) *kgo.Record {
	return &kgo.Record{Topic: topic, Partition: partition, Offset: offset, Key: []byte(key), Value: []byte(value)}
}

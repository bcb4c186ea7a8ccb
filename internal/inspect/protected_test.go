package inspect_test

import (
	"strings"
	"testing"
)

// TestProtectedTopic: a topic says why it is not changed, before anybody tries.
func TestProtectedTopic(t *testing.T) {
	b := newBench(t)
	b.create("mine", 1, nil)
	b.create("__transaction_state", 1, nil)
	i := b.reserved(topic)
	for name, want := range map[string]string{topic: "counts exactly once only while it stays as it is", "__transaction_state": "the brokers keep their own state", "mine": ""} {
		d, err := i.TopicAlone(t.Context(), name)
		if err != nil || (d.Protected == "") != (want == "") || !strings.Contains(d.Protected, want) {
			t.Errorf("%s: %q %v, want %q", name, d.Protected, err, want)
		}
	}
}

package inspect

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestFilterIsExact: a record without a key differs from one with an empty key, and a header has
// the value that is asked for or not.
func TestFilterIsExact(t *testing.T) {
	empty := ""
	header := func(v string) *kgo.Record {
		return &kgo.Record{Headers: []kgo.RecordHeader{{Key: "kind", Value: []byte(v)}}}
	}
	for _, tt := range []struct {
		what   string
		filter Filter
		record *kgo.Record
		want   bool
	}{
		{"an empty key", Filter{Key: &empty}, &kgo.Record{Key: []byte{}}, true},
		{"no key", Filter{Key: &empty}, &kgo.Record{}, false},
		{"the header's value", Filter{Headers: []string{"kind=a"}}, header("a"), true},
		{"another value", Filter{Headers: []string{"kind=a"}}, header("b"), false},
		{"any value", Filter{Headers: []string{"kind"}}, header("b"), true},
	} {
		match, err := tt.filter.compile()
		if err != nil {
			t.Fatal(err)
		}
		if got := match(tt.record); got != tt.want {
			t.Errorf("%s: passes %v", tt.what, got)
		}
	}
}

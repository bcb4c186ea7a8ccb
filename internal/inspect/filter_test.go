package inspect_test

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/inspect"
)

func TestFilter(t *testing.T) {
	b := newBench(t)
	b.write(&kgo.Record{Topic: "other", Key: []byte("did:1"), Value: []byte(` {"commit":{"operation":"delete","n":10,"n2":1e2,"ok":true,"none":null,"list":[1,{"a":"\u00e9\"="}]},"empty":""} `),
		Headers: []kgo.RecordHeader{{Key: "kind", Value: []byte("delete")}, {Key: "host", Value: []byte("h=1")}}})
	key := func(s string) *string { return &s }
	for _, test := range []struct {
		filter inspect.Filter
		want   bool
	}{
		{inspect.Filter{}, true},
		{inspect.Filter{Contains: `"operation":"delete"`}, true},
		{inspect.Filter{Contains: "did:1"}, true},
		{inspect.Filter{Contains: "h=1"}, true},
		{inspect.Filter{Contains: "nowhere"}, false},
		{inspect.Filter{Key: key("did:1")}, true},
		{inspect.Filter{Key: key("did:")}, false},
		{inspect.Filter{Key: key("")}, false},
		{inspect.Filter{Headers: []string{"kind=delete", "host=h=1"}}, true},
		{inspect.Filter{Headers: []string{"kind"}}, true},
		{inspect.Filter{Headers: []string{"kind="}}, false},
		{inspect.Filter{Headers: []string{"kind=delete", "seq"}}, false},
		{inspect.Filter{Regexp: `"n":\d{2},`}, true},
		{inspect.Filter{Regexp: `^did:\d$`}, true},
		{inspect.Filter{Regexp: `^\d$`}, false},
		{inspect.Filter{Paths: []string{".commit.operation=delete"}}, true},
		{inspect.Filter{Paths: []string{".commit.operation=create"}}, false},
		{inspect.Filter{Paths: []string{".commit.operation"}}, true},
		{inspect.Filter{Paths: []string{".commit.n=10", ".commit.n2=1e2", ".commit.ok=true", ".commit.none=null"}}, true},
		{inspect.Filter{Paths: []string{".commit.n2=100"}}, false}, // as it is written
		{inspect.Filter{Paths: []string{".commit.list.0=1"}}, true},
		{inspect.Filter{Paths: []string{`.commit.list.1.a=é"=`}}, true},
		{inspect.Filter{Paths: []string{".commit.list.2"}}, false},
		{inspect.Filter{Paths: []string{".commit.operation.x"}}, false},
		{inspect.Filter{Paths: []string{".empty="}}, true},
		{inspect.Filter{Paths: []string{".absent="}}, false},
		{inspect.Filter{Paths: []string{".commit.ok=true"}, Contains: "nowhere"}, false},
	} {
		if err := test.filter.Check(); err != nil {
			t.Errorf("%+v: %v", test.filter, err)
		}
		got, _ := b.read(inspect.Query{Topic: "other", Filter: &test.filter})
		if (len(got) == 1) != test.want {
			t.Errorf("%+v: matches %d", test.filter, len(got))
		}
	}
	for _, bad := range []inspect.Filter{{Regexp: "("}, {Headers: []string{"=x"}}, {Paths: []string{"commit=x"}}, {Paths: []string{"."}}, {Paths: []string{".a..b"}}, {Paths: []string{""}}} {
		if bad.Check() == nil {
			t.Errorf("%+v: no error", bad)
		}
	}
}

// TestFilterOnGarbage: values that are no JSON, or none, match no path.
func TestFilterOnGarbage(t *testing.T) {
	b := newBench(t)
	for _, v := range [][]byte{nil, {}, []byte("null"), []byte("{"), []byte("[]"), []byte(`"a"`), []byte(`{"a":1}x`), []byte("\xff"), []byte(" \n")} {
		b.write(&kgo.Record{Topic: "other", Value: v})
	}
	if got, _ := b.read(inspect.Query{Topic: "other", Filter: &inspect.Filter{Paths: []string{".a"}}}); len(got) != 0 {
		t.Errorf("%q", got)
	}
}

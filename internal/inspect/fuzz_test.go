package inspect

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// FuzzTarget reads places of a reset and times. What is read is written as something that is read as the same.
func FuzzTarget(f *testing.F) {
	for _, s := range []string{"oldest", "latest", "17", "+17", "-17", "2h", "1.5d", "14:00", "2026-11-01T07:08:09Z", "NaNd", "-0"} {
		f.Add(s)
	}
	now := time.Date(2026, 11, 22, 14, 30, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, s string) {
		if at, err := ParseTime(s, now); err == nil && at.After(now) && !strings.Contains(s, "-") {
			t.Errorf("%q, which is ago, is %v", s, at)
		}
		target, err := ParseTarget(s, now)
		if err != nil {
			return
		}
		if again, err := ParseTarget(target.String(), now); err != nil || again.String() != target.String() {
			t.Errorf("%q is written %q, which is read as %q, %v", s, target, again, err)
		}
	})
}

// FuzzOffsets reads files of offsets. What is read is written as a file that is read as the same.
func FuzzOffsets(f *testing.F) {
	f.Add("t,0,5\nu,1,0\n")
	f.Add("g,t,0,5\n\"a \"\"b\"\",c\",t,1,7\r\n")
	f.Add("\"t\n\",0,1")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := ReadOffsets(strings.NewReader(text))
		if err != nil {
			return
		}
		var b bytes.Buffer
		if err := WriteOffsets(&b, list, len(list) > 0 && list[0].Group != ""); err != nil {
			t.Fatal(err)
		}
		if again, err := ReadOffsets(&b); err != nil || !slices.Equal(again, list) {
			t.Errorf("%q is read as %+v, written and read as %+v, %v", text, list, again, err)
		}
	})
}

// FuzzPath compares the filter by a path with walking what encoding/json decodes.
func FuzzPath(f *testing.F) {
	f.Add(`{"a":{"b":[1,{"c":"x"}]}}`, ".a.b.1.c", "x")
	f.Add(`[1.50,true,null,""]`, ".0", "1.50")
	f.Add(`{"a":1,"a":2} `, ".a", "2")
	f.Fuzz(func(t *testing.T, text, path, value string) {
		steps, err := parsePath(path)
		if err != nil {
			return
		}
		dec := json.NewDecoder(strings.NewReader(text))
		dec.UseNumber()
		var at any
		found := json.Valid([]byte(text)) && dec.Decode(&at) == nil
		for _, step := range steps {
			switch v := at.(type) {
			case map[string]any:
				at, found = v[step], found && has(v, step)
			case []any:
				n, err := strconv.Atoi(step)
				if found = found && err == nil && n >= 0 && n < len(v); found {
					at = v[n]
				}
			default:
				found = false
			}
		}
		if got := matchPath([]byte(text), steps, want{any: true}); got != found {
			t.Fatalf("%q has %q: %v, want %v", text, path, got, found)
		}
		if !found {
			return
		}
		var is bool
		switch v := at.(type) {
		case string:
			is = v == value
		case json.Number:
			is = v.String() == value
		case bool:
			is = fmt.Sprint(v) == value
		case nil:
			is = value == "null"
		default:
			return // an object or a list is compared as it is written
		}
		if got := matchPath([]byte(text), steps, want{value: value}); got != is {
			t.Errorf("%q has %q at %q: %v, want %v", text, value, path, got, is)
		}
	})
}

func has(m map[string]any, name string) bool { _, ok := m[name]; return ok }

// FuzzFilter reads filters of any words and holds them against a record, as bytes and regexp find them.
func FuzzFilter(f *testing.F) {
	f.Add("key=k", "/a.*b/", "k", "axxb", "h", "v")
	f.Add("header:h=v", "text", "", "a text", "h", "v")
	f.Add("header:h", ".a=1", "k", `{"a":1}`, "h", "")
	f.Add("/(/", "x", "", "", "", "")
	f.Add("/", "//", "/", "//", "", "")
	f.Add("", "key=", "", "", "", "")
	f.Add("key=a", "key=b", "a", "", "", "")
	f.Fuzz(func(t *testing.T, one, two, key, value, name, header string) {
		filter, err := ParseFilter([]string{one, two})
		r := &kgo.Record{Key: []byte(key), Value: []byte(value), Headers: []kgo.RecordHeader{{Key: name, Value: []byte(header)}}}
		want, valid := true, true
		given := map[string]bool{}
		for _, w := range []string{one, two} {
			kind, matches := "text", strings.Contains(key, w) || strings.Contains(value, w) || strings.Contains(header, w)
			switch {
			case w == "":
				valid = false
			case strings.HasPrefix(w, "header:"):
				n, v, whole := strings.Cut(w[len("header:"):], "=")
				kind, matches = "", n == name && (!whole || v == header)
				valid = valid && n != ""
			case strings.HasPrefix(w, "key="):
				kind, matches = "key", w[len("key="):] == key
			case w[0] == '.':
				if valid = valid && err == nil; !valid {
					return // FuzzPath has these
				}
				path, of, whole := strings.Cut(w, "=")
				steps, _ := parsePath(path)
				kind, matches = "", matchPath(r.Value, steps, parseWant(w)) && (whole || of == "")
			case len(w) > 2 && w[0] == '/' && w[len(w)-1] == '/':
				re, wrong := regexp.Compile(w[1 : len(w)-1])
				if kind, matches = "expression", false; wrong != nil {
					valid = false
				} else {
					matches = re.MatchString(key) || re.MatchString(value) || re.MatchString(header)
				}
			}
			valid = valid && !given[kind]
			given[kind] = kind != ""
			want = want && matches
		}
		if valid != (err == nil) {
			t.Fatalf("%q and %q: %v", one, two, err)
		}
		if err != nil {
			return
		}
		match, err := filter.compile()
		if err != nil || match(r) != want {
			t.Errorf("%q and %q on %q, %q, %q=%q: %v; want %v", one, two, key, value, name, header, !want, want)
		}
	})
}

// FuzzEnds reads where reading begins and ends, and before what a truncation deletes. A full time is what
// Go's time package reads, a number an offset.
func FuzzEnds(f *testing.F) {
	for _, s := range []string{"oldest", "earliest", "beginning", "end", "latest", "17", "-5", "+5", "2h", "1.5d", "14:00", "24:00", "2026-11-01T07:08:09.123456789+05:30", "2026-11-01", "2026-02-30",
		"2026-11-01 07:08:09", "9223372036854775808", "1e3", "-1h", "NaNd", "1_0", ""} {
		f.Add(s)
	}
	zone := time.FixedZone("here", 3600)
	now := time.Date(2026, 11, 22, 14, 30, 0, 0, zone)
	f.Fuzz(func(t *testing.T, s string) {
		n, number := new(big.Int).SetString(s, 10)
		number = number && n.IsInt64()
		start, err := ParseStart(s)
		word := map[string]Target{"oldest": Oldest(), "earliest": Oldest(), "beginning": Oldest(), "end": End(), "latest": End()}
		want, known := word[s]
		if number {
			want, known = AtOffset(n.Int64()), true
		}
		if known != (err == nil) || known && !reflect.DeepEqual(start, want) {
			t.Errorf("from %q is %+v, %v", s, start, err)
		}
		until, wrong := ParseUntil(s, now)
		before, wrongly := ParseBefore(s, now)
		if known && s != "oldest" && s != "earliest" && s != "beginning" && (wrong != nil || !reflect.DeepEqual(until, want)) || known && (wrongly != nil || !reflect.DeepEqual(before, want)) {
			t.Errorf("%q: until %+v, %v; before %+v, %v; want %+v", s, until, wrong, before, wrongly, want)
		}
		if known {
			return
		}
		at, err := ParseTime(s, now)
		if (err == nil) != (wrong == nil) || (err == nil) != (wrongly == nil) || err == nil && (!until.at.Equal(at) || !before.at.Equal(at)) {
			t.Errorf("%q: %v, %v; until %+v, %v; before %+v, %v", s, at, err, until, wrong, before, wrongly)
		}
		if exact, wrong := time.Parse(time.RFC3339Nano, s); wrong == nil && (err != nil || !at.Equal(exact)) {
			t.Errorf("%q is %v, %v; want %v", s, at, err, exact)
		}
		if d, wrong := time.ParseDuration(s); wrong == nil && d >= 0 && (err != nil || now.Sub(at) != d) {
			t.Errorf("%q is %v, %v", s, at, err)
		}
		if err == nil && at.After(now) && !strings.Contains(s, "-") {
			t.Errorf("%q, which is ago, is %v", s, at)
		}
	})
}

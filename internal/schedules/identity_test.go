package schedules

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
)

// identity reads who an event is out of a stored value, as the World has it: empty where the value is
// not one JSON object. Its reader of JSON is its own, and as strict as that of the standard library.
func identity(value string) string {
	r := reading{text: value}
	if r.object(deep); r.broken || r.text != "" {
		return ""
	}
	m := &r.found
	switch {
	case m[metaID] != "":
		return m[metaID]
	case m[kindOf] == "commit":
		return strings.Join([]string{m[did], m[collection], m[rkey], m[operation], m[rev]}, "/")
	}
	number := func(of int) int64 {
		n, _ := strconv.ParseInt(m[of], 10, 64)
		return n
	}
	return m[did] + "/" + m[kindOf] + "/" + strconv.FormatInt(max(number(accountSeq), number(identitySeq)), 10)
}

// The values that are kept.
const (
	did = iota
	kindOf
	metaID
	collection
	rkey
	operation
	rev
	accountSeq
	identitySeq
	kept
)

var places = map[[2]string]int{{"", "did"}: did, {"", "kind"}: kindOf, {"meta", "id"}: metaID, {"commit", "collection"}: collection,
	{"commit", "rkey"}: rkey, {"commit", "operation"}: operation, {"commit", "rev"}: rev, {"account", "seq"}: accountSeq,
	{"identity", "seq"}: identitySeq}

// deep is how deep the values are in which nothing is kept, from here on.
const deep = 2

// reading goes through JSON without white space, which no event of the World has.
type reading struct {
	text   string // what is left
	at     string // the name of the object, in the first two levels
	found  [kept]string
	broken bool
}

// skip takes a byte that has to be next, or is broken.
func (r *reading) skip(c byte) {
	if !r.is(c) {
		r.broken = true
	}
}

// is takes a byte where it is next.
func (r *reading) is(c byte) bool {
	if r.broken || r.text == "" || r.text[0] != c {
		return false
	}
	r.text = r.text[1:]
	return true
}

// object takes an object; the outermost one has the most levels to go to where nothing is kept.
func (r *reading) object(levels int) {
	at := r.at
	r.skip('{')
	for more := !r.is('}'); more && !r.broken; more = !r.is('}') {
		name := r.string()
		r.skip(':')
		r.value(name, levels-1)
		r.at = at
		r.next('}')
	}
}

func (r *reading) list() {
	r.skip('[')
	for more := !r.is(']'); more && !r.broken; more = !r.is(']') {
		r.value("", -1)
		r.next(']')
	}
}

// next takes the comma between two values, or none before the end.
func (r *reading) next(end byte) {
	if r.text != "" && r.text[0] == end {
		return
	}
	if r.skip(','); r.text != "" && r.text[0] == end {
		r.broken = true
	}
}

// value takes a value. From level 0 down its objects are not looked into.
func (r *reading) value(name string, levels int) {
	if r.broken || r.text == "" {
		r.broken = true
		return
	}
	var v string
	switch r.text[0] {
	case '{':
		r.at = name
		r.object(levels)
		return
	case '[':
		r.list()
		return
	case '"':
		v = r.string()
	default:
		n := strings.IndexAny(r.text, ",]}")
		if n < 0 {
			r.broken = true
			return
		}
		v, r.text = r.text[:n], r.text[n:]
		r.broken = r.broken || !json.Valid([]byte(v))
	}
	if place, ok := places[[2]string{r.at, name}]; ok && levels >= 0 {
		r.found[place] = v
	}
}

// string takes a string.
func (r *reading) string() string {
	r.skip('"')
	escaped := false
	for n := 0; n < len(r.text) && !r.broken; n++ {
		switch c := r.text[n]; {
		case c == '"':
			v := r.text[:n]
			r.text = r.text[n+1:]
			if escaped {
				r.broken = json.Unmarshal([]byte(`"`+v+`"`), &v) != nil
			}
			return v
		case c == '\\':
			escaped = true
			n++
		case c < ' ':
			r.broken = true
		}
	}
	r.broken = true
	return ""
}

// TestIdentity compares the reader with that of the standard library.
func TestIdentity(t *testing.T) {
	for value, want := range map[string]string{
		`{"did":"d","kind":"commit","commit":{"rev":"5","operation":"create","collection":"c",` +
			`"record":{"rkey":"x","a":[1,{"b":"\\\""}]},"rkey":"k"}}`: "d/c/k/create/5",
		`{"did":"d","kind":"account","account":{"active":true,"seq":77,"status":"s"}}`: "d/account/77",
		`{"did":"d","kind":"identity","identity":{"did":"d","seq":7}}`:                 "d/identity/7",
		`{"meta":{"uri":"u","id":"i"},"id":null,"n":-1.5e3,"list":[],"empty":{}}`:      "i",
		`{"meta":{"uri":"u","id":"\u0069"}}`:                                           "i",
	} {
		if got := identity(value); got != want {
			t.Errorf("%s is %q, want %q", value, got, want)
		}
		for n := range len(value) {
			begin, end := value[:n], value[n:]
			for _, broken := range []string{begin, begin + end[1:], begin + "," + end, begin + "\x01" + end, begin + "\\" + end} {
				if !json.Valid([]byte(broken)) && identity(broken) != "" {
					t.Errorf("%q is not JSON, and is %q", broken, identity(broken))
				}
			}
		}
	}
}

package jsonscan

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/weir-project/weir/internal/jsonscan/jsontest"
)

// texts are valid; what is in none of them is in TestValid.
var texts = []string{
	`{"did":"did:plc:aaaa","time_us":1790000000123456,"kind":"commit","commit":{"rev":"3l","record":{"text":"naïve 🌊 \"q\" \\ \/ \b\f\n\r\t \u00e9 \ud83c\udf0a"}}}`,
	"{ \"a\" :\t[ 1 , -2.5e+10 ,\r\n true , false , null , \"\" , { } , [ ] , {\"b\":[[{}]]} ] , \"a\" : 2 }\n",
	`{"12345678":"1234567","1234567":"12345678","123456789":"","x":"\u0041\\","n":-9223372036854775808,"m":9223372036854775807}`,
	`[{"a":{"b":{"c":[]}}},"x",0.1E-2,-0]`,
	`"just a string that is longer than sixteen bytes, with an é"`,
	`-12.75e3`,
	`null`,
}

func textBytes() (all [][]byte) {
	for _, t := range texts {
		all = append(all, []byte(t))
	}
	return all
}

// valid skips the whole text, as one value.
func valid(text []byte) error {
	var s Scanner
	s.Reset(text)
	s.Skip()
	return s.End()
}

// walk reads the text by entering every object that is no array's element,
// and returns the members of the outermost one in the order they came.
func walk(text []byte) (members []member, err error) {
	var s Scanner
	s.Reset(text)
	var object func(top bool)
	object = func(top bool) {
		for name, ok := s.Member(); ok; name, ok = s.Member() {
			if len(name) > 0 && &name[0] != &s.name[0] { // given as it stands
				name = AppendText(nil, name)
			}
			m := member{name: string(name), kind: s.Next()}
			switch m.kind {
			case Object:
				s.Enter()
				object(false)
			case String:
				m.text = string(s.Text().Append(nil))
			case Number:
				m.n, _, m.ok = s.Int()
			default:
				m.raw = string(s.Skip())
			}
			if top {
				members = append(members, m)
			}
		}
	}
	if s.Enter() {
		object(true)
	}
	return members, s.End()
}

type member struct {
	name string
	kind Kind
	text string // of a String
	n    int64  // of a Number that is a 64-bit integer
	ok   bool
	raw  string // of the others, except objects
}

// compare checks the scanner's view of a text against encoding/json's.
func compare(text []byte) error {
	members, err := walk(text)
	if err2 := valid(text); fmt.Sprint(err) != fmt.Sprint(err2) {
		return fmt.Errorf("walked: %w, skipped: %w", err, err2)
	}
	if want := json.Valid(text); (err == nil) != want {
		return fmt.Errorf("encoding/json says valid=%v, the scanner %v", want, err)
	}
	if err != nil {
		return nil
	}
	got := map[string]member{}
	for _, m := range members {
		got[m.name] = m // the last one counts, as in encoding/json
	}
	var want map[string]json.RawMessage
	if json.Unmarshal(text, &want) != nil {
		want = nil // valid, but no object
	}
	if len(got) != len(want) {
		return fmt.Errorf("%d members %+v, want %d", len(got), members, len(want))
	}
	for name, raw := range want {
		m, ok := got[name]
		if !ok {
			return fmt.Errorf("no member %q", name)
		}
		if err := m.compare(raw); err != nil {
			return fmt.Errorf("member %q: %w", name, err)
		}
	}
	return nil
}

func (m member) compare(raw []byte) error {
	raw = bytes.TrimSpace(raw)
	switch c := raw[0]; {
	case c == '"':
		var s string
		if err := json.Unmarshal(raw, &s); err != nil || m.kind != String || m.text != s {
			return fmt.Errorf("%+v, want %q", m, s)
		}
	case c == '{':
		if m.kind != Object {
			return fmt.Errorf("%+v, want an object", m)
		}
	case c == '-' || isDigit(c):
		n, err := strconv.ParseInt(string(raw), 10, 64)
		if m.kind != Number || m.ok != (err == nil) || m.ok && m.n != n {
			return fmt.Errorf("%+v, want %s", m, raw)
		}
	case m.raw != string(raw):
		return fmt.Errorf("%+v, want %s", m, raw)
	}
	return nil
}

func TestValid(t *testing.T) {
	for _, tc := range []struct {
		text string
		ok   bool
	}{
		{``, false}, {` `, false}, {`{}`, true}, {`[]`, true}, {`""`, true}, {`null`, true}, {" \t\r\n{}\n ", true},
		{`nul`, false}, {`nulll`, false}, {`True`, false}, {`tru`, false}, {`truf`, false}, {`falsy`, false},
		{`{}{}`, false}, {`{},`, false}, {`{}x`, false}, {"{}\x00", false}, {"\ufeff{}", false}, {"{}\v", false}, {"\u00a0{}", false},
		{`{`, false}, {`}`, false}, {`[`, false}, {`]`, false}, {`{]`, false}, {`[}`, false}, {`[{]}`, false}, {`{"a":[}`, false},
		{`{"a":1]`, false}, {`[1}`, false}, {`{"a":[1}]`, false},
		{`{"a"}`, false}, {`{"a":}`, false}, {`{"a":1,}`, false}, {`{,}`, false}, {`{,"a":1}`, false}, {`{"a":1 "b":2}`, false}, {`{"a":1,,"b":2}`, false},
		{`{a:1}`, false}, {`{'a':1}`, false}, {`{1:1}`, false}, {`{null:1}`, false}, {`{"a":1;"b":2}`, false}, {`{"a"=1}`, false}, {`{"a" : 1}`, true},
		{`[1,]`, false}, {`[,1]`, false}, {`[1 2]`, false}, {`[1,,2]`, false}, {`[,]`, false}, {`[1, 2 ]`, true}, {`[[],{},[[]]]`, true},
		{`0`, true}, {`-0`, true}, {`00`, false}, {`01`, false}, {`-01`, false}, {`-`, false}, {`--1`, false}, {`+1`, false}, {`.5`, false}, {`1.`, false},
		{`1.e1`, false}, {`1.0`, true}, {`0.0e0`, true}, {`1e5`, true}, {`1E+5`, true}, {`1e-5`, true}, {`1e`, false}, {`1e+`, false}, {`1e1.5`, false}, {`1e999`, true},
		{`0x10`, false}, {`1_000`, false}, {`NaN`, false}, {`Infinity`, false}, {`-Infinity`, false}, {`1a`, false}, {`-a`, false},
		{`123456789012345678901234567890123456789`, true},
		{`"`, false}, {`"a`, false}, {`"a\"`, false}, {`"\`, false}, {`"\\"`, true}, {`"\\\"`, false}, {`"\/\b\f\n\r\t\""`, true},
		{`"\a"`, false}, {`"\'"`, false}, {`"\0"`, false}, {`"\x41"`, false}, {`"\U0041"`, false}, {`"\u"`, false}, {`"\u123"`, false}, {`"\u123`, false}, {`"\u12`, false},
		{`"\u123g"`, false}, {`"\uABCD\uabcd"`, true}, {`"\u00:0"`, false}, {`"\u00@0"`, false}, {"\"\\u00`0\"", false}, {`"\ud800"`, true}, {`"\udc00\ud800"`, true},
		{"\"\n\"", false}, {"\"\t\"", false}, {"\"\x00\"", false}, {"\"\x1f\"", false}, {"\"\x7f\"", true}, {"\"1234567\x1f\"", false}, {"\"12345678\x00 2345678\"", false},
		{"\"\xff\xfe\"", true}, {"\"\xc3\"", true}, {"\"\xed\xa0\x80 a lone surrogate as UTF-8\"", true}, {"\"\x80\x80\x80\x80\x80\x80\x80\x80\"", true}, // as encoding/json
		{"\"\u2028\u2029\"", true}, {"{\"\xff\":1}", true}, {"\xff", false},
		{`// c`, false}, {`{} // c`, false}, {`{/**/}`, false},
	} {
		if err := valid([]byte(tc.text)); (err == nil) != tc.ok {
			t.Errorf("%q: %v, want valid=%v", tc.text, err, tc.ok)
		}
		if err := compare([]byte(tc.text)); err != nil {
			t.Errorf("%q: %v", tc.text, err)
		}
	}
}

// Every position of every special byte in and across the scanner's words of
// eight bytes.
func TestStringAlignment(t *testing.T) {
	for n := range 34 {
		for at := range n {
			for _, c := range []string{`"`, `\`, "\x00", "\x1f", "\x20", "\x7f", "\x80", "\xa2", "\xdc", "\xff", "!", "#", "[", "]", `\"`, `\\`, `\u0041`, "é", "🌊"} {
				text := `"` + strings.Repeat("a", at) + c + strings.Repeat("b", n-at-1) + `"`
				for _, text := range []string{text, text + strings.Repeat(" ", 9), `{` + text + `:1}`, `{"a":` + text + `}`} {
					if err := compare([]byte(text)); err != nil {
						t.Fatalf("%q: %v", text, err)
					}
				}
			}
		}
	}
}

func TestTruncated(t *testing.T) {
	for _, text := range texts[:4] {
		text = strings.TrimSpace(text)
		if err := valid([]byte(text)); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		for n := range len(text) {
			var syntax *SyntaxError
			if err := valid([]byte(text[:n])); !errors.As(err, &syntax) {
				t.Errorf("the first %d bytes of %s: %v", n, text, err)
			} else if syntax.Offset > n || syntax.What != "unexpected end" {
				t.Errorf("the first %d bytes of %s: %v, want an unexpected end", n, text, err)
			}
			if err := compare([]byte(text[:n])); err != nil {
				t.Errorf("the first %d bytes of %s: %v", n, text, err)
			}
		}
	}
}

func TestErrors(t *testing.T) {
	for _, tc := range [][2]string{
		{`{"a":1,"b":tru}`, "invalid literal at byte 14"},
		{`{"a":01}`, "invalid number at byte 5"},
		{`{"a":1.}`, "invalid number at byte 7"},
		{`{"a":"` + "\x01" + `"}`, "control character in a string at byte 6"},
		{`{"a":"\q"}`, "invalid escape in a string at byte 7"},
		{`{"a":"\u00zz"}`, "invalid escape in a string at byte 10"},
		{`{"a":1 "b":2}`, "expected a comma or the end of an object at byte 7"},
		{`[1 2]`, "expected a comma or the end of an array at byte 3"},
		{`{"a" 1}`, "expected a colon at byte 5"},
		{`{1}`, "expected a member name at byte 1"},
		{`{"a":?}`, "expected a value at byte 5"},
		{`{"a":`, "unexpected end at byte 5"},
		{`{"a":1}}`, "data after the value at byte 7"},
		{``, "unexpected end at byte 0"},
		{strings.Repeat(`[`, 20_000), "nested too deep at byte 512"},
	} {
		if err := valid([]byte(tc[0])); err == nil || err.Error() != tc[1] {
			t.Errorf("%.40q: %v, want %s", tc[0], err, tc[1])
		}
		if _, err := walk([]byte(tc[0])); err == nil || err.Error() != tc[1] {
			t.Errorf("%.40q, walked: %v, want %s", tc[0], err, tc[1])
		}
	}
}

func TestDepth(t *testing.T) {
	nested := func(open, end string, n int) []byte {
		return []byte(strings.Repeat(open, n) + "1" + strings.Repeat(end, n))
	}
	for _, n := range []int{1, 2, 63, 64, 65, 127, 128, 511, MaxDepth, MaxDepth + 1, MaxDepth + 2, 9_999} {
		for _, text := range [][]byte{
			nested(`[`, `]`, n), nested(`{"a":`, `}`, n), nested(`{"a":[`, `]}`, n/2), nested(`[{"a":`, `}]`, n/2),
		} {
			if !json.Valid(text) {
				t.Fatalf("depth %d: the test's own text %.20s is not valid", n, text)
			}
			depth := bytes.Count(text, []byte(`[`)) + bytes.Count(text, []byte(`{`))
			if err := valid(text); (err == nil) != (depth <= MaxDepth) {
				t.Errorf("depth %d, %.20s: %v", depth, text, err)
			}
			if _, err := walk(text); (err == nil) != (depth <= MaxDepth) {
				t.Errorf("depth %d, walked, %.20s: %v", depth, text, err)
			}
			broken := bytes.Replace(text, []byte("1"), []byte("]"), 1)
			if err := valid(broken); err == nil {
				t.Errorf("depth %d: %.20s with a bracket too many is valid", depth, text)
			}
		}
	}
}

// Depth is about nesting: objects that follow one another add nothing to it.
func TestDepthIsGivenBack(t *testing.T) {
	text := []byte(`[` + strings.Repeat(`{"a":[{}]},`, 2*MaxDepth) + `1]`)
	if err := valid(text); err != nil {
		t.Errorf("skipped: %v", err)
	}
	text = []byte(`{` + strings.Repeat(`"a":{"b":{}},`, 2*MaxDepth) + `"c":1}`)
	if _, err := walk(text); err != nil {
		t.Errorf("walked: %v", err)
	}
}

func TestMembers(t *testing.T) {
	const text = ` { "\u0064id" : "a\u0062\ud83c\udf0a\ud83c" , "DID":"no", "did\u0000":"no", "d\u0069\u0064" : "second" ,
		"e":{}, "o":{"x":{"y":"deep"},"z":"after"}, "n":-12, "big":9223372036854775808, "f":1.0, "null":null, "s":"12" } `
	var s Scanner
	s.Reset([]byte(text))
	if !s.Enter() {
		t.Fatal("not an object")
	}
	var got []string
	add := func(format string, a ...any) { got = append(got, fmt.Sprintf(format, a...)) }
	for name, ok := s.Member(); ok; name, ok = s.Member() {
		switch string(name) {
		case "did", "s":
			add("%s=%s", name, s.Text().Append(nil))
		case "n", "big", "f", "null":
			key := string(name)
			n, kind, ok := s.Int()
			add("%s=%d %c %v", key, n, kind, ok)
		case "e", "o", "x":
			key := string(name)
			add("%s enter %v", key, s.Enter())
			if key == "e" {
				_, more := s.Member()
				add("more %v", more)
				continue
			}
			for name, ok := s.Member(); ok; name, ok = s.Member() {
				add("  %s %s", name, s.Skip())
			}
		default:
			add("skip %q %v", name, s.Text().Empty())
		}
	}
	if err := s.End(); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"did=ab🌊\ufffd", `skip "DID" false`, `skip "did\x00" false`, "did=second", "e enter true", "more false",
		"o enter true", `  x {"y":"deep"}`, `  z "after"`, "n=-12 0 true", "big=0 0 false", "f=0 0 false", "null=0 n false", "s=12",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// After an error nothing more comes, whatever is called.
func TestErrorSticks(t *testing.T) {
	var s Scanner
	s.Reset([]byte(`{"a":tru,"b":"x"}`))
	s.Enter()
	s.Member()
	s.Skip()
	for range 3 {
		if name, ok := s.Member(); ok {
			t.Errorf("member %q after an error", name)
		}
		if s.Enter() || s.Next() != None || !s.Text().Empty() || s.Skip() != nil {
			t.Error("a value after an error")
		}
	}
	if err := s.End(); err == nil || err.Error() != "invalid literal at byte 8" {
		t.Errorf("end: %v, want the first error", err)
	}
	s.Reset([]byte(`{}`))
	s.Skip()
	if err := s.End(); err != nil {
		t.Errorf("after Reset: %v", err)
	}
}

func TestMutants(t *testing.T) {
	const seed = 3
	n := 200_000
	if testing.Short() {
		n /= 10
	}
	rng := rand.New(rand.NewPCG(seed, seed))
	base := textBytes()
	ok := 0
	for i := range n {
		text := jsontest.Mutate(rng, base)
		if err := compare(text); err != nil {
			t.Fatalf("seed %d, mutant %d: %q: %v", seed, i, text, err)
		}
		if json.Valid(text) {
			ok++
		}
	}
	if ok < n/20 || ok > n/2 {
		t.Errorf("%d of %d mutants are valid: they test too little of one side", ok, n)
	}
}

func TestNoAllocation(t *testing.T) {
	text := []byte(texts[0])
	s := new(Scanner)
	if n := testing.AllocsPerRun(100, func() {
		s.Reset(text)
		s.Enter()
		for _, ok := s.Member(); ok; _, ok = s.Member() {
			s.Skip()
		}
		if s.End() != nil {
			t.Error("invalid")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzScan(f *testing.F) {
	for _, text := range texts {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if bytes.Count(text, []byte(`[`))+bytes.Count(text, []byte(`{`)) > MaxDepth {
			t.Skip("can be deeper than the scanner goes")
		}
		if err := compare(text); err != nil {
			t.Error(err)
		}
	})
}

func BenchmarkSkip(b *testing.B) {
	text := []byte(texts[0])
	s := new(Scanner)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		s.Reset(text)
		s.Skip()
	}
}

func BenchmarkEncodingJSONValid(b *testing.B) {
	text := []byte(texts[0])
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		json.Valid(text)
	}
}

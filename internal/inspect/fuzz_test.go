package inspect

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
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

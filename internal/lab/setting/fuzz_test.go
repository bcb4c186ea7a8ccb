package setting

import (
	"math"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
)

// FuzzSet gives values of any text to settings of every type. A number or a time is taken exactly where
// Go's own parser takes it. What is taken is written as something that is taken as the same, and what
// Check then allows is within the bounds.
func FuzzSet(f *testing.F) {
	for i := range Fields(New[settings]()) {
		for _, s := range []string{"5", "0x10", "1_000", "-3", "1e3", "NaN", "Inf", "500ms", "2m", "1.5h", "red, blue,", "green,green", "on", "", ",", "9223372036854775808", "3,4", "\x00"} {
			f.Add(uint8(i), s, s)
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, text, more string) {
		s := New[settings]()
		fields := Fields(s)
		x := fields[int(which)%len(fields)]
		before := x.String()
		err := x.Set(text)
		var want error
		switch x.value.Interface().(type) {
		case float64:
			_, want = strconv.ParseFloat(text, 64)
		case int, int64:
			_, want = strconv.ParseInt(text, 0, 64)
		case time.Duration:
			_, want = time.ParseDuration(text)
		default:
			want = err
		}
		if (err == nil) != (want == nil) {
			t.Fatalf("--%s %q: %v, want %v", x.Flag, text, err, want)
		}
		if err != nil {
			if x.String() != before || x.IsSet() {
				t.Errorf("--%s %q is refused, and is now %s", x.Flag, text, x)
			}
			return
		}
		if x.Repeat {
			return
		}
		written := format(x.value)
		again := New[settings]()
		y := Fields(again)[int(which)%len(fields)]
		nan := x.value.CanFloat() && math.IsNaN(x.value.Float())
		if err := y.Set(written); err != nil || !nan && !reflect.DeepEqual(x.value.Interface(), y.value.Interface()) && written != "" {
			t.Errorf("--%s %q is written %q, which is taken as %v, %v", x.Flag, text, written, y, err)
		}
		if err := x.check(); err == nil && x.Min != "" && !x.List {
			if n := number(x.value); !(n >= bound(x.value, x.Min) && n <= bound(x.value, x.Max)) {
				t.Errorf("--%s %q is allowed, from %s to %s", x.Flag, text, x.Min, x.Max)
			}
		} else if err != nil && !strings.HasPrefix(err.Error(), "--"+x.Flag) {
			t.Errorf("--%s %q: %v", x.Flag, text, err)
		}
		if n := x.value; x.List && x.Set(more) == nil && x.value.Len() < n.Len() {
			t.Errorf("--%s %q and %q are %s", x.Flag, text, more, x)
		}
	})
}

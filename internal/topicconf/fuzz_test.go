package topicconf

import (
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// FuzzBad gives values of any text to every setting. A number is taken exactly where it is one of
// math/big within the bounds of the table, and a list of words exactly where every word is known.
func FuzzBad(f *testing.F) {
	for _, v := range []string{"604800000", "-1", "2147483648", "9223372036854775807", "9223372036854775808", "1e5", "0x10", "+5", " 7 ", "0.5", "NaN", "true", "TRUE",
		"compact,delete", "compact, compact", ",", "1:2,3:4", "*", "1:", "", "zstd", "9", "10"} {
		for i := range settings {
			f.Add(uint8(i), v)
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, value string) {
		s := settings[int(which)%len(settings)]
		got := Bad(s.Name, &value)
		if got != "" && !strings.HasPrefix(got, "Invalid value "+value+" for configuration "+s.Name+": ") {
			t.Errorf("%s=%q: %q names something else", s.Name, value, got)
		}
		want := false
		switch text := strings.TrimSpace(value); s.kind {
		case "int", "long":
			n, ok := new(big.Int).SetString(text, 10)
			if strings.Contains(text, "_") || !ok {
				break
			}
			bits := map[string]uint{"int": 31, "long": 63}[s.kind]
			least, most, bounded := strings.Cut(s.limit, "..")
			low, high := new(big.Int).Neg(new(big.Int).Lsh(big.NewInt(1), bits)), new(big.Int).Lsh(big.NewInt(1), bits)
			want = n.Cmp(low) >= 0 && n.Cmp(high) < 0
			if least != "" && n.String() != s.Default {
				low.SetString(least, 10)
				want = want && n.Cmp(low) >= 0
			}
			if bounded && n.String() != s.Default {
				high.SetString(most, 10)
				want = want && n.Cmp(high) <= 0
			}
		case "share":
			x, err := strconv.ParseFloat(text, 64)
			want = err == nil && x >= 0 && x <= 1
		case "word":
			want = slices.Contains(s.Choices, text)
		case "bool":
			want = strings.EqualFold(text, "true") || strings.EqualFold(text, "false")
		case "list":
			want = text == ""
			for i, w := range strings.Split(text, ",") {
				want = slices.Contains(s.Choices, strings.TrimSpace(w)) && (want || i == 0) || text == ""
			}
		case "replicas":
			want = text == "" || text == "*"
			for i, w := range strings.Split(text, ",") {
				p, b, ok := strings.Cut(w, ":")
				digits := func(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
				want = text == "" || text == "*" || ok && digits(p) && digits(b) && (want || i == 0)
			}
		default:
			want = true
		}
		if (got == "") != want {
			t.Errorf("%s=%q: %q, taken should be %v", s.Name, value, got, want)
		}
		if want && strings.Contains(Contradiction(map[string]string{s.Name: value}), "\n") {
			t.Errorf("%s=%q contradicts in several lines", s.Name, value)
		}
	})
}

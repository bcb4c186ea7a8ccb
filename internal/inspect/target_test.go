package inspect_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/weir-project/weir/internal/inspect"
)

func TestParseTime(t *testing.T) {
	zone := time.FixedZone("here", 2*3600)
	now := time.Date(2026, 11, 22, 14, 30, 0, 0, zone)
	for in, want := range map[string]time.Time{
		"10m":                  now.Add(-10 * time.Minute),
		"0s":                   now,
		"1.5d":                 now.Add(-36 * time.Hour),
		"14:00":                time.Date(2026, 11, 22, 14, 0, 0, 0, zone),
		"23:59:58":             time.Date(2026, 11, 21, 23, 59, 58, 0, zone), // not come yet: yesterday's
		"2026-11-01":           time.Date(2026, 11, 1, 0, 0, 0, 0, zone),
		"2026-11-01 07:08":     {},
		"2026-11-01T07:08":     time.Date(2026, 11, 1, 7, 8, 0, 0, zone),
		"2026-11-01T07:08:09Z": time.Date(2026, 11, 1, 7, 8, 9, 0, time.UTC),
		"-10m":                 {},
		"-1d":                  {},
		"1e9d":                 {},
		"25:00":                {},
		"":                     {},
	} {
		got, err := inspect.ParseTime(in, now)
		if want.IsZero() != (err != nil) || !got.Equal(want) {
			t.Errorf("%q is %v (%v), want %v", in, got, err, want)
		}
	}
}

func TestParseFilter(t *testing.T) {
	f, err := inspect.ParseFilter([]string{"word", "/a+/", "key=did:plc:x", "header:kind=create", "header:seq", ".commit.operation=delete"})
	if err != nil {
		t.Fatal(err)
	}
	if f.Contains != "word" || f.Regexp != "a+" || *f.Key != "did:plc:x" || strings.Join(f.Headers, " ") != "kind=create seq" || strings.Join(f.Paths, " ") != ".commit.operation=delete" {
		t.Errorf("got %+v", f)
	}
	for _, bad := range [][]string{{""}, {"a", "b"}, {"/a/", "/b/"}, {"key=a", "key=b"}, {"/(/"}} {
		if _, err := inspect.ParseFilter(bad); err == nil {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestParseTarget(t *testing.T) {
	now := time.Date(2026, 11, 22, 14, 30, 0, 0, time.UTC)
	for in, want := range map[string]inspect.Target{
		"oldest": inspect.Oldest(), "earliest": inspect.Oldest(), "end": inspect.End(), "latest": inspect.End(),
		"17": inspect.AtOffset(17), "+17": inspect.By(17), "-17": inspect.By(-17), "2h": inspect.AtTime(now.Add(-2 * time.Hour)),
		"2026-11-01T07:08:09Z": inspect.AtTime(time.Date(2026, 11, 1, 7, 8, 9, 0, time.UTC)),
	} {
		if got, err := inspect.ParseTarget(in, now); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, %v, want %+v", in, got, err, want)
		}
		if again, err := inspect.ParseTarget(want.String(), now.Add(time.Hour)); err != nil || again.String() != want.String() {
			t.Errorf("%q is written %q, which is read as %v, %v", in, want, again, err)
		}
	}
	for _, bad := range []string{"", "somewhere", "+", "1.5"} {
		if _, err := inspect.ParseTarget(bad, now); err == nil || !strings.Contains(err.Error(), "oldest") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

package wikipedia

import "testing"

// FuzzTime compares the quick reading of dates with Go's time package.
func FuzzTime(f *testing.F) {
	for _, s := range []string{"2026-09-21T13:33:20Z", "2026-09-21T13:33:20.123456+05:45", "2024-02-29T00:00:00-23:59", "0000-01-01T00:00:00.1234567Z"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) { checkTime(t, s) })
}

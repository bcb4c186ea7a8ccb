package main

import (
	"strings"
	"testing"

	"github.com/weir-project/weir/internal/lab/record"
)

// TestFigures has two kinds of cases: one with more figures than cases, one with more cases.
func TestFigures(t *testing.T) {
	t.Parallel()
	all := []record.Measure{
		{Case: "block", Name: "stored", Value: 1200, Unit: "events"}, {Case: "block", Name: "time", Value: 1500, Unit: "ms"}, {Case: "block", Name: "lag", Value: 3, Unit: "events"},
		{Case: "base", Name: "p50", Value: 7, Unit: "ms"}, {Case: "sample", Name: "stored", Value: 3, Unit: "events"}, {Case: "acks=1", Name: "p50", Value: 8, Unit: "ms"},
	}
	var out strings.Builder
	for _, f := range figuresOf(all) {
		if err := f.table().Write(&out); err != nil {
			t.Fatal(err)
		}
	}
	const want = `MEASURED BLOCK SAMPLE
stored 1,200 3
time 1.5 s -
lag 3 -
MEASURED P50
base 7 ms
acks=1 8 ms`
	var got []string
	for line := range strings.Lines(out.String()) {
		got = append(got, strings.Join(strings.Fields(line), " "))
	}
	if text := strings.Join(got, "\n"); text != want {
		t.Errorf("the tables are:\n%s\nwant:\n%s", text, want)
	}
}

package lab

import (
	"fmt"
	"strings"
	"testing"

	"gonum.org/v1/plot/vg"

	"github.com/weir-project/weir/internal/lab/record"
)

// TestPlotSaysWhatIsWhat has more cases than a row of the key holds, and marks at one place.
func TestPlotSaysWhatIsWhat(t *testing.T) {
	t.Parallel()
	r := &Report{}
	r.Lab, r.Verdict = "l", record.Holds
	for i := range 12 {
		of := fmt.Sprintf("a case with a long name, number %d", i)
		r.Lines = append(r.Lines, record.Line{Case: of, Panel: "queue", X: []float64{0, 10}, Y: []float64{0, float64(i)}}, record.Line{Case: of, Panel: "dropped", X: []float64{0, 10}, Y: []float64{1, 2}})
		r.Marks = append(r.Marks, record.Mark{Case: of, X: 5, Text: "everybody stops"})
	}
	r.Marks = append(r.Marks, record.Mark{X: 9, Text: "everybody stops"}, record.Mark{X: 9.9, Text: "the end"})
	svg, err := Plot(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range r.Lines {
		if n := strings.Count(string(svg), ">"+l.Case+"<"); n != 1 {
			t.Errorf("%q stands there %d times", l.Case, n)
		}
	}
	if n := strings.Count(string(svg), ">everybody stops<"); n != 2 {
		t.Errorf("what happened at 5 s to twelve cases, and at 9 s, stands there %d times", n)
	}
	if strings.Count(string(svg), ">the end<") != 1 || strings.Index(string(svg), ">queue<") > strings.Index(string(svg), ">dropped<") {
		t.Error("a mark is missing, or panels are in another order than they were told in")
	}
}

// What hardly changes has a whole decade of its axis, and large numbers are short.
func TestChartOfWhatHardlyChanges(t *testing.T) {
	t.Parallel()
	r := &Report{}
	r.Charts = []record.Chart{{Title: "memory", Series: []record.Series{{Name: "of it", X: []float64{1e6, 5e7}, Y: []float64{102, 140}}}}}
	svg, err := Plot(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, label := range []string{"100", "200", "500", "1000", "1M", "50M"} {
		if !strings.Contains(string(svg), ">"+label+"<") {
			t.Errorf("no axis has %s", label)
		}
	}
}

func TestNamesAreOnTopOfNothing(t *testing.T) {
	t.Parallel()
	var l names
	taken := []vg.Rectangle{{Min: vg.Point{X: 96, Y: 96}, Max: vg.Point{X: 104, Y: 104}}}
	for range 12 { // to both sides, and above each other
		box := l.place(taken, vg.Point{X: 100, Y: 100}, 50, 0, 300)
		for _, other := range taken {
			if overlap(other, box) {
				t.Fatalf("%v is on top of %v", box, other)
			}
		}
		if box.Min.X < 0 || box.Max.X > 300 {
			t.Errorf("%v is outside", box)
		}
		taken = append(taken, box)
	}
	if box := l.place(nil, vg.Point{X: 290, Y: 100}, 50, 0, 300); box.Max.X > 290 {
		t.Errorf("%v, at the right end", box)
	}
}

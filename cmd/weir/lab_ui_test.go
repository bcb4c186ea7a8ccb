package main

import (
	"testing"

	"github.com/weir-project/weir/internal/lab/latency"
	"github.com/weir-project/weir/internal/web"
)

// TestAListHasNoBoundsInTheForm: a browser would hold its text against them as if it were one
// value, and refuse every list.
func TestAListHasNoBoundsInTheForm(t *testing.T) {
	t.Parallel()
	found := map[string]web.LabField{}
	for _, f := range labFields(labCommand(&app{}, latency.Lab)) {
		found[f.Name] = f
	}
	if f := found["rates"]; f.Min != "" || f.Max != "" || f.Default != "100,1000,10000" {
		t.Errorf("rates: %+v", f)
	}
	if f := found["time"]; f.Min != "1s" || f.Max != "5m0s" {
		t.Errorf("time: %+v", f)
	}
}

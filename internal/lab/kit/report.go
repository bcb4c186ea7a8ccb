package kit

import (
	"fmt"

	"github.com/weir-project/weir/internal/lab"
)

// Case adds what was found out about one case to a report.
type Case struct {
	Report *lab.Report
	Name   string
}

// Measure adds a figure.
func (c Case) Measure(name string, value float64, unit string) {
	c.Report.Measure(c.Name, name, value, unit)
}

// Check adds a part of the claim that holds or does not.
func (c Case) Check(claim, want, got string, ok bool) { c.Report.Check(c.Name, claim, want, got, ok) }

// Same adds a part of the claim that holds where the text of what was measured, which is
// formatted, is exactly the expected one.
func (c Case) Same(claim, want, format string, args ...any) {
	got := fmt.Sprintf(format, args...)
	c.Check(claim, want, got, got == want)
}

// Unknown adds a condition without which the case proves nothing.
func (c Case) Unknown(condition, want, format string, args ...any) {
	c.Report.Unknown(c.Name, condition, want, fmt.Sprintf(format, args...))
}

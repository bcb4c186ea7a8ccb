package lab

import (
	"fmt"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/weir-project/weir/internal/lab/record"
)

const (
	chartHeight = 11 * vg.Centimeter
	barWidth    = 22 // in points
)

// chart draws lines on logarithmic axes, or stacked bars.
func chart(c *record.Chart) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = c.Title, c.X, c.Y
	p.Legend.Top, p.Legend.Left, p.Legend.Padding, p.Legend.TextStyle.Font.Size = true, true, vg.Points(2), vg.Points(keyFont)
	if len(c.Bars) > 0 {
		return p, stack(p, c)
	}
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, decades{}
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, decades{}
	p.Add(plotter.NewGrid())
	drawn := map[int]int{} // lines of each group
	for _, s := range c.Series {
		style := draw.LineStyle{Color: palette[s.Group%len(palette)], Width: vg.Points(lineWidth)}
		if n := drawn[s.Group]; n > 0 {
			style.Dashes = dashes(float64(10-3*n), 3)
		}
		drawn[s.Group]++
		line := &plotter.Line{LineStyle: style}
		points := &plotter.Scatter{GlyphStyle: draw.GlyphStyle{Shape: draw.CircleGlyph{}, Radius: vg.Points(2), Color: style.Color}}
		for i, x := range s.X[:min(len(s.X), len(s.Y))] {
			if y := s.Y[i]; x > 0 && y > 0 { // others have no place on these axes
				line.XYs = append(line.XYs, plotter.XY{X: x, Y: y})
			}
		}
		if len(line.XYs) == 0 {
			continue
		}
		points.XYs = line.XYs
		p.Add(line, points)
		p.Legend.Add(s.Name, line)
	}
	if p.Y.Max > 0 && p.Y.Max < 10*p.Y.Min { // a whole decade, so that what hardly changes looks like it
		p.Y.Min = math.Pow(10, math.Floor(math.Log10(p.Y.Min)))
		p.Y.Max = max(10*p.Y.Min, math.Pow(10, math.Ceil(math.Log10(p.Y.Max))))
	}
	return p, nil
}

// stack draws bars, each with the series on top of each other.
func stack(p *plot.Plot, c *record.Chart) error {
	p.Y.Min, p.Y.Tick.Marker = 0, plain{}
	grid := plotter.NewGrid()
	grid.Vertical.Width = 0
	p.Add(grid)
	var below *plotter.BarChart
	for i, s := range c.Series {
		bars, err := plotter.NewBarChart(plotter.Values(s.Y), vg.Points(barWidth))
		if err != nil {
			return fmt.Errorf("draw %s: %w", c.Title, err)
		}
		bars.Color, bars.LineStyle.Width = palette[i%len(palette)], 0
		if below != nil {
			bars.StackOn(below)
		}
		below = bars
		p.Add(bars)
		p.Legend.Add(s.Name, bars)
	}
	p.Legend.Left = false
	p.NominalX(c.Bars...)
	p.X.Max += 1.2 // room for the legend
	return nil
}

package lab

import (
	"cmp"
	"fmt"
	"image/color"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/weir-project/weir/internal/lab/record"
)

const (
	chartHeight  = 11 * vg.Centimeter
	barWidth     = 22 // in points
	paretoHeight = 15 * vg.Centimeter
	leastLatency = 0.01 // ms: a logarithmic axis has no 0
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
		line := curve(s.X, s.Y, s.Group)
		if n := drawn[s.Group]; n > 0 {
			line.Dashes = dashes(float64(10-3*n), 3)
		}
		drawn[s.Group]++
		line.XYs = slices.DeleteFunc(line.XYs, func(at plotter.XY) bool { return at.X <= 0 || at.Y <= 0 }) // they have no place on these axes
		if len(line.XYs) == 0 {
			continue
		}
		p.Add(line, &plotter.Scatter{XYs: line.XYs, GlyphStyle: draw.GlyphStyle{Shape: draw.CircleGlyph{}, Radius: vg.Points(2), Color: line.Color}})
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

// MarkFront marks those that no other one beats.
func MarkFront(all []record.Tradeoff) {
	for i := range all {
		a := &all[i]
		a.Front = !slices.ContainsFunc(all, func(b record.Tradeoff) bool {
			return b.X <= a.X && b.Y <= a.Y && (b.X < a.X || b.Y < a.Y)
		})
	}
}

// decades puts ticks at 1, 2 and 5 of each decade, in millions where there are.
type decades struct{}

// Ticks implements plot.Ticker.
func (decades) Ticks(from, to float64) (out []plot.Tick) {
	for p := math.Pow(10, math.Floor(math.Log10(from))); p <= to; p *= 10 {
		for _, f := range []float64{1, 2, 5} {
			if v := f * p; v >= from && v <= to {
				label := fmt.Sprintf("%.12g", v)
				if v >= 1e6 {
					label = fmt.Sprintf("%.12gM", v/1e6)
				}
				out = append(out, plot.Tick{Value: v, Label: label})
			}
		}
	}
	return out
}

// tradeoffs draws the settings of a report: a point each, the front as a line, the chosen
// one in a ring.
func tradeoffs(r *Report) *plot.Plot {
	p := plot.New()
	p.Title.Text = fmt.Sprintf("What each setting costs (%s: %s)", r.Lab, r.Verdict)
	p.X.Label.Text = "latency p99 (ms), from when a record was due to its acknowledgement"
	p.Y.Label.Text = "CPU (µs per event)"
	// Lingers differ by factors, and so does what comes of them.
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, decades{}
	p.Y.Min, p.Y.Tick.Marker = 0, plain{}
	p.Add(plotter.NewGrid())
	front := plotter.XYs{}
	labels := &names{}
	glyph := func(at plotter.XY, shape draw.GlyphDrawer, radius float64, c color.Color) *plotter.Scatter {
		s := &plotter.Scatter{XYs: plotter.XYs{at}, GlyphStyle: draw.GlyphStyle{Shape: shape, Radius: vg.Points(radius), Color: c}}
		p.Add(s)
		return s
	}
	for _, t := range slices.SortedFunc(slices.Values(r.Tradeoffs), func(a, b record.Tradeoff) int { return cmp.Compare(a.X, b.X) }) {
		at, text, c := plotter.XY{X: max(t.X, leastLatency), Y: t.Y}, t.Case, palette[4]
		if t.Front {
			front, c = append(front, at), palette[0]
		}
		glyph(at, draw.CircleGlyph{}, 3.5, c)
		if t.Chosen {
			p.Legend.Add("chosen: "+t.Case, glyph(at, draw.RingGlyph{}, 8, palette[1]))
			text += " (chosen)"
		}
		labels.at, labels.texts = append(labels.at, at), append(labels.texts, text)
	}
	if len(front) > 1 {
		line := &plotter.Line{XYs: front, LineStyle: draw.LineStyle{Color: palette[0], Width: vg.Points(lineWidth), Dashes: dashes(4, 3)}}
		p.Add(line)
		p.Legend.Add("front: no other setting is better at both", line)
	}
	p.Add(labels)
	p.Legend.Top = true
	p.X.Min, p.X.Max = p.X.Min/1.3, p.X.Max*1.6 // room for the names
	p.Y.Max *= 1.1
	return p
}

// names are texts beside points, each where it is on top of no other.
type names struct {
	at    plotter.XYs
	texts []string
}

const (
	nameFont  = 9
	nameAside = 7 // from the point to its name
)

// Plot implements plot.Plotter: a name is to the right of its point, or to the left, as
// little above or below as possible.
func (l *names) Plot(c draw.Canvas, p *plot.Plot) {
	tx, ty := p.Transforms(&c)
	style := p.X.Tick.Label
	style.Font.Size = vg.Points(nameFont)
	style.XAlign, style.YAlign = draw.XLeft, draw.YCenter
	var taken []vg.Rectangle
	for _, at := range l.at { // the points themselves
		x, y, r := tx(at.X), ty(at.Y), vg.Points(4)
		taken = append(taken, vg.Rectangle{Min: vg.Point{X: x - r, Y: y - r}, Max: vg.Point{X: x + r, Y: y + r}})
	}
	for i, text := range l.texts {
		box := l.place(taken, vg.Point{X: tx(l.at[i].X), Y: ty(l.at[i].Y)}, style.Width(text), c.Min.X, c.Max.X)
		taken = append(taken, box)
		c.FillText(style, vg.Point{X: box.Min.X, Y: (box.Min.Y + box.Max.Y) / 2}, text)
	}
}

// place finds room for a name, or puts it where it would be alone.
func (l *names) place(taken []vg.Rectangle, at vg.Point, width, left, right vg.Length) (first vg.Rectangle) {
	height, aside := vg.Points(nameFont+1), vg.Points(nameAside)
	for step := range 8 {
		up := height * vg.Length((step+1)/2)
		if step%2 == 0 {
			up = -up
		}
		for _, x := range []vg.Length{at.X + aside, at.X - aside - width} {
			box := vg.Rectangle{Min: vg.Point{X: x, Y: at.Y + up - height/2}, Max: vg.Point{X: x + width, Y: at.Y + up + height/2}}
			if step == 0 && x > at.X {
				first = box
			}
			if x >= left && box.Max.X <= right && !slices.ContainsFunc(taken, func(t vg.Rectangle) bool { return overlap(t, box) }) {
				return box
			}
		}
	}
	return first
}

func overlap(a, b vg.Rectangle) bool {
	return a.Min.X < b.Max.X && b.Min.X < a.Max.X && a.Min.Y < b.Max.Y && b.Min.Y < a.Max.Y
}

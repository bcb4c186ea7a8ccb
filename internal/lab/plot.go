package lab

import (
	"bytes"
	"fmt"
	"image/color"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// palette has colours that people with any colour vision tell apart (Okabe and
// Ito); lines differ by their dashes, too.
var palette = []color.RGBA{
	{R: 0x00, G: 0x72, B: 0xb2, A: 0xff}, {R: 0xd5, G: 0x5e, B: 0x00, A: 0xff},
	{R: 0x00, G: 0x9e, B: 0x73, A: 0xff}, {R: 0xcc, G: 0x79, B: 0xa7, A: 0xff},
	{R: 0x56, G: 0xb4, B: 0xe9, A: 0xff}, {R: 0xe6, G: 0x9f, B: 0x00, A: 0xff},
	{R: 0x00, G: 0x00, B: 0x00, A: 0xff}, {R: 0x8c, G: 0x56, B: 0x4b, A: 0xff}, // black, and a brown
}

// Sizes of the plot.
const (
	panelWidth  = 26 * vg.Centimeter
	panelHeight = 5.5 * vg.Centimeter
	lineWidth   = 1.3
)

// plotLines draws the lines of a report as one SVG, a panel above the other on the
// same axis of time.
func plotLines(r *Report) ([]byte, error) {
	if len(r.Tradeoffs) > 0 {
		return plotTradeoffs(r)
	}
	var order []string
	panels := map[string]*plot.Plot{}
	cases := map[string]int{}
	longest := 0.0
	for _, l := range r.Lines {
		p := panels[l.Panel]
		if p == nil {
			p = plot.New()
			p.Title.Text = l.Panel
			p.Y.Min = 0
			p.Add(plotter.NewGrid())
			p.Legend.Top, p.Legend.Left = true, false
			panels[l.Panel] = p
			order = append(order, l.Panel)
		}
		if _, ok := cases[l.Case]; !ok {
			cases[l.Case] = len(cases)
		}
		xy := make(plotter.XYs, min(len(l.X), len(l.Y)))
		for i := range xy {
			xy[i] = plotter.XY{X: l.X[i], Y: l.Y[i]}
			longest = max(longest, l.X[i])
		}
		if len(xy) == 0 {
			continue
		}
		line, err := plotter.NewLine(xy)
		if err != nil {
			return nil, fmt.Errorf("plot %s: %w", l.Panel, err)
		}
		n := cases[l.Case]
		line.Color, line.Width = palette[n%len(palette)], vg.Points(lineWidth)
		if n > 0 {
			line.Dashes = []vg.Length{vg.Points(float64(2 + 3*n)), vg.Points(2)}
		}
		p.Add(line)
		if l.Panel == order[0] {
			p.Legend.Add(l.Case, line)
		}
	}
	for _, m := range r.Marks {
		n := cases[m.Case]
		for i, name := range order {
			x := &across{x: m.X, style: draw.LineStyle{Color: palette[n%len(palette)], Width: vg.Points(0.7)}}
			if i == 0 {
				x.text, x.row = m.Text, n
			}
			panels[name].Add(x)
		}
		longest = max(longest, m.X)
	}
	if len(order) == 0 {
		return []byte(`<svg xmlns="http://www.w3.org/2000/svg"/>` + "\n"), nil
	}
	grid := make([][]*plot.Plot, len(order))
	for i, name := range order {
		panels[name].X.Min, panels[name].X.Max = 0, longest
		grid[i] = []*plot.Plot{panels[name]}
	}
	panels[order[len(order)-1]].X.Label.Text = fmt.Sprintf("seconds since the first event (%s: %s)", r.Lab, r.Verdict)
	c := vgsvg.NewWith(vgsvg.UseWH(panelWidth, panelHeight*vg.Length(len(order))))
	tiles := draw.Tiles{Rows: len(order), Cols: 1, PadY: vg.Points(8), PadTop: vg.Points(4), PadBottom: vg.Points(4), PadLeft: vg.Points(4), PadRight: vg.Points(8)}
	for i, row := range plot.Align(grid, tiles, draw.New(c)) {
		grid[i][0].Draw(row[0])
	}
	var out bytes.Buffer
	if _, err := c.WriteTo(&out); err != nil {
		return nil, fmt.Errorf("draw plot: %w", err)
	}
	return out.Bytes(), nil
}

// across is a mark: a line from bottom to top, with its text beside it.
type across struct {
	x     float64
	text  string // may be empty
	row   int    // texts of different cases are not on top of each other
	style draw.LineStyle
}

// markFont is the size of a mark's text.
const markFont = 7

// Plot implements plot.Plotter.
func (a *across) Plot(c draw.Canvas, p *plot.Plot) {
	tx, _ := p.Transforms(&c)
	x := tx(a.x)
	c.StrokeLine2(a.style, x, c.Min.Y, x, c.Max.Y)
	if a.text == "" {
		return
	}
	style := p.X.Tick.Label
	style.Font.Size, style.Color = vg.Points(markFont), a.style.Color
	style.XAlign, style.YAlign = draw.XLeft, draw.YTop
	c.FillText(style, vg.Point{X: x + vg.Points(2), Y: c.Max.Y - vg.Points(float64(markFont*a.row+1))}, a.text)
}

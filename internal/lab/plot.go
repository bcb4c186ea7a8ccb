package lab

import (
	"bytes"
	"fmt"
	"image/color"
	"sync"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
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

// setFont sets the font of all plots, which is the library's to keep.
var setFont = sync.OnceFunc(func() {
	plot.DefaultFont = font.Font{Typeface: "Liberation", Variant: "Sans"}
	plotter.DefaultFont = plot.DefaultFont
})

// plotReport draws a report as one SVG: its settings between two costs, and its lines, a
// panel above the other on the same axis of time.
func plotReport(r *Report) ([]byte, error) {
	setFont()
	lines, err := panels(r)
	if err != nil {
		return nil, err
	}
	height := panelHeight * vg.Length(len(lines))
	if len(r.Tradeoffs) > 0 {
		height += paretoHeight
	}
	if height == 0 {
		return []byte(`<svg xmlns="http://www.w3.org/2000/svg"/>` + "\n"), nil
	}
	c := vgsvg.NewWith(vgsvg.UseWH(panelWidth, height))
	all := draw.New(c)
	all.FillPolygon(color.White, []vg.Point{{}, {X: panelWidth}, {X: panelWidth, Y: height}, {Y: height}})
	if len(r.Tradeoffs) > 0 {
		p, err := tradeoffs(r)
		if err != nil {
			return nil, err
		}
		p.Draw(draw.Crop(all, vg.Points(8), -vg.Points(8), height-paretoHeight+vg.Points(12), -vg.Points(6)))
	}
	if len(lines) > 0 {
		grid := make([][]*plot.Plot, len(lines))
		for i, p := range lines {
			grid[i] = []*plot.Plot{p}
		}
		tiles := draw.Tiles{Rows: len(lines), Cols: 1, PadY: vg.Points(8), PadTop: vg.Points(6), PadBottom: vg.Points(6), PadLeft: vg.Points(8), PadRight: vg.Points(12)}
		for i, row := range plot.Align(grid, tiles, draw.Crop(all, 0, 0, 0, panelHeight*vg.Length(len(lines))-height)) {
			lines[i].Draw(row[0])
		}
	}
	var out bytes.Buffer
	if _, err := c.WriteTo(&out); err != nil {
		return nil, fmt.Errorf("draw plot: %w", err)
	}
	// Where there are no Liberation fonts, others of the same widths will do.
	return bytes.ReplaceAll(out.Bytes(), []byte("font-family:Liberation Sans;"), []byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif;")), nil
}

// panels makes a plot of each panel, in the order in which they were first told.
func panels(r *Report) (out []*plot.Plot, err error) {
	byName := map[string]*plot.Plot{}
	cases := map[string]int{}
	longest := 0.0
	for _, l := range r.Lines {
		xy := make(plotter.XYs, min(len(l.X), len(l.Y)))
		if len(xy) == 0 {
			continue
		}
		p := byName[l.Panel]
		if p == nil {
			p = plot.New()
			p.Title.Text = l.Panel
			p.Y.Min = 0
			p.Add(plotter.NewGrid())
			p.Legend.Top, p.Legend.Left = true, false
			byName[l.Panel] = p
			out = append(out, p)
		}
		if _, ok := cases[l.Case]; !ok {
			cases[l.Case] = len(cases)
		}
		for i := range xy {
			xy[i] = plotter.XY{X: l.X[i], Y: l.Y[i]}
			longest = max(longest, l.X[i])
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
		if p == out[0] {
			p.Legend.Add(l.Case, line)
		}
	}
	for _, m := range r.Marks {
		n := cases[m.Case]
		for i, p := range out {
			x := &across{x: m.X, style: draw.LineStyle{Color: palette[n%len(palette)], Width: vg.Points(0.7)}}
			if i == 0 {
				x.text, x.row = m.Text, n
			}
			p.Add(x)
		}
		longest = max(longest, m.X)
	}
	for _, p := range out {
		p.X.Min, p.X.Max = 0, longest
	}
	if len(out) > 0 {
		out[len(out)-1].X.Label.Text = fmt.Sprintf("seconds since the first event (%s: %s)", r.Lab, r.Verdict)
	}
	return out, nil
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

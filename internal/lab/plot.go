package lab

import (
	"bytes"
	"cmp"
	"fmt"
	"image/color"
	"slices"
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
	keyFont     = 10
)

// setFont sets the font of all plots, which is the library's to keep.
var setFont = sync.OnceFunc(func() {
	plot.DefaultFont = font.Font{Typeface: "Liberation", Variant: "Sans"}
	plotter.DefaultFont = plot.DefaultFont
})

// Plot draws a report as one SVG: its settings between two costs, and its lines, a
// panel above the other on the same axis of time.
func Plot(r *Report) ([]byte, error) {
	setFont()
	lines, key := panels(r)
	inPanels := panelHeight * vg.Length(len(lines))
	if len(lines) == 1 { // it is all that there is to see
		inPanels *= 2
	}
	below := inPanels
	if len(lines) > 0 {
		below += key.Rectangle(draw.Canvas{}).Size().Y + vg.Points(keyFont)
	}
	above := make([]*plot.Plot, 0, len(r.Charts)+1)
	heights := make([]vg.Length, 0, len(r.Charts)+1)
	if len(r.Tradeoffs) > 0 {
		above, heights = append(above, tradeoffs(r)), append(heights, paretoHeight)
	}
	for i := range r.Charts {
		p, err := chart(&r.Charts[i])
		if err != nil {
			return nil, err
		}
		above, heights = append(above, p), append(heights, chartHeight)
	}
	height := below
	for _, h := range heights {
		height += h
	}
	if height == 0 {
		return []byte(`<svg xmlns="http://www.w3.org/2000/svg"/>` + "\n"), nil
	}
	c := vgsvg.NewWith(vgsvg.UseWH(panelWidth, height))
	all := draw.New(c)
	all.FillPolygon(color.White, []vg.Point{{}, {X: panelWidth}, {X: panelWidth, Y: height}, {Y: height}})
	top := height
	for i, p := range above {
		p.Draw(draw.Crop(all, vg.Points(8), -vg.Points(8), top-heights[i]+vg.Points(12), top-height-vg.Points(6)))
		top -= heights[i]
	}
	if len(lines) > 0 {
		key.Draw(draw.Crop(all, vg.Points(keyFont), 0, inPanels, below-height))
		grid := make([][]*plot.Plot, len(lines))
		for i, p := range lines {
			grid[i] = []*plot.Plot{p}
		}
		tiles := draw.Tiles{Rows: len(lines), Cols: 1, PadY: vg.Points(8), PadTop: vg.Points(6), PadBottom: vg.Points(6), PadLeft: vg.Points(8), PadRight: vg.Points(12)}
		for i, row := range plot.Align(grid, tiles, draw.Crop(all, 0, 0, 0, inPanels-height)) {
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

func dashes(on, off float64) []vg.Length { return []vg.Length{vg.Points(on), vg.Points(off)} }

// curve is a line in the colour with a number, through as many points as have both figures.
func curve(x, y []float64, n int) *plotter.Line {
	line := &plotter.Line{LineStyle: draw.LineStyle{Color: palette[n%len(palette)], Width: vg.Points(lineWidth)}}
	for i := range min(len(x), len(y)) {
		line.XYs = append(line.XYs, plotter.XY{X: x[i], Y: y[i]})
	}
	return line
}

// panels makes a plot of each panel, in the order of their first points, and the key, which
// says which line is which case. It is drawn above all panels, where it covers none.
func panels(r *Report) (out []*plot.Plot, key plot.Legend) {
	key = plot.NewLegend()
	key.Top, key.Left, key.Padding, key.TextStyle.Font.Size = true, true, vg.Points(3), vg.Points(keyFont)
	byName, cases := map[string]*plot.Plot{}, map[string]int{}
	happened := &marks{}
	longest := 0.0
	for _, l := range r.Lines {
		n, known := cases[l.Case]
		if !known {
			n = len(cases)
		}
		line := curve(l.X, l.Y, n)
		if len(line.XYs) == 0 {
			continue
		}
		p := byName[l.Panel]
		if p == nil {
			p = plot.New()
			p.Title.Text = l.Panel
			p.Y.Min, p.Y.Tick.Marker = 0, plain{}
			p.Add(plotter.NewGrid(), happened)
			byName[l.Panel] = p
			out = append(out, p)
		}
		if n > 0 {
			line.Dashes = dashes(float64(2+3*n), 2)
		}
		if !known {
			cases[l.Case] = n
			key.Add(l.Case, line)
		}
		_, last, _, _ := line.DataRange()
		longest = max(longest, last)
		p.Add(line)
	}
	for _, m := range r.Marks {
		*happened = append(*happened, mark{m.X, m.Text, palette[cases[m.Case]%len(palette)]})
		longest = max(longest, m.X)
	}
	slices.SortStableFunc(*happened, func(a, b mark) int { return cmp.Compare(a.x, b.x) })
	for i, p := range out {
		p.X.Min, p.X.Max, p.X.Tick.Marker = 0, longest, plain{}
		if i == 0 {
			p.Add(markTexts{happened})
		}
		if i == len(out)-1 {
			p.X.Label.Text = fmt.Sprintf("seconds since the first event (%s: %s)", r.Lab, r.Verdict)
		}
	}
	return out, key
}

// plain writes ticks without zeros behind a point.
type plain struct{}

// Ticks implements plot.Ticker.
func (plain) Ticks(from, to float64) []plot.Tick {
	all := plot.DefaultTicks{}.Ticks(from, to)
	for i := range all {
		if all[i].Label != "" {
			all[i].Label = fmt.Sprintf("%.6g", all[i].Value)
		}
	}
	return all
}

// mark is something that happened.
type mark struct {
	x     float64
	text  string
	color color.Color
}

// marks are lines from bottom to top, in the order of time.
type marks []mark

// Plot implements plot.Plotter.
func (m *marks) Plot(c draw.Canvas, p *plot.Plot) {
	tx, _ := p.Transforms(&c)
	for _, x := range *m {
		c.StrokeLine2(draw.LineStyle{Color: x.color, Width: vg.Points(0.7)}, tx(x.x), c.Min.Y, tx(x.x), c.Max.Y)
	}
}

// markTexts are the texts beside them.
type markTexts struct{ *marks }

const (
	// markFont is the size of a mark's text, markRows how many texts there are on top of
	// each other at most: further ones are left out.
	markFont = 7
	markRows = 8
	// markSame is how near to each other, as a share of the width, equal texts are one.
	markSame = 0.02
)

// Plot implements plot.Plotter.
func (m markTexts) Plot(c draw.Canvas, p *plot.Plot) {
	tx, _ := p.Transforms(&c)
	style := p.X.Tick.Label
	style.Font.Size, style.XAlign, style.YAlign = vg.Points(markFont), draw.XLeft, draw.YTop
	last := map[string]vg.Length{} // where a text was put last
	var ends [markRows]vg.Length   // of the last text in each row
	for _, x := range *m.marks {
		at := tx(x.x)
		if before, ok := last[x.text]; ok && at-before < markSame*(c.Max.X-c.Min.X) {
			continue
		}
		from, width := at+vg.Points(2), style.Width(x.text)
		if from+width > c.Max.X {
			from = at - vg.Points(2) - width
		}
		row := slices.IndexFunc(ends[:], func(end vg.Length) bool { return end <= from })
		if row < 0 {
			continue
		}
		style.Color = x.color
		c.FillText(style, vg.Point{X: from, Y: c.Max.Y - vg.Points(float64(markFont*row+1))}, x.text)
		last[x.text], ends[row] = at, from+width+vg.Points(3)
	}
}

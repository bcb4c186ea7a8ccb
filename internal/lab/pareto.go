package lab

import (
	"fmt"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// markFront marks those that nobody beats.
func markFront(all []Tradeoff) {
	for i := range all {
		a := &all[i]
		a.Front = !slices.ContainsFunc(all, func(b Tradeoff) bool {
			return b.X <= a.X && b.Y <= a.Y && (b.X < a.X || b.Y < a.Y)
		})
	}
}

const paretoHeight = 15 * vg.Centimeter

// tradeoffs draws the settings of a report: a point each, the front as a line, the chosen
// one in a ring.
func tradeoffs(r *Report) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = fmt.Sprintf("What each setting costs (%s: %s)", r.Lab, r.Verdict)
	p.X.Label.Text = "latency p99 (ms), from when a record was due to its acknowledgement"
	p.Y.Label.Text = "CPU (µs per event)"
	p.X.Min, p.Y.Min = 0, 0
	p.Add(plotter.NewGrid())
	front := plotter.XYs{}
	labels := plotter.XYLabels{}
	for _, t := range slices.SortedFunc(slices.Values(r.Tradeoffs), func(a, b Tradeoff) int {
		if a.X < b.X {
			return -1
		}
		return 1
	}) {
		at := plotter.XY{X: t.X, Y: t.Y}
		s, err := plotter.NewScatter(plotter.XYs{at})
		if err != nil {
			return nil, fmt.Errorf("plot %s: %w", t.Case, err)
		}
		s.Shape, s.Radius, s.Color = draw.CircleGlyph{}, vg.Points(3.5), palette[4]
		if t.Front {
			front = append(front, at)
			s.Color = palette[0]
		}
		p.Add(s)
		text := t.Case
		if t.Chosen {
			ring, err := plotter.NewScatter(plotter.XYs{at})
			if err != nil {
				return nil, fmt.Errorf("plot %s: %w", t.Case, err)
			}
			ring.Shape, ring.Radius, ring.Color = draw.RingGlyph{}, vg.Points(8), palette[1]
			p.Add(ring)
			p.Legend.Add("chosen: "+t.Case, ring)
			text += " (chosen)"
		}
		labels.XYs, labels.Labels = append(labels.XYs, at), append(labels.Labels, text)
	}
	if len(front) > 1 {
		line, err := plotter.NewLine(front)
		if err != nil {
			return nil, fmt.Errorf("plot the front: %w", err)
		}
		line.Color, line.Width, line.Dashes = palette[0], vg.Points(lineWidth), []vg.Length{vg.Points(4), vg.Points(3)}
		p.Add(line)
		p.Legend.Add("front: nobody is better at both", line)
	}
	texts, err := plotter.NewLabels(labels)
	if err != nil {
		return nil, fmt.Errorf("plot names: %w", err)
	}
	texts.Offset = vg.Point{X: vg.Points(6), Y: vg.Points(3)}
	p.Add(texts)
	p.Legend.Top = true
	p.X.Max *= 1.15 // room for the names
	p.Y.Max *= 1.1
	return p, nil
}

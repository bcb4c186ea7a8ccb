package inspect

import (
	"fmt"
	"strings"

	"github.com/weir-project/weir/internal/scan"
)

// Gap is the offsets right before a message that hold none. Each is counted under
// the reason that the log gives.
type Gap struct {
	First int64 `json:"first"`
	Last  int64 `json:"last"`
	// Markers end transactions, Aborted are records of aborted ones, and Missing
	// offsets hold nothing any more, as after compaction.
	Markers int64 `json:"markers"`
	Aborted int64 `json:"aborted"`
	Missing int64 `json:"missing"`
}

// String explains the gap in one sentence.
func (g Gap) String() string {
	var why []string
	count := func(n int64, one, many string) {
		switch {
		case n == 1:
			why = append(why, "1 "+one)
		case n > 1:
			why = append(why, fmt.Sprintf("%d %s", n, many))
		}
	}
	count(g.Markers, "transaction marker", "transaction markers")
	count(g.Aborted, "record of an aborted transaction", "records of aborted transactions")
	count(g.Missing, "record that is no longer in the log (compaction)", "records that are no longer in the log (compaction)")
	where := fmt.Sprintf("offsets %d-%d hold no messages", g.First, g.Last)
	if g.First == g.Last {
		where = fmt.Sprintf("offset %d holds no message", g.First)
	}
	return where + ": " + strings.Join(why, ", ")
}

// with returns the gap with what follows it. A nil gap is empty.
func (g *Gap) with(next Gap) *Gap {
	if g == nil {
		return &next
	}
	return &Gap{First: g.First, Last: next.Last, Markers: g.Markers + next.Markers, Aborted: g.Aborted + next.Aborted, Missing: g.Missing + next.Missing}
}

// gaps sums up the offsets without messages of the chunks of one partition, by the
// offset of the message that follows.
type gaps struct{ open *Gap }

func (g *gaps) before(c scan.Chunk) map[int64]*Gap {
	if c.Trimmed > 0 {
		g.open = nil
	}
	var out map[int64]*Gap
	left := c.Gaps
	for _, rec := range c.Records {
		for len(left) > 0 && left[0].From < rec.Offset {
			g.add(left[0])
			left = left[1:]
		}
		if g.open != nil {
			if out == nil {
				out = map[int64]*Gap{}
			}
			out[rec.Offset], g.open = g.open, nil
		}
	}
	for _, s := range left {
		g.add(s)
	}
	return out
}

func (g *gaps) add(s scan.Gap) {
	one := Gap{First: s.From, Last: s.To - 1}
	switch n := s.To - s.From; s.Why {
	case scan.Marker:
		one.Markers = n
	case scan.Aborted:
		one.Aborted = n
	default:
		one.Missing = n
	}
	g.open = g.open.with(one)
}

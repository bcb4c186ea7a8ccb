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

// join returns two adjacent gaps as one. Either may be nil.
func (g *Gap) join(next *Gap) *Gap {
	switch {
	case g == nil:
		return next
	case next == nil:
		return g
	}
	return &Gap{First: g.First, Last: next.Last, Markers: g.Markers + next.Markers, Aborted: g.Aborted + next.Aborted, Missing: g.Missing + next.Missing}
}

func gapOf(s scan.Gap) *Gap {
	g := &Gap{First: s.From, Last: s.To - 1}
	switch n := s.To - s.From; s.Why {
	case scan.Marker:
		g.Markers = n
	case scan.Aborted:
		g.Aborted = n
	default:
		g.Missing = n
	}
	return g
}

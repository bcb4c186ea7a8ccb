package count

import (
	"bytes"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/latency"
)

// arrivals remembers when the events of the batch in hand had arrived at the
// socket, by the header that the ingester gave them. Consecutive ones mostly have
// the same: one entry stands for all of them. Records without it are left out.
type arrivals struct {
	text []byte // of the last entry, memory of a record in hand
	seen []arrival
}

type arrival struct {
	us int64 // Unix microseconds
	n  int64
}

func (a *arrivals) record(r *kgo.Record) {
	for i := len(r.Headers) - 1; i >= 0; i-- {
		h := &r.Headers[i]
		if h.Key != kafka.HeaderReceived {
			continue
		}
		if n := len(a.seen); n > 0 && bytes.Equal(h.Value, a.text) {
			a.seen[n-1].n++
			return
		}
		us, err := strconv.ParseInt(string(h.Value), 10, 64)
		if err != nil || us <= 0 {
			return // somebody else's
		}
		a.text = h.Value
		a.seen = append(a.seen, arrival{us, 1})
		return
	}
}

// addTo adds the time from each arrival to now.
func (a *arrivals) addTo(h *latency.Histogram, now time.Time) {
	for _, x := range a.seen {
		h.Add(now.Sub(time.UnixMicro(x.us)), x.n)
	}
}

func (a *arrivals) reset() { a.text, a.seen = nil, a.seen[:0] }

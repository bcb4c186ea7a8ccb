package simulate

import (
	"io"
	"testing"
	"time"
)

// past is a timeline on which everything has happened already, so that a server
// sends as fast as it can.
func past(b *testing.B, variant string) *Timeline {
	return timeline(b, TimelineConfig{Rate: 100_000, Variant: variant, History: 2 * time.Hour, Limit: int64(b.N)})
}

// What one connection gets over loopback: generation, the socket, and a client
// that takes frames apart and nothing else.
func BenchmarkServeBluesky(b *testing.B) {
	s, err := NewBluesky(ServerConfig{World: NewWorld(1), Timeline: past(b, "app.bsky.feed.post")})
	h := serve(b, s, err, nil)
	b.ResetTimer()
	c := h.subscribe("cursor=1")
	buf, total := make([]byte, 64<<10), 0
	for range b.N {
		_, r, err := c.NextReader()
		if err != nil {
			b.Fatal(err)
		}
		for {
			n, err := r.Read(buf)
			total += n
			if err == io.EOF {
				break
			} else if err != nil {
				b.Fatal(err)
			}
		}
	}
	b.StopTimer()
	b.SetBytes(int64(total / b.N))
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

func BenchmarkServeWikipedia(b *testing.B) {
	s, err := NewWikipedia(ServerConfig{World: NewWorld(1), Timeline: past(b, Eqiad)})
	if err == nil {
		s.maxPerIP = 100
	}
	h := serve(b, s, err, nil)
	b.ResetTimer()
	c := h.get(recentPath + "?since=1")
	total := 0
	for ends := 0; ends < b.N+1; { // an empty line ends each event, and the greeting
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			b.Fatal(err)
		}
		total += len(line)
		if len(line) == 1 {
			ends++
		}
	}
	b.StopTimer()
	b.SetBytes(int64(total / b.N))
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

package watch

import (
	"time"

	"github.com/weir-project/weir/internal/latency"
)

// pastStream is what is remembered of a stream from version to version.
type pastStream struct {
	shown             Stream // what Redis and the cursor hold; Redis is empty before the first answer
	counting, growing track
	kinds             map[string]*track
	latencies         [3]latency.Window // of the commit, to the end, and of the sink
}

// applyCounts takes over what was counted, and how many events the topics were given.
func (w *Watcher) applyCounts(at time.Time, all map[string]streamCounts) {
	for name, c := range all {
		past := w.streams[name]
		s := &past.shown
		switch {
		case w.cfg.Tallies == nil:
			s.Redis = "not watched"
		case c.err != nil:
			s.Redis = c.err.Error() // the counts stay those of before
		default:
			s.Redis, s.Counts, s.Counted = "ok", c.counts, c.counted
			s.CountRate = past.counting.add(at, c.counted)
			for kind, n := range c.counts {
				if past.kinds[kind] == nil {
					past.kinds[kind] = &track{}
				}
				past.kinds[kind].add(at, n)
			}
		}
		if s.Total = c.total; c.total >= 0 {
			s.Rate = past.growing.add(at, c.total)
		}
	}
}

// drawStreams joins what the cluster, Redis and this process know of each stream.
func (w *Watcher) drawStreams(now time.Time) {
	var local map[string]Local
	if w.cfg.Local != nil {
		local = w.cfg.Local()
	}
	w.next.Streams = map[string]*Stream{}
	for _, cfg := range w.cfg.Streams {
		past := w.streams[cfg.Name]
		s := past.shown
		if l, ok := local[cfg.Name]; ok {
			s.Local = l
		}
		s.Latency = shown(&past.latencies[0], now, s.Measured.Commit)
		s.EndToEnd = shown(&past.latencies[1], now, s.Measured.EndToEnd)
		s.Sink = shown(&past.latencies[2], now, s.Measured.Sink)
		if g := w.next.Groups[cfg.Group]; g != nil {
			s.Lag, s.LagSeconds = g.Lag, g.LagSeconds
		}
		if s.Total < 0 && s.Redis != "" {
			s.Total = s.Counted + s.Lag
			if t := w.next.Topics[cfg.Topic]; t != nil {
				s.Rate = t.Rate
			}
		}
		if t := w.topics[cfg.Topic]; t != nil && t.lanes != nil {
			s.Lanes = t.lanes
		}
		w.next.Streams[cfg.Name] = &s
	}
}

// remember adds this version to the history.
func (w *Watcher) remember(now time.Time) {
	values := map[string]float64{}
	for name, t := range w.next.Topics {
		if !t.Internal {
			values["topic/"+name+"/rate"] = t.Rate
		}
	}
	for name, g := range w.next.Groups {
		if g.Lag >= 0 {
			values["group/"+name+"/lag"] = float64(g.Lag)
		}
		values["group/"+name+"/rate"] = g.Rate
	}
	for name, s := range w.next.Streams {
		p := "stream/" + name + "/"
		values[p+"rate"], values[p+"count_rate"] = s.Rate, s.CountRate
		if s.Lag >= 0 {
			values[p+"lag"] = float64(s.Lag)
		}
		for name, l := range map[string]*Latency{"latency": s.Latency, "end_to_end": s.EndToEnd, "sink": s.Sink} {
			if l != nil {
				values[p+name+"_p50"], values[p+name+"_p99"] = l.P50, l.P99
			}
		}
		if s.Queue != nil && s.Queue.MaxBytes > 0 {
			values[p+"queue"] = max(float64(s.Queue.Bytes)/float64(s.Queue.MaxBytes), float64(s.Queue.Events)/float64(max(1, s.Queue.MaxEvents)))
		}
		for kind := range s.Counts {
			if t := w.streams[name].kinds[kind]; t != nil {
				values[p+"kind/"+kind] = t.rate
			}
		}
	}
	w.history.add(now, values)
}

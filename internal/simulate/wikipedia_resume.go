package simulate

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// position is where reading of a topic's partition begins, as a client says it
// (EventStreams' core, kafka-sse 0.4.2, calls that an assignment), and after resolve
// also what the ids of the stream say of it: the offset where reading began, -1 for the
// end, and once an event was sent a timestamp instead.
type position struct {
	topic     string
	partition int64
	offset    *int64
	timestamp *int64 // ms
	start     int64  // the first event to send
}

const (
	offsetLatest   = -1
	offsetEarliest = -2
)

const badAssignment = "Must provide either an array topic names, or " +
	" an array of objects with topic, partition and offset|timestamp."

// parseLastEventID reads the header. An element that is a string is a topic.
// problem is what the real server says of a bad one; empty: none.
func parseLastEventID(text string) (list []position, problem string) {
	var whole string
	if json.Unmarshal([]byte(text), &whole) == nil && whole != "" {
		return namedTopics(strings.Split(whole, ",")), ""
	}
	if !json.Valid([]byte(text)) {
		return nil, "Unexpected token in JSON"
	}
	var elements []json.RawMessage
	if json.Unmarshal([]byte(text), &elements) != nil || len(elements) == 0 {
		return nil, badAssignment
	}
	for _, raw := range elements {
		if raw[0] == '"' {
			var name string
			_ = json.Unmarshal(raw, &name) // valid JSON that is a string
			list = append(list, position{topic: name})
			continue
		}
		var obj struct {
			Topic     *string      `json:"topic"`
			Partition *json.Number `json:"partition"`
			Offset    *json.Number `json:"offset"`
			Timestamp *json.Number `json:"timestamp"`
		}
		if json.Unmarshal(raw, &obj) != nil || obj.Topic == nil {
			return nil, badAssignment
		}
		p, offset, ts := whole64(obj.Partition), whole64(obj.Offset), whole64(obj.Timestamp)
		if p == nil || offset == nil && ts == nil {
			return nil, badAssignment
		}
		list = append(list, position{topic: *obj.Topic, partition: *p, offset: offset, timestamp: ts})
	}
	return list, ""
}

// whole64 is a JSON number that is whole, as JavaScript sees it; nil otherwise.
func whole64(n *json.Number) *int64 {
	if n == nil {
		return nil
	}
	v, err := n.Int64()
	if f, ferr := n.Float64(); err != nil {
		if ferr != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
			return nil
		}
		v = int64(f)
	}
	return &v
}

func namedTopics(names []string) (out []position) {
	for _, n := range names {
		out = append(out, position{topic: n})
	}
	return out
}

// effective is what the real server makes of a list: where one element has only
// a timestamp, those with an offset come first, those that carry both are lost,
// and the resolved ones follow. since stands in for topics that are only named.
func effective(list []position, since *int64) []position {
	for k := range list {
		if p := &list[k]; p.offset == nil && p.timestamp == nil {
			if p.timestamp = since; since == nil {
				p.offset = new(int64(offsetLatest))
			}
		}
	}
	var byOffset, byTime []position
	for _, p := range list {
		switch {
		case p.timestamp == nil:
			byOffset = append(byOffset, p)
		case p.offset == nil:
			byTime = append(byTime, p)
		}
	}
	if byTime == nil {
		return list
	}
	return append(byOffset, byTime...)
}

// parseSince reads `?since=`: milliseconds, or a date as JavaScript reads it.
func parseSince(text string) (*int64, error) {
	if text == "" {
		return nil, nil
	}
	if ms, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(ms) && math.Abs(ms) < 1e17 {
		v := int64(ms)
		if v == 0 {
			return nil, nil
		}
		return &v, nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05",
		"2006-01-02T15:04Z07:00", "2006-01-02T15:04", time.DateOnly, time.RFC1123} {
		if t, err := time.Parse(layout, text); err == nil {
			v := t.UnixMilli()
			return &v, nil
		}
	}
	return nil, fmt.Errorf("since timestamp is not a UTC milliseconds unix epoch and was not parseable: '%s'", text)
}

// resolve fills in the first event and what the ids say, as of now.
func (s *WikipediaServer) resolve(list []position, since *int64) []position {
	v, tip, oldest := s.kept()
	oldest = max(oldest, s.floor.Load())
	list = effective(list, since)
	for k := range list {
		p := &list[k]
		dc, eventful := strings.CutSuffix(p.topic, recentChange)
		switch {
		case !eventful || p.partition != 0: // nothing ever happens there
			p.start = math.MaxInt64
		case p.offset != nil:
			p.start = tip
			if i := *p.offset - offsetBase; *p.offset == offsetEarliest {
				p.start = oldest
			} else if *p.offset >= 0 && i >= oldest && i <= tip {
				p.start = i
			}
		default:
			p.start = s.firstAt(&v, dc, *p.timestamp, max(oldest, 0), tip)
			if p.start < tip {
				p.offset = new(offsetBase + p.start)
			}
		}
		if p.offset == nil {
			p.offset = new(int64(offsetLatest))
		}
		p.timestamp = new(int64) // of its own: since is shared
	}
	return list
}

// firstAt is the first event in [from, to) of a data centre whose record has at
// least a timestamp: all that follow are sent, whatever theirs. to where there is none.
func (s *WikipediaServer) firstAt(v *View, dc string, ms, from, to int64) int64 {
	i := from
	if ms > 0 && ms < math.MaxInt64/1000 {
		i = max(from, v.Until(ms*1000-1)) // no record is later than its event
	} else if ms > 0 {
		return to
	}
	for i < to {
		g := v.Segments.Of(i)
		if s.variant(g.Variant).dc != dc {
			i = min(v.Segments.end(g), to)
			continue
		}
		if s.recordMS(i, g.time(i)) >= ms {
			return i
		}
		i++
	}
	return to
}

// positions appends the array that a client would send back.
func (o *output) positions(list []position) *output {
	separator := "["
	for k := range list {
		p := &list[k]
		o.put(separator).put(`{"topic":"`).put(p.topic).put(`","partition":`).num(p.partition)
		if p.offset != nil {
			o.put(`,"offset":`).num(*p.offset).put(`}`)
		} else {
			o.put(`,"timestamp":`).num(*p.timestamp).put(`}`)
		}
		separator = ","
	}
	return o.put("]")
}

package simulate

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// assignment is where reading of a topic's partition begins, as a client says
// it: EventStreams' core (kafka-sse 0.4.2) calls it so.
type assignment struct {
	topic     string
	partition int64
	offset    *int64
	timestamp *int64 // ms
}

// position is an assignment that was resolved.
type position struct {
	topic     string
	partition int64
	start     int64 // the first event to send
	// What the ids of the stream say of it: a timestamp once an event was sent,
	// before that the offset where reading began, -1 for the end.
	byTime bool
	value  int64
}

const (
	offsetLatest   = -1
	offsetEarliest = -2
)

const badAssignment = "Must provide either an array topic names, or " +
	" an array of objects with topic, partition and offset|timestamp."

// parseLastEventID reads the header. An element that is a string is a topic.
// problem is what the real server says of a bad one; empty: none.
func parseLastEventID(text string) (list []assignment, problem string) {
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
			list = append(list, assignment{topic: name})
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
		list = append(list, assignment{topic: *obj.Topic, partition: *p, offset: offset, timestamp: ts})
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

func namedTopics(names []string) (out []assignment) {
	for _, n := range names {
		out = append(out, assignment{topic: n})
	}
	return out
}

// effective is what the real server makes of a list: where one element has only
// a timestamp, those with an offset come first, those that carry both are lost,
// and the resolved ones follow. since stands in for topics that are only named.
func effective(list []assignment, since *int64) []assignment {
	latest := int64(offsetLatest)
	for k := range list {
		if a := &list[k]; a.offset == nil && a.timestamp == nil {
			if a.timestamp = since; since == nil {
				a.offset = &latest
			}
		}
	}
	var byOffset, byTime []assignment
	for _, a := range list {
		switch {
		case a.timestamp == nil:
			byOffset = append(byOffset, a)
		case a.offset == nil:
			byTime = append(byTime, a)
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

// resolve turns assignments into positions, as of now.
func (s *WikipediaServer) resolve(list []assignment, since *int64) []position {
	v, tip, oldest := s.kept()
	oldest = max(oldest, s.floor.Load())
	var out []position
	for _, a := range effective(list, since) {
		p := position{topic: a.topic, partition: a.partition, start: math.MaxInt64, value: offsetLatest}
		dc, eventful := strings.CutSuffix(a.topic, recentChange)
		switch {
		case !eventful || a.partition != 0: // nothing ever happens there
			if a.offset != nil {
				p.value = *a.offset
			}
		case a.offset != nil:
			p.value, p.start = *a.offset, tip
			if i := *a.offset - offsetBase; *a.offset == offsetEarliest {
				p.start = oldest
			} else if *a.offset >= 0 && i >= oldest && i <= tip {
				p.start = i
			}
		default:
			p.start = tip
			if i := s.firstAt(&v, dc, *a.timestamp, max(oldest, 0), tip); i < tip {
				p.start, p.value = i, offsetBase+i
			}
		}
		out = append(out, p)
	}
	return out
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
		by := `,"offset":`
		if p.byTime {
			by = `,"timestamp":`
		}
		o.put(separator, `{"topic":"`, p.topic, `","partition":`).num(p.partition).put(by).num(p.value).put(`}`)
		separator = ","
	}
	return o.put("]")
}

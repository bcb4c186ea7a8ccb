package inspect

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// Target is a place in the partitions of a topic: where reading begins, or where a reset
// moves a group. Reading takes the zero value for Oldest.
type Target struct {
	mode targetMode
	n    int64
	at   time.Time
	each map[int32]int64
}

type targetMode uint8

const (
	targetNone targetMode = iota
	targetOldest
	targetNewest
	targetOffset
	targetTime
	targetEnd
	targetEach
	targetBy
)

// IsZero reports whether no place was named.
func (t Target) IsZero() bool { return t.mode == targetNone }

// Oldest is the first message that is retained.
func Oldest() Target { return Target{mode: targetOldest} }

// End is after the last message. Reading from there is of use with Follow only; a group
// that is moved there never consumes what is in the topic now.
func End() Target { return Target{mode: targetEnd} }

// AtOffset is an offset in every partition; a negative one counts from each partition's end.
func AtOffset(n int64) Target { return Target{mode: targetOffset, n: n} }

// AtTime is in every partition the first message that is not older than t.
func AtTime(t time.Time) Target { return Target{mode: targetTime, at: t} }

// By is n offsets from where the group of a reset stands, back if n is negative.
func By(n int64) Target { return Target{mode: targetBy, n: n} }

// Newest reads the n newest messages over all partitions, merged by time: the
// last n of each partition are the candidates, and those with the latest timestamps
// are chosen, as far as the order within each partition, which is kept, allows.
// With a filter, the n newest that match.
func Newest(n int64) Target { return Target{mode: targetNewest, n: n} }

// NewestBefore is Newest of what lies before an offset in each partition, such as
// Progress.Before of an earlier page. Partitions that are absent are not read.
func NewestBefore(n int64, offsets map[int32]int64) Target {
	return Target{mode: targetNewest, n: n, each: offsets}
}

// AtPositions is an offset for each partition, such as Progress.Next of an earlier
// page. Partitions that are absent are not read.
func AtPositions(offsets map[int32]int64) Target { return Target{mode: targetEach, each: offsets} }

// in returns the offset of a target in a partition that holds the offsets from lo to hi.
// stands is where a group stands, and after are the offsets of the target's time.
func (t Target) in(topic string, p int32, lo, hi, stands int64, after kadm.ListedOffsets) int64 {
	at := lo
	switch t.mode {
	case targetOffset:
		if at = t.n; at < 0 {
			at += hi
		}
	case targetTime:
		at = hi
		if o, ok := after.Lookup(topic, p); ok && o.Err == nil && o.Offset >= 0 {
			at = o.Offset
		}
	case targetEnd:
		at = hi
	case targetEach:
		var ok bool
		if at, ok = t.each[p]; !ok {
			at = hi
		}
	case targetBy:
		at = stands + t.n
	}
	return min(max(at, lo), hi)
}

// ParseStart reads where reading begins: oldest, end, or an offset, of which a negative
// one counts from the end.
func ParseStart(s string) (Target, error) {
	switch s {
	case "oldest", "earliest", "beginning":
		return Oldest(), nil
	case "end", "latest":
		return End(), nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return Target{}, fmt.Errorf("%q is not an offset: give a number, oldest or end", s)
	}
	return AtOffset(n), nil
}

// timeInWords names a time in an error.
const timeInWords = "a time such as 2h (ago) or 2006-01-02T15:04:05Z"

// place reads what ParseStart reads, or a time as ParseTime reads it.
func place(s string, now time.Time) (t Target, ok bool) {
	if t, err := ParseStart(s); err == nil {
		return t, true
	}
	at, err := ParseTime(s, now)
	return AtTime(at), err == nil
}

// ParseUntil reads where reading ends: end, an offset, of which a negative one counts from
// the end, or a time. What lies there is not read.
func ParseUntil(s string, now time.Time) (Target, error) {
	if t, ok := place(s, now); ok && t.mode != targetOldest {
		return t, nil
	}
	return Target{}, fmt.Errorf("%q is not a place to end: give end, an offset, -N (from the end), or %s", s, timeInWords)
}

// ParseBefore reads before what a truncation deletes: end, an offset, of which a negative one
// counts from the end, or a time.
func ParseBefore(s string, now time.Time) (Target, error) {
	if t, ok := place(s, now); ok {
		return t, nil
	}
	return Target{}, fmt.Errorf("%q is neither an offset nor a time: give end, an offset, or %s", s, timeInWords)
}

// ParseTarget reads where a reset moves a group: oldest, latest, an offset, +N or -N from
// where the group stands, or a time.
func ParseTarget(s string, now time.Time) (Target, error) {
	t, ok := place(s, now)
	switch {
	case !ok:
		return t, fmt.Errorf("%q is not a target: give oldest, latest, an offset, +N, -N, or %s", s, timeInWords)
	case t.mode == targetOffset && strings.ContainsAny(s[:1], "+-"):
		return By(t.n), nil
	}
	return t, nil
}

// String returns a target of a reset as ParseTarget reads it. A time that was relative is fixed.
func (t Target) String() string {
	switch t.mode {
	case targetOldest:
		return "oldest"
	case targetEnd:
		return "latest"
	case targetOffset:
		return strconv.FormatInt(t.n, 10)
	case targetBy:
		return fmt.Sprintf("%+d", t.n)
	case targetTime:
		return t.at.Format(time.RFC3339Nano)
	}
	return ""
}

// ParseTime reads a time as people write it: how long ago, a time of day, or a
// full one. A time of day that has not come yet today was yesterday.
func ParseTime(s string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseFloat(days, 64); err == nil && n >= 0 && n < 36500 {
			return now.Add(-time.Duration(n * 24 * float64(time.Hour))), nil
		}
	}
	for _, layout := range []string{time.TimeOnly, "15:04"} {
		if t, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			t = time.Date(now.Year(), now.Month(), now.Day(), t.Hour(), t.Minute(), t.Second(), 0, now.Location())
			if t.After(now) {
				t = t.AddDate(0, 0, -1)
			}
			return t, nil
		}
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", time.DateTime, "2006-01-02T15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a time: write 10m, 2h or 3d (ago), 15:04, or 2006-01-02T15:04:05Z", s)
}

// ParseFilter reads the words of a filter: header:NAME=VALUE, key=VALUE, .path=VALUE,
// /regular expression/, or a text. No words are no filter.
func ParseFilter(words []string) (*Filter, error) {
	if len(words) == 0 {
		return nil, nil
	}
	f := &Filter{}
	once := func(given bool, what string) error {
		if given {
			return fmt.Errorf("two filters for %s: use a regular expression, /one.*two/", what)
		}
		return nil
	}
	var err error
	for _, w := range words {
		header, isHeader := strings.CutPrefix(w, "header:")
		key, isKey := strings.CutPrefix(w, "key=")
		switch {
		case w == "":
			err = errors.New("a filter is empty")
		case isHeader:
			f.Headers = append(f.Headers, header)
		case isKey:
			err, f.Key = once(f.Key != nil, "the key"), &key
		case w[0] == '.':
			f.Paths = append(f.Paths, w)
		case len(w) > 2 && w[0] == '/' && w[len(w)-1] == '/':
			err, f.Regexp = once(f.Regexp != "", "an expression"), w[1:len(w)-1]
		default:
			err, f.Contains = once(f.Contains != "", "a text"), w
		}
		if err != nil {
			return nil, err
		}
	}
	return f, f.Check()
}

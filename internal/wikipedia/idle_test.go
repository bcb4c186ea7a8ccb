package wikipedia

import (
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-project/weir/internal/event"
)

// leg is a stretch of a connection: one event each `every` from a data centre,
// their time `late` behind the clock.
type leg struct {
	eqiad, codfw bool
	every        time.Duration
	late         time.Duration
	lasts        time.Duration
}

// run plays legs and returns the last cursor and when it was.
func run(t *testing.T, from event.Cursor, legs ...leg) (event.Cursor, time.Time) {
	s := open(t, Config{Dial: inMemory(func(c net.Conn) {
		write(c, head)
		n, seen := 0, map[string]string{eqiad: silent, codfw: silent}
		send := func(topic string, ms int64) {
			n++
			seen[topic] = ts(ms + 1)
			write(c, message(ids(entryOf(eqiad, 0, seen[eqiad]), entryOf(codfw, 0, seen[codfw])), editData(n, ms)))
		}
		for _, l := range legs {
			for end := time.Now().Add(l.lasts); time.Now().Before(end); time.Sleep(l.every) {
				ms := time.Now().Add(-l.late).UnixMilli()
				if l.eqiad {
					send(eqiad, ms)
				}
				if l.codfw {
					send(codfw, ms)
				}
			}
		}
	})}, "http://192.0.2.1/v2/stream/recentchange")
	var last event.Cursor
	var at time.Time
	if err := s.Stream(t.Context(), from, func(b *event.Batch) error {
		last, at = b.Cursor.Clone(), time.Now()
		b.Release()
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return last, at
}

// position returns how long before a moment a topic's position is.
func behind(c event.Cursor, topic string, at time.Time) time.Duration {
	for _, p := range c.Partitions {
		if strings.HasPrefix(p.Topic, topic) {
			return at.Sub(time.UnixMilli(p.TimestampMS)).Round(time.Second)
		}
	}
	return -1
}

func TestIdlePartitionsFollow(t *testing.T) {
	const s, m = time.Second, time.Minute
	for _, tt := range []struct {
		name         string
		legs         []leg
		eqiad, codfw time.Duration // how far behind the end the positions are
	}{
		{"the one that was never heard of", []leg{{eqiad: true, every: s, lasts: 10 * m}}, 0, m},
		{"not before two minutes", []leg{{eqiad: true, every: s, lasts: 2 * m}}, 0, 2*m - s},
		{"the data centre changes", []leg{{eqiad: true, every: s, lasts: 5 * m}, {codfw: true, every: s, lasts: 5 * m}}, m, 0},
		{"it changed a minute ago", []leg{{eqiad: true, every: s, lasts: 5 * m}, {codfw: true, every: s, lasts: m}}, m, 0},
		{"it changed a minute and a half ago", []leg{{eqiad: true, every: s, lasts: 5 * m}, {codfw: true, every: s, lasts: 90 * s}}, 90 * s, 0},
		{"both are heard", []leg{{eqiad: true, codfw: true, every: s, lasts: 5 * m}}, 0, 0},
		{"history is read: one may run ahead", []leg{{eqiad: true, every: s, late: time.Hour, lasts: 5 * m}, {codfw: true, every: s, late: 50 * m, lasts: 5 * m}}, 65 * m, 50 * m},
		{"history, then live for a minute", []leg{{eqiad: true, every: s, late: time.Hour, lasts: 5 * m}, {codfw: true, every: s, lasts: m}}, 61 * m, 0},
		{"a clock that is wrong", []leg{{eqiad: true, every: s, late: -time.Hour, lasts: 5 * m}, {codfw: true, every: s, late: -time.Hour, lasts: 5 * m}}, -55 * m, -time.Hour},
		{"a stream too slow to tell", []leg{{eqiad: true, every: 40 * s, lasts: 5 * m}, {codfw: true, every: 40 * s, lasts: 6 * m}}, 6 * m, 80 * s}, // two more events confirm one
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, at := run(t, event.Cursor{}, tt.legs...)
				near := func(got, want time.Duration) bool {
					return (got-want).Abs() <= 2*s || tt.legs[0].every > s && (got-want).Abs() <= 40*s
				}
				if e, f := behind(c, "eqiad", at), behind(c, "codfw", at); !near(e, tt.eqiad) || !near(f, tt.codfw) {
					t.Errorf("positions %v and %v behind, want %v and %v", e, f, tt.eqiad, tt.codfw)
				}
			})
		})
	}
}

// A pause of the reader is none of the partition's.
func TestIdleNeedsAnUnbrokenConnection(t *testing.T) {
	var d idle
	p := &positions{known: []event.Partition{part(eqiad, 0, 0), part(codfw, 0, 0)}}
	now := time.UnixMilli(t0)
	p.known[1].TimestampMS = t0 - 60*60_000
	for i := range 20 {
		now = now.Add(20 * time.Second)
		if i%5 == 4 {
			now = now.Add(40 * time.Second) // the queue was full
		}
		p.known[0].TimestampMS = now.UnixMilli()
		d.heardFrom(0, now)
		d.follow(p, now)
	}
	if got := p.known[1].TimestampMS; got != t0-60*60_000 {
		t.Errorf("moved by %v", time.Duration(got-t0)*time.Millisecond)
	}
}

// The last event's own partition can fall silent too: its witness is then out of reach.
func TestIdleGivesTheWitnessUp(t *testing.T) {
	tr := newTrack(event.Cursor{}, "h:443", "recentchange", "live")
	tr.pos.known = []event.Partition{part(eqiad, 0, t0), part(codfw, 0, t0)}
	b := event.NewBatch()
	defer b.Release()
	*b.Add() = event.Event{Route: event.Data, ID: []byte("W")}
	now := time.UnixMilli(t0)
	tr.add(b, 0, 0, now)
	if c := tr.cursor(b, now); c.Last != "W" {
		t.Fatalf("cursor %+v", c)
	}
	*b.Add() = event.Event{Route: event.Skip}
	for range 9 { // canaries in the other data centre
		now = now.Add(20 * time.Second)
		tr.pos.known[1].TimestampMS = now.UnixMilli()
		tr.add(b, 1, 1, now)
		tr.cursor(b, now)
	}
	if c := tr.cursor(b, now); c.Last != "" || c.Partitions[0].TimestampMS != t0+120_000 {
		t.Errorf("cursor %+v: want no witness, eqiad a minute behind", c)
	}
}

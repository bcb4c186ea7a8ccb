// Package simulate is the two upstreams, offline: one seeded World whose event i
// is a pure function of the seed and i, a Timeline that says when event i
// happens, and two servers that speak Bluesky's Jetstream (WebSocket) and
// Wikimedia's EventStreams (Server-Sent Events) as the real ones do, faults
// included. It owns the ground truth that tests and `weir verify` compare with:
// Item says what event i is, and no JSON is parsed for it.
//
// It is not a client and knows no Kafka: the servers are reached over sockets like
// the real ones. BlueskyServer and WikipediaServer list the differences to the
// real servers.
package simulate

import (
	"iter"

	"github.com/weir-project/weir/internal/event"
)

// World is everything that happens, fixed by a seed.
type World struct{ seed int64 }

// NewWorld returns the world of a seed. Any number is a seed.
func NewWorld(seed int64) *World { return &World{seed: seed} }

// Item is what event i of a world is: the ground truth, made from the seed and
// never by parsing a frame.
type Item struct {
	Index int64
	// Route is where a correct reader sends it: event.Data, event.Account, or
	// event.Skip for a canary.
	Route event.Route
	// Kind is the event type that a correct reader counts: create, update, delete,
	// account, identity; edit, new, log, categorize, ...; canary for a canary event.
	Kind string
	// Key orders it: the account's DID, or wiki, '|' and the title as people read it.
	Key string
	// Identity is equal for two deliveries and different for two events. Bluesky:
	// did/collection/rkey/operation/rev of a commit, did/type/seq of the rest.
	// Wikipedia: meta.id.
	Identity string
	// Again says that upstream produced this event a second time: its Identity is
	// an earlier item's, and a correct reader stores it once.
	Again bool

	// Of a Bluesky event: the fields that Identity joins. Seq is the relay's
	// number of an account or identity event.
	DID, Collection, RKey, Rev string
	Seq                        int64

	// Of a Wikipedia event: database name, title and Kafka offset.
	Wiki, Title string
	Offset      int64
}

// Truth is what a correct reader has after a range of events.
type Truth struct {
	// Events counts all of them, canaries and repetitions included.
	Events int64
	// Data and Account count the events of the two topics by type.
	Data, Account map[string]int64
	// Skipped counts canaries, Again what upstream produced twice.
	Skipped, Again int64
}

// Count sums up items.
func Count(items iter.Seq[Item]) Truth {
	t := Truth{Data: map[string]int64{}, Account: map[string]int64{}}
	for it := range items {
		t.Events++
		switch {
		case it.Again:
			t.Again++
		case it.Route == event.Data:
			t.Data[it.Kind]++
		case it.Route == event.Account:
			t.Account[it.Kind]++
		default:
			t.Skipped++
		}
	}
	return t
}

// items yields what at returns for [from, to).
func items(from, to int64, at func(int64) Item) iter.Seq[Item] {
	return func(yield func(Item) bool) {
		for i := from; i < to && yield(at(i)); i++ {
		}
	}
}

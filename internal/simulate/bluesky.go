package simulate

import (
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"

	"github.com/weir-project/weir/internal/event"
)

// Shape of the Bluesky world. Rates of kinds follow what the public streams
// show; the lags make every delete and update refer to an earlier create that
// no other one refers to.
const (
	accounts       = 1_000_000
	accountOctaves = 936_364 // log2((accounts + zipfShift) / zipfShift) in 1/65536

	accountPerMyriad  = 20 // account events among 10,000
	identityPerMyriad = 20
	deletePerMyriad   = 500
	updatePerMyriad   = 100

	// Logical clock of revisions and record keys: an event's identity must not
	// depend on when it is served, so event i has the time clockBase + i ms.
	clockBase = 1_767_225_600_000_000 // 2026-01-01T00:00:00Z in µs
	clockStep = 1000

	relayBase = 24_000_000_000 // first number of the relay that the account events quote
)

// AllCollections asks for every collection, in the proportions of the network.
const AllCollections = "*"

// form is the shape of a collection's records.
type form uint8

const (
	formPost form = iota
	formSubjectRef
	formSubjectDID
	formProfile
	formListItem
	formGate
	formOther
)

type collection struct {
	name   string
	weight int
	form   form
}

func (c collection) share() int { return c.weight }

// network is what all collections together look like.
var network = []collection{
	{"app.bsky.feed.like", 4600, formSubjectRef},
	{"app.bsky.feed.post", 1650, formPost},
	{"app.bsky.graph.follow", 1500, formSubjectDID},
	{"app.bsky.feed.repost", 950, formSubjectRef},
	{"app.bsky.actor.profile", 260, formProfile},
	{"app.bsky.graph.block", 250, formSubjectDID},
	{"app.bsky.graph.listitem", 220, formListItem},
	{"app.bsky.feed.threadgate", 130, formGate},
	{"app.bsky.feed.postgate", 90, formGate},
	{"app.bsky.graph.list", 20, formOther},
	{"app.bsky.graph.listblock", 15, formSubjectRef},
	{"app.bsky.feed.generator", 10, formOther},
	{"app.bsky.graph.starterpack", 8, formOther},
	{"chat.bsky.actor.declaration", 30, formOther},
	{"com.whtwnd.blog.entry", 7, formOther},
	{"fyi.unravel.frontpage.vote", 10, formSubjectRef},
}

// Bluesky is the Bluesky side of a World for one choice of collections. It
// holds no state: all methods may be called from many goroutines.
type Bluesky struct {
	key         uint64
	accountKey  uint64
	collections []collection
	total       int
	deleteLag   int64
	updateLag   int64
}

// Bluesky returns the Bluesky events of the given collections, which are names
// (NSIDs) or prefixes such as "app.bsky.graph.*"; none, or AllCollections among
// them, means all. The events of two choices are different worlds. An error names
// the collection that is not a valid name, or the prefix that no collection has.
func (w *World) Bluesky(collections ...string) (*Bluesky, error) {
	return w.bluesky(MixOf(collections))
}

// MixOf is the canonical text of a choice of collections, as a Segment keeps it.
func MixOf(collections []string) string {
	if len(collections) == 0 || slices.Contains(collections, AllCollections) {
		return AllCollections
	}
	c := slices.Clone(collections)
	slices.Sort(c)
	return strings.Join(slices.Compact(c), ",")
}

func (w *World) bluesky(mix string) (*Bluesky, error) {
	root := keyOf(scramble(uint64(w.seed)), "bluesky")
	b := &Bluesky{key: keyOf(root, mix), accountKey: keyOf(root, "accounts")}
	for name := range strings.SplitSeq(mix, ",") {
		found, err := collectionsOf(name)
		if err != nil {
			return nil, err
		}
		for _, c := range found {
			if !slices.Contains(b.collections, c) {
				b.collections = append(b.collections, c)
			}
		}
	}
	b.total = total(b.collections)
	r := rng(b.key)
	b.updateLag = 150 + int64(r.below(100))
	b.deleteLag = 400 + int64(r.below(200))
	return b, nil
}

func collectionsOf(name string) (found []collection, err error) {
	prefix, many := strings.CutSuffix(name, "*")
	many = many && (prefix == "" || strings.HasSuffix(prefix, "."))
	for _, c := range network {
		if c.name == name || many && strings.HasPrefix(c.name, prefix) {
			found = append(found, c)
		}
	}
	switch {
	case found != nil:
		return found, nil
	case strings.HasSuffix(name, "*"):
		return nil, fmt.Errorf("collection %q: no simulated collection has that prefix", name)
	case !validNSID(name):
		return nil, fmt.Errorf("collection %q: not a namespaced identifier such as app.bsky.feed.post", name)
	}
	return []collection{{name: name, weight: 100, form: formOther}}, nil
}

// class is what kind of event a head is.
type class uint8

const (
	classCreate class = iota
	classUpdate
	classDelete
	classAccount
	classIdentity
)

var classNames = [...]string{"create", "update", "delete", "account", "identity"}

// head is what an event is before its record is made.
type head struct {
	i       int64
	class   class
	self    bool // the record key is "self"
	form    form
	coll    int
	account uint64
	tid     uint64 // record key
	rand    rng    // continues with the record
}

// draw makes the head of event i, without the earlier event that it refers to.
func (b *Bluesky) draw(i int64) head {
	h := head{i: i, rand: rng(derive(b.key, i))}
	z := h.rand.next()
	roll := int(z & 0xffffffff * 10_000 >> 32)
	switch {
	case roll < accountPerMyriad:
		h.class = classAccount
	case roll < accountPerMyriad+identityPerMyriad:
		h.class = classIdentity
	case roll < accountPerMyriad+identityPerMyriad+deletePerMyriad:
		h.class = classDelete
	case roll < accountPerMyriad+identityPerMyriad+deletePerMyriad+updatePerMyriad:
		h.class = classUpdate
	}
	h.coll = pick(b.collections, int(z>>32*uint64(b.total)>>32))
	h.form = b.collections[h.coll].form
	h.account = pickAccount(&h.rand)
	h.tid = tidOf(i, h.account)
	h.self = h.form == formProfile
	return h
}

// head makes the head of event i. A delete or an update takes the record of an
// earlier create; where the event at its lag is not a create, it creates one itself.
func (b *Bluesky) head(i int64) head {
	h := b.draw(i)
	if h.class == classUpdate || h.class == classDelete {
		lag := b.updateLag
		if h.class == classDelete {
			lag = b.deleteLag
		}
		old := head{class: classAccount}
		if i >= lag {
			old = b.draw(i - lag)
		}
		if old.class == classCreate && !old.self {
			h.coll, h.form, h.account, h.tid, h.self = old.coll, old.form, old.account, old.tid, false
		} else {
			h.class = classCreate
		}
	}
	if h.self && h.class == classCreate { // a profile is only ever changed
		h.class = classUpdate
	}
	return h
}

// pickAccount draws an account: few write often, most write once.
func pickAccount(r *rng) uint64 { return r.zipf(accountOctaves, accounts) }

// tidOf is the identifier that an account's server gives at event i.
func tidOf(i int64, account uint64) uint64 {
	return uint64(clockBase+i*clockStep)<<10 | scramble(account)&1023
}

// did appends an account's identifier: nearly all are did:plc, some did:web.
func (o *output) did(b *Bluesky, account uint64) *output {
	r := rng(derive(b.accountKey, int64(account)))
	if z := r.next(); z%1000 == 0 {
		return o.put("did:web:").put(words[z>>32%uint64(len(words))]).put("-").num(int64(account)).put(".example.com")
	}
	return o.put("did:plc:").base32(&r, 24)
}

// rkey appends the key of the record.
func (o *output) rkey(h *head) *output {
	if h.self {
		return o.put("self")
	}
	return o.tid(h.tid)
}

// relaySeq is the relay's number of an account or identity event.
func relaySeq(i int64) int64 { return relayBase + 7*i }

// At returns the truth about event i, which counts from 0. It is a pure function
// of seed, collections and i.
func (b *Bluesky) At(i int64) Item {
	h := b.head(i)
	did := string(*new(output).did(b, h.account))
	it := Item{Index: i, Kind: classNames[h.class], Key: did, DID: did}
	if h.class >= classAccount {
		it.Route = event.Account
		it.Seq = relaySeq(i)
		it.Identity = did + "/" + it.Kind + "/" + strconv.FormatInt(it.Seq, 10)
		return it
	}
	it.Route = event.Data
	it.Collection = b.collections[h.coll].name
	it.RKey = string(*new(output).rkey(&h))
	it.Rev = string(*new(output).tid(tidOf(i, h.account)))
	it.Identity = did + "/" + it.Collection + "/" + it.RKey + "/" + it.Kind + "/" + it.Rev
	return it
}

// Items yields the truth about events [from, to).
func (b *Bluesky) Items(from, to int64) iter.Seq[Item] { return items(from, to, b.At) }

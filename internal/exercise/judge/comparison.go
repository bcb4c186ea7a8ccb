package judge

import (
	"encoding/json"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/simulate"
)

// post is a record that a producer wrote, read as an event of the stream.
type post struct {
	*kgo.Record
	// author is the DID and kind the type of the event; both are empty where the value is not an event.
	author, kind string
	// id is the Identity of the simulate.Item, empty where the event is not a commit.
	id string
}

// readPost reads the value of a record.
func readPost(r *kgo.Record) post {
	var m struct {
		DID, Kind string
		Commit    struct{ Collection, RKey, Operation, Rev string }
	}
	if json.Unmarshal(r.Value, &m) != nil {
		return post{Record: r}
	}
	p := post{Record: r, author: m.DID, kind: m.Kind}
	if c := m.Commit; m.Kind == "commit" {
		p.id = strings.Join([]string{m.DID, c.Collection, c.RKey, c.Operation, c.Rev}, "/")
	}
	return p
}

// comparison is what a producer has stored of a stream, beside what it must store.
type comparison struct {
	truth []simulate.Item  // what must be stored, in the order of the stream
	index map[string]int64 // of that, by identity
	posts []post           // what is stored, in the order of each partition
	first map[string]*post // of that, the first copy of each event, by identity
}

func compare(truth []simulate.Item, output []*kgo.Record) *comparison {
	s := &comparison{truth: truth, index: map[string]int64{}, first: map[string]*post{}}
	for _, it := range truth {
		s.index[it.Identity] = it.Index
	}
	for _, r := range output {
		s.posts = append(s.posts, readPost(r))
	}
	for i := range s.posts {
		if p := &s.posts[i]; s.first[p.id] == nil {
			s.first[p.id] = p
		}
	}
	return s
}

// expected reports whether a post is one of those that must be stored.
func (s *comparison) expected(p *post) bool {
	_, ok := s.index[p.id]
	return ok
}

// lost are the events that are not stored.
func (s *comparison) lost() (lost []simulate.Item) {
	for _, it := range s.truth {
		if s.first[it.Identity] == nil {
			lost = append(lost, it)
		}
	}
	return lost
}

// again are the second and later copies of events, without those of events that may have some.
func (s *comparison) again(may func(index int64) bool) (again []*post) {
	for i := range s.posts {
		if p := &s.posts[i]; s.expected(p) && s.first[p.id] != p && !may(s.index[p.id]) {
			again = append(again, p)
		}
	}
	return again
}

// disordered finds two posts of an author that are in two partitions, or not in the order of the
// stream; nil for none. Only the first copy of each event has a place in the order.
func (s *comparison) disordered() (before, after *post) {
	last := map[string]*post{} // by author
	for i := range s.posts {
		p := &s.posts[i]
		if !s.expected(p) || s.first[p.id] != p {
			continue
		}
		if before := last[p.author]; before != nil && (before.Partition != p.Partition || s.index[before.id] > s.index[p.id]) {
			return before, p
		}
		last[p.author] = p
	}
	return nil, nil
}

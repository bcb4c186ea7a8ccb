package wikipedia

import (
	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/jsonscan"
)

// Classify returns what a record of the data topic counts as when nothing but
// its value says so, because another program wrote it: its type
// (event.OtherKind where that is longer than event.MaxKind); without one, and
// for anything that is not whole and valid JSON, event.MalformedKind. It is safe
// for concurrent use.
func Classify(value []byte) (kind string) {
	var s jsonscan.Scanner
	var t jsonscan.Text
	s.Reset(value)
	if s.Enter() {
		for name, ok := s.Member(); ok; name, ok = s.Member() {
			if string(name) == "type" {
				t = readKind(&s)
			} else {
				s.Skip()
			}
		}
	}
	if s.End() != nil || t.Empty() {
		return event.MalformedKind
	}
	return kindName(t)
}

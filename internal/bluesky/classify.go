package bluesky

import (
	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/jsonscan"
)

// Classify returns what a record of the data topic counts as when nothing but
// its value says so, because another program wrote it: its commit.operation
// (event.OtherKind where that is longer than event.MaxKind); without one,
// `account` or `identity` where that is its type, since other programs store
// those events there too; otherwise, and for anything that is not whole and
// valid JSON, event.MalformedKind. It is safe for concurrent use.
func Classify(value []byte) (kind string) {
	var s jsonscan.Scanner
	var operationText, kindText jsonscan.Text
	s.Reset(value)
	if s.Enter() {
		for name, ok := s.Member(); ok; name, ok = s.Member() {
			switch string(name) {
			case "commit":
				operationText = readCommit(&s).operation
			case "kind":
				kindText = s.Text()
			default:
				s.Skip()
			}
		}
	}
	switch {
	case s.End() != nil:
		return event.MalformedKind
	case !operationText.Empty():
		return operation(operationText)
	case kindText.Is("account"):
		return "account"
	case kindText.Is("identity"):
		return "identity"
	}
	return event.MalformedKind
}

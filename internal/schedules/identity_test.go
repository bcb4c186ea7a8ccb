package schedules

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
)

// identity reads who an event is out of a stored value, with encoding/json alone: as the World has it.
func identity(value string) string {
	var m struct {
		DID, Kind string
		Commit    struct{ Collection, RKey, Operation, Rev string }
		Account   struct{ Seq int64 }
		Identity  struct{ Seq int64 }
		Meta      struct{ ID string }
	}
	if json.Unmarshal([]byte(value), &m) != nil {
		return ""
	}
	switch {
	case m.Meta.ID != "":
		return m.Meta.ID
	case m.Kind == "commit":
		return strings.Join([]string{m.DID, m.Commit.Collection, m.Commit.RKey, m.Commit.Operation, m.Commit.Rev}, "/")
	}
	return m.DID + "/" + m.Kind + "/" + strconv.FormatInt(max(m.Account.Seq, m.Identity.Seq), 10)
}

// TestIdentity has values whose events are known, and values that are not JSON.
func TestIdentity(t *testing.T) {
	for value, want := range map[string]string{
		`{"did":"d","kind":"commit","commit":{"rev":"5","operation":"create","collection":"c",` +
			`"record":{"rkey":"x","a":[1,{"b":"\\\""}]},"rkey":"k"}}`: "d/c/k/create/5",
		`{"did":"d","kind":"account","account":{"active":true,"seq":77,"status":"s"}}`: "d/account/77",
		`{"did":"d","kind":"identity","identity":{"did":"d","seq":7}}`:                 "d/identity/7",
		`{"meta":{"uri":"u","id":"i"},"id":null,"n":-1.5e3,"list":[],"empty":{}}`:      "i",
		`{"meta":{"uri":"u","id":"\u0069"}}`:                                           "i",
	} {
		if got := identity(value); got != want {
			t.Errorf("%s is %q, want %q", value, got, want)
		}
		for n := range len(value) {
			begin, end := value[:n], value[n:]
			for _, broken := range []string{begin, begin + end[1:], begin + "," + end, begin + "\x01" + end, begin + "\\" + end} {
				if !json.Valid([]byte(broken)) && identity(broken) != "" {
					t.Errorf("%q is not JSON, and is %q", broken, identity(broken))
				}
			}
		}
	}
}

package bluesky

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
)

// Text says what happened in an event that is stored, for people who read a list of them, and
// names its type. Both are empty where value is not an event of this stream.
func Text(value []byte) (kind, text string) {
	var e struct {
		DID    string `json:"did"`
		Commit *struct {
			Operation  string `json:"operation"`
			Collection string `json:"collection"`
			RKey       string `json:"rkey"`
			Record     struct {
				Text *string `json:"text"`
			} `json:"record"`
		} `json:"commit"`
		Account *struct {
			Active bool   `json:"active"`
			Status string `json:"status"`
		} `json:"account"`
		Identity *struct {
			Handle string `json:"handle"`
		} `json:"identity"`
	}
	switch err := json.Unmarshal(value, &e); {
	case err != nil:
	case e.Commit != nil && e.Commit.Operation != "":
		c := e.Commit
		what := c.Collection[strings.LastIndexByte(c.Collection, '.')+1:]
		if c.Record.Text != nil {
			return c.Operation, what + ": " + *c.Record.Text
		}
		return c.Operation, fmt.Sprintf("%s %s by %s", what, c.RKey, e.DID)
	case e.Account != nil && e.DID != "":
		state := "inactive"
		if e.Account.Active {
			state = "active"
		}
		return "account", fmt.Sprintf("%s is %s", e.DID, cmp.Or(e.Account.Status, state))
	case e.Identity != nil && e.DID != "":
		if e.Identity.Handle == "" {
			return "identity", e.DID + " changed its identity"
		}
		return "identity", fmt.Sprintf("%s is now %s", e.DID, e.Identity.Handle)
	}
	return "", ""
}

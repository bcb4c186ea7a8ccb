package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/visible"
)

// streamEvent is what a line of text needs of an event of either stream.
type streamEvent struct {
	// Bluesky.
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
	// Wikipedia.
	Type      string `json:"type"`
	Title     string `json:"title"`
	User      string `json:"user"`
	Wiki      string `json:"wiki"`
	LogType   string `json:"log_type"`
	LogAction string `json:"log_action"`
}

// eventLine is an event as a line that people read: who did what. A message that is not an event
// of the two streams is its key and its value.
func eventLine(m inspect.Message) string {
	var kind string
	for _, h := range m.Headers {
		if h.Key == kafka.HeaderKind {
			kind = string(h.Value)
			break
		}
	}
	var e streamEvent
	if json.Unmarshal(m.Value, &e) == nil {
		if name, text := e.text(); text != "" {
			return fmt.Sprintf("[%s] %s", visible.Text(cmp.Or(kind, name)), visible.Text(text))
		}
	}
	text := bytesText(m.Value, len(m.Value))
	if m.Key != nil {
		text = bytesText(m.Key, len(m.Key)) + ": " + text
	}
	return fmt.Sprintf("[%s] %s", visible.Text(cmp.Or(kind, "message")), text)
}

// text returns the event's type and what happened; nothing where it is of neither stream.
func (e *streamEvent) text() (kind, text string) {
	switch {
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
	case e.Wiki != "" && e.Type != "" && e.Title != "":
		did := map[string]string{"edit": "edited", "new": "created", "log": "logged " + e.LogType + "/" + e.LogAction + " on"}[e.Type]
		return e.Type, fmt.Sprintf("%s %s \"%s\" on %s", e.User, cmp.Or(did, "changed"), e.Title, e.Wiki)
	}
	return "", ""
}

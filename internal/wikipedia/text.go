package wikipedia

import (
	"cmp"
	"encoding/json"
	"fmt"
)

// Text says what happened in an event that is stored, for people who read a list of them, and
// names its type. Both are empty where value is not an event of this stream.
func Text(value []byte) (kind, text string) {
	var e struct {
		Type      string `json:"type"`
		Title     string `json:"title"`
		User      string `json:"user"`
		Wiki      string `json:"wiki"`
		LogType   string `json:"log_type"`
		LogAction string `json:"log_action"`
	}
	if json.Unmarshal(value, &e) != nil || e.Wiki == "" || e.Type == "" || e.Title == "" {
		return "", ""
	}
	did := map[string]string{"edit": "edited", "new": "created", "log": "logged " + e.LogType + "/" + e.LogAction + " on"}[e.Type]
	return e.Type, fmt.Sprintf("%s %s \"%s\" on %s", e.User, cmp.Or(did, "changed"), e.Title, e.Wiki)
}

package upstream

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/weir-project/weir/internal/event"
)

// Gap is a range of events that a source could not show to be complete: the last event
// stored before it did not come past again after a resume.
type Gap struct {
	Source string `json:"source"` // name of the source
	Host   string `json:"host"`   // the upstream that was resumed from, as host:port
	// Previous is the upstream that delivered the last event before the gap.
	Previous string `json:"previous_host,omitempty"`
	// From and To are FromUS and ToUS as texts, filled in by Add.
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
	// FromUS is the newest event time before the gap, and ToUS the first one
	// after it, both in Unix microseconds; 0 means unknown.
	FromUS int64  `json:"from_us,omitempty"`
	ToUS   int64  `json:"to_us,omitempty"`
	Last   string `json:"last"` // identity of the last event before the gap
	Reason string `json:"reason"`
}

// Add appends the gap to b. Its identity is made of the event before it, so a
// gap that is met again after a crash is recognised.
func (g Gap) Add(b *event.Batch) {
	g.From, g.To = stamp(g.FromUS), stamp(g.ToUS)
	text, _ := json.Marshal(g) // strings and numbers always encode
	sum := sha256.Sum256([]byte(g.Source + "\n" + g.Last))
	*b.Add() = event.Event{
		Route: event.Gap, Kind: event.KindGap, Key: b.CopyString(g.Source), Value: b.Copy(text), Size: int64(len(text)),
		ID: b.CopyString("gap:" + hex.EncodeToString(sum[:])), TimeUS: g.FromUS, Detail: g.Reason,
	}
}

func stamp(us int64) string {
	if us == 0 {
		return ""
	}
	return time.UnixMicro(us).UTC().Format(time.RFC3339Nano)
}

package judge

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// made is an event that is written to the topic of an exercise. Unlike the simulated stream
// its author, time and size are chosen, because the exercise is about them.
type made struct {
	key, operation string
	timeUS         int64
	value          []byte
}

// makeEvent makes event n: one author's change of a post at a time in Unix microseconds.
func makeEvent(n, author int, operation string, timeUS int64, text string) made {
	type record struct {
		Type      string   `json:"$type"`
		CreatedAt string   `json:"createdAt"`
		Langs     []string `json:"langs"`
		Text      string   `json:"text"`
	}
	type commit struct {
		Rev        string  `json:"rev"`
		Operation  string  `json:"operation"`
		Collection string  `json:"collection"`
		RKey       string  `json:"rkey"`
		Record     *record `json:"record,omitempty"`
		CID        string  `json:"cid,omitempty"`
	}
	e := struct {
		DID    string `json:"did"`
		TimeUS int64  `json:"time_us"`
		Kind   string `json:"kind"`
		Commit commit `json:"commit"`
	}{authorName(author), timeUS, "commit", commit{Rev: fmt.Sprintf("3m%011d", n), Operation: operation,
		Collection: "app.bsky.feed.post", RKey: fmt.Sprintf("3k%011d", n)}}
	if operation != "delete" {
		e.Commit.Record = &record{"app.bsky.feed.post", time.UnixMicro(timeUS).UTC().Format(time.RFC3339Nano), []string{"en"}, text}
		e.Commit.CID = fmt.Sprintf("bafyrei%052d", n)
	}
	value, err := json.Marshal(e)
	if err != nil {
		panic(err) // texts and numbers only
	}
	return made{e.DID, operation, timeUS, value}
}

// authorName is the identifier of an author.
func authorName(author int) string {
	return "did:plc:" + strings.Map(func(r rune) rune { return r - '0' + 'a' }, fmt.Sprintf("%024d", author))
}

// operationOf spreads the operations: of a hundred events five are deletes and three are updates.
func operationOf(n int) string {
	switch n % 100 {
	case 17, 38, 59, 80, 97:
		return "delete"
	case 11, 45, 73:
		return "update"
	}
	return "create"
}

// record is the event as weir stores it.
func (m made) record(topic string) *kgo.Record {
	return &kgo.Record{Topic: topic, Key: []byte(m.key), Value: m.value, Timestamp: time.UnixMicro(m.timeUS),
		Headers: []kgo.RecordHeader{{Key: "kind", Value: []byte(m.operation)}}}
}

// text of about n bytes that does not compress well, and differs for each seed.
func noise(seed uint64, n int) string {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ."
	out := make([]byte, n)
	for i := range out {
		seed = seed*6364136223846793005 + 1442695040888963407
		out[i] = letters[seed>>58]
	}
	return string(out)
}

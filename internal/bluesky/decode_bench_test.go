package bluesky

import (
	"encoding/json"
	"testing"

	"github.com/weir-project/weir/internal/event"
)

// benchFrame is a post of the average size of those that are received.
const benchFrame = `{"did":"did:plc:aaaabbbbccccddddeeeeffff","time_us":1790000000123456,"kind":"commit","commit":{"rev":"3laaaabbbbc2z",` +
	`"operation":"create","collection":"app.bsky.feed.post","rkey":"3laaaabbbbd23","record":{"$type":"app.bsky.feed.post",` +
	`"createdAt":"2026-09-21T13:33:20.123Z","langs":["en"],"reply":{"parent":{"cid":"bafyreiaaaabbbbccccddddeeeeffffgggghhhhiiiijjjjkkkkllll",` +
	`"uri":"at://did:plc:ggggjjjjkkkkllllmmmmnnnn/app.bsky.feed.post/3laaaabbbba26"},"root":{"cid":"bafyreiaaaabbbbccccddddeeeeffffgggghhhhiiiijjjjkkkkllll",` +
	`"uri":"at://did:plc:ggggjjjjkkkkllllmmmmnnnn/app.bsky.feed.post/3laaaabbbba26"}},"text":"The weir holds 🌊 \"more\" than it did"},` +
	`"cid":"bafyreimmmmnnnnooooppppqqqqrrrrssssttttuuuuvvvvwwww"},"cursor":123456789}`

func BenchmarkDecode(b *testing.B) {
	d := NewDecoder()
	batch := event.NewBatch()
	b.SetBytes(int64(len(benchFrame)))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%64 == 0 {
			batch.Release()
			batch = event.NewBatch()
		}
		if _, err := d.Decode(batch, batch.CopyString(benchFrame)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDecodeEncodingJSON is the peer: the same fields through the standard
// library, into a struct.
func BenchmarkDecodeEncodingJSON(b *testing.B) {
	frame := []byte(benchFrame)
	b.SetBytes(int64(len(frame)))
	b.ReportAllocs()
	for b.Loop() {
		var e struct {
			DID    string `json:"did"`
			TimeUS int64  `json:"time_us"`
			Kind   string `json:"kind"`
			Cursor int64  `json:"cursor"`
			Commit *struct {
				Rev        string `json:"rev"`
				Operation  string `json:"operation"`
				Collection string `json:"collection"`
				RKey       string `json:"rkey"`
			} `json:"commit"`
		}
		if err := json.Unmarshal(frame, &e); err != nil || e.Commit.Operation == "" {
			b.Fatal(err)
		}
	}
}

func BenchmarkClassify(b *testing.B) {
	frame := []byte(benchFrame)
	b.SetBytes(int64(len(frame)))
	b.ReportAllocs()
	for b.Loop() {
		if Classify(frame) != "create" {
			b.Fatal("not a create")
		}
	}
}

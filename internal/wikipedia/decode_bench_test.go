package wikipedia

import (
	"encoding/json"
	"testing"

	"github.com/weir-project/weir/internal/event"
)

// benchData is an edit of the average size of those that are received.
const benchData = `{"$schema":"/mediawiki/recentchange/1.0.0","meta":{"uri":"https://en.wikipedia.org/wiki/Needle_weir_(Gro%C3%9Fe_M%C3%BChl)",` +
	`"request_id":"01234567-89ab-4cde-8f01-23456789abcd","id":"fedcba98-7654-4321-8fed-cba987654321","domain":"en.wikipedia.org",` +
	`"stream":"mediawiki.recentchange","dt":"2026-09-21T13:33:20.123Z","topic":"eqiad.mediawiki.recentchange","partition":0,"offset":5987654321},` +
	`"id":1987654321,"type":"edit","namespace":0,"title":"Needle weir (Große Mühl)","title_url":"https://en.wikipedia.org/wiki/Needle_weir_(Gro%C3%9Fe_M%C3%BChl)",` +
	`"comment":"/* History */ \"rebuilt\" in 1921, see the talk page","timestamp":1790000000,"user":"Example user","bot":false,` +
	`"notify_url":"https://en.wikipedia.org/w/index.php?diff=1312345678&oldid=1301234567","minor":false,"patrolled":true,"length":{"old":12034,"new":12101},` +
	`"revision":{"old":1301234567,"new":1312345678},"server_url":"https://en.wikipedia.org","server_name":"en.wikipedia.org",` +
	`"server_script_path":"/w","wiki":"enwiki","parsedcomment":"<span class=\"autocomment\"><a href=\"/wiki/Needle_weir_(Gro%C3%9Fe_M%C3%BChl)#History\" ` +
	`title=\"Needle weir (Große Mühl)\">→\u200eHistory</a>: </span> &quot;rebuilt&quot; in 1921, see the talk page"}`

func BenchmarkDecode(b *testing.B) {
	d := NewDecoder()
	batch := event.NewBatch()
	b.SetBytes(int64(len(benchData)))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%64 == 0 {
			batch.Release()
			batch = event.NewBatch()
		}
		if _, err := d.Decode(batch, batch.CopyString(benchData)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDecodeEncodingJSON is the peer: the same fields through the standard
// library, into a struct.
func BenchmarkDecodeEncodingJSON(b *testing.B) {
	data := []byte(benchData)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		var e struct {
			Meta struct {
				ID     string `json:"id"`
				Domain string `json:"domain"`
				DT     string `json:"dt"`
			} `json:"meta"`
			Type      string `json:"type"`
			Wiki      string `json:"wiki"`
			Title     string `json:"title"`
			Timestamp int64  `json:"timestamp"`
		}
		if err := json.Unmarshal(data, &e); err != nil || e.Type == "" {
			b.Fatal(err)
		}
	}
}

func BenchmarkClassify(b *testing.B) {
	data := []byte(benchData)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if Classify(data) != "edit" {
			b.Fatal("not an edit")
		}
	}
}

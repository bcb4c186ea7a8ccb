package wikipedia

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/jsonscan/jsontest"
)

// Events of the shapes that are received, made up.
const (
	sampleEdit       = benchData
	sampleCategorize = `{"$schema":"/mediawiki/recentchange/1.0.0","meta":{"uri":"https://commons.wikimedia.org/wiki/Category:Weirs","request_id":"11111111-2222-4333-8444-555555555555","id":"aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee","domain":"commons.wikimedia.org","stream":"mediawiki.recentchange","dt":"2026-09-21T13:33:21Z","topic":"codfw.mediawiki.recentchange","partition":0,"offset":7},"id":2987654321,"type":"categorize","namespace":14,"title":"Category:Weirs","comment":"[[:File:A.jpg]] added to category","timestamp":1790000001,"user":"B","bot":true,"wiki":"commonswiki"}`
	sampleLog        = `{"meta":{"id":"bbbbbbbb-bbbb-4ccc-8ddd-eeeeeeeeeeee","domain":"de.wikipedia.org","dt":"2026-09-21T13:33:22.5Z"},"type":"log","namespace":-1,"title":"","log_id":0,"log_type":"abusefilter","log_action":"hit","log_params":{"action":"edit","filter":"7","actions":"","log":9007199254740993},"log_action_comment":"","timestamp":1790000002,"wiki":"dewiki"}`
	sampleNew        = `{"meta":{"id":"cccccccc-bbbb-4ccc-8ddd-eeeeeeeeeeee","domain":"ja.wikipedia.org","dt":"2026-09-21T22:33:23.000001+09:00"},"id":5,"type":"new","title":"\u5800 \"\ud83c\udf0a\" 堰","length":{"new":120},"revision":{"new":6},"log_params":[],"timestamp":1790000003,"wiki":"jawiki"}`
	sampleExternal   = `{"meta":{"id":"dddddddd-bbbb-4ccc-8ddd-eeeeeeeeeeee","domain":"www.wikidata.org","dt":"2026-09-21T13:33:24Z"},"type":"external","title":"Q1","timestamp":1790000004,"wiki":"wikidatawiki"}`
	sampleNumber     = `{"meta":{"id":"eeeeeeee-bbbb-4ccc-8ddd-eeeeeeeeeeee","domain":"fr.wikipedia.org","dt":"2026-09-21T13:33:25Z"},"type":"142","title":"Barrage","timestamp":1790000005,"wiki":"frwiki"}`
	sampleCanary     = `{"$schema":"/mediawiki/recentchange/1.0.0","meta":{"domain":"canary","dt":"2026-09-21T13:33:26.789Z","id":"ffffffff-bbbb-4ccc-8ddd-eeeeeeeeeeee","stream":"mediawiki.recentchange","topic":"eqiad.mediawiki.recentchange","partition":0,"offset":8}}`
)

func samples() (all [][]byte) {
	for _, s := range []string{sampleEdit, sampleCategorize, sampleLog, sampleNew, sampleExternal, sampleNumber, sampleCanary} {
		all = append(all, []byte(s))
	}
	return all
}

// decodeOne decodes an event alone and checks what holds for any.
func decodeOne(d *Decoder, data []byte) (o outcome, detail error, err error) {
	b := event.NewBatch()
	defer b.Release()
	mine := b.Copy(data)
	decoded, detail := d.Decode(b, mine)
	o = outcome{malformed: detail != nil, timeUS: decoded, classifiedKind: Classify(data)}
	id, timeUS, ok := d.Identify(b, mine)
	if kind, again := d.Examine(b, mine); kind != o.classifiedKind || !bytes.Equal(again, id) {
		return o, detail, fmt.Errorf("examined as %q with identity %q, apart as %q with %q", kind, again, o.classifiedKind, id)
	}
	switch {
	case !bytes.Equal(mine, data):
		return o, detail, fmt.Errorf("the data was changed to %q", mine)
	case detail != nil && (len(b.Events) != 0 || ok):
		return o, detail, fmt.Errorf("%d events and identity %q besides an error", len(b.Events), id)
	case detail != nil:
		return o, detail, nil
	case len(b.Events) != 1:
		return o, detail, fmt.Errorf("%d events", len(b.Events))
	}
	ev := b.Events[0]
	o.route, o.kind, o.key, o.id = ev.Route, ev.Kind, string(ev.Key), string(ev.ID)
	if !ok || timeUS != decoded || string(id) != o.id {
		return o, detail, fmt.Errorf("Identify says %v %q %d, Decode %q %d", ok, id, timeUS, o.id, decoded)
	}
	if ev.TimeUS != decoded || ev.Size != int64(len(data)) || !bytes.Equal(ev.Value, data) || len(ev.ID) == 0 {
		return o, detail, fmt.Errorf("wrong time, size, value or no identity: %+v", ev)
	}
	return o, detail, nil
}

// compareData holds Decode, Identify and Classify against the reference.
func compareData(d *Decoder, data []byte) error {
	got, _, err := decodeOne(d, data)
	if err != nil {
		return err
	}
	if want := reference(data); got != want {
		return fmt.Errorf("got  %+v, want %+v", got, want)
	}
	return nil
}

func TestDecode(t *testing.T) {
	data := func(kind, key, id string, us int64) outcome {
		return outcome{route: event.Data, kind: kind, key: key, id: id, timeUS: us, classifiedKind: kind}
	}
	long := strings.Repeat("x", event.MaxKind)
	other := data(event.OtherKind, "w|t", "i", 0)
	for _, tc := range []struct {
		name, data string
		want       outcome
	}{
		{"edit", sampleEdit, data("edit", "enwiki|Needle weir (Große Mühl)", "fedcba98-7654-4321-8fed-cba987654321", 1789997600123000)},
		{"categorize", sampleCategorize, data("categorize", "commonswiki|Category:Weirs", "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee", 1789997601000000)},
		{"log without a title", sampleLog, data("log", "dewiki|", "bbbbbbbb-bbbb-4ccc-8ddd-eeeeeeeeeeee", 1789997602500000)},
		{"new, title with escapes, time with an offset", sampleNew, data("new", `jawiki|堀 "🌊" 堰`, "cccccccc-bbbb-4ccc-8ddd-eeeeeeeeeeee", 1789997603000001)},
		{"external", sampleExternal, data("external", "wikidatawiki|Q1", "dddddddd-bbbb-4ccc-8ddd-eeeeeeeeeeee", 1789997604000000)},
		{"a number in a string", sampleNumber, data("142", "frwiki|Barrage", "eeeeeeee-bbbb-4ccc-8ddd-eeeeeeeeeeee", 1789997605000000)},
		{"canary", sampleCanary, outcome{route: event.Skip, kind: "canary", id: "ffffffff-bbbb-4ccc-8ddd-eeeeeeeeeeee", timeUS: 1789997606789000, classifiedKind: event.MalformedKind}},
		{"canary with a type", `{"meta":{"id":"i","domain":"canar\u0079"},"type":"edit"}`, outcome{route: event.Skip, kind: "canary", id: "i", classifiedKind: "edit"}},

		{"a number", `{"type":142,"wiki":"w","title":"t","meta":{"id":"i"}}`, data("142", "w|t", "i", 0)},
		{"type alone", `{"type":"edit"}`, data("edit", "|", "sha256:", 0)},
		{"wrong types elsewhere", `{"type":"edit","meta":[],"wiki":7,"title":null,"timestamp":"1"}`, data("edit", "|", "sha256:", 0)},
		{"no wiki", `{"type":"edit","meta":{"id":"i","domain":"en.wikipedia.org"},"title":"t"}`, data("edit", "en.wikipedia.org|t", "i", 0)},
		{"time with escapes", `{"type":"edit","meta":{"id":"i","dt":"2026-09-21T13\u003a33:20Z"},"wiki":"w","title":"t","timestamp":7}`, data("edit", "w|t", "i", 1789997600000000)},
		{"timestamp in place of meta.dt", `{"type":"edit","meta":{"id":"i","dt":"yesterday"},"wiki":"w","title":"t","timestamp":1790000000}`, data("edit", "w|t", "i", 1790000000000000)},
		{"no time", `{"type":"edit","meta":{"id":"i"},"wiki":"w","title":"t"}`, data("edit", "w|t", "i", 0)},
		{"times that are no use", `{"type":"edit","meta":{"id":"i","dt":"1969-12-31T23:59:59Z"},"wiki":"w","title":"t","timestamp":-1}`, data("edit", "w|t", "i", 0)},
		{"largest timestamp", `{"type":"edit","meta":{"id":"i"},"wiki":"w","title":"t","timestamp":9223372036854}`, data("edit", "w|t", "i", 9223372036854000000)},
		{"timestamp that does not fit", `{"type":"edit","meta":{"id":"i"},"wiki":"w","title":"t","timestamp":9223372036855}`, data("edit", "w|t", "i", 0)},
		{"longest type", `{"type":"` + long + `","wiki":"w","title":"t","meta":{"id":"i"}}`, data(long, "w|t", "i", 0)},
		{"type too long to count", `{"type":"` + long + `x","wiki":"w","title":"t","meta":{"id":"i"}}`, other},
		{"number too long to count", `{"type":1` + strings.Repeat("0", event.MaxKind) + `,"wiki":"w","title":"t","meta":{"id":"i"}}`, other},
		{"escapes", `{"\u0074ype":"\u0065dit","w\u0069ki":"\u0077","title":"\ud83c\u0074\/\u0000","\u006deta":{"\u0069d":"\u0069"}}`, data("edit", "w|\ufffdt/\x00", "i", 0)},
		{"invalid UTF-8", `{"type":"edit","wiki":"w","title":"` + "\xff" + `t","meta":{"id":"` + "i\xc3" + `"}}`, data("edit", "w|\ufffdt", "i\ufffd", 0)},
		{"names in capitals are other names", `{"type":"edit","Type":"no","wiki":"w","WIKI":"no","title":"t","meta":{"id":"i","ID":"no"},"Meta":{}}`, data("edit", "w|t", "i", 0)},
		{"the last of two members counts", `{"type":"no","type":"edit","wiki":"w","title":"no","title":"t","meta":{"domain":"canary","dt":"2026-09-21T13:33:26.789Z"},"meta":{"id":"no","id":"i"},"timestamp":7,"timestamp":null}`, data("edit", "w|t", "i", 0)},
		{"members inside others are others", `{"log_params":{"type":"no","meta":{"id":"no"}},"type":"edit","wiki":"w","title":"t","meta":{"id":"i","x":{"id":"no"}},"revision":{"title":"no"}}`, data("edit", "w|t", "i", 0)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := NewDecoder()
			got, detail, err := decodeOne(d, []byte(tc.data))
			if err != nil || detail != nil {
				t.Fatal(err, detail)
			}
			if tc.want.id == "sha256:" {
				tc.want.id += fmt.Sprintf("%x", sha256.Sum256([]byte(tc.data)))
			}
			if got != tc.want {
				t.Errorf("got  %+v\nwant %+v", got, tc.want)
			}
			if err := compareData(d, []byte(tc.data)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestDecodeMalformed(t *testing.T) {
	with := func(old, now string) string {
		if !strings.Contains(sampleNumber, old) {
			t.Fatalf("nothing to replace: %s", old)
		}
		return strings.Replace(sampleNumber, old, now, 1)
	}
	tooLong := strings.Repeat("é", 1025)
	wrong := "type is missing, empty or neither a string nor a number"
	for _, tc := range []struct{ data, detail string }{
		{``, "parse JSON: unexpected end at byte 0"},
		{"\n", "parse JSON: unexpected end at byte 1"},
		{sampleCanary + "{", fmt.Sprintf("parse JSON: data after the value at byte %d", len(sampleCanary))},
		{with(`1790000005`, `01790000005`), fmt.Sprintf("parse JSON: invalid number at byte %d", strings.Index(sampleNumber, `1790000005`))},
		{with(`Barrage`, "Bar\nrage"), fmt.Sprintf("parse JSON: control character in a string at byte %d", strings.Index(sampleNumber, `rage`))},
		{with(`Barrage`, `Bar\rage\`), fmt.Sprintf("parse JSON: expected a comma or the end of an object at byte %d", strings.Index(sampleNumber, `timestamp`)+2)},
		{`[` + sampleCanary + `]`, "not a JSON object"}, {`null`, "not a JSON object"}, {`7`, "not a JSON object"},
		{`{}`, wrong}, {with(`"type"`, `"typo"`), wrong}, {with(`"142"`, `""`), wrong}, {with(`"142"`, `null`), wrong}, {with(`"142"`, `["edit"]`), wrong}, {with(`"142"`, `true`), wrong},
		{with(`eeeeeeee`, tooLong), "meta.id is longer than 2048 bytes"}, {strings.Replace(sampleCanary, `ffffffff`, tooLong, 1), "meta.id is longer than 2048 bytes"},
		{with(`frwiki`, tooLong), "wiki is longer than 2048 bytes"}, {with(`Barrage`, tooLong), "title is longer than 2048 bytes"},
		{`{"type":"edit","meta":{"domain":"` + tooLong + `"}}`, "wiki is longer than 2048 bytes"},
	} {
		d := NewDecoder()
		_, detail, err := decodeOne(d, []byte(tc.data))
		if err != nil || detail == nil || detail.Error() != tc.detail {
			t.Errorf("%.150s\n  %v %v\n  want %s", tc.data, err, detail, tc.detail)
		}
		if err := compareData(d, []byte(tc.data)); err != nil {
			t.Errorf("%.150s: %v", tc.data, err)
		}
	}
}

func TestClassify(t *testing.T) {
	// A record as the original program's json.dumps wrote it.
	dumped := `{"$schema": "/mediawiki/recentchange/1.0.0", "meta": {"id": "aaaaaaaa", "dt": "2026-09-21T13:33:21Z"}, "type": "log", "title": "Gro\u00dfe M\u00fchl \ud83c\udf0a \udf0a", "log_params": []}`
	long := strings.Repeat("x", event.MaxKind)
	for _, tc := range [][2]string{
		{dumped, "log"}, {sampleEdit, "edit"}, {sampleCategorize, "categorize"}, {sampleLog, "log"}, {sampleNew, "new"}, {sampleExternal, "external"}, {sampleNumber, "142"},
		{`{"type":142}`, "142"}, {`{"type":"\u0065dit"}`, "edit"}, {`{"type":"` + long + `"}`, long}, {`{"type":"` + long + `x"}`, event.OtherKind},
		{sampleCanary, event.MalformedKind}, {`{"type":""}`, event.MalformedKind}, {`{"type":null}`, event.MalformedKind}, {`{"type":{"type":"edit"}}`, event.MalformedKind},
		{`{"meta":{"type":"edit"}}`, event.MalformedKind}, {`{"type":"edit"`, event.MalformedKind}, {`{"type":"edit"}x`, event.MalformedKind},
		{``, event.MalformedKind}, {`null`, event.MalformedKind}, {`{}`, event.MalformedKind}, {`[]`, event.MalformedKind}, {`"edit"`, event.MalformedKind}, {`edit`, event.MalformedKind},
	} {
		if got := Classify([]byte(tc[0])); got != tc[1] {
			t.Errorf("%.100s: %s, want %s", tc[0], got, tc[1])
		}
	}
	if got := Classify(nil); got != event.MalformedKind {
		t.Errorf("nil: %s", got)
	}
}

func TestParseTime(t *testing.T) {
	for _, s := range []string{
		"2026-09-21T13:33:20Z", "2026-09-21T13:33:20.1Z", "2026-09-21T13:33:20.123456Z", "2026-09-21T13:33:20.1234567Z", "2026-09-21T13:33:20.999999999Z",
		"2026-09-21T13:33:20.123456789123456789Z", "2026-09-21T13:33:20+00:00", "2026-09-21T13:33:20-00:00", "2026-09-21T13:33:20.5+05:45", "2026-09-21T13:33:20-23:59",
		"2024-02-29T00:00:00Z", "2023-02-29T00:00:00Z", "2000-02-29T00:00:00Z", "1900-02-29T00:00:00Z", "2026-04-31T00:00:00Z", "2026-12-31T23:59:59Z",
		"0000-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "1970-01-01T00:00:00Z", "1969-12-31T23:59:59.999999Z",
		"", "Z", "2026-09-21", "2026-09-21T13:33:20", "2026-09-21T13:33Z", "2026-09-21T13:33:20z", "2026-09-21t13:33:20Z", "2026-09-21 13:33:20Z",
		"2026-00-21T13:33:20Z", "2026-13-21T13:33:20Z", "2026-09-00T13:33:20Z", "2026-09-32T13:33:20Z", "2026-09-21T24:00:00Z", "2026-09-21T13:60:20Z", "2026-09-21T13:33:60Z",
		"2026-09-21T13:33:20.Z", "2026-09-21T13:33:20,5Z", "2026-09-21T13:33:20.5", "2026-09-21T13:33:20.5ZZ", "2026-09-21T3:33:20Z", "2026-9-21T13:33:20Z", "026-09-21T13:33:20Z",
		"12026-09-21T13:33:20Z", "2026-09-21T13:33:20+24:00", "2026-09-21T13:33:20+05:60", "2026-09-21T13:33:20+0500", "2026-09-21T13:33:20+05", "2026-09-21T13:33:20*05:00",
		"-026-09-21T13:33:20Z", "+026-09-21T13:33:20Z", "2026-09-21T13:33:2xZ", "2026-09-21T13-33-20Z", "2026/09/21T13:33:20Z", "2026-09-21T13:33:20Z ", "２０２６-09-21T13:33:20Z",
	} {
		checkTime(t, s)
	}
	const seed = 11
	rng := rand.New(rand.NewPCG(seed, seed))
	for range 20_000 {
		s := []byte("2026-09-21T13:33:20.123456+05:45")
		if rng.IntN(2) == 0 {
			s = []byte("2026-09-21T13:33:20Z")
		}
		for range 1 + rng.IntN(3) {
			s[rng.IntN(len(s))] = "0123456789"[rng.IntN(10)]
		}
		if rng.IntN(4) == 0 {
			s[rng.IntN(len(s))] = "-+:.,TZtz 0/"[rng.IntN(12)]
		}
		checkTime(t, string(s))
	}
}

func checkTime(t *testing.T, s string) {
	t.Helper()
	us, ok := parseTime([]byte(s))
	if want, wantOK := refTime(s); ok != wantOK || ok && us != want {
		t.Errorf("%q: %d %v, want %d %v", s, us, ok, want, wantOK)
	}
}

func TestDecodeTruncated(t *testing.T) {
	d := NewDecoder()
	for _, data := range samples() {
		for n := range data {
			_, detail, err := decodeOne(d, data[:n])
			if err != nil || detail == nil || !strings.Contains(detail.Error(), fmt.Sprintf("unexpected end at byte %d", n)) {
				t.Errorf("the first %d bytes of %s: %v %v", n, data, err, detail)
			}
			if kind := Classify(data[:n]); kind != event.MalformedKind {
				t.Errorf("the first %d bytes of %s count as %s", n, data, kind)
			}
		}
	}
}

func TestDecodeMutants(t *testing.T) {
	const seed = 7
	n := 100_000
	if testing.Short() {
		n /= 10
	}
	rng := rand.New(rand.NewPCG(seed, seed))
	d := NewDecoder()
	base := append(samples(), []byte(`{"meta":{"id":"a","domain":"b","dt":"2026-09-21T13:33:20Z"},"type":"edit","wiki":"c","title":"d","timestamp":1}`),
		[]byte(`{"meta":{"domain":"canary","id":"x"}}`))
	routes := map[event.Route]int{}
	for i := range n {
		data := jsontest.Mutate(rng, base)
		if err := compareData(d, data); err != nil {
			t.Fatalf("seed %d, mutant %d: %q: %v", seed, i, data, err)
		}
		routes[reference(data).route]++
	}
	for _, r := range []event.Route{0, event.Data, event.Skip} {
		if routes[r] < n/100 {
			t.Errorf("%d of %d mutants are %s: they test too little of it", routes[r], n, r)
		}
	}
}

func TestDecodeNoAllocation(t *testing.T) {
	d := NewDecoder()
	for _, data := range samples() {
		known := Classify(data) != "142" // a name that is not known takes memory
		b := event.NewBatch()
		if n := testing.AllocsPerRun(200, func() {
			if len(b.Events) == 64 {
				b.Release()
				b = event.NewBatch()
			}
			if _, err := d.Decode(b, b.Copy(data)); err != nil {
				t.Error(err)
			}
		}); known && n != 0 || n > 1 {
			t.Errorf("decode %.80s: %v allocations", data, n)
		}
		if n := testing.AllocsPerRun(100, func() { Classify(data) }); known && n != 0 || n > 1 {
			t.Errorf("classify %.80s: %v allocations", data, n)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, data := range samples() {
		f.Add(data)
	}
	d := NewDecoder()
	f.Fuzz(func(t *testing.T, data []byte) {
		if bytes.Count(data, []byte(`[`))+bytes.Count(data, []byte(`{`)) > 512 {
			t.Skip("can be deeper than the scanner goes")
		}
		if err := compareData(d, data); err != nil {
			t.Error(err)
		}
	})
}

// What an event refers to is the batch's, not the decoder's.
func TestDecodeIntoOneBatch(t *testing.T) {
	d, b := NewDecoder(), event.NewBatch()
	defer b.Release()
	const n = 300 // more than one piece of the batch's memory
	for i := range n {
		if _, err := d.Decode(b, b.CopyString(fmt.Sprintf(`{"type":"t%d","wiki":"w","title":"\u0054%d","meta":{"id":"\u0069%d"},"pad":"%0600d"}`, i, i, i, i))); err != nil {
			t.Fatal(err)
		}
	}
	for i, ev := range b.Events {
		if string(ev.Key) != fmt.Sprintf("w|T%d", i) || string(ev.ID) != fmt.Sprintf("i%d", i) || ev.Kind != fmt.Sprintf("t%d", i) ||
			!bytes.HasSuffix(ev.Value, fmt.Appendf(nil, `%03d"}`, i)) {
			t.Errorf("event %d: %q %q %s %.60s", i, ev.Key, ev.ID, ev.Kind, ev.Value)
		}
	}
}

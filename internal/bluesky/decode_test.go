package bluesky

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/jsonscan/jsontest"
)

// Frames of the shapes that the servers send, made up.
const (
	frameCreate   = benchFrame
	frameUpdate   = `{"did":"did:web:weir.example","time_us":1790000000200000,"kind":"commit","commit":{"rev":"3lweirrev0002","operation":"update","collection":"app.bsky.actor.profile","rkey":"self","record":{"$type":"app.bsky.actor.profile","avatar":{"$type":"blob","ref":{"$link":"bafkreiaaaa"},"mimeType":"image/jpeg","size":123456},"displayName":"水门 \ud83c\udf0a","pinnedPost":null},"cid":"bafyreiaaaa"}}`
	frameDelete   = `{"did":"did:plc:aaaabbbbccccddddeeeeffff","time_us":1790000000300000,"kind":"commit","commit":{"rev":"3lweirrev0003","operation":"delete","collection":"app.bsky.feed.like","rkey":"3lweirlike001"},"cursor":9007199254740993}`
	frameIdentity = `{"did":"did:plc:aaaabbbbccccddddeeeeffff","time_us":1790000000400000,"kind":"identity","identity":{"did":"did:plc:aaaabbbbccccddddeeeeffff","handle":"lock.weir.example","seq":29876543210,"time":"2026-09-21T13:33:20.400Z"}}`
	frameAccount  = `{"did":"did:plc:aaaabbbbccccddddeeeeffff","time_us":1790000000500000,"kind":"account","account":{"active":false,"did":"did:plc:aaaabbbbccccddddeeeeffff","seq":29876543211,"status":"takendown","time":"2026-09-21T13:33:20.500Z"},"cursor":41}`
	frameError    = `{"$type":"error","error":"ConsumerTooSlow","message":"you are behind"}`
	frameUnknown  = `{"did":"did:plc:aaaa","time_us":1790000000600000,"kind":"sync","sync":{"rev":"3l"},"cursor":42}`
)

func sampleFrames() (all [][]byte) {
	for _, f := range []string{frameCreate, frameUpdate, frameDelete, frameIdentity, frameAccount, frameError, frameUnknown} {
		all = append(all, []byte(f))
	}
	return all
}

// decodeOne decodes a frame alone and checks what holds for any frame.
func decodeOne(d *Decoder, frame []byte) (o outcome, detail error, err error) {
	b := event.NewBatch()
	defer b.Release()
	mine := b.Copy(frame)
	pos, detail := d.Decode(b, mine)
	o = outcome{malformed: detail != nil, seq: pos.Seq, timeUS: pos.TimeUS, classifiedKind: Classify(frame)}
	switch {
	case !bytes.Equal(mine, frame):
		return o, detail, fmt.Errorf("the frame was changed to %q", mine)
	case detail != nil && len(b.Events) != 0:
		return o, detail, fmt.Errorf("%d events besides an error", len(b.Events))
	case detail == nil && len(b.Events) != 1:
		return o, detail, fmt.Errorf("%d events", len(b.Events))
	}
	id, timeUS, ok := d.Identify(b, mine)
	if kind, again := d.Examine(b, mine); kind != o.classifiedKind || !bytes.Equal(again, id) {
		return o, detail, fmt.Errorf("examined as %q with identity %q, apart as %q with %q", kind, again, o.classifiedKind, id)
	}
	if detail != nil || b.Events[0].Route == event.Reject {
		if ok {
			return o, detail, fmt.Errorf("identity %q of what has none", id)
		}
		if detail != nil {
			return o, detail, nil
		}
	}
	ev := b.Events[0]
	if o.route, o.kind = ev.Route, ev.Kind; ev.Route == event.Reject {
		if ev.Detail == "" || string(ev.ID) != event.RejectID(sha256.Sum256(frame)) {
			return o, detail, fmt.Errorf("reject without detail or digest: %+v", ev)
		}
	} else {
		o.key, o.id = string(ev.Key), string(ev.ID)
		if !ok || timeUS != pos.TimeUS || string(id) != o.id {
			return o, detail, fmt.Errorf("Identify says %v %q %d, Decode %q %d", ok, id, timeUS, o.id, pos.TimeUS)
		}
	}
	if ev.TimeUS != pos.TimeUS || ev.Size != int64(len(frame)) || !bytes.Equal(ev.Value, frame) || len(ev.ID) == 0 {
		return o, detail, fmt.Errorf("wrong time, size, value or no identity: %+v", ev)
	}
	return o, detail, nil
}

// compareFrame holds Decode, Identify and Classify against the reference.
func compareFrame(d *Decoder, frame []byte) error {
	got, _, err := decodeOne(d, frame)
	if err != nil {
		return err
	}
	if want := reference(frame); got != want {
		return fmt.Errorf("got  %+v, want %+v", got, want)
	}
	return nil
}

func TestDecode(t *testing.T) {
	const did = "did:plc:aaaabbbbccccddddeeeeffff"
	commit := func(kind, id string) outcome {
		return outcome{route: event.Data, kind: kind, key: did, id: did + "\n" + id, timeUS: 1, classifiedKind: kind}
	}
	head := `{"did":"` + did + `","time_us":1,"kind":"commit",`
	long := strings.Repeat("x", event.MaxKind)
	for _, tc := range []struct {
		name, frame string
		want        outcome
	}{
		{"create", frameCreate, outcome{route: event.Data, kind: "create", key: did, id: did + "\n3laaaabbbbc2z\napp.bsky.feed.post\n3laaaabbbbd23\ncreate",
			seq: 123456789, timeUS: 1790000000123456, classifiedKind: "create"}},
		{"update", frameUpdate, outcome{route: event.Data, kind: "update", key: "did:web:weir.example", id: "did:web:weir.example\n3lweirrev0002\napp.bsky.actor.profile\nself\nupdate",
			timeUS: 1790000000200000, classifiedKind: "update"}},
		{"delete, exact 64 bits", frameDelete, outcome{route: event.Data, kind: "delete", key: did, id: did + "\n3lweirrev0003\napp.bsky.feed.like\n3lweirlike001\ndelete",
			seq: 9007199254740993, timeUS: 1790000000300000, classifiedKind: "delete"}},
		{"identity", frameIdentity, outcome{route: event.Account, kind: "identity", key: did, id: did + "\nidentity\n29876543210",
			timeUS: 1790000000400000, classifiedKind: "identity"}},
		{"account", frameAccount, outcome{route: event.Account, kind: "account", key: did, id: did + "\naccount\n29876543211",
			seq: 41, timeUS: 1790000000500000, classifiedKind: "account"}},
		{"error frame", frameError, outcome{route: event.Reject, kind: event.ReasonError, classifiedKind: event.MalformedKind}},
		{"error frame without $type", `{"error":"X","message":"y"}`, outcome{route: event.Reject, kind: event.ReasonError, classifiedKind: event.MalformedKind}},
		{"unknown kind", frameUnknown, outcome{route: event.Reject, kind: event.ReasonUnknown, seq: 42, timeUS: 1790000000600000, classifiedKind: event.MalformedKind}},
		{"unknown kind with little else", `{"kind":"info"}`, outcome{route: event.Reject, kind: event.ReasonUnknown, classifiedKind: event.MalformedKind}},
		{"a kind in capitals is another kind", strings.Replace(frameCreate, `"kind":"commit"`, `"kind":"Commit"`, 1),
			outcome{route: event.Reject, kind: event.ReasonUnknown, seq: 123456789, timeUS: 1790000000123456, classifiedKind: "create"}},

		{"another operation", head + `"commit":{"rev":"r","operation":"frob","collection":"c","rkey":"k"}}`, commit("frob", "r\nc\nk\nfrob")},
		{"operation with escapes", head + `"commit":{"rev":"r","operation":"\u0063reate","collection":"c","rkey":"k"}}`, commit("create", "r\nc\nk\ncreate")},
		{"operation of invalid UTF-8", head + `"commit":{"rev":"r","operation":"` + "a\xff" + `","collection":"c","rkey":"k"}}`, commit("a\ufffd", "r\nc\nk\na\ufffd")},
		{"longest operation", head + `"commit":{"rev":"r","operation":"` + long + `","collection":"c","rkey":"k"}}`, commit(long, "r\nc\nk\n"+long)},
		{"operation too long to count", head + `"commit":{"rev":"r","operation":"` + long + `x","collection":"c","rkey":"k"}}`, commit(event.OtherKind, "r\nc\nk\n"+long+"x")},
		{"escaped names", `{"\u0064id":"` + did + `","time\u005fus":1,"k\u0069nd":"commit","\u0063ommit":{"r\u0065v":"r","operation":"create","collection":"c","rke\u0079":"k"}}`, commit("create", "r\nc\nk\ncreate")},
		{"names in capitals are other names", head + `"DID":"no","Time_us":7,"CURSOR":7,"Commit":{},"commit":{"rev":"r","Rev":"no","operation":"create","collection":"c","rkey":"k"}}`, commit("create", "r\nc\nk\ncreate")},
		{"the last of two members counts", head + `"did":"x","did":"` + did + `","commit":{"rev":"no","operation":"no","collection":"no","rkey":"no"},"commit":{"rev":"q","rev":"r","operation":"create","collection":"c","rkey":"k"},"time_us":"x","time_us":1}`, commit("create", "r\nc\nk\ncreate")},
		{"members inside others are others", `{"record":{"did":"x","kind":"y","cursor":9,"commit":{}},` + head[1:] + `"commit":{"record":{"rev":"x","rkey":"y"},"rev":"r","operation":"create","collection":"c","rkey":"k"}}`, commit("create", "r\nc\nk\ncreate")},
		{"an error member beside a kind", head + `"error":"x","commit":{"rev":"r","operation":"create","collection":"c","rkey":"k"}}`, commit("create", "r\nc\nk\ncreate")},
		{"null cursor", head + `"cursor":null,"commit":{"rev":"r","operation":"create","collection":"c","rkey":"k"}}`, commit("create", "r\nc\nk\ncreate")},
		{"white space", "\n{ \"did\" : \"" + did + "\" ,\t\"time_us\" : 1 , \"kind\" : \"commit\" , \"commit\" : { \"rev\" : \"r\" , \"operation\" : \"create\" , \"collection\" : \"c\" , \"rkey\" : \"k\" } }\r\n", commit("create", "r\nc\nk\ncreate")},
		{"a separator inside a part", head + `"commit":{"rev":"r\nc","operation":"create","collection":"c\\","rkey":"k"}}`, commit("create", `r\nc`+"\nc\\\\\nk\ncreate")},
		{"DID with escapes", `{"did":"did\u003aplc:\ud83c\udf0a","time_us":0,"kind":"account","account":{"seq":5}}`,
			outcome{route: event.Account, kind: "account", key: "did:plc:🌊", id: "did:plc:🌊\naccount\n5", classifiedKind: "account"}},
		{"largest integers", `{"did":"d","time_us":9223372036854775807,"cursor":9223372036854775807,"kind":"account","account":{"seq":9223372036854775807}}`,
			outcome{route: event.Account, kind: "account", key: "d", id: "d\naccount\n9223372036854775807", seq: 9223372036854775807, timeUS: 9223372036854775807, classifiedKind: "account"}},
		{"account event without a number", `{"did":"d","time_us":1,"kind":"account","account":{"seq":0,"time":"2026-09-21T13:33:20Z"}}`,
			outcome{route: event.Account, kind: "account", key: "d", id: "d\naccount\n2026-09-21T13:33:20Z", timeUS: 1, classifiedKind: "account"}},
		{"identity event with nothing", `{"did":"d","time_us":1,"kind":"identity"}`,
			outcome{route: event.Account, kind: "identity", key: "d", id: "d\nidentity\nsha256:", timeUS: 1, classifiedKind: "identity"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := NewDecoder()
			got, detail, err := decodeOne(d, []byte(tc.frame))
			if err != nil || detail != nil {
				t.Fatal(err, detail)
			}
			if strings.HasSuffix(tc.want.id, "sha256:") {
				tc.want.id += fmt.Sprintf("%x", sha256.Sum256([]byte(tc.frame)))
			}
			if got != tc.want {
				t.Errorf("got  %+v\nwant %+v", got, tc.want)
			}
			if err := compareFrame(d, []byte(tc.frame)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestDecodeMalformed(t *testing.T) {
	without := func(name string) string {
		return strings.Replace(frameDelete, `"`+name+`"`, `"no"`, 1)
	}
	with := func(old, now string) string {
		if !strings.Contains(frameDelete, old) {
			t.Fatalf("nothing to replace: %s", old)
		}
		return strings.Replace(frameDelete, old, now, 1)
	}
	tooLong := strings.Repeat("x", 2049)
	wrong := " is missing, empty or of the wrong type"
	integer := " is not an integer from 0 to 9223372036854775807"
	for _, tc := range []struct{ frame, detail string }{
		{``, "parse JSON: unexpected end at byte 0"},
		{`{"did":"d"`, "parse JSON: unexpected end at byte 10"},
		{frameDelete + frameDelete, fmt.Sprintf("parse JSON: data after the value at byte %d", len(frameDelete))},
		{with(`"cursor":9`, `"cursor":09`), fmt.Sprintf("parse JSON: invalid number at byte %d", strings.Index(frameDelete, ":90")+1)},
		{`[` + frameDelete + `]`, "not a JSON object"}, {`null`, "not a JSON object"}, {`"commit"`, "not a JSON object"},
		{`{}`, "kind" + wrong}, {without("kind"), "kind" + wrong}, {with(`"commit",`, `7,`), "kind" + wrong}, {with(`"commit",`, `"",`), "kind" + wrong},
		{`{"error":null}`, "kind" + wrong},
		{without("did"), "did" + wrong}, {with(`"did:plc:aaaabbbbccccddddeeeeffff"`, `""`), "did" + wrong}, {with(`"did:plc:aaaabbbbccccddddeeeeffff"`, `{}`), "did" + wrong},
		{with(`plc`, tooLong), "did is longer than 2048 bytes"},
		{without("rev"), "commit.rev" + wrong}, {without("collection"), "commit.collection" + wrong}, {without("rkey"), "commit.rkey" + wrong},
		{without("operation"), "commit.operation" + wrong}, {with(`"delete"`, `null`), "commit.operation" + wrong}, {with(`"delete"`, `1`), "commit.operation" + wrong},
		{with(`delete`, tooLong), "commit.operation is longer than 2048 bytes"}, {with(`3lweirlike001`, tooLong), "commit.rkey is longer than 2048 bytes"},
		{with(`"commit":{`, `"comment":{`), "commit.rev" + wrong}, {`{"did":"d","time_us":1,"kind":"commit","commit":null}`, "commit.rev" + wrong},
		{`{"did":"d","time_us":1,"kind":"commit","commit":{"rev":"r","operation":"o","collection":"c","rkey":"k"},"commit":7}`, "commit.rev" + wrong},
		{without("time_us"), "time_us" + wrong}, {with(`1790000000300000`, `null`), "time_us" + wrong},
		{with(`1790000000300000`, `"1790000000300000"`), "time_us" + integer}, {with(`1790000000300000`, `9223372036854775808`), "time_us" + integer},
		{with(`1790000000300000`, `18446744073709551617`), "time_us" + integer}, {with(`1790000000300000`, `100000000000000000000000000000001`), "time_us" + integer},
		{with(`1790000000300000`, `-1`), "time_us" + integer}, {with(`1790000000300000`, `1e15`), "time_us" + integer}, {with(`1790000000300000`, `1.0`), "time_us" + integer},
		{with(`9007199254740993`, `-1`), "cursor" + integer}, {with(`9007199254740993`, `"7"`), "cursor" + integer}, {with(`9007199254740993`, `9223372036854775808`), "cursor" + integer},
		{strings.Replace(frameAccount, `"seq":29876543211`, `"seq":"1"`, 1), "account.seq" + integer}, {strings.Replace(frameIdentity, `29876543210`, `-2`, 1), "identity.seq" + integer},
		{strings.Replace(frameIdentity, `"did"`, `"no"`, 1), "did" + wrong},
	} {
		d := NewDecoder()
		_, detail, err := decodeOne(d, []byte(tc.frame))
		if err != nil || detail == nil || detail.Error() != tc.detail {
			t.Errorf("%.150s\n  %v %v\n  want %s", tc.frame, err, detail, tc.detail)
		}
		if err := compareFrame(d, []byte(tc.frame)); err != nil {
			t.Errorf("%.150s: %v", tc.frame, err)
		}
	}
}

// Where a frame is valid JSON, what it says of its place is told even when the
// rest is of no use.
func TestDecodeMalformedPos(t *testing.T) {
	b := event.NewBatch()
	defer b.Release()
	pos, err := NewDecoder().Decode(b, b.CopyString(`{"time_us":7,"cursor":8,"kind":"commit"}`))
	if want := (Pos{Seq: 8, TimeUS: 7}); err == nil || pos != want {
		t.Errorf("%+v %v, want %+v and an error", pos, err, want)
	}
	pos, err = NewDecoder().Decode(b, b.CopyString(`{"time_us":7,"cursor":8,"kind":"commit"`))
	if err == nil || pos != (Pos{}) {
		t.Errorf("%+v %v, want nothing of a frame that is cut off", pos, err)
	}
}

// Two events that differ in one part never have the same identity, whatever the
// parts are; one event has one, however it is spelled.
func TestIdentityIsUnambiguous(t *testing.T) {
	d, b := NewDecoder(), event.NewBatch()
	defer b.Release()
	values := []string{"a", "b", "a\nb", "a\nb\nc", "\n", `\`, `\n`, "\\\n", `\\n`, "a\x00", "a\x01", "commit", "é", "\ufffd"}
	seen := map[string][5]string{}
	for i := range 5 {
		for j := range 5 {
			for _, v := range values {
				for _, w := range values {
					parts := [5]string{"a", "b", "c", "d", "e"}
					parts[i], parts[j] = v, w
					for _, escaped := range []bool{false, true} {
						q := func(i int) string {
							if escaped {
								return escapeAll(parts[i])
							}
							raw, _ := json.Marshal(parts[i])
							return string(raw)
						}
						frame := fmt.Sprintf(`{"did":%s,"time_us":1,"kind":"commit","commit":{"rev":%s,"collection":%s,"rkey":%s,"operation":%s}}`, q(0), q(1), q(2), q(3), q(4))
						id, _, ok := d.Identify(b, []byte(frame))
						if !ok {
							t.Fatalf("%q: no identity", frame)
						}
						if before, ok := seen[string(id)]; ok && before != parts {
							t.Fatalf("%q and %q are both %q", before, parts, id)
						} else if !ok && escaped {
							t.Fatalf("%q has another identity when it is escaped: %q", parts, id)
						}
						seen[string(id)] = parts
					}
				}
			}
		}
	}
}

func escapeAll(s string) string {
	out := `"`
	for _, r := range s {
		out += fmt.Sprintf(`\u%04x`, r)
	}
	return out + `"`
}

func TestClassify(t *testing.T) {
	// A record as the original program's json.dumps wrote it.
	dumped := `{"did": "did:plc:aaaa", "time_us": 1790000000123456, "kind": "commit", "commit": {"rev": "3l", "operation": "create", "collection": "app.bsky.feed.post", "rkey": "3k", "record": {"$type": "app.bsky.feed.post", "text": "na\u00efve \ud83c\udf0a \ud83c", "langs": ["en"]}, "cid": "bafy"}}`
	long := strings.Repeat("x", event.MaxKind)
	for _, tc := range [][2]string{
		{dumped, "create"}, {frameCreate, "create"}, {frameUpdate, "update"}, {frameDelete, "delete"}, {frameIdentity, "identity"}, {frameAccount, "account"},
		{`{"commit":{"operation":"create"}}`, "create"}, {`{"kind":"account","commit":{"operation":"create"}}`, "create"},
		{`{"commit":{"operation":"\u0063reate"}}`, "create"}, {`{"commit":{"operation":"frob"}}`, "frob"},
		{`{"commit":{"operation":"` + long + `"}}`, long}, {`{"commit":{"operation":"` + long + `x"}}`, event.OtherKind},
		{`{"kind":"account"}`, "account"}, {`{"kind":"\u0061ccount","commit":{"operation":""}}`, "account"}, {`{"kind":"identity","commit":null}`, "identity"},
		{`{"kind":"commit"}`, event.MalformedKind}, {`{"kind":"sync"}`, event.MalformedKind}, {`{"commit":{"operation":7}}`, event.MalformedKind},
		{`{"commit":"create"}`, event.MalformedKind}, {`{"operation":"create"}`, event.MalformedKind}, {`{"commit":{"record":{"operation":"create"}}}`, event.MalformedKind},
		{``, event.MalformedKind}, {`null`, event.MalformedKind}, {`{}`, event.MalformedKind}, {`[]`, event.MalformedKind}, {`"create"`, event.MalformedKind}, {`create`, event.MalformedKind},
		{frameCreate[:len(frameCreate)-1], event.MalformedKind}, {frameCreate + `x`, event.MalformedKind}, {"\x00\x00\x00\x00\x05create", event.MalformedKind},
		{`{"commit":{"operation":"create"},"n":NaN}`, event.MalformedKind},
	} {
		if got := Classify([]byte(tc[0])); got != tc[1] {
			t.Errorf("%.100s: %s, want %s", tc[0], got, tc[1])
		}
	}
	if got := Classify(nil); got != event.MalformedKind {
		t.Errorf("nil: %s", got)
	}
}

func TestDecodeTruncated(t *testing.T) {
	d := NewDecoder()
	for _, frame := range sampleFrames() {
		for n := range frame {
			_, detail, err := decodeOne(d, frame[:n])
			if err != nil || detail == nil || !strings.Contains(detail.Error(), fmt.Sprintf("unexpected end at byte %d", n)) {
				t.Errorf("the first %d bytes of %s: %v %v", n, frame, err, detail)
			}
			if kind := Classify(frame[:n]); kind != event.MalformedKind {
				t.Errorf("the first %d bytes of %s count as %s", n, frame, kind)
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
	base := append(sampleFrames(), []byte(`{"did":"a","time_us":1,"kind":"commit","commit":{"rev":"b","operation":"c","collection":"d","rkey":"e"},"cursor":2}`),
		[]byte(`{"did":"a","time_us":1,"kind":"account","account":{"seq":3,"time":"b"}}`), []byte(`{"error":"a","kind":null}`))
	routes := map[event.Route]int{}
	for i := range n {
		frame := jsontest.Mutate(rng, base)
		if err := compareFrame(d, frame); err != nil {
			t.Fatalf("seed %d, mutant %d: %q: %v", seed, i, frame, err)
		}
		routes[reference(frame).route]++
	}
	for _, r := range []event.Route{0, event.Data, event.Account, event.Reject} {
		if routes[r] < n/100 {
			t.Errorf("%d of %d mutants are %s: they test too little of it", routes[r], n, r)
		}
	}
}

func TestDecodeNoAllocation(t *testing.T) {
	d := NewDecoder()
	for _, frame := range [][]byte{[]byte(frameCreate), []byte(frameUpdate), []byte(frameDelete), []byte(frameIdentity), []byte(frameAccount)} {
		b := event.NewBatch()
		if n := testing.AllocsPerRun(200, func() {
			if len(b.Events) == 64 {
				b.Release()
				b = event.NewBatch()
			}
			if _, err := d.Decode(b, b.Copy(frame)); err != nil {
				t.Error(err)
			}
		}); n != 0 {
			t.Errorf("decode %.80s: %v allocations", frame, n)
		}
		if n := testing.AllocsPerRun(100, func() { Classify(frame) }); n != 0 {
			t.Errorf("classify %.80s: %v allocations", frame, n)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, frame := range sampleFrames() {
		f.Add(frame)
	}
	d := NewDecoder()
	f.Fuzz(func(t *testing.T, frame []byte) {
		if bytes.Count(frame, []byte(`[`))+bytes.Count(frame, []byte(`{`)) > 512 {
			t.Skip("can be deeper than the scanner goes")
		}
		if err := compareFrame(d, frame); err != nil {
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
		frame := fmt.Sprintf(`{"did":"\u0064id%03d","time_us":%d,"kind":"commit","commit":{"rev":"\u0072%d","operation":"o%d","collection":"c","rkey":"k"},"pad":"%0600d"}`, i, i, i, i, i)
		if i%2 == 1 {
			frame = fmt.Sprintf(`{"did":"\u0064id%03d","time_us":%d,"kind":"account","account":{"seq":%d},"pad":"%0600d"}`, i, i, i, i)
		}
		if _, err := d.Decode(b, b.CopyString(frame)); err != nil {
			t.Fatal(err)
		}
	}
	for i, ev := range b.Events {
		did := fmt.Sprintf("did%03d", i)
		id, kind := fmt.Sprintf("%s\nr%d\nc\nk\no%d", did, i, i), fmt.Sprintf("o%d", i)
		if i%2 == 1 {
			id, kind = fmt.Sprintf("%s\naccount\n%d", did, i), "account"
		}
		if string(ev.Key) != did || string(ev.ID) != id || ev.Kind != kind || ev.TimeUS != int64(i) || !bytes.HasSuffix(ev.Value, fmt.Appendf(nil, `%03d"}`, i)) {
			t.Errorf("event %d: %q %q %s %d %.60s", i, ev.Key, ev.ID, ev.Kind, ev.TimeUS, ev.Value)
		}
	}
}

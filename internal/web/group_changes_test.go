package web

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/inspect"
)

// groupChange is the answer of a change of a group.
type groupChange struct {
	Plan struct {
		Group, State, Topic string
		Offsets             json.RawMessage
		Changes             []inspect.Change
	}
	Applied        bool
	Command, Error string
	Others         []Other
}

// brokersKnown waits until commands of other programs name a broker.
func brokersKnown(t *testing.T, s *Server) {
	t.Helper()
	sub := s.cfg.Watch.Subscribe()
	defer sub.Close()
	for len(s.cfg.Watch.State().Cluster.Brokers) == 0 {
		if _, ok := sub.Next(t.Context()); !ok {
			t.Fatal("no brokers are known")
		}
	}
}

// TestGroupChanges: a change is planned at first, done when the group's name confirms it, and
// logged; each answer has the commands of other programs that do the same.
func TestGroupChanges(t *testing.T) {
	srv, cl := newServer(t, nil)
	s := srv.Config.Handler.(*Server)
	admin := kadm.NewClient(cl)
	brokersKnown(t, s)
	producer, err := kgo.NewClient(kgo.SeedBrokers(s.address()), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	for p := range int32(3) {
		if err := producer.ProduceSync(t.Context(), &kgo.Record{Topic: "events", Value: []byte("v"), Partition: p}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := admin.CreateTopic(t.Context(), 1, 1, nil, "more"); err != nil {
		t.Fatal(err)
	}
	const group = "it's mine"
	offsets := kadm.Offsets{}
	for p := range int32(3) {
		offsets.AddOffset("events", p, 0, -1)
	}
	if err := admin.CommitAllOffsets(t.Context(), group, offsets); err != nil {
		t.Fatal(err)
	}
	stands := func() (list []string) {
		t.Helper()
		fetched, err := admin.FetchOffsets(t.Context(), group)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range fetched.Sorted() {
			list = append(list, fmt.Sprint(o.Partition, ":", o.At))
		}
		return list
	}
	post := func(operation, body string, want int) (a groupChange) {
		t.Helper()
		status, _, text := request(t, "POST", srv.URL+"/api/v1/groups/_/"+operation+"?group="+url.QueryEscape(group), body, nil)
		if err := json.Unmarshal([]byte(text), &a); err != nil || status != want {
			t.Fatalf("%s %s: %d %s", operation, body, status, text)
		}
		return a
	}
	others := func(a groupChange, want ...string) {
		t.Helper()
		at := s.address()
		var got []string
		for _, o := range a.Others {
			got = append(got, o.Command)
		}
		for i := range want {
			want[i] = strings.ReplaceAll(want[i], "AT", at)
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("other programs:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	const sh = `kafka-consumer-groups.sh --bootstrap-server AT`

	others(post("reset", `{"to":"+1","topics":["events"],"partitions":[0,2]}`, 200),
		sh+` --reset-offsets '--group=it'\''s mine' --topic events:0,2 --shift-by 1 --execute`)
	others(post("reset", `{"to":"2026-01-02T03:04:05.678+09:00"}`, 200),
		sh+` --reset-offsets '--group=it'\''s mine' --topic events --to-datetime 2026-01-01T18:04:05.678Z --execute`,
		`rpk group seek 'it'\''s mine' --to 1767290645678 --topics events --allow-new-topics -X brokers=AT`)
	others(post("reset", `{"to":"-1","topics":["events","more"]}`, 200), // of the other topic there is nothing to count from
		sh+` --reset-offsets '--group=it'\''s mine' --topic events:0,1,2 --shift-by -1 --execute`)
	post("import", `{"offsets":[]}`, 400)
	post("import", `{"offsets":[{"topic":"events","partition":0,"offset":1},{"topic":"events","partition":0,"offset":0}]}`, 400)
	post("import", `{"offsets":[{"topic":"events","partition":0,"offset":-1}]}`, 400)
	post("import", `{"offsets":[{"topic":"events","partition":9,"offset":1}]}`, 404)
	in := `{"offsets":[{"topic":"events","partition":0,"offset":1},{"topic":"events","partition":1,"offset":7}],"confirm":"%s"}`
	a := post("import", fmt.Sprintf(in, ""), 200)
	if a.Applied || len(a.Plan.Changes) != 2 || a.Plan.Changes[1].To != 1 || a.Command != `weir groups import offsets.csv --group 'it'\''s mine'` {
		t.Errorf("%+v", a)
	}
	others(a, sh+` --reset-offsets '--group=it'\''s mine' --from-file offsets.csv --execute`)
	post("import", fmt.Sprintf(in, "its mine"), 400)
	if got := fmt.Sprint(stands()); got != "[0:0 1:0 2:0]" {
		t.Errorf("planned and refused, and now the group stands at %s", got)
	}
	if a := post("import", fmt.Sprintf(in, group), 200); !a.Applied || fmt.Sprint(stands()) != "[0:1 1:1 2:0]" {
		t.Errorf("%+v, the group stands at %s", a, stands())
	}

	a = post("delete-offsets", `{"topic":"events","partitions":[2,1]}`, 200)
	if a.Applied || string(a.Plan.Offsets) != `[{"topic":"events","partition":1,"committed":1},{"topic":"events","partition":2,"committed":0}]` {
		t.Errorf("%+v %s", a, a.Plan.Offsets)
	}
	others(a, sh+` --delete-offsets '--group=it'\''s mine' --topic events:1,2`, `rpk group offset-delete 'it'\''s mine' --topic events:1,2 -X brokers=AT`)
	post("delete-offsets", `{"topic":"none"}`, 409)
	if a := post("delete-offsets", `{"topic":"events","partitions":[2,1],"confirm":"`+group+`"}`, 200); !a.Applied || fmt.Sprint(stands()) != "[0:1]" {
		t.Errorf("%+v, the group stands at %s", a, stands())
	}

	a = post("delete", `{}`, 200)
	if a.Applied || string(a.Plan.Offsets) != "1" || a.Plan.State != "Empty" || a.Command != `weir groups delete 'it'\''s mine'` {
		t.Errorf("%+v %s", a, a.Plan.Offsets)
	}
	others(a, sh+` --delete '--group=it'\''s mine'`, `rpk group delete 'it'\''s mine' -X brokers=AT`)
	post("delete", `{"confirm":"yes"}`, 400)
	if a := post("delete", `{"confirm":"`+group+`"}`, 200); !a.Applied {
		t.Errorf("%+v", a)
	}
	if a := post("delete", `{"confirm":"`+group+`"}`, 404); !strings.Contains(a.Error, "no such group") {
		t.Errorf("%+v", a)
	}
	log := fmt.Sprint(get(t, srv.URL+"/api/v1/log", 200))
	for _, want := range []string{"offsets of group it's mine were imported from the page",
		"the committed offsets of group it's mine in topic events were deleted from the page", "group it's mine was deleted from the page"} {
		if strings.Count(log, want) != 1 {
			t.Errorf("the log does not say %q once: %s", want, log)
		}
	}
}

// TestOtherToolsForOtherGroups: share and streams groups have tools of their own, and a name that
// begins like a flag stays a name.
func TestOtherToolsForOtherGroups(t *testing.T) {
	s, _ := server(t, nil)
	defer s.Close()
	brokersKnown(t, s)
	at := s.address()
	offsets := []inspect.CommittedOffset{{Topic: "in", Partition: 3}}
	for want, got := range map[string]how{
		"kafka-share-groups.sh --bootstrap-server " + at + " --delete-offsets --group=g --topic in": s.deleteOffsetsOthers(how{},
			inspect.DeleteOffsetsPlan{Group: "g", Topic: "in", Type: inspect.TypeShare, Offsets: offsets}, false),
		"kafka-streams-groups.sh --bootstrap-server " + at + " --delete-offsets --group=-g --input-topic in:3": s.deleteOffsetsOthers(how{},
			inspect.DeleteOffsetsPlan{Group: "-g", Topic: "in", Type: inspect.TypeStreams, Offsets: offsets}, true),
		"kafka-streams-groups.sh --bootstrap-server " + at + " --describe --group=g": s.describeOthers(how{}, inspect.TypeStreams, "g"),
		"kafka-streams-groups.sh --bootstrap-server " + at + " --reset-offsets --group=g --input-topic in --to-offset 5 --execute": s.resetOthers(how{},
			inspect.ResetPlan{Group: "g", Type: inspect.TypeStreams, Changes: []inspect.Change{{Topic: "in"}}}, inspect.AtOffset(5), false),
		"": s.resetOthers(how{}, inspect.ResetPlan{Group: "g", Changes: []inspect.Change{{Topic: "in", Tally: &inspect.TallyChange{}}}}, inspect.Oldest(), false),
	} {
		var list []string
		for _, o := range got.Others {
			list = append(list, o.Command)
		}
		if strings.Join(list, "\n") != want {
			t.Errorf("other programs are %q, want %q", list, want)
		}
	}
}

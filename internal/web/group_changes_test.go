package web

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
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

// changer changes the group "it's mine", which has a committed offset in each partition of the topic events.
type changer struct {
	t     *testing.T
	s     *Server
	url   string
	admin *kadm.Client
}

const (
	changed   = "it's mine"
	kafkaTool = `kafka-consumer-groups.sh --bootstrap-server AT`
)

func newChanger(t *testing.T) *changer {
	t.Helper()
	srv, cl := newServer(t, nil)
	c := &changer{t, srv.Config.Handler.(*Server), srv.URL, kadm.NewClient(cl)}
	brokersKnown(t, c.s)
	producer, err := kgo.NewClient(kgo.SeedBrokers(c.s.address()), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	offsets := kadm.Offsets{}
	for p := range int32(3) {
		if err := producer.ProduceSync(t.Context(), &kgo.Record{Topic: "events", Value: []byte("v"), Partition: p}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		offsets.AddOffset("events", p, 0, -1)
	}
	if err := c.admin.CommitAllOffsets(t.Context(), changed, offsets); err != nil {
		t.Fatal(err)
	}
	return c
}

// stands checks the committed offsets of the group.
func (c *changer) stands(want ...string) {
	c.t.Helper()
	fetched, err := c.admin.FetchOffsets(c.t.Context(), changed)
	if err != nil {
		c.t.Fatal(err)
	}
	var got []string
	for _, o := range fetched.Sorted() {
		got = append(got, fmt.Sprint(o.Partition, ":", o.At))
	}
	if !slices.Equal(got, want) {
		c.t.Errorf("the group stands at %v, want %v", got, want)
	}
}

func (c *changer) post(operation, body string, want int) (a groupChange) {
	c.t.Helper()
	status, _, text := request(c.t, "POST", c.url+"/api/v1/groups/_/"+operation+"?group="+url.QueryEscape(changed), body, nil)
	if err := json.Unmarshal([]byte(text), &a); err != nil || status != want {
		c.t.Fatalf("%s %s: %d %s", operation, body, status, text)
	}
	return a
}

// others checks the commands of other programs; AT stands for a broker.
func (c *changer) others(a groupChange, want ...string) {
	c.t.Helper()
	var got []string
	for _, o := range a.Others {
		got = append(got, strings.ReplaceAll(o.Command, c.s.address(), "AT"))
	}
	if !slices.Equal(got, want) {
		c.t.Errorf("other programs:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// logged checks that the log has each text once.
func (c *changer) logged(want ...string) {
	c.t.Helper()
	log := fmt.Sprint(get(c.t, c.url+"/api/v1/log", 200))
	for _, w := range want {
		if strings.Count(log, w) != 1 {
			c.t.Errorf("the log does not say %q once: %s", w, log)
		}
	}
}

// TestOtherToolsReset: a reset has the commands of other programs that do the same.
func TestOtherToolsReset(t *testing.T) {
	c := newChanger(t)
	if _, err := c.admin.CreateTopic(t.Context(), 1, 1, nil, "more"); err != nil {
		t.Fatal(err)
	}
	c.others(c.post("reset", `{"to":"+1","topics":["events"],"partitions":[0,2]}`, 200),
		kafkaTool+` --reset-offsets '--group=it'\''s mine' --topic events:0,2 --shift-by 1 --execute`)
	c.others(c.post("reset", `{"to":"2026-01-02T03:04:05.678+09:00"}`, 200),
		kafkaTool+` --reset-offsets '--group=it'\''s mine' --topic events --to-datetime 2026-01-01T18:04:05.678Z --execute`,
		`rpk group seek 'it'\''s mine' --to 1767290645678 --topics events --allow-new-topics -X brokers=AT`)
	c.others(c.post("reset", `{"to":"-1","topics":["events","more"]}`, 200), // of the other topic there is nothing to count from
		kafkaTool+` --reset-offsets '--group=it'\''s mine' --topic events:0,1,2 --shift-by -1 --execute`)
	c.stands("0:0", "1:0", "2:0")
}

// TestImport: an import is planned at first, done when the group's name confirms it, and logged.
func TestImport(t *testing.T) {
	c := newChanger(t)
	c.post("import", `{"offsets":[]}`, 400)
	c.post("import", `{"offsets":[{"topic":"events","partition":0,"offset":1},{"topic":"events","partition":0,"offset":0}]}`, 400)
	c.post("import", `{"offsets":[{"topic":"events","partition":0,"offset":-1}]}`, 400)
	c.post("import", `{"offsets":[{"topic":"events","partition":9,"offset":1}]}`, 404)
	in := `{"offsets":[{"topic":"events","partition":0,"offset":1},{"topic":"events","partition":1,"offset":7}],"confirm":"%s"}`
	a := c.post("import", fmt.Sprintf(in, ""), 200)
	if a.Applied || len(a.Plan.Changes) != 2 || a.Plan.Changes[1].To != 1 || a.Command != `weir groups import offsets.csv --group 'it'\''s mine'` {
		t.Errorf("%+v", a)
	}
	c.others(a, kafkaTool+` --reset-offsets '--group=it'\''s mine' --from-file offsets.csv --execute`)
	c.post("import", fmt.Sprintf(in, "its mine"), 400)
	c.stands("0:0", "1:0", "2:0")
	if a := c.post("import", fmt.Sprintf(in, changed), 200); !a.Applied {
		t.Errorf("%+v", a)
	}
	c.stands("0:1", "1:1", "2:0")
	c.logged("offsets of group it's mine were imported from the page")
}

// TestGroupDeletions: a deletion is planned at first, done when the group's name confirms it, and logged.
func TestGroupDeletions(t *testing.T) {
	c := newChanger(t)
	a := c.post("delete-offsets", `{"topic":"events","partitions":[2,1]}`, 200)
	if a.Applied || string(a.Plan.Offsets) != `[{"topic":"events","partition":1,"committed":0},{"topic":"events","partition":2,"committed":0}]` {
		t.Errorf("%+v %s", a, a.Plan.Offsets)
	}
	c.others(a, kafkaTool+` --delete-offsets '--group=it'\''s mine' --topic events:1,2`,
		`rpk group offset-delete 'it'\''s mine' --topic events:1,2 -X brokers=AT`)
	c.post("delete-offsets", `{"topic":"none"}`, 409)
	c.stands("0:0", "1:0", "2:0")
	if a := c.post("delete-offsets", `{"topic":"events","partitions":[2,1],"confirm":"`+changed+`"}`, 200); !a.Applied {
		t.Errorf("%+v", a)
	}
	c.stands("0:0")

	a = c.post("delete", `{}`, 200)
	if a.Applied || string(a.Plan.Offsets) != "1" || a.Plan.State != "Empty" || a.Command != `weir groups delete 'it'\''s mine'` {
		t.Errorf("%+v %s", a, a.Plan.Offsets)
	}
	c.others(a, kafkaTool+` --delete '--group=it'\''s mine'`, `rpk group delete 'it'\''s mine' -X brokers=AT`)
	c.post("delete", `{"confirm":"yes"}`, 400)
	c.stands("0:0")
	if a := c.post("delete", `{"confirm":"`+changed+`"}`, 200); !a.Applied {
		t.Errorf("%+v", a)
	}
	if a := c.post("delete", `{"confirm":"`+changed+`"}`, 404); !strings.Contains(a.Error, "no such group") {
		t.Errorf("%+v", a)
	}
	c.logged("the committed offsets of group it's mine in topic events were deleted from the page", "group it's mine was deleted from the page")
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

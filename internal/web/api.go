package web

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/watch"
)

// how says by which commands and which Kafka requests the same is done.
type how struct {
	Command  string   `json:"command"`
	Requests []string `json:"requests"`
	Others   []Other  `json:"others"`
}

func by(command string, requests ...string) how { return how{command, requests, []Other{}} }

func (s *Server) state(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(s.cfg.Watch.Snapshot())
	return nil
}

func (s *Server) history(r *http.Request) (watch.HistoryAnswer, error) {
	names := r.URL.Query()["series"]
	if len(names) == 0 || len(names) > 64 {
		return watch.HistoryAnswer{}, badRequest("%d series asked for: name 1 to 64 with ?series=", len(names))
	}
	return s.cfg.Watch.History(names), nil
}

type logAnswer struct {
	Entries []watch.Entry `json:"entries"`
}

func (s *Server) log(r *http.Request) (logAnswer, error) {
	limit, err := number(r, "limit", 200, 1, 500)
	return logAnswer{s.cfg.Watch.Log(int(limit))}, err
}

// NoteRequest is the body of a line for the log.
type NoteRequest struct {
	Kind string `json:"kind"` // lab
	Text string `json:"text"` // up to 500 bytes
}

// maxNote bounds the text of a note, in bytes.
const maxNote = 500

// note adds what another command does, which this process cannot see by itself.
func (s *Server) note(_ *http.Request, n NoteRequest) (logAnswer, error) {
	if n.Kind != watch.LogLab || n.Text == "" || len(n.Text) > maxNote {
		return logAnswer{}, badRequest("a note is of %q and has a text of 1 to %d bytes", watch.LogLab, maxNote)
	}
	s.cfg.Watch.Note(watch.Entry{Kind: n.Kind, Text: n.Text})
	return logAnswer{s.cfg.Watch.Log(1)}, nil
}

type topicsAnswer struct {
	inspect.TopicList
	how
}

func (s *Server) topics(r *http.Request) (topicsAnswer, error) {
	list, err := s.cfg.Inspector.Topics(r.Context())
	h := by(weir("topics", s.cfg.Where.Kafka), "Metadata", "ListOffsets", "DescribeLogDirs").
		also(s.apache("kafka-topics.sh", "--list")...).also(s.rpk("topic", "list")...)
	return topicsAnswer{list, h}, err
}

type topicAnswer struct {
	inspect.TopicDetail
	how
}

func (s *Server) topic(r *http.Request) (topicAnswer, error) {
	describe := s.cfg.Inspector.Topic
	switch g := r.URL.Query().Get("groups"); g {
	case "":
	case "none":
		describe = s.cfg.Inspector.TopicAlone
	default:
		return topicAnswer{}, badRequest("groups is %q: give none, or leave it out", g)
	}
	d, err := describe(r.Context(), r.PathValue("topic"))
	h := by(weir("topics", s.cfg.Where.Kafka, d.Name), "Metadata", "ListOffsets", "DescribeConfigs", "DescribeGroups", "OffsetFetch").
		also(s.apache("kafka-topics.sh", "--describe", "--topic", topicPattern(d.Name))...).also(s.rpk("topic", "describe", d.Name, "-a")...)
	return topicAnswer{d, h}, err
}

type activityAnswer struct {
	inspect.Activity
	how
}

func (s *Server) activity(r *http.Request) (activityAnswer, error) {
	a, err := s.cfg.Inspector.Activity(r.Context(), r.PathValue("topic"), time.Now())
	return activityAnswer{a, by(weir("topics", s.cfg.Where.Kafka, a.Topic), "Metadata", "ListOffsets", "DescribeLogDirs", "DescribeProducers", "ListTransactions",
		"DescribeTransactions")}, err
}

type groupsAnswer struct {
	inspect.GroupList
	how
}

func (s *Server) groups(r *http.Request) (groupsAnswer, error) {
	list, err := s.cfg.Inspector.Groups(r.Context())
	h := by(weir("groups", s.cfg.Where.Kafka), "ListGroups", "DescribeGroups", "OffsetFetch", "ListOffsets").
		also(s.apache("kafka-groups.sh", "--list")...).also(s.rpk("group", "list")...)
	return groupsAnswer{list, h}, err
}

type groupAnswer struct {
	inspect.GroupDetail
	// Own are the counters of this process in the group; null where there can be none.
	Own *OwnMembers `json:"own"`
	how
}

func (s *Server) group(r *http.Request) (groupAnswer, error) {
	d, err := s.cfg.Inspector.Group(r.Context(), groupName(r))
	a := groupAnswer{GroupDetail: d}
	if err == nil && s.cfg.Members != nil {
		if a.Own = s.cfg.Members.Own(d.Name); a.Own != nil {
			a.Own.Rebalances = s.actions.rebalancesOf(d.Name)
		}
	}
	requests := []string{"ListGroups", "DescribeGroups", "OffsetFetch", "ListOffsets", "Fetch"}
	switch d.Type {
	case inspect.TypeConsumer:
		requests[1] = "ConsumerGroupDescribe"
	case inspect.TypeStreams:
		requests[1] = "StreamsGroupDescribe"
	case inspect.TypeShare:
		requests = []string{"ListGroups", "ShareGroupDescribe", "DescribeShareGroupOffsets", "ListOffsets"}
	}
	a.how = s.describeOthers(by(weir("groups describe", s.cfg.Where.Kafka, d.Name), requests...), d.Type, d.Name)
	return a, err
}

// Difference is one way in which the embedded engine behaves otherwise than Apache
// Kafka. Words between backquotes are Kafka's own.
type Difference struct {
	ID        string `json:"id"`
	Behaviour string `json:"behaviour"`
	Apache    string `json:"apache"`
	Embedded  string `json:"embedded"`
	Learner   string `json:"learner"` // what follows for a learner
}

type brokersAnswer struct {
	inspect.BrokerList
	// Changes are the kills and restarts of brokers of this weir, the newest first.
	Changes []BrokerChange `json:"changes"`
	// Differences are where this engine behaves otherwise than Apache Kafka.
	Differences []Difference `json:"differences"`
	how
}

func (s *Server) brokers(r *http.Request) (brokersAnswer, error) {
	list, err := s.cfg.Inspector.Brokers(r.Context())
	return brokersAnswer{list, s.actions.brokerChanges(), append([]Difference{}, s.cfg.Differences...),
		by(weir("brokers", s.cfg.Where.Kafka), "Metadata", "DescribeLogDirs")}, err
}

type brokerAnswer struct {
	Broker int32             `json:"broker"`
	Config []inspect.Setting `json:"config"`
	how
}

func (s *Server) broker(r *http.Request) (brokerAnswer, error) {
	id, err := pathID(r, "broker")
	if err != nil {
		return brokerAnswer{}, err
	}
	config, err := s.cfg.Inspector.BrokerConfig(r.Context(), id)
	return brokerAnswer{id, config, by(fmt.Sprintf("kafka-configs.sh --bootstrap-server %s --describe --all --entity-type brokers --entity-name %d",
		s.brokerAddress(id), id), "DescribeConfigs")}, err
}

// ResetRequest is the body of a reset.
type ResetRequest struct {
	To         string   `json:"to"` // oldest, latest, an offset, +N, -N, or a time
	Topics     []string `json:"topics"`
	Partitions []int32  `json:"partitions"`
	Confirm    string   `json:"confirm"`
}

// ResetAnswer is what a reset changes, or has changed where it was confirmed.
type ResetAnswer struct {
	Plan    inspect.ResetPlan `json:"plan"`
	Applied bool              `json:"applied"`
	how
}

func (s *Server) reset(r *http.Request, req ResetRequest) (a ResetAnswer, err error) {
	to, err := inspect.ParseTarget(req.To, time.Now())
	if err != nil {
		return a, badRequest("to %v", err)
	}
	group := groupName(r)
	a.Plan, err = s.cfg.Inspector.PlanReset(r.Context(), inspect.ResetQuery{
		Group: group, Topics: req.Topics, Partitions: req.Partitions, To: to, Tallies: s.cfg.Tallies,
	})
	if err != nil {
		return a, err
	}
	where := strings.Replace(req.To, "earliest", "oldest", 1) // Kafka's tools and weir's have a word each
	a.Applied, err = s.applied(r, req.Confirm, a.Plan.Apply, watch.LogRebalance, "group "+group+" was reset to "+where)
	c := command{words: "groups reset", args: []string{group}, flags: []string{"--to", where}}
	c.flags = append(c.flags, partitionFlags(req.Topics, req.Partitions)...)
	a.how = s.resetOthers(by(c.shown(s.cfg.Where.Redis), "Metadata", "ListOffsets", "OffsetFetch", "OffsetCommit"), a.Plan, to, len(req.Partitions) > 0)
	return a, err
}

// confirmed reports whether a change is confirmed, which is to give the name of what (a group
// or a topic) is changed. Another name is an error.
func confirmed(confirm, what, name string) (bool, error) {
	if confirm != "" && confirm != name {
		return false, badRequest("confirm is not the %s's name: type %q", what, name)
	}
	return confirm != "", nil
}

// apply does a change where it is confirmed, and reports whether it was done.
func apply(r *http.Request, confirm, what, name string, change func(context.Context) error) (bool, error) {
	ok, err := confirmed(confirm, what, name)
	if ok {
		err = change(r.Context())
	}
	return ok && err == nil, err
}

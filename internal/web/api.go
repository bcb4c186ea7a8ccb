package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/watch"
)

// maxBody bounds what an action may be sent: a record by hand is the largest.
const maxBody = 10 << 20

// operations lists the operations; openapi.json is made from this list.
func (s *Server) operations() []route {
	return []route{
		{"GET", "/api/v1/state", "The live state: cluster, streams, topics, groups", s.state},
		{"GET", "/api/v1/live", "The live state as Server-Sent Events: snapshot, patch (RFC 7396), log", s.live},
		{"GET", "/api/v1/history", "An hour of named series, two seconds apart (?series=NAME, repeatable)", s.history},
		{"GET", "/api/v1/log", "What happened, in plain words (?limit=N)", s.log},
		{"POST", "/api/v1/log", "Add a line to it: what another command of weir does", s.note},
		{"GET", "/api/v1/topics", "All topics", s.topics},
		{"GET", "/api/v1/topics/{topic}", "One topic: partitions, configuration, groups", s.topic},
		{"GET", "/api/v1/topics/{topic}/messages", "Messages (?from=newest|oldest|offset|time&n=&partition=&offset=&time=&text=&key=&header=&path=&isolation=&cursor=)", s.messages},
		{"GET", "/api/v1/topics/{topic}/messages.jsonl", "The same messages as JSON lines to keep", s.download},
		{"GET", "/api/v1/topics/{topic}/messages/{partition}/{offset}", "One message", s.message},
		{"GET", "/api/v1/topics/{topic}/messages/{partition}/{offset}/value", "One message's value, its bytes as they are", s.value},
		{"GET", "/api/v1/topics/{topic}/tail", "New messages as Server-Sent Events, sampled at high rates", s.tail},
		{"POST", "/api/v1/topics/{topic}/messages", "Write one record: key, value, headers, partition", s.produce},
		{"GET", "/api/v1/topics/{topic}/partition", "The partition that a key chooses (?key=)", s.partition},
		{"GET", "/api/v1/groups", "All consumer groups with their lag", s.groups},
		{"GET", "/api/v1/groups/{group}", "One group: members, positions", s.group},
		{"POST", "/api/v1/groups/{group}/reset", "Plan a reset; carry it out when confirm is the group's name", s.reset},
		{"GET", "/api/v1/groups/{group}/replay", "How the last replay of a group stands", s.replayState},
		{"POST", "/api/v1/groups/{group}/replay", "Plan a replay; begin it when confirm is the group's name", s.replay},
		{"POST", "/api/v1/groups/{group}/members/add", "Start one more counter of this process in a group of its own", s.memberAdd},
		{"POST", "/api/v1/groups/{group}/members/remove", "Stop a counter of this process", s.memberRemove},
		{"GET", "/api/v1/brokers", "All brokers", s.brokers},
		{"GET", "/api/v1/brokers/changes", "What was done to brokers, and how long producers waited", s.brokerChanges},
		{"GET", "/api/v1/brokers/{broker}", "One broker's configuration", s.broker},
		{"POST", "/api/v1/brokers/{broker}/kill", "Kill a broker of weir's own cluster", s.kill},
		{"POST", "/api/v1/brokers/{broker}/restart", "Restart a broker of weir's own cluster", s.restart},
		{"GET", "/api/v1/verify", "The proof: whether it runs, how far it is, what it found", s.verifyState},
		{"POST", "/api/v1/verify", "Run the proof", s.verifyRun},
		{"GET", "/api/v1/labs", "The labs with their settings, which one runs, and the kept reports", s.labs},
		{"GET", "/api/v1/labs/live", "The lab that runs, or ran last, as Server-Sent Events: its picture, then updates", s.labLive},
		{"POST", "/api/v1/labs/{lab}/start", "Run a lab in a process of its own", s.labStart},
		{"POST", "/api/v1/labs/stop", "Stop the lab that runs: nothing of it is kept", s.labStop},
		{"POST", "/api/v1/labs/set", "Change a setting that the lab offers while it runs", s.labSet},
		{"GET", "/api/v1/labs/reports/{report}", "A kept report", s.labReport},
		{"GET", "/api/v1/labs/reports/{report}/plot.svg", "Its plot", s.labPlot},
		{"GET", "/api/v1/labs/compare", "Two reports of one lab side by side (?a=&b=)", s.labCompare},
		{"GET", "/api/v1/openapi.json", "This list as an OpenAPI document", s.openAPI},
	}
}

func (s *Server) state(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(s.cfg.Watch.Snapshot())
	return nil
}

func (s *Server) history(w http.ResponseWriter, r *http.Request) error {
	names := r.URL.Query()["series"]
	if len(names) == 0 || len(names) > 64 {
		return badRequest("%d series asked for: name 1 to 64 with ?series=", len(names))
	}
	writeJSON(w, http.StatusOK, s.cfg.Watch.History(names))
	return nil
}

func (s *Server) log(w http.ResponseWriter, r *http.Request) error {
	limit, err := number(r, "limit", 200, 1, 500)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, logAnswer{Entries: s.cfg.Watch.Log(int(limit))})
	return nil
}

// NoteRequest is the body of a line for the log.
type NoteRequest struct {
	Kind string `json:"kind"` // lab
	Text string `json:"text"` // up to 500 bytes
}

// maxNote bounds the text of a note, in bytes.
const maxNote = 500

// note adds what another command does, which this process cannot see by itself.
func (s *Server) note(w http.ResponseWriter, r *http.Request) error {
	var req NoteRequest
	if err := body(w, r, &req); err != nil {
		return err
	}
	if req.Kind != watch.LogLab || req.Text == "" || len(req.Text) > maxNote {
		return badRequest("a note has the kind %q and a text of 1 to %d bytes", watch.LogLab, maxNote)
	}
	s.cfg.Watch.Note(watch.Entry{Kind: req.Kind, Text: req.Text})
	writeJSON(w, http.StatusOK, logAnswer{Entries: s.cfg.Watch.Log(1)})
	return nil
}

func (s *Server) topics(w http.ResponseWriter, r *http.Request) error {
	list, err := s.cfg.Inspector.Topics(r.Context())
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, topicsAnswer{list, by(command{words: "topics"}.shown(s.cfg.Where.Kafka), "Metadata", "ListOffsets", "DescribeLogDirs")})
	return nil
}

func (s *Server) topic(w http.ResponseWriter, r *http.Request) error {
	describe := s.cfg.Inspector.Topic
	switch g := r.URL.Query().Get("groups"); g {
	case "":
	case "none":
		describe = s.cfg.Inspector.TopicAlone
	default:
		return badRequest("groups is %q: give none, or leave it out", g)
	}
	d, err := describe(r.Context(), r.PathValue("topic"))
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, topicAnswer{d, by(command{words: "topics", args: []string{d.Name}}.shown(s.cfg.Where.Kafka), "Metadata", "ListOffsets", "DescribeConfigs", "DescribeGroups", "OffsetFetch")})
	return nil
}

func (s *Server) groups(w http.ResponseWriter, r *http.Request) error {
	list, err := s.cfg.Inspector.Groups(r.Context())
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, groupsAnswer{list, by(command{words: "groups"}.shown(s.cfg.Where.Kafka), "ListGroups", "DescribeGroups", "OffsetFetch", "ListOffsets")})
	return nil
}

func (s *Server) group(w http.ResponseWriter, r *http.Request) error {
	d, err := s.cfg.Inspector.Group(r.Context(), groupName(r))
	if err != nil {
		return err
	}
	var own *OwnMembers
	if s.cfg.Members != nil {
		if own = s.cfg.Members.Own(d.Name); own != nil {
			own.Rebalances = s.actions.rebalancesOf(d.Name)
		}
	}
	writeJSON(w, http.StatusOK, groupAnswer{GroupDetail: d, Own: own, how: by(command{words: "groups describe", args: []string{d.Name}}.shown(s.cfg.Where.Kafka), describeRequests(d.Type)...)})
	return nil
}

func (s *Server) brokers(w http.ResponseWriter, r *http.Request) error {
	list, err := s.cfg.Inspector.Brokers(r.Context())
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, brokersAnswer{list, s.actions.brokerChanges(), append([]Difference{}, s.cfg.Differences...), by(command{words: "brokers"}.shown(s.cfg.Where.Kafka), "Metadata", "DescribeLogDirs")})
	return nil
}

func (s *Server) broker(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r, "broker")
	if err != nil {
		return err
	}
	config, err := s.cfg.Inspector.BrokerConfig(r.Context(), id)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, brokerAnswer{Broker: id, Config: config,
		how: by(fmt.Sprintf("kafka-configs.sh --bootstrap-server %s --describe --all --entity-type brokers --entity-name %d", s.brokerAddress(id), id), "DescribeConfigs")})
	return nil
}

// ResetRequest is the body of a reset.
type ResetRequest struct {
	To         string   `json:"to"` // earliest, latest, an offset, +N, -N, or a time
	Topics     []string `json:"topics"`
	Partitions []int32  `json:"partitions"`
	Confirm    string   `json:"confirm"`
}

func (s *Server) reset(w http.ResponseWriter, r *http.Request) error {
	var req ResetRequest
	if err := body(w, r, &req); err != nil {
		return err
	}
	to, err := inspect.ParseTarget(req.To, time.Now())
	if err != nil {
		return badRequest("to %v", err)
	}
	group := groupName(r)
	plan, err := s.cfg.Inspector.PlanReset(r.Context(), inspect.ResetQuery{
		Group: group, Topics: req.Topics, Partitions: req.Partitions, To: to, Tallies: s.cfg.Tallies,
	})
	if err != nil {
		return err
	}
	applied := false
	if req.Confirm != "" {
		if req.Confirm != group {
			return badRequest("confirm is not the group's name: type %q", group)
		}
		if err := plan.Apply(r.Context()); err != nil {
			return err
		}
		applied = true
		s.cfg.Watch.Note(watch.Entry{Kind: watch.LogRebalance, Group: group, Text: fmt.Sprintf("group %s was reset to %s from %s", group, req.To, origin(r))})
	}
	c := command{words: "groups reset", args: []string{group}, flags: []string{"--to", strings.Replace(req.To, "earliest", "oldest", 1)}}
	for _, t := range req.Topics {
		c.flags = append(c.flags, "--topic", t)
	}
	for _, p := range req.Partitions {
		c.flags = append(c.flags, "--partition", strconv.Itoa(int(p)))
	}
	writeJSON(w, http.StatusOK, ResetAnswer{Plan: plan, Applied: applied, how: by(c.shown(s.cfg.Where.Redis), "Metadata", "ListOffsets", "OffsetFetch", "OffsetCommit")})
	return nil
}

func body(w http.ResponseWriter, r *http.Request, v any) error {
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return badRequest("the request's body is not what is wanted: %v", err)
	}
	return nil
}

// groupName reads which group is meant. A path cannot carry every name: clients
// resolve . and .. in it. ?group= carries any, whatever the path says.
func groupName(r *http.Request) string {
	if v := r.URL.Query(); v.Has("group") {
		return v.Get("group")
	}
	return r.PathValue("group")
}

func pathID(r *http.Request, name string) (int32, error) {
	n, err := strconv.ParseInt(r.PathValue(name), 10, 32)
	if err != nil || n < 0 {
		return 0, badRequest("%s is %q: give a number from 0", name, r.PathValue(name))
	}
	return int32(n), nil
}

// number reads an integer of the query within bounds.
func number(r *http.Request, name string, otherwise, least, most int64) (int64, error) {
	v := r.URL.Query().Get(name)
	if v == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < least || n > most {
		return 0, badRequest("%s is %q: give a number from %d to %d", name, v, least, most)
	}
	return n, nil
}

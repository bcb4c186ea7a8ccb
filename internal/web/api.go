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
	return reply(w, s.cfg.Watch.History(names))
}

func (s *Server) log(w http.ResponseWriter, r *http.Request) error {
	limit, err := number(r, "limit", 200, 1, 500)
	if err != nil {
		return err
	}
	return reply(w, logAnswer{Entries: s.cfg.Watch.Log(int(limit))})
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
		return badRequest("a note is of %q and has a text of 1 to %d bytes", watch.LogLab, maxNote)
	}
	s.cfg.Watch.Note(watch.Entry{Kind: req.Kind, Text: req.Text})
	return reply(w, logAnswer{Entries: s.cfg.Watch.Log(1)})
}

func (s *Server) topics(w http.ResponseWriter, r *http.Request) error {
	list, err := s.cfg.Inspector.Topics(r.Context())
	if err != nil {
		return err
	}
	return reply(w, topicsAnswer{list, by(command{words: "topics"}.shown(s.cfg.Where.Kafka), "Metadata", "ListOffsets", "DescribeLogDirs")})
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
	return reply(w, topicAnswer{d, by(command{words: "topics", args: []string{d.Name}}.shown(s.cfg.Where.Kafka), "Metadata", "ListOffsets", "DescribeConfigs", "DescribeGroups", "OffsetFetch")})
}

func (s *Server) groups(w http.ResponseWriter, r *http.Request) error {
	list, err := s.cfg.Inspector.Groups(r.Context())
	if err != nil {
		return err
	}
	return reply(w, groupsAnswer{list, by(command{words: "groups"}.shown(s.cfg.Where.Kafka), "ListGroups", "DescribeGroups", "OffsetFetch", "ListOffsets")})
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
	return reply(w, groupAnswer{GroupDetail: d, Own: own, how: by(command{words: "groups describe", args: []string{d.Name}}.shown(s.cfg.Where.Kafka), describeRequests(d.Type)...)})
}

func (s *Server) brokers(w http.ResponseWriter, r *http.Request) error {
	list, err := s.cfg.Inspector.Brokers(r.Context())
	if err != nil {
		return err
	}
	return reply(w, brokersAnswer{list, s.actions.brokerChanges(), append([]Difference{}, s.cfg.Differences...), by(command{words: "brokers"}.shown(s.cfg.Where.Kafka), "Metadata", "DescribeLogDirs")})
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
	return reply(w, brokerAnswer{Broker: id, Config: config,
		how: by(fmt.Sprintf("kafka-configs.sh --bootstrap-server %s --describe --all --entity-type brokers --entity-name %d", s.brokerAddress(id), id), "DescribeConfigs")})
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
	return reply(w, ResetAnswer{Plan: plan, Applied: applied, how: by(c.shown(s.cfg.Where.Redis), "Metadata", "ListOffsets", "OffsetFetch", "OffsetCommit")})
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

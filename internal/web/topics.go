package web

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/topicconf"
	"github.com/weir-project/weir/internal/visible"
	"github.com/weir-project/weir/internal/watch"
)

func sortedNames[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// settingsAnswer has the settings of a topic, in words.
type settingsAnswer struct {
	Settings []topicconf.TopicSetting `json:"settings"`
}

func (s *Server) topicSettings(r *http.Request) (a settingsAnswer, err error) {
	all := r.URL.Query().Get("all")
	if all != "" && all != "true" {
		return a, badRequest("all is %q: give true, or leave it out for the common settings", all)
	}
	a.Settings = topicconf.All()
	if all == "" {
		a.Settings = slices.DeleteFunc(a.Settings, func(s topicconf.TopicSetting) bool { return !s.Common })
	}
	return a, nil
}

// noteTopic writes a change of a topic into the log.
func (s *Server) noteTopic(r *http.Request, topic, format string, args ...any) {
	text := fmt.Sprintf("topic %s %s from %s", visible.Text(topic), fmt.Sprintf(format, args...), origin(r))
	s.cfg.Watch.Note(watch.Entry{Kind: watch.LogTopic, Topic: topic, Text: text})
}

// CreateTopicRequest is the body of a new topic.
type CreateTopicRequest struct {
	Name       string            `json:"name"`
	Partitions int32             `json:"partitions"` // 0: the cluster's default
	Replicas   int16             `json:"replicas"`   // 0: the cluster's default
	Config     map[string]string `json:"config"`
}

// CreateTopicAnswer is the topic as it was created.
type CreateTopicAnswer struct {
	Topic inspect.CreatedTopic `json:"topic"`
	how
}

func (s *Server) createTopic(r *http.Request, req CreateTopicRequest) (a CreateTopicAnswer, err error) {
	a.Topic, err = s.cfg.Inspector.CreateTopic(r.Context(), inspect.NewTopic(req))
	if err != nil {
		return a, err
	}
	s.noteTopic(r, req.Name, "was created with %s", watch.Plural(a.Topic.Partitions, "partition"))
	c := command{words: "topics create", args: []string{req.Name}}
	if req.Partitions > 0 {
		c.flags = append(c.flags, "--partitions", strconv.Itoa(int(req.Partitions)))
	}
	if req.Replicas > 0 {
		c.flags = append(c.flags, "--replicas", strconv.Itoa(int(req.Replicas)))
	}
	for _, k := range sortedNames(req.Config) {
		c.flags = append(c.flags, "--config", k+"="+req.Config[k])
	}
	a.how = s.createOthers(by(c.shown(s.cfg.Where.Kafka), "CreateTopics", "Metadata"), req)
	return a, nil
}

// AlterTopicRequest is the body of a change of settings.
type AlterTopicRequest struct {
	Set   map[string]string `json:"set"`
	Unset []string          `json:"unset"`
}

// AlterTopicAnswer has the settings that have changed.
type AlterTopicAnswer struct {
	Changes []inspect.SettingChange `json:"changes"`
	// Note says what to check after a change of a topic of weir.
	Note string `json:"note,omitempty"`
	how
}

func (s *Server) alterTopic(r *http.Request, req AlterTopicRequest) (a AlterTopicAnswer, err error) {
	topic := r.PathValue("topic")
	if a.Changes, err = s.cfg.Inspector.AlterTopic(r.Context(), topic, req.Set, req.Unset); err != nil {
		return a, err
	}
	c := command{words: "topics alter", args: []string{topic}}
	for _, k := range sortedNames(req.Set) {
		c.flags = append(c.flags, "--config", k+"="+req.Set[k])
	}
	for _, k := range req.Unset {
		c.flags = append(c.flags, "--unset", k)
	}
	a.how = s.alterOthers(by(c.shown(s.cfg.Where.Kafka), "Metadata", "DescribeConfigs", "IncrementalAlterConfigs"), topic, req.Set, req.Unset)
	var changed []string
	for _, x := range a.Changes {
		changed = append(changed, visible.Text(x.Name)+"="+visible.Text(x.After))
	}
	if s.cfg.Inspector.Reserved(topic) {
		a.Note = "weir depends on some settings of this topic; weir preflight checks them"
	}
	if len(changed) > 0 {
		s.noteTopic(r, topic, "was altered, with %s now,", strings.Join(changed, ", "))
	}
	return a, nil
}

// PartitionsRequest is the body of more partitions.
type PartitionsRequest struct {
	To      int    `json:"to"` // how many there are to be
	Confirm string `json:"confirm"`
}

// PartitionsAnswer is what more partitions change, or have changed where it was confirmed.
type PartitionsAnswer struct {
	Plan    inspect.PartitionsPlan `json:"plan"`
	Applied bool                   `json:"applied"`
	how
}

func (s *Server) addPartitions(r *http.Request, req PartitionsRequest) (a PartitionsAnswer, err error) {
	topic := r.PathValue("topic")
	if a.Plan, err = s.cfg.Inspector.PlanPartitions(r.Context(), topic, req.To); err != nil {
		return a, err
	}
	if a.Applied, err = apply(r, req.Confirm, "topic", topic, a.Plan.Apply); err != nil {
		return a, err
	}
	if a.Applied {
		s.noteTopic(r, topic, "was given %d partitions instead of %d", a.Plan.To, a.Plan.From)
	}
	c := command{words: "topics add-partitions", args: []string{topic, strconv.Itoa(a.Plan.To - a.Plan.From)}}
	a.how = s.partitionsOthers(by(c.shown(s.cfg.Where.Kafka), "Metadata", "ListOffsets", "CreatePartitions"), a.Plan)
	return a, nil
}

// TruncateRequest is the body of a deletion of messages.
type TruncateRequest struct {
	Before     string  `json:"before"` // end (also where it is empty), an offset, or a time
	Partitions []int32 `json:"partitions"`
	Confirm    string  `json:"confirm"`
}

// TruncateAnswer is what is deleted, or was deleted where it was confirmed.
type TruncateAnswer struct {
	Plan    inspect.TruncatePlan `json:"plan"`
	Applied bool                 `json:"applied"`
	how
}

func (s *Server) truncate(r *http.Request, req TruncateRequest) (a TruncateAnswer, err error) {
	topic := r.PathValue("topic")
	if req.Before == "" {
		req.Before = "end"
	}
	before, err := inspect.ParseBefore(req.Before, time.Now())
	if err != nil {
		return a, badRequest("before: %v", err)
	}
	a.Plan, err = s.cfg.Inspector.PlanTruncate(r.Context(), inspect.TruncateQuery{Topic: topic, Before: before, Partitions: req.Partitions})
	if err != nil {
		return a, err
	}
	c := command{words: "topics truncate", args: []string{topic}, flags: []string{"--before", strings.Replace(req.Before, "latest", "end", 1)}}
	c.flags = append(c.flags, partitionFlags(nil, req.Partitions)...)
	a.how = s.truncateOthers(by(c.shown(s.cfg.Where.Kafka), "Metadata", "ListOffsets", "DescribeConfigs", "DeleteRecords"), a.Plan)
	if a.Applied, err = apply(r, req.Confirm, "topic", topic, a.Plan.Apply); err != nil {
		return a, err
	}
	if a.Applied {
		s.noteTopic(r, topic, "was truncated, which deleted %s,", watch.Plural(int(a.Plan.Messages), "message"))
	}
	return a, nil
}

// DeleteTopicRequest is the body of the deletion of a topic.
type DeleteTopicRequest struct {
	Confirm string `json:"confirm"`
}

// DeleteTopicAnswer is what is deleted, or was deleted where it was confirmed.
type DeleteTopicAnswer struct {
	Plan    inspect.DeletePlan `json:"plan"`
	Applied bool               `json:"applied"`
	how
}

func (s *Server) deleteTopic(r *http.Request, req DeleteTopicRequest) (a DeleteTopicAnswer, err error) {
	topic := r.PathValue("topic")
	if a.Plan, err = s.cfg.Inspector.PlanDelete(r.Context(), topic); err != nil {
		return a, err
	}
	if a.Applied, err = apply(r, req.Confirm, "topic", topic, a.Plan.Apply); err != nil {
		return a, err
	}
	if a.Applied {
		s.noteTopic(r, topic, "was deleted, with %s,", watch.Plural(int(a.Plan.Messages), "message"))
	}
	c := command{words: "topics delete", args: []string{topic}}
	a.how = s.deleteOthers(by(c.shown(s.cfg.Where.Kafka), "Metadata", "ListOffsets", "DescribeGroups", "OffsetFetch", "DeleteTopics"), topic)
	return a, nil
}

package web

import (
	"context"
	"net/http"
	"strconv"

	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/watch"
)

// applied does what was planned for a group where the request confirms it, and logs it as
// text and where it was asked for.
func (s *Server) applied(r *http.Request, confirm string, change func(context.Context) error, kind, text string) (bool, error) {
	group := groupName(r)
	done, err := apply(r, confirm, "group", group, change)
	if done {
		s.cfg.Watch.Note(watch.Entry{Kind: kind, Group: group, Text: text + " from " + origin(r)})
	}
	return done, err
}

// partitionFlags are the flags of a command for topics and partitions.
func partitionFlags(topics []string, partitions []int32) (flags []string) {
	for _, t := range topics {
		flags = append(flags, "--topic", t)
	}
	for _, p := range partitions {
		flags = append(flags, "--partition", strconv.Itoa(int(p)))
	}
	return flags
}

// DeleteGroupRequest is the body of a deletion of a group.
type DeleteGroupRequest struct {
	Confirm string `json:"confirm"` // the group's name
}

// DeleteGroupAnswer is what a deletion removes, or has removed where it was confirmed.
type DeleteGroupAnswer struct {
	Plan    inspect.DeleteGroupPlan `json:"plan"`
	Applied bool                    `json:"applied"`
	how
}

func (s *Server) deleteGroup(r *http.Request, req DeleteGroupRequest) (a DeleteGroupAnswer, err error) {
	group := groupName(r)
	if a.Plan, err = s.cfg.Inspector.PlanDeleteGroup(r.Context(), group, s.cfg.Tallies); err != nil {
		return a, err
	}
	a.Applied, err = s.applied(r, req.Confirm, a.Plan.Apply, watch.LogInfo, "group "+group+" was deleted")
	a.how = by(weir("groups delete", s.cfg.Where.Redis, group), "ListGroups", "OffsetFetch", "DeleteGroups")
	a.how = s.deleteGroupOthers(a.how, a.Plan)
	return a, err
}

// DeleteOffsetsRequest is the body of a deletion of committed offsets.
type DeleteOffsetsRequest struct {
	Topic      string  `json:"topic"`
	Partitions []int32 `json:"partitions"` // empty for all
	Confirm    string  `json:"confirm"`    // the group's name
}

// DeleteOffsetsAnswer is which offsets a deletion removes, or has removed where it was confirmed.
type DeleteOffsetsAnswer struct {
	Plan    inspect.DeleteOffsetsPlan `json:"plan"`
	Applied bool                      `json:"applied"`
	how
}

func (s *Server) deleteOffsets(r *http.Request, req DeleteOffsetsRequest) (a DeleteOffsetsAnswer, err error) {
	group := groupName(r)
	if a.Plan, err = s.cfg.Inspector.PlanDeleteOffsets(r.Context(), group, req.Topic, req.Partitions, s.cfg.Tallies); err != nil {
		return a, err
	}
	a.Applied, err = s.applied(r, req.Confirm, a.Plan.Apply, watch.LogInfo,
		"the committed offsets of group "+group+" in topic "+req.Topic+" were deleted")
	request := "OffsetDelete"
	if a.Plan.Type == inspect.TypeShare {
		request = "DeleteShareGroupOffsets"
	}
	c := command{words: "groups delete-offsets", args: []string{group}, flags: partitionFlags([]string{req.Topic}, req.Partitions)}
	a.how = s.deleteOffsetsOthers(by(c.shown(s.cfg.Where.Redis), "ListGroups", "OffsetFetch", request), a.Plan, len(req.Partitions) > 0)
	return a, err
}

// importFile is the file in the commands that import offsets: weir groups export writes it.
const importFile = "offsets.csv"

// ImportRequest is the body of an import of committed offsets.
type ImportRequest struct {
	Offsets []ImportedOffset `json:"offsets"`
	Confirm string           `json:"confirm"` // the group's name
}

// ImportedOffset is where a group shall stand in a partition.
type ImportedOffset struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
}

// importOffsets is a reset to an offset for each partition.
func (s *Server) importOffsets(r *http.Request, req ImportRequest) (a ResetAnswer, err error) {
	group, offsets := groupName(r), map[string]map[int32]int64{}
	for _, o := range req.Offsets {
		if _, twice := offsets[o.Topic][o.Partition]; twice || o.Topic == "" || o.Partition < 0 || o.Offset < 0 {
			return a, badRequest("the offset %d of partition %d of topic %q cannot be: give each partition once, and numbers from 0",
				o.Offset, o.Partition, o.Topic)
		}
		if offsets[o.Topic] == nil {
			offsets[o.Topic] = map[int32]int64{}
		}
		offsets[o.Topic][o.Partition] = o.Offset
	}
	if len(offsets) == 0 {
		return a, badRequest("no offsets are given")
	}
	a.Plan, err = s.cfg.Inspector.PlanReset(r.Context(), inspect.ResetQuery{Group: group, Offsets: offsets, Tallies: s.cfg.Tallies})
	if err != nil {
		return a, err
	}
	a.Applied, err = s.applied(r, req.Confirm, a.Plan.Apply, watch.LogRebalance, "offsets of group "+group+" were imported")
	c := command{words: "groups import", args: []string{importFile}, flags: []string{"--group", group}}
	a.how = s.importOthers(by(c.shown(s.cfg.Where.Redis), "Metadata", "ListOffsets", "OffsetFetch", "OffsetCommit"), a.Plan)
	return a, err
}

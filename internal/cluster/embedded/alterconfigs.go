package embedded

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// cleanupPolicy is the one list among the topic settings that the module acts on.
const cleanupPolicy = "cleanup.policy"

// alter has the module change settings, after what Kafka refuses is left out: all settings
// of a topic change, or none. Appending to a list begins in the module with nothing where
// the topic has no value of its own, so the resulting list is computed here. One request
// at a time, or what another one appends meanwhile would be lost.
func (c *Cluster) alter(ctx context.Context, node int32, frame []byte, req *kmsg.IncrementalAlterConfigsRequest) (reply []byte, err error) {
	c.alters.Lock()
	defer c.alters.Unlock()
	changed := false
	for _, r := range req.Resources {
		lists, err := c.setLists(ctx, node, r)
		if err != nil {
			return nil, err
		}
		changed = changed || lists
	}
	refused := func(r kmsg.IncrementalAlterConfigsRequestResource) bool { return alterRefusal(r) != nil }
	if changed || slices.ContainsFunc(req.Resources, refused) {
		rest := *req // what was asked for stays for the answer
		rest.Resources = slices.DeleteFunc(slices.Clone(req.Resources), refused)
		frame = replaceBody(frame, &rest)
	}
	return c.relay(ctx, node, frame)
}

// setLists makes of what is appended to, or subtracted from, a topic's cleanup policy the
// list that results, as a value to set. It reports whether there was any.
func (c *Cluster) setLists(ctx context.Context, node int32, r kmsg.IncrementalAlterConfigsRequestResource) (bool, error) {
	if r.ResourceType != kmsg.ConfigResourceTypeTopic || !slices.ContainsFunc(r.Configs, changesList) {
		return false, nil
	}
	value, ok, err := c.topicConfig(ctx, node, r.ResourceName, cleanupPolicy)
	if err != nil || !ok {
		return false, err // the module refuses a topic that does not exist
	}
	for i := range r.Configs {
		s := &r.Configs[i]
		if changesList(*s) {
			value = changedList(value, s.Op, *s.Value)
			s.Op, s.Value = kmsg.IncrementalAlterConfigOpSet, kmsg.StringPtr(value)
		}
	}
	return true, nil
}

func changesList(s kmsg.IncrementalAlterConfigsRequestResourceConfig) bool {
	return s.Name == cleanupPolicy && s.Value != nil &&
		(s.Op == kmsg.IncrementalAlterConfigOpAppend || s.Op == kmsg.IncrementalAlterConfigOpSubtract)
}

// changedList appends the parts that a list does not have yet, or removes parts from it.
func changedList(list string, op kmsg.IncrementalAlterConfigOp, parts string) string {
	have := strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
	for part := range strings.SplitSeq(parts, ",") {
		i := slices.Index(have, part)
		switch {
		case op == kmsg.IncrementalAlterConfigOpAppend && i < 0:
			have = append(have, part)
		case op == kmsg.IncrementalAlterConfigOpSubtract && i >= 0:
			have = slices.Delete(have, i, i+1)
		}
	}
	return strings.Join(have, ",")
}

// topicConfig returns the value of a setting that applies to a topic, the default
// included; false if the topic does not exist.
func (c *Cluster) topicConfig(ctx context.Context, node int32, topic, name string) (string, bool, error) {
	req := kmsg.NewPtrDescribeConfigsRequest()
	rr := kmsg.NewDescribeConfigsRequestResource()
	rr.ResourceType, rr.ResourceName, rr.ConfigNames = kmsg.ConfigResourceTypeTopic, topic, []string{name}
	req.Resources = append(req.Resources, rr)
	resp, err := ask[*kmsg.DescribeConfigsResponse](ctx, c, node, req)
	if err != nil {
		return "", false, err
	}
	for _, r := range resp.Resources {
		for _, s := range r.Configs {
			if s.Name == name && s.Value != nil {
				return *s.Value, true, nil
			}
		}
	}
	return "", false, nil
}

// answerAlter answers for the topics that were left out.
func answerAlter(req *kmsg.IncrementalAlterConfigsRequest, r *kmsg.IncrementalAlterConfigsResponse) {
	for _, res := range req.Resources {
		if no := alterRefusal(res); no != nil {
			a := kmsg.NewIncrementalAlterConfigsResponseResource()
			a.ErrorCode, a.ErrorMessage = no.code, &no.why
			a.ResourceType, a.ResourceName = res.ResourceType, res.ResourceName
			r.Resources = append(r.Resources, a)
		}
	}
}

// settingRefusal is an error code with the reason.
type settingRefusal struct {
	code int16
	why  string
}

// alterRefusal says why Kafka refuses the settings of a topic; nil where it does not.
// Lists are set by then, and what is deleted needs neither a value nor a known name.
func alterRefusal(r kmsg.IncrementalAlterConfigsRequestResource) *settingRefusal {
	if r.ResourceType != kmsg.ConfigResourceTypeTopic {
		return nil
	}
	for _, s := range r.Configs {
		switch {
		case s.Op == kmsg.IncrementalAlterConfigOpDelete:
		case s.Value == nil, s.Op == kmsg.IncrementalAlterConfigOpSet:
			if no := setRefusal(s.Name, s.Value); no != nil {
				return no
			}
		case s.Name != cleanupPolicy: // which stays where the topic does not exist
			return &settingRefusal{kerr.InvalidConfig.Code, fmt.Sprintf("Can't append to %s or subtract from it: its type is not LIST", s.Name)}
		}
	}
	return nil
}

// allowedSettings leaves out the topics whose settings Kafka refuses, from a request of the
// older kind that replaces all settings of a topic.
func allowedSettings(frame []byte, req *kmsg.AlterConfigsRequest) []byte {
	refused := func(r kmsg.AlterConfigsRequestResource) bool { return alterAllRefusal(r) != nil }
	if !slices.ContainsFunc(req.Resources, refused) {
		return frame
	}
	rest := *req // what was asked for stays for the answer
	rest.Resources = slices.DeleteFunc(slices.Clone(req.Resources), refused)
	return replaceBody(frame, &rest)
}

// answerAlterAll answers for the topics that allowedSettings left out.
func answerAlterAll(req *kmsg.AlterConfigsRequest, r *kmsg.AlterConfigsResponse) {
	for _, res := range req.Resources {
		if no := alterAllRefusal(res); no != nil {
			a := kmsg.NewAlterConfigsResponseResource()
			a.ErrorCode, a.ErrorMessage = no.code, &no.why
			a.ResourceType, a.ResourceName = res.ResourceType, res.ResourceName
			r.Resources = append(r.Resources, a)
		}
	}
}

// alterAllRefusal says why Kafka refuses the settings that are to replace a topic's; nil
// where it does not.
func alterAllRefusal(r kmsg.AlterConfigsRequestResource) *settingRefusal {
	if r.ResourceType != kmsg.ConfigResourceTypeTopic {
		return nil
	}
	for _, s := range r.Configs {
		if no := setRefusal(s.Name, s.Value); no != nil {
			return no
		}
	}
	return nil
}

// setRefusal says why Kafka refuses to set a topic's setting to a value; nil where it does
// not.
func setRefusal(name string, value *string) *settingRefusal {
	if value == nil {
		return &settingRefusal{kerr.InvalidRequest.Code, "Null value not supported for " + name}
	}
	if why := badSetting(name, value); why != "" {
		return &settingRefusal{kerr.InvalidConfig.Code, why}
	}
	return nil
}

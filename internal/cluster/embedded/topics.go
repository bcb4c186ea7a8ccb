package embedded

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-project/weir/internal/topicconf"
)

// maxPartitions bounds the partitions of one topic that a client may ask for; the
// module would allocate any number.
const maxPartitions = 10_000

// cleanupPolicy is the one list among the topic settings that the module acts on.
const cleanupPolicy = "cleanup.policy"

// refusal says why Kafka rejects one topic of a request.
type refusal struct {
	code int16
	why  string
}

// takeOut removes the entries that Kafka rejects from the list of a request, and returns an
// answer for each. The module would accept them.
func takeOut[Q, R any](list *[]Q, reject func(Q) *refusal, answer func(Q, *refusal) R) (answers []R) {
	*list = slices.DeleteFunc(*list, func(q Q) bool {
		no := reject(q)
		if no != nil {
			answers = append(answers, answer(q, no))
		}
		return no != nil
	})
	return answers
}

// rest is what takeOut leaves of a request: nothing to change, nothing to do, or less.
func rest(req kmsg.Request, left, out int) message {
	switch {
	case out == 0:
		return nil
	case left == 0:
		return req.ResponseKind()
	}
	return req
}

// createTopics rejects names and settings that Kafka does not allow; the module would
// create topics that could not exist on any other cluster. In the response it lists no
// configuration where the module returns null, and names the topic as the source of the
// settings in the request, where the module returns no source (-1). The protocol allows
// null, and Java's admin client fails on either.
func (c *Cluster) createTopics(f *flight, req *kmsg.CreateTopicsRequest) (message, error) {
	out := takeOut(&req.Topics, rejectTopic, func(t kmsg.CreateTopicsRequestTopic, no *refusal) kmsg.CreateTopicsResponseTopic {
		st := kmsg.NewCreateTopicsResponseTopic()
		st.Topic, st.ErrorCode, st.ErrorMessage = t.Topic, no.code, &no.why
		return st
	})
	then(f, func(r *kmsg.CreateTopicsResponse) {
		for _, t := range out {
			if !slices.ContainsFunc(r.Topics, func(o kmsg.CreateTopicsResponseTopic) bool { return o.Topic == t.Topic }) {
				r.Topics = append(r.Topics, t)
			}
		}
		for i := range r.Topics {
			t := &r.Topics[i]
			if t.Configs == nil && t.ErrorCode == 0 {
				t.Configs = []kmsg.CreateTopicsResponseTopicConfig{}
			}
			for j := range t.Configs {
				t.Configs[j].Source = int8(kmsg.ConfigSourceDynamicTopicConfig)
			}
		}
	})
	return rest(req, len(req.Topics), len(out)), nil
}

func rejectTopic(t kmsg.CreateTopicsRequestTopic) *refusal {
	if illNamed(t.Topic) {
		return &refusal{kerr.InvalidTopicException.Code, illNamedReason}
	}
	values := make(map[string]string, len(t.Configs))
	for _, s := range t.Configs {
		if why := topicconf.Bad(s.Name, s.Value); why != "" {
			return &refusal{kerr.InvalidConfig.Code, why}
		}
		if s.Value != nil {
			values[s.Name] = *s.Value
		}
	}
	if why := topicconf.Contradiction(values); why != "" {
		return &refusal{kerr.InvalidConfig.Code, why}
	}
	return rejectCount(max(int(t.NumPartitions), len(t.ReplicaAssignment)))
}

func rejectCount(partitions int) *refusal {
	if partitions > maxPartitions {
		return &refusal{kerr.InvalidPartitions.Code, fmt.Sprintf("more than %d partitions", maxPartitions)}
	}
	return nil
}

const illNamedReason = "a topic's name is 1 to 249 letters, digits, dots, underscores and hyphens, and not . or .."

// illNamed reports whether Kafka does not allow a topic's name: empty, longer than 249
// characters, "." or "..", or with other characters than letters, digits, dots,
// underscores and hyphens.
func illNamed(name string) bool {
	return name == "" || name == "." || name == ".." || len(name) > 249 || strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._-", r)
	})
}

func (c *Cluster) createPartitions(f *flight, req *kmsg.CreatePartitionsRequest) (message, error) {
	reject := func(t kmsg.CreatePartitionsRequestTopic) *refusal { return rejectCount(int(t.Count)) }
	out := takeOut(&req.Topics, reject, func(t kmsg.CreatePartitionsRequestTopic, no *refusal) kmsg.CreatePartitionsResponseTopic {
		return kmsg.CreatePartitionsResponseTopic{Topic: t.Topic, ErrorCode: no.code, ErrorMessage: &no.why}
	})
	then(f, func(r *kmsg.CreatePartitionsResponse) { r.Topics = append(r.Topics, out...) })
	return rest(req, len(req.Topics), len(out)), nil
}

// alterConfigs rejects settings that Kafka does not allow, in a request of the older kind
// that replaces all settings of a topic.
func (c *Cluster) alterConfigs(f *flight, req *kmsg.AlterConfigsRequest) (message, error) {
	reject := func(r kmsg.AlterConfigsRequestResource) *refusal {
		for _, s := range r.Configs {
			if no := rejectSetting(s.Name, s.Value); no != nil && r.ResourceType == kmsg.ConfigResourceTypeTopic {
				return no
			}
		}
		return nil
	}
	out := takeOut(&req.Resources, reject, func(r kmsg.AlterConfigsRequestResource, no *refusal) kmsg.AlterConfigsResponseResource {
		return kmsg.AlterConfigsResponseResource{ErrorCode: no.code, ErrorMessage: &no.why, ResourceType: r.ResourceType, ResourceName: r.ResourceName}
	})
	then(f, func(r *kmsg.AlterConfigsResponse) { r.Resources = append(r.Resources, out...) })
	return rest(req, len(req.Resources), len(out)), nil
}

// incrementalAlterConfigs has the module change the settings that Kafka allows: all
// settings of a topic change, or none. Appending to a list begins in the module with
// nothing where the topic has no value of its own, so the resulting list is computed here.
// One request at a time: otherwise a list that another request changes meanwhile would be lost.
func (c *Cluster) incrementalAlterConfigs(f *flight, req *kmsg.IncrementalAlterConfigsRequest) (message, error) {
	c.alters.Lock()
	defer c.alters.Unlock()
	ctx := context.Background()
	before := make(map[string]map[string]string)
	for _, r := range req.Resources {
		if err := c.setLists(ctx, f.node, r); err != nil {
			return nil, err
		}
		if r.ResourceType == kmsg.ConfigResourceTypeTopic && !illNamed(r.ResourceName) {
			configs, err := c.topicConfigs(ctx, f.node, []string{r.ResourceName})
			if err != nil {
				return nil, err
			}
			maps.Copy(before, configs)
		}
	}
	type answer = kmsg.IncrementalAlterConfigsResponseResource
	reject := func(r kmsg.IncrementalAlterConfigsRequestResource) *refusal {
		return rejectAlter(r, before[r.ResourceName])
	}
	out := takeOut(&req.Resources, reject, func(r kmsg.IncrementalAlterConfigsRequestResource, no *refusal) answer {
		return answer{ErrorCode: no.code, ErrorMessage: &no.why, ResourceType: r.ResourceType, ResourceName: r.ResourceName}
	})
	then(f, func(r *kmsg.IncrementalAlterConfigsResponse) { r.Resources = append(r.Resources, out...) })
	return rpc[kmsg.Response](ctx, c, f.node, req)
}

// setLists replaces a change of a topic's cleanup policy by the list that results from it.
func (c *Cluster) setLists(ctx context.Context, node int32, r kmsg.IncrementalAlterConfigsRequestResource) error {
	if r.ResourceType != kmsg.ConfigResourceTypeTopic || !slices.ContainsFunc(r.Configs, changesList) {
		return nil
	}
	configs, err := c.topicConfigs(ctx, node, []string{r.ResourceName})
	value, ok := configs[r.ResourceName][cleanupPolicy]
	if err != nil || !ok {
		return err // the module rejects a topic that does not exist
	}
	for i := range r.Configs {
		s := &r.Configs[i]
		if changesList(*s) {
			value = changedList(value, s.Op, *s.Value)
			s.Op, s.Value = kmsg.IncrementalAlterConfigOpSet, kmsg.StringPtr(value)
		}
	}
	return nil
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

// topicConfigs returns the settings that apply to topics, defaults and the dynamic
// configuration of the brokers included. Topics that do not exist are left out.
func (c *Cluster) topicConfigs(ctx context.Context, node int32, topics []string) (map[string]map[string]string, error) {
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.Version = 4
	for _, t := range topics {
		req.Resources = append(req.Resources, kmsg.DescribeConfigsRequestResource{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: t})
	}
	resp, err := rpc[*kmsg.DescribeConfigsResponse](ctx, c, node, req)
	if err != nil {
		return nil, err
	}
	out := make(map[string]map[string]string)
	for _, r := range resp.Resources {
		if r.ErrorCode != 0 {
			continue
		}
		values := make(map[string]string)
		for _, e := range r.Configs {
			if e.Value != nil {
				values[e.Name] = *e.Value
			}
		}
		out[r.ResourceName] = values
	}
	return out, nil
}

// rejectAlter says why Kafka rejects the settings of a topic, which has had others before. Lists
// are set by then, and a deleted setting needs neither a value nor a known name.
func rejectAlter(r kmsg.IncrementalAlterConfigsRequestResource, before map[string]string) *refusal {
	if r.ResourceType != kmsg.ConfigResourceTypeTopic {
		return nil
	}
	if illNamed(r.ResourceName) {
		return &refusal{kerr.InvalidTopicException.Code, illNamedReason}
	}
	values := maps.Clone(before)
	for _, s := range r.Configs {
		switch {
		case s.Op == kmsg.IncrementalAlterConfigOpDelete:
			delete(values, s.Name)
		case s.Value == nil, s.Op == kmsg.IncrementalAlterConfigOpSet:
			if no := rejectSetting(s.Name, s.Value); no != nil {
				return no
			}
			if values != nil { // else the topic does not exist
				values[s.Name] = *s.Value
			}
		case s.Name != cleanupPolicy: // which stays where the topic does not exist
			return &refusal{kerr.InvalidConfig.Code, fmt.Sprintf("Can't append to %s or subtract from it: its type is not LIST", s.Name)}
		}
	}
	if why := topicconf.Contradiction(values); why != "" {
		return &refusal{kerr.InvalidConfig.Code, why}
	}
	return nil
}

// rejectSetting says why Kafka rejects a value of a topic's setting.
func rejectSetting(name string, value *string) *refusal {
	if value == nil {
		return &refusal{kerr.InvalidRequest.Code, "Null value not supported for " + name}
	}
	if why := topicconf.Bad(name, value); why != "" {
		return &refusal{kerr.InvalidConfig.Code, why}
	}
	return nil
}

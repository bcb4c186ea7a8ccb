package embedded

import (
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-project/weir/internal/topicconf"
)

// configTypes are the protocol's types of the kinds of settings.
var configTypes = map[string]kmsg.ConfigType{
	"int": kmsg.ConfigTypeInt, "long": kmsg.ConfigTypeLong, "share": kmsg.ConfigTypeDouble, "bool": kmsg.ConfigTypeBoolean,
	"word": kmsg.ConfigTypeString, "text": kmsg.ConfigTypeString, "list": kmsg.ConfigTypeList, "replicas": kmsg.ConfigTypeList,
}

// ofBrokers are the brokers' names of settings that a topic inherits under another name.
var ofBrokers = map[string]string{
	"log.message.timestamp.type": "message.timestamp.type", "log.retention.bytes": "retention.bytes", "log.retention.ms": "retention.ms",
	"log.roll.ms": "segment.ms", "log.segment.bytes": "segment.bytes", "message.max.bytes": "max.message.bytes",
}

// describeConfigs adds the settings of a topic that the module reports only where the topic has
// a value of its own, with their defaults. A user could otherwise not see what can be set. The
// types of settings that the module does not act on are added, too. A setting of the brokers is
// described under the topic's name for it, as in Apache Kafka.
func (c *Cluster) describeConfigs(f *flight, req *kmsg.DescribeConfigsRequest) (message, error) {
	names := make([][]string, len(req.Resources))
	for i := range req.Resources {
		r := &req.Resources[i]
		if names[i] = r.ConfigNames; names[i] != nil && r.ResourceType == kmsg.ConfigResourceTypeTopic {
			r.ConfigNames = slices.AppendSeq(slices.Clone(names[i]), maps.Keys(ofBrokers))
		}
	}
	then(f, func(r *kmsg.DescribeConfigsResponse) {
		for i := range min(len(r.Resources), len(names)) { // one for each, in the same order
			if res := &r.Resources[i]; res.ResourceType == kmsg.ConfigResourceTypeTopic && res.ErrorCode == 0 {
				addSettings(res, names[i])
			}
		}
	})
	return req, nil
}

// addSettings completes the description of a topic. A nil list of names asks for all settings.
func addSettings(res *kmsg.DescribeConfigsResponseResource, names []string) {
	inherit(res)
	have := make(map[string]*kmsg.DescribeConfigsResponseResourceConfig, len(res.Configs))
	for i := range res.Configs {
		have[res.Configs[i].Name] = &res.Configs[i]
	}
	var missing []kmsg.DescribeConfigsResponseResourceConfig
	for _, s := range topicconf.All() {
		if known := have[s.Name]; known != nil {
			known.ConfigType = configTypes[s.Kind()]
			continue
		}
		if names != nil && !slices.Contains(names, s.Name) {
			continue
		}
		add := kmsg.NewDescribeConfigsResponseResourceConfig()
		add.Name, add.Value, add.ConfigType = s.Name, &s.Default, configTypes[s.Kind()]
		add.IsDefault, add.Source = true, kmsg.ConfigSourceDefaultConfig
		missing = append(missing, add)
	}
	res.Configs = append(res.Configs, missing...)
}

// inherit replaces the defaults of a topic's settings by the brokers' values for them.
func inherit(res *kmsg.DescribeConfigsResponseResource) {
	values := make(map[string]kmsg.DescribeConfigsResponseResourceConfig)
	res.Configs = slices.DeleteFunc(res.Configs, func(s kmsg.DescribeConfigsResponseResourceConfig) bool {
		topics, ofBroker := ofBrokers[s.Name]
		if ofBroker {
			values[topics] = s
		}
		return ofBroker
	})
	for i := range res.Configs {
		s := &res.Configs[i]
		if v, ok := values[s.Name]; ok && s.Source == kmsg.ConfigSourceDefaultConfig {
			s.Value, s.Source, s.IsDefault = v.Value, v.Source, false
		}
	}
}

package cluster

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// allowedAlter leaves out of a request the topics that would get a setting that Kafka
// refuses: all settings of a topic change, or none.
func allowedAlter(frame []byte, req *kmsg.IncrementalAlterConfigsRequest) []byte {
	refused := func(r kmsg.IncrementalAlterConfigsRequestResource) bool { return alterRefusal(r) != "" }
	if !slices.ContainsFunc(req.Resources, refused) {
		return frame
	}
	rest := *req // what was asked for stays for the answer
	rest.Resources = slices.DeleteFunc(slices.Clone(req.Resources), refused)
	return replaceBody(frame, &rest)
}

// answerAlter answers for the topics that were left out.
func answerAlter(req *kmsg.IncrementalAlterConfigsRequest, r *kmsg.IncrementalAlterConfigsResponse) {
	for _, res := range req.Resources {
		if why := alterRefusal(res); why != "" {
			a := kmsg.NewIncrementalAlterConfigsResponseResource()
			a.ErrorCode, a.ErrorMessage = kerr.InvalidConfig.Code, &why
			a.ResourceType, a.ResourceName = res.ResourceType, res.ResourceName
			r.Resources = append(r.Resources, a)
		}
	}
}

// alterRefusal says why Kafka refuses the settings of a topic; empty where it does not.
// What is appended or subtracted is a part of a list, and what is deleted needs no value.
func alterRefusal(r kmsg.IncrementalAlterConfigsRequestResource) string {
	if r.ResourceType != kmsg.ConfigResourceTypeTopic {
		return ""
	}
	for _, s := range r.Configs {
		value := s.Value
		if s.Op != kmsg.IncrementalAlterConfigOpSet {
			value = nil
		}
		if why := badSetting(s.Name, value); why != "" {
			return why
		}
	}
	return ""
}

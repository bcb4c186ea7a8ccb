package web

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weir-project/weir/internal/inspect"
)

// groupTool is Apache Kafka's tool for groups of a type.
func groupTool(groupType string) string {
	switch groupType {
	case inspect.TypeShare:
		return "kafka-share-groups.sh"
	case inspect.TypeStreams:
		return "kafka-streams-groups.sh"
	}
	return "kafka-consumer-groups.sh"
}

// groupFlag names a group for Apache Kafka's tools, as one word: a name may begin like a flag.
func groupFlag(group string) string { return "--group=" + group }

// alsoRpk adds a command of rpk on a group. rpk takes a name that begins with a dash for a flag.
func (h how) alsoRpk(s *Server, group, verb string, flags ...string) how {
	if strings.HasPrefix(group, "-") {
		return h
	}
	return h.also(s.rpk(append([]string{"group", verb, group}, flags...)...)...)
}

// describeOthers are the commands that describe a group. rpk describes consumer groups only.
func (s *Server) describeOthers(h how, groupType, group string) how {
	h = h.also(s.apache(groupTool(groupType), "--describe", groupFlag(group))...)
	if groupType == inspect.TypeShare || groupType == inspect.TypeStreams {
		return h
	}
	return h.alsoRpk(s, group, "describe")
}

// deleteGroupOthers are the commands that delete a group.
func (s *Server) deleteGroupOthers(h how, p inspect.DeleteGroupPlan) how {
	return h.also(s.apache(groupTool(p.Type), "--delete", groupFlag(p.Group))...).alsoRpk(s, p.Group, "delete")
}

// deleteOffsetsOthers are the commands that delete the same committed offsets.
func (s *Server) deleteOffsetsOthers(h how, p inspect.DeleteOffsetsPlan, some bool) how {
	topic, flag := p.Topic, "--topic"
	if some { // not all partitions of the topic
		topic = partitionsOf(p.Topic, p.Offsets)
	}
	if p.Type == inspect.TypeStreams {
		flag = "--input-topic"
	}
	h = h.also(s.apache(groupTool(p.Type), "--delete-offsets", groupFlag(p.Group), flag, topic)...)
	if p.Type == inspect.TypeShare {
		return h
	}
	return h.alsoRpk(s, p.Group, "offset-delete", "--topic", partitionsOf(p.Topic, p.Offsets))
}

// partitionsOf writes a topic with partitions, as Kafka's tools and rpk read it.
func partitionsOf(topic string, offsets []inspect.CommittedOffset) string {
	ids := make([]string, len(offsets))
	for i, o := range offsets {
		ids[i] = strconv.Itoa(int(o.Partition))
	}
	return topic + ":" + strings.Join(ids, ",")
}

// resetOthers are the commands that move a group to the same offsets. Where weir keeps counts of
// it, they would move nothing: its counters commit the offset that is stored beside the counts.
func (s *Server) resetOthers(h how, p inspect.ResetPlan, to inspect.Target, partitions bool) how {
	kafka, rpk := where(to.String())
	if kafka == nil || slices.ContainsFunc(p.Changes, func(c inspect.Change) bool { return c.Tally != nil }) {
		return h
	}
	byTopic := map[string][]inspect.CommittedOffset{}
	for _, c := range p.Changes {
		byTopic[c.Topic] = append(byTopic[c.Topic], inspect.CommittedOffset{Topic: c.Topic, Partition: c.Partition})
	}
	partitions = partitions || len(p.Skipped) > 0 // those would be an error
	words, tool := []string{"--reset-offsets", groupFlag(p.Group)}, inspect.TypeConsumer
	flag := "--topic"
	if p.Type == inspect.TypeStreams {
		tool, flag = p.Type, "--input-topic"
	}
	for _, t := range sortedNames(byTopic) {
		topic := t
		if partitions {
			topic = partitionsOf(t, byTopic[t])
		}
		words = append(words, flag, topic)
	}
	h = h.also(s.apache(groupTool(tool), slices.Concat(words, kafka, []string{"--execute"})...)...)
	if rpk == "" || partitions { // it moves all partitions of a topic
		return h
	}
	return h.alsoRpk(s, p.Group, "seek", "--to", rpk, "--topics", strings.Join(sortedNames(byTopic), ","), "--allow-new-topics")
}

// where writes the target of a reset for Kafka's tools and for rpk, which knows no offsets; nil
// for one that no tool knows.
func where(to string) (kafka []string, rpk string) {
	switch at, err := time.Parse(time.RFC3339Nano, to); {
	case to == "oldest":
		return []string{"--to-earliest"}, "start"
	case to == "latest":
		return []string{"--to-latest"}, "end"
	case err == nil:
		return []string{"--to-datetime", at.UTC().Format("2006-01-02T15:04:05.000Z")}, strconv.FormatInt(at.UnixMilli(), 10)
	case to == "":
		return nil, ""
	case to[0] == '+' || to[0] == '-':
		return []string{"--shift-by", strings.TrimPrefix(to, "+")}, ""
	}
	return []string{"--to-offset", to}, ""
}

// importOthers are the commands that import the same file.
func (s *Server) importOthers(h how, p inspect.ResetPlan) how {
	return h.also(s.apache(groupTool(p.Type), "--reset-offsets", groupFlag(p.Group), "--from-file", importFile, "--execute")...)
}

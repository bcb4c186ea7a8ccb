package web

import (
	"encoding/json"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/visible"
)

// Other is a command of another program that does the same.
type Other struct {
	Tool    string `json:"tool"` // the program's name, such as kafka-topics.sh
	Command string `json:"command"`
}

// also adds a command of another program: Apache Kafka's own tools come first.
func (h how) also(words ...string) how {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = visible.ShellWord(w)
	}
	h.Others = append(h.Others, Other{words[0], strings.Join(quoted, " ")})
	return h
}

// piped adds a command that reads a text from its standard input.
func (h how) piped(text string, words ...string) how {
	h = h.also(words...)
	last := &h.Others[len(h.Others)-1]
	last.Command = "printf %s " + visible.ShellWord(text) + " | " + last.Command
	return h
}

// address is where a command of another program finds the cluster: a living broker, else what
// --kafka names.
func (s *Server) address() string {
	brokers := s.cfg.Watch.State().Cluster.Brokers
	for _, name := range sortedNames(brokers) {
		if b := brokers[name]; b != nil && b.Alive {
			return b.Address
		}
	}
	if named := s.where("--kafka"); named != "" {
		return named
	}
	return net.JoinHostPort("127.0.0.1", "9092")
}

// where returns the value of a flag with which commands find the cluster; empty for none.
func (s *Server) where(flag string) string {
	words := s.cfg.Where.Kafka
	if i := slices.Index(words, flag); i >= 0 && i+1 < len(words) {
		return words[i+1]
	}
	return ""
}

// apache returns the words of one of Apache Kafka's tools for this cluster. weir reads the same
// file of settings as they do.
func (s *Server) apache(tool string, words ...string) []string {
	out := []string{tool, "--bootstrap-server", s.address()}
	if file := s.where("--kafka-config"); file != "" {
		out = append(out, "--command-config", file)
	}
	return append(out, words...)
}

// rpk returns the words of rpk for this cluster.
func (s *Server) rpk(words ...string) []string {
	return append(append([]string{"rpk"}, words...), "-X", "brokers="+s.address())
}

// topicPattern is a topic's name for kafka-topics.sh, which takes a regular expression where it
// does not create.
func topicPattern(topic string) string { return regexp.QuoteMeta(topic) }

// createOthers are the commands that create a topic.
func (s *Server) createOthers(h how, t CreateTopicRequest) how {
	words := s.apache("kafka-topics.sh", "--create", "--topic", t.Name)
	rpk := []string{"topic", "create", t.Name}
	if t.Partitions > 0 {
		words = append(words, "--partitions", strconv.Itoa(int(t.Partitions)))
		rpk = append(rpk, "--partitions", strconv.Itoa(int(t.Partitions)))
	}
	if t.Replicas > 0 {
		words = append(words, "--replication-factor", strconv.Itoa(int(t.Replicas)))
		rpk = append(rpk, "--replicas", strconv.Itoa(int(t.Replicas)))
	}
	for _, k := range sortedNames(t.Config) {
		words = append(words, "--config", k+"="+t.Config[k])
		rpk = append(rpk, "--topic-config", k+"="+t.Config[k])
	}
	return h.also(words...).also(s.rpk(rpk...)...)
}

// alterOthers are the commands that change settings.
func (s *Server) alterOthers(h how, topic string, set map[string]string, unset []string) how {
	words := s.apache("kafka-configs.sh", "--alter", "--entity-type", "topics", "--entity-name", topic)
	rpk := []string{"topic", "alter-config", topic}
	var add []string
	for _, k := range sortedNames(set) {
		v := set[k]
		rpk = append(rpk, "--set", k+"="+v)
		if strings.Contains(v, ",") {
			v = "[" + v + "]" // a comma would begin the next setting
		}
		add = append(add, k+"="+v)
	}
	if len(add) > 0 {
		words = append(words, "--add-config", strings.Join(add, ","))
	}
	if len(unset) > 0 {
		words = append(words, "--delete-config", strings.Join(unset, ","))
	}
	for _, k := range unset {
		rpk = append(rpk, "--delete", k)
	}
	return h.also(words...).also(s.rpk(rpk...)...)
}

// partitionsOthers are the commands that add partitions.
func (s *Server) partitionsOthers(h how, p inspect.PartitionsPlan) how {
	return h.also(s.apache("kafka-topics.sh", "--alter", "--topic", topicPattern(p.Topic), "--partitions", strconv.Itoa(p.To))...).
		also(s.rpk("topic", "add-partitions", p.Topic, "--num", strconv.Itoa(p.To-p.From))...)
}

// truncateOthers are the commands that delete the same messages.
func (s *Server) truncateOthers(h how, plan inspect.TruncatePlan) how {
	type partition struct {
		Topic     string `json:"topic"`
		Partition int32  `json:"partition"`
		Offset    int64  `json:"offset"`
	}
	list := struct {
		Partitions []partition `json:"partitions"`
		Version    int         `json:"version"`
	}{Partitions: []partition{}, Version: 1}
	same := true // every partition begins at the same offset afterwards
	var ids []string
	for _, p := range plan.Partitions {
		if p.Deleted > 0 {
			list.Partitions = append(list.Partitions, partition{plan.Topic, p.Partition, p.To})
			ids = append(ids, strconv.Itoa(int(p.Partition)))
			same = same && p.To == list.Partitions[0].Offset
		}
	}
	text, err := json.Marshal(list)
	if err != nil || len(list.Partitions) == 0 {
		return h
	}
	h = h.piped(string(text), s.apache("kafka-delete-records.sh", "--offset-json-file", "/dev/stdin")...)
	if same {
		offset := strconv.FormatInt(list.Partitions[0].Offset, 10)
		h = h.also(s.rpk("topic", "trim-prefix", plan.Topic, "--offset", offset, "--partitions", strings.Join(ids, ","))...)
	}
	return h
}

// deleteOthers are the commands that delete a topic.
func (s *Server) deleteOthers(h how, topic string) how {
	return h.also(s.apache("kafka-topics.sh", "--delete", "--topic", topicPattern(topic))...).also(s.rpk("topic", "delete", topic)...)
}

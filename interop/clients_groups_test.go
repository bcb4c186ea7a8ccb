package interop

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// member is a program that reads as a member of a group. What it printed is kept
// after its end.
type member struct {
	*process
	name string
	line *regexp.Regexp // partition and offset of a record
	seen int            // bytes of the output that were looked at
	read map[[2]int64]int
}

var (
	pythonLine  = regexp.MustCompile(`"partition": (\d+), "offset": (\d+)`)
	consoleLine = regexp.MustCompile(`Partition:(\d+)\tOffset:(\d+)\t`)
	kcatLine    = regexp.MustCompile(`record (\d+) (\d+)\n`)
)

// look takes note of what the member printed since the last look.
func (m *member) look() map[[2]int64]int {
	all := m.out.tail(1 << 30)
	end := strings.LastIndexByte(all, '\n') + 1
	for _, found := range m.line.FindAllStringSubmatch(all[m.seen:end], -1) {
		partition, _ := strconv.ParseInt(found[1], 10, 64)
		offset, _ := strconv.ParseInt(found[2], 10, 64)
		m.read[[2]int64{partition, offset}]++
	}
	m.seen = max(m.seen, end)
	return m.read
}

func (c clients) join(name string, line *regexp.Regexp, program string, args ...string) *member {
	return &member{process: start(c.t, name, nil, program, args...), name: name, line: line, read: map[[2]int64]int{}}
}

func (c clients) joinPython(client, topic, group string, more ...string) *member {
	return c.join(client, pythonLine, c.python, append([]string{"clients/records.py", client, "member", "--brokers", c.brokers,
		"--topic", topic, "--group", group}, more...)...)
}

func (c clients) joinConsole(topic, group string, properties ...string) *member {
	args := []string{"--topic", topic, "--group", group, "--command-property", "auto.offset.reset=earliest",
		"--formatter-property", "print.partition=true", "--formatter-property", "print.offset=true"}
	for _, p := range properties {
		args = append(args, "--command-property", p)
	}
	return c.join("kafka-console-consumer", consoleLine, "java", c.java("consumer.ConsoleConsumer", args...)...)
}

// described is what weir says of a group.
type described struct {
	State   string `json:"state"`
	Members []struct {
		Assigned map[string][]int `json:"assigned"`
	} `json:"members"`
	Partitions []struct {
		Committed int64 `json:"committed"`
		End       int64 `json:"end"`
	} `json:"partitions"`
}

func (c clients) describe(group string) (d described, err error) {
	out, err := c.run("groups", "describe", group, "-o", "json")
	if err != nil {
		return d, err
	}
	return d, json.Unmarshal(out, &d)
}

// shared reports whether so many members have all partitions, each once and each
// member some.
func (c clients) shared(topic, group string, members, partitions int) bool {
	d, err := c.describe(group)
	if err != nil || d.State != "Stable" || len(d.Members) != members {
		return false
	}
	var all []int
	for _, m := range d.Members {
		if len(m.Assigned[topic]) == 0 {
			return false
		}
		all = append(all, m.Assigned[topic]...)
	}
	slices.Sort(all)
	return len(all) == partitions && len(slices.Compact(all)) == partitions
}

const (
	groupPartitions = 8
	groupRecords    = 25 // in each partition and round
)

// shareGroup lets members of different programs share a topic: what is written
// reaches each partition's member once, also after a member left.
func (c clients) shareGroup(group, writer string, join func(topic string) []*member) {
	t := c.t
	topic := "topic-of-" + group
	c.records("", writer, "create", topic, "--partitions", strconv.Itoa(groupPartitions))
	members := join(topic)
	for round := int64(0); ; round++ {
		active := members[round:]
		waitFor(t, fmt.Sprintf("%d members of %s to share the partitions", len(active), group), func() bool {
			return c.shared(topic, group, len(active), groupPartitions)
		})
		var batch []kafkaRecord
		for i := range groupPartitions * groupRecords {
			batch = append(batch, kafkaRecord{partition: i % groupPartitions, value: new("round " + strconv.FormatInt(round, 10))})
		}
		c.write(writer, topic, batch)
		want := int(round+1) * len(batch)
		waitFor(t, "the members to read what was written", func() bool { return countRead(members) >= want })
		if round == 1 || len(active) == 1 {
			break
		}
		active[0].stop(t, syscall.SIGTERM)
	}
	for _, m := range members[1:] {
		m.stop(t, syscall.SIGTERM)
	}
	rounds := int64(min(2, len(members)))
	c.readOnce(members, rounds)
	d, err := c.describe(group)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range d.Partitions {
		if p.Committed != p.End || p.End != rounds*groupRecords {
			t.Errorf("partition %d: committed %d, end %d, written %d", i, p.Committed, p.End, rounds*groupRecords)
		}
	}
}

func countRead(members []*member) (n int) {
	for _, m := range members {
		n += len(m.look())
	}
	return n
}

// readOnce checks that every record was read once, and that all of a partition
// went to one member in each round.
func (c clients) readOnce(members []*member, rounds int64) {
	c.t.Helper()
	for partition := range int64(groupPartitions) {
		for round := range rounds {
			readers := map[string]int{}
			for offset := round * groupRecords; offset < (round+1)*groupRecords; offset++ {
				times := 0
				for i, m := range members {
					if n := m.look()[[2]int64{partition, offset}]; n > 0 {
						readers[fmt.Sprintf("%d %s", i, m.name)] += n
						times += n
					}
				}
				if times != 1 {
					c.t.Errorf("%d@%d was read %d times", partition, offset, times)
				}
			}
			if len(readers) != 1 {
				c.t.Errorf("partition %d was read by %v in round %d", partition, readers, round)
			}
		}
	}
}

func (c clients) classicGroup() {
	c.shareGroup("classic", "confluent", func(topic string) []*member {
		return []*member{
			c.joinPython("kafka-python", topic, "classic", "--assignor", "range"),
			c.joinPython("confluent", topic, "classic", "--assignor", "range"),
			c.joinConsole(topic, "classic", "group.protocol=classic", "partition.assignment.strategy=org.apache.kafka.clients.consumer.RangeAssignor"),
			c.join("kcat", kcatLine, "kcat", "-b", c.brokers, "-X", "auto.offset.reset=earliest", "-X", "partition.assignment.strategy=range",
				"-u", "-q", "-f", "record %p %o\n", "-G", "classic", topic),
		}
	})
}

func (c clients) cooperativeGroup() {
	c.shareGroup("cooperative", "kafka-python", func(topic string) []*member {
		return []*member{
			c.joinPython("confluent", topic, "cooperative", "--assignor", "cooperative-sticky"),
			c.joinPython("kafka-python", topic, "cooperative", "--assignor", "cooperative-sticky"),
			c.joinConsole(topic, "cooperative", "group.protocol=classic",
				"partition.assignment.strategy=org.apache.kafka.clients.consumer.CooperativeStickyAssignor"),
		}
	})
}

// consumerGroup is KIP-848's protocol.
func (c clients) consumerGroup() {
	c.shareGroup("consumer", "confluent", func(topic string) []*member {
		return []*member{
			c.joinConsole(topic, "consumer", "group.protocol=consumer"),
			c.joinPython("confluent", topic, "consumer", "--protocol", "consumer"),
			c.joinConsole(topic, "consumer", "group.protocol=consumer"),
		}
	})
}

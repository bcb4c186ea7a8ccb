package interop

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// transact lets three clients commit and abort: every other one reads what was
// committed, and nothing else.
func (c clients) transact() {
	t := c.t
	const topic = "transactions"
	c.records("", "kafka-python", "create", topic, "--partitions", "3")
	written := 0
	var want []kafkaRecord
	for _, client := range []string{"confluent", "kafka-python"} {
		for _, end := range []string{"commit", "abort", "commit"} {
			var batch []kafkaRecord
			for i := range 30 {
				batch = append(batch, kafkaRecord{partition: i % 3, key: new(client), value: new(end + " " + strconv.Itoa(written+i))})
			}
			written += len(batch)
			more := []string{"--transactional-id", "by-" + client}
			if end == "abort" {
				more = append(more, "--abort")
			}
			placed := c.write(client, topic, batch, more...)
			if end == "abort" {
				continue
			}
			if len(placed) != len(batch) {
				t.Fatalf("%s: %d of %d records acknowledged", client, len(placed), len(batch))
			}
			// Each says where its records are in an order of its own: within a
			// partition it is the order of writing.
			slices.SortFunc(placed, func(a, b wire) int { return int(a.Offset - b.Offset) })
			for i := range batch {
				at := slices.IndexFunc(placed, func(w wire) bool { return w.Partition == batch[i].partition })
				batch[i].offset = placed[at].Offset
				placed = slices.Delete(placed, at, at+1)
			}
			want = append(want, batch...)
		}
	}
	c.readByAll(topic, want)

	const perf = 300
	c.tool("", "ProducerPerformance", "--topic", topic, "--num-records", strconv.Itoa(perf), "--record-size", "100", "--throughput", "-1",
		"--transactional-id", "by-java", "--transaction-duration-ms", "20")
	if got := len(c.readPython("confluent", topic)); got != len(want)+perf {
		t.Errorf("%d records committed by three clients, %d are read", len(want)+perf, got)
	}
	listed := c.tool("", "TransactionsCommand", "list")
	for _, id := range []string{"by-confluent", "by-kafka-python", "by-java"} {
		if n := strings.Count(listed, id); n != 1 {
			t.Errorf("kafka-transactions lists %s %d times:\n%s", id, n, listed)
		}
	}
}

// administer uses Apache Kafka's tools, and holds weir against them.
func (c clients) administer() {
	t := c.t
	const topic = "administered"
	c.tool("", "TopicCommand", "--create", "--topic", topic, "--partitions", "2", "--replication-factor", "3", "--config", "retention.ms=600000")
	c.tool("", "TopicCommand", "--alter", "--topic", topic, "--partitions", "3")
	for _, wrong := range []string{"retention.mss=600000", "retention.ms=abc"} {
		create := c.java("TopicCommand", "--create", "--topic", "refused", "--config", wrong)
		if out, err := c.tries("", "java", create...); err == nil {
			t.Errorf("kafka-topics creates a topic with %s: %s", wrong, out)
		}
	}
	var batch []kafkaRecord
	for i := range 30 {
		batch = append(batch, kafkaRecord{partition: i % 3, value: new(strconv.Itoa(i))})
	}
	c.write("kafka-python", topic, batch)
	if got := c.tool("", "GetOffsetShell", "--topic", topic); got != "administered:0:10\nadministered:1:10\nadministered:2:10\n" {
		t.Errorf("kafka-get-offsets prints %q", got)
	}
	describe := c.tool("", "TopicCommand", "--describe", "--topic", topic)
	if strings.Count(describe, "Leader: ") != 3 || !strings.Contains(describe, "ReplicationFactor: 3") || !strings.Contains(describe, "retention.ms=600000") {
		t.Errorf("kafka-topics describes\n%s", describe)
	}

	read := strings.Count(c.tool("", "consumer.ConsoleConsumer", "--topic", topic, "--group", "administered", "--from-beginning", "--max-messages", "30"), "\n")
	if read != 30 {
		t.Errorf("kafka-console-consumer reads %d records of 30", read)
	}
	c.tool("", "consumer.group.ConsumerGroupCommand", "--group", "administered", "--topic", topic, "--reset-offsets", "--to-offset", "4", "--execute")
	d, err := c.describe("administered")
	if err != nil || len(d.Partitions) != 3 {
		t.Fatalf("weir describes the group as %+v: %v", d, err)
	}
	for _, p := range d.Partitions {
		if p.Committed != 4 || p.End != 10 {
			t.Errorf("kafka-consumer-groups reset the group to 4, weir sees %d of %d", p.Committed, p.End)
		}
	}
	c.exchangeOffsets("administered")
	if groups := c.tool("", "GroupsCommand", "--list"); strings.Count(groups, "administered ") != 1 {
		t.Errorf("kafka-groups prints\n%s", groups)
	}
	c.tool("", "TopicCommand", "--delete", "--topic", topic)
	waitFor(t, "the topic to go", func() bool {
		out, err := c.run("topics", "-o", "json")
		return err == nil && !strings.Contains(string(out), topic)
	})
}

// exchangeOffsets: weir exports what kafka-consumer-groups exports, and each imports the other's file.
func (c clients) exchangeOffsets(group string) {
	c.t.Helper()
	const tool = "consumer.group.ConsumerGroupCommand"
	export := func() (theirs, ours string) {
		out, err := c.run("groups", "export", group)
		if err != nil {
			c.t.Fatal(err)
		}
		lines := strings.SplitAfter(c.tool("", tool, "--group", group, "--all-topics", "--reset-offsets", "--to-current", "--dry-run", "--export"), "\n")
		slices.Sort(lines) // Java's are in no order
		return strings.TrimLeft(strings.Join(lines, ""), "\n"), string(out)
	}
	theirs, ours := export()
	if theirs != ours || strings.Count(ours, "\n") != 3 {
		c.t.Errorf("kafka-consumer-groups exports\n%sweir exports\n%s", theirs, ours)
	}
	for offset, change := range map[string]func(file string) error{
		"7": func(file string) error {
			_, err := c.run("groups", "import", file, "--group", group, "--yes")
			return err
		},
		"6": func(file string) error {
			c.tool("", tool, "--group", group, "--reset-offsets", "--from-file", file, "--execute")
			return nil
		},
	} {
		file := filepath.Join(c.t.TempDir(), "offsets.csv")
		if err := os.WriteFile(file, []byte(strings.ReplaceAll(ours, ",4\n", ","+offset+"\n")), 0o600); err != nil {
			c.t.Fatal(err)
		}
		if err := change(file); err != nil {
			c.t.Fatal(err)
		}
		if _, now := export(); strings.Count(now, ","+offset+"\n") != 3 {
			c.t.Errorf("after offset %s was imported the group stands at\n%s", offset, now)
		}
	}
}

// shareRecords is a share group of two: each record reaches one of them.
func (c clients) shareRecords() {
	t := c.t
	const topic, group, records = "shared", "sharers", 60
	c.records("", "confluent", "create", topic, "--partitions", "3")
	config := c.java("", "--alter", "--entity-type", "groups", "--entity-name", group, "--add-config", "share.auto.offset.reset=earliest")
	config[slices.Index(config, "org.apache.kafka.tools.")] = "kafka.admin.ConfigCommand"
	c.runs("", "java", config...)
	var members []*member
	for range 2 {
		members = append(members, c.join("kafka-console-share-consumer", consoleLine, "java", c.java("consumer.ConsoleShareConsumer", "--topic", topic,
			"--group", group, "--formatter-property", "print.partition=true", "--formatter-property", "print.offset=true")...))
	}
	var batch []kafkaRecord
	for i := range records {
		batch = append(batch, kafkaRecord{partition: i % 3, value: new(strconv.Itoa(i))})
	}
	c.write("confluent", topic, batch)
	read := func() (distinct, twice int) {
		all := map[[2]int64]int{}
		for _, m := range members {
			for at, n := range m.look() {
				all[at] += n
			}
		}
		for _, n := range all {
			twice += n - 1
		}
		return len(all), twice
	}
	waitFor(t, "the share group to read everything", func() bool { distinct, _ := read(); return distinct >= records })
	distinct, twice := read()
	if distinct != records {
		t.Errorf("%d records read of %d", distinct, records)
	}
	// Share groups deliver at least once: what was not acknowledged in time comes again.
	t.Logf("members read %d and %d records, %d of them twice", len(members[0].look()), len(members[1].look()), twice)
}

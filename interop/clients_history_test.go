package interop

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const historyPartitions = 3

// transaction is what a transactional producer was asked to write, and where it has.
type transaction struct {
	commit  bool
	records []kafkaRecord
}

// transactions is a producer of librdkafka that commits and aborts what it gets.
type transactions struct {
	c       clients
	in      io.WriteCloser
	out     *bufio.Scanner
	random  *rand.Rand
	began   time.Time
	done    []transaction
	writing chan struct{} // closed to stop what goOn began
	stopped chan struct{}
}

func (c clients) writeTransactions(topic string) *transactions {
	c.t.Helper()
	seed := rand.Uint64()
	c.t.Logf("seed %d", seed)
	cmd := exec.Command(c.python, "clients/transactions.py", "write", "--brokers", c.brokers, "--topic", topic, "--id", "writer-of-"+topic)
	in, err := cmd.StdinPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	w := &transactions{c: c, in: in, out: bufio.NewScanner(out), random: rand.New(rand.NewPCG(seed, 1)),
		// Brokers set the time of markers, and it counts in a search by time. So committed records are
		// younger than all markers, and aborted ones older.
		began: time.UnixMilli(time.Now().Add(30 * time.Minute).UnixMilli())}
	begin(c.t, "transactions.py", cmd)
	return w
}

// record makes one of every kind. Their times rise, and some are late.
func (w *transactions) record(n int, commit bool) kafkaRecord {
	at := w.began.Add(time.Duration(n)*20*time.Millisecond - time.Duration(w.random.IntN(100))*time.Millisecond)
	r := kafkaRecord{partition: w.random.IntN(historyPartitions), value: new(fmt.Sprint("committed ", n))}
	if !commit {
		at, r.value = at.Add(-2*time.Hour), new(fmt.Sprint("aborted ", n))
	}
	r.time = at.UnixMilli()
	switch w.random.IntN(5) {
	case 0:
		r.key = new("")
	case 1:
		r.key, r.value = r.value, nil
	case 2:
		r.headers = []kafkaHeader{{"h", new("v")}, {"null", nil}, {"h", new("")}}
	case 3:
		r.key, r.value = new("large"), new(*r.value+strings.Repeat(" and more", w.random.IntN(2000)))
	}
	return r
}

// next writes one transaction and waits for its end.
func (w *transactions) next() error {
	tx := transaction{commit: w.random.IntN(3) > 0}
	for range 1 + w.random.IntN(4) {
		tx.records = append(tx.records, w.record(len(w.done), tx.commit))
	}
	var line struct {
		Commit  bool   `json:"commit"`
		Records []wire `json:"records"`
	}
	line.Commit = tx.commit
	for _, r := range tx.records {
		line.Records = append(line.Records, toWire(r))
	}
	if err := json.NewEncoder(w.in).Encode(line); err != nil {
		return err
	}
	var answer struct {
		Placed [][2]int64 `json:"placed"`
	}
	if !w.out.Scan() {
		return fmt.Errorf("the producer has ended: %w", w.out.Err())
	}
	if err := json.Unmarshal(w.out.Bytes(), &answer); err != nil || len(answer.Placed) != len(tx.records) {
		return fmt.Errorf("the producer printed %q: %w", w.out.Text(), err)
	}
	for i, at := range answer.Placed {
		if tx.records[i].partition != int(at[0]) {
			return fmt.Errorf("record for partition %d is in %d", tx.records[i].partition, at[0])
		}
		tx.records[i].offset = at[1]
	}
	w.done = append(w.done, tx)
	return nil
}

// goOn writes until rest is called.
func (w *transactions) goOn() {
	w.writing, w.stopped = make(chan struct{}), make(chan struct{})
	go func() {
		defer close(w.stopped)
		for {
			select {
			case <-w.writing:
				return
			case <-w.c.t.Context().Done():
				return
			default:
			}
			if err := w.next(); err != nil {
				w.c.t.Error(err)
				return
			}
		}
	}()
}

func (w *transactions) rest() {
	close(w.writing)
	<-w.stopped
}

// truth is what was committed, in the order of the partitions and their offsets.
func (w *transactions) truth() (all []kafkaRecord) {
	for _, tx := range w.done {
		if tx.commit {
			all = append(all, tx.records...)
		}
	}
	slices.SortFunc(all, func(a, b kafkaRecord) int {
		if a.partition != b.partition {
			return a.partition - b.partition
		}
		return int(a.offset - b.offset)
	})
	return all
}

// ends are the offsets behind the last marker of each partition.
func (w *transactions) ends() (ends [historyPartitions]int64) {
	for _, tx := range w.done {
		for _, r := range tx.records {
			ends[r.partition] = max(ends[r.partition], r.offset+2)
		}
	}
	return ends
}

// keepHistory holds what clients read against what a producer committed: records that are old, while
// others are written, by every client, from the beginning, from an offset, from a time, and in
// groups that change meanwhile. Where weir archives, it moves the records under them all the time.
func (c clients) keepHistory() {
	t := c.t
	const topic = "history"
	c.tool("", "TopicCommand", "--create", "--topic", topic, "--partitions", strconv.Itoa(historyPartitions), "--replication-factor", "3")
	w := c.writeTransactions(topic)
	for range 150 {
		if err := w.next(); err != nil {
			t.Fatal(err)
		}
	}
	c.archived(topic, w.ends())
	old := w.truth()
	c.readByAll(topic, old)
	c.lookUp(topic, old, w.ends())

	w.goOn()
	groups := map[string]func(group string) *member{
		"librdkafka": func(group string) *member { return c.joinPython("confluent", topic, group) },
		"java": func(group string) *member {
			return c.joinConsole(topic, group, "group.protocol=consumer", "isolation.level=read_committed")
		},
	}
	members := map[string][]*member{}
	for name, join := range groups {
		members[name] = append(members[name], join("history-"+name))
	}
	for name, join := range groups { // each reads what is old, and then shares the rest
		waitFor(t, name+" to read", func() bool { return countRead(members[name]) > len(old)/2 })
		members[name] = append(members[name], join("history-"+name))
		waitFor(t, "two members of "+name, func() bool { return c.shared(topic, "history-"+name, 2, historyPartitions) })
		members[name][0].stop(t, syscall.SIGTERM)
		waitFor(t, "one member of "+name, func() bool { return c.shared(topic, "history-"+name, 1, historyPartitions) })
	}
	copier := c.transform(topic, "copies")
	w.rest()
	want := w.truth()
	t.Logf("%d transactions, %d records committed, up to %v", len(w.done), len(want), w.ends())
	for name, all := range members {
		c.readToTheEnd(name, all, want)
	}
	copier(want)
	c.archived(topic, w.ends())
	c.readByAll(topic, want)
	c.lookUp(topic, want, w.ends())
	if c.kafka == archiving { // whose batches are compressed with zstd
		_, err := c.tries("", c.python, "clients/records.py", "kafka-python", "consume", "--brokers", c.brokers, "--topic", topic, "--without", "zstandard")
		if err == nil || !strings.Contains(err.Error(), "Libraries for zstd compression codec not found") {
			t.Errorf("kafka-python without zstandard: %v", err)
		}
	}
}

// readToTheEnd waits until members of a group have read what was committed, and checks how often. Where it
// waits in vain it says what is missing.
func (c clients) readToTheEnd(name string, members []*member, want []kafkaRecord) {
	c.t.Helper()
	defer c.readOnceBy(name, members, want)
	waitFor(c.t, name+" to read everything", func() bool { return countRead(members) >= len(want) })
	members[len(members)-1].stop(c.t, syscall.SIGTERM)
}

// readOnceBy checks that members of a group have read what was committed, each record once.
func (c clients) readOnceBy(name string, members []*member, want []kafkaRecord) {
	c.t.Helper()
	times := map[[2]int64]int{}
	for _, m := range members {
		for at, n := range m.look() {
			times[at] += n
		}
	}
	for _, r := range want {
		at := [2]int64{int64(r.partition), r.offset}
		if times[at] != 1 {
			c.t.Errorf("%s read %d@%d %d times", name, r.partition, r.offset, times[at])
		}
		delete(times, at)
	}
	if len(times) > 0 {
		c.t.Errorf("%s read records that were not committed: %v", name, times)
	}
}

// lookUp asks for records by their offset and by their time, and for where partitions begin and end.
func (c clients) lookUp(topic string, want []kafkaRecord, ends [historyPartitions]int64) {
	t := c.t
	t.Helper()
	var offsets, times strings.Builder
	var atOffset []kafkaRecord
	var atTime []int64
	r := rand.New(rand.NewPCG(uint64(len(want)), 7))
	for range 30 {
		w := want[r.IntN(len(want))]
		from, at := max(0, w.offset-int64(r.IntN(4))), w.time-int64(r.IntN(50))
		inPartition := slices.DeleteFunc(slices.Clone(want), func(o kafkaRecord) bool { return o.partition != w.partition })
		atOffset = append(atOffset, inPartition[slices.IndexFunc(inPartition, func(o kafkaRecord) bool { return o.offset >= from })])
		atTime = append(atTime, inPartition[slices.IndexFunc(inPartition, func(o kafkaRecord) bool { return o.time >= at })].offset)
		fmt.Fprintf(&offsets, `{"partition": %d, "offset": %d}`+"\n", w.partition, from)
		fmt.Fprintf(&times, `{"partition": %d, "timestamp": %d}`+"\n", w.partition, at)
		if len(atTime) > 3 {
			continue
		}
		out := c.tool("", "GetOffsetShell", "--topic-partitions", fmt.Sprintf("%s:%d", topic, w.partition), "--time", fmt.Sprint(at))
		if want := fmt.Sprintf("%s:%d:%d\n", topic, w.partition, atTime[len(atTime)-1]); out != want {
			t.Errorf("kafka-get-offsets --time prints %q, want %q", out, want)
		}
		out = c.runs("", "kcat", "-C", "-b", c.brokers, "-t", topic, "-p", fmt.Sprint(w.partition), "-o", fmt.Sprint("s@", at), "-c", "1", "-q",
			"-X", "isolation.level=read_committed", "-f", "%o")
		if out != fmt.Sprint(atTime[len(atTime)-1]) {
			t.Errorf("kcat from the time %d reads %d@%s, want %d", at, w.partition, out, atTime[len(atTime)-1])
		}
		out = c.tool("", "consumer.ConsoleConsumer", "--topic", topic, "--partition", fmt.Sprint(w.partition), "--offset", fmt.Sprint(from),
			"--max-messages", "1", "--isolation-level", "read_committed", "--formatter-property", "print.offset=true", "--formatter-property", "print.value=false")
		if out != fmt.Sprintf("Offset:%d\n", atOffset[len(atOffset)-1].offset) {
			t.Errorf("kafka-console-consumer --offset %d prints %q, want %d", from, out, atOffset[len(atOffset)-1].offset)
		}
	}
	for _, client := range []string{"confluent", "kafka-python"} {
		for i, got := range decodeLines[wire](t, c.records(offsets.String(), client, "fetch", topic)) {
			if got := got.record(t); got.String() != atOffset[i].String() {
				t.Errorf("%s finds by offset\n%.300s\nand not\n%.300s", client, got, atOffset[i])
			}
		}
		for i, got := range decodeLines[wire](t, c.records(times.String(), client, "find", topic)) {
			if got.Offset != atTime[i] {
				t.Errorf("%s finds offset %d by time, and not %d", client, got.Offset, atTime[i])
			}
		}
	}
	for time, of := range map[string]func(int) int64{"-2": func(int) int64 { return 0 }, "-1": func(p int) int64 { return ends[p] }} {
		want := ""
		for p := range historyPartitions {
			want += fmt.Sprintf("%s:%d:%d\n", topic, p, of(p))
		}
		if out := c.tool("", "GetOffsetShell", "--topic", topic, "--time", time); out != want {
			t.Errorf("kafka-get-offsets --time %s prints %q, want %q", time, out, want)
		}
	}
}

// transform copies a topic in transactions of librdkafka, with a process that is killed and
// another one that goes on. The function that it returns waits for all records, and checks
// that each is there once.
func (c clients) transform(from, to string) func([]kafkaRecord) {
	t := c.t
	t.Helper()
	c.tool("", "TopicCommand", "--create", "--topic", to, "--partitions", strconv.Itoa(historyPartitions), "--replication-factor", "3")
	copies := func(name string) *process {
		p := start(t, name, nil, c.python, "clients/transactions.py", "transform", "--brokers", c.brokers, "--topic", from, "--to", to, "--id", "copier")
		waitFor(t, name+" to copy and to abort", func() bool { return p.out.count(`"copied"`) > 4 && p.out.count(`"aborted"`) > 0 })
		return p
	}
	copies("the first copier").stop(t, syscall.SIGKILL)
	second := copies("the second copier")
	return func(want []kafkaRecord) {
		t.Helper()
		var got []kafkaRecord
		waitFor(t, "all records to be copied", func() bool {
			got = c.readKcat(to)
			return len(got) >= len(want)
		})
		second.stop(t, syscall.SIGTERM)
		got = c.readKcat(to)
		copied := map[string]int{}
		for _, r := range got {
			copied[fmt.Sprint(quoted(r.key), quoted(r.value))]++
		}
		for _, r := range want {
			key := fmt.Sprintf("%d@%d", r.partition, r.offset)
			if n := copied[fmt.Sprint(quoted(&key), quoted(r.value))]; n != 1 {
				t.Errorf("%s was copied %d times", key, n)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%d records, %d copies", len(want), len(got))
		}
	}
}

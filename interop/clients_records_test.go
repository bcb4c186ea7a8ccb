package interop

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// kafkaRecord is a record as a client saw it. Text is bytes; nil is null, which is
// not the same as nothing.
type kafkaRecord struct {
	partition  int
	offset     int64
	time       int64 // milliseconds; in what is expected 0 for any
	key, value *string
	headers    []kafkaHeader
}

type kafkaHeader struct {
	name  string
	value *string
}

func (r kafkaRecord) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d@%d time %d key %s value %s headers", r.partition, r.offset, r.time, quoted(r.key), quoted(r.value))
	for _, h := range r.headers {
		fmt.Fprintf(&b, " %q=%s", h.name, quoted(h.value))
	}
	return b.String()
}

func quoted(s *string) string {
	if s == nil {
		return "null"
	}
	return strconv.Quote(*s)
}

// wire is a record as records.py writes and reads it.
type wire struct {
	Partition int          `json:"partition"`
	Offset    int64        `json:"offset"`
	Timestamp int64        `json:"timestamp"`
	Key       *string      `json:"key"`
	Value     *string      `json:"value"`
	Headers   [][2]*string `json:"headers"`
}

func toBase64(s *string) *string {
	if s == nil {
		return nil
	}
	return new(base64.StdEncoding.EncodeToString([]byte(*s)))
}

func toWire(r kafkaRecord) wire {
	w := wire{Partition: r.partition, Timestamp: r.time, Key: toBase64(r.key), Value: toBase64(r.value), Headers: [][2]*string{}}
	for _, h := range r.headers {
		w.Headers = append(w.Headers, [2]*string{new(h.name), toBase64(h.value)})
	}
	return w
}

func (w wire) record(t *testing.T) kafkaRecord {
	bytesOf := func(s *string) *string {
		if s == nil {
			return nil
		}
		b, err := base64.StdEncoding.DecodeString(*s)
		if err != nil {
			t.Fatalf("a client printed %q: %v", *s, err)
		}
		return new(string(b))
	}
	r := kafkaRecord{partition: w.Partition, offset: w.Offset, time: w.Timestamp, key: bytesOf(w.Key), value: bytesOf(w.Value)}
	for _, h := range w.Headers {
		r.headers = append(r.headers, kafkaHeader{name: *h[0], value: bytesOf(h[1])})
	}
	return r
}

// decodeLines decodes lines of JSON.
func decodeLines[T any](t *testing.T, out string) (all []T) {
	t.Helper()
	for line := range strings.Lines(out) {
		var v T
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("decode %.200q: %v", line, err)
		}
		all = append(all, v)
	}
	return all
}

// exchangeRecords lets every client write the same records, with every codec that
// it has, and every client read all of them.
func (c clients) exchangeRecords() {
	t := c.t
	c.tool("", "TopicCommand", "--create", "--topic", "records", "--partitions", "3", "--replication-factor", "3")
	common := []kafkaRecord{
		{partition: 0, key: new("key"), value: new(`{"a": "Grüße 😀"}`), headers: []kafkaHeader{{"kind", new("create")}, {"kind", new("again")}}},
		{partition: 1, value: new("no key\nand two lines")},
		{partition: 1, key: new("deleted"), headers: []kafkaHeader{{"", new("no name")}, {"nothing", new("")}}},
		{partition: 2, key: new(""), value: new("")},
		{partition: 2, key: new("\x00\xff\xfe"), value: new("\x00\x01\xff\x80\r\n\x00"), headers: []kafkaHeader{{"ümlaut", new("\x00\xff")}}},
		{partition: 0, key: new("large"), value: new(strings.Repeat("0123456789abcdef", 56<<10))},
	}
	nulls := []kafkaRecord{ // what kafka-python refuses to write, and has to read
		{partition: 0},
		{partition: 2, key: new("null header"), value: new("v"), headers: []kafkaHeader{{"null", nil}}},
	}
	var want []kafkaRecord
	now := time.Now().UnixMilli()
	for _, client := range []string{"confluent", "kafka-python"} {
		batch := slices.Clone(common)
		if client == "confluent" {
			batch = append(batch, nulls...)
		}
		for i := range batch {
			batch[i].time = now + int64(len(want)+i)
		}
		codecs := []string{"none", "gzip", "snappy", "lz4", "zstd"}
		placed := c.write(client, "records", batch, "--compression", strings.Join(codecs, ","))
		if len(placed) != len(batch)*len(codecs) {
			t.Fatalf("%s: %d of %d records acknowledged with each of %q", client, len(placed), len(batch), codecs)
		}
		want = append(want, slices.Repeat(batch, len(codecs))...)
	}
	c.readByAll("records", dense(want))

	c.records("", "kafka-python", "create", "typed", "--partitions", "1")
	c.tool("a:1,b:zwei\tkcat and Java\ttext ü\n<NULL>\t<NULL>\tonly a value\n<NULL>\tgone\t<NULL>\n", "ConsoleProducer", "--topic", "typed",
		"--reader-property", "parse.key=true", "--reader-property", "parse.headers=true", "--reader-property", "null.marker=<NULL>",
		"--command-property", "linger.ms=0")
	c.runs("k\tfrom kcat\n", "kcat", "-P", "-b", c.brokers, "-t", "typed", "-p", "0", "-K", "\t", "-H", "h=1", "-H", "h=2", "-z", "zstd")
	c.readByAll("typed", dense([]kafkaRecord{
		{key: new("kcat and Java"), value: new("text ü"), headers: []kafkaHeader{{"a", new("1")}, {"b", new("zwei")}}},
		{value: new("only a value")},
		{key: new("gone")},
		{key: new("k"), value: new("from kcat"), headers: []kafkaHeader{{"h", new("1")}, {"h", new("2")}}},
	}))
}

// write lets one of the Python clients write records.
func (c clients) write(client, topic string, records []kafkaRecord, more ...string) []wire {
	c.t.Helper()
	var in bytes.Buffer
	for _, r := range records {
		if err := json.NewEncoder(&in).Encode(toWire(r)); err != nil {
			c.t.Fatal(err)
		}
	}
	return decodeLines[wire](c.t, c.records(in.String(), client, "produce", topic, more...))
}

// dense gives records the offsets that they have in a new topic, without
// transactions.
func dense(records []kafkaRecord) []kafkaRecord {
	next := map[int]int64{}
	for i := range records {
		r := &records[i]
		r.offset = next[r.partition]
		next[r.partition]++
	}
	return records
}

// readByAll compares what every client reads of a topic, where it reads only what
// is committed, with what was written.
func (c clients) readByAll(topic string, want []kafkaRecord) {
	c.t.Helper()
	for name, read := range map[string]func(string) []kafkaRecord{
		"confluent-kafka":        func(topic string) []kafkaRecord { return c.readPython("confluent", topic) },
		"kafka-python":           func(topic string) []kafkaRecord { return c.readPython("kafka-python", topic) },
		"kafka-console-consumer": c.readConsole,
		"kcat":                   c.readKcat,
		"weir messages":          c.readWeir,
	} {
		compareRecords(c.t, name+" reads "+topic, want, read(topic), name == "kcat")
	}
}

// compareRecords holds records against what is expected. kcat prints the headers
// in a line, without saying what is null.
func compareRecords(t *testing.T, what string, want, got []kafkaRecord, joined bool) {
	t.Helper()
	byPlace := map[[2]int64]kafkaRecord{}
	for _, r := range got {
		byPlace[[2]int64{int64(r.partition), r.offset}] = r
	}
	if len(got) != len(want) || len(byPlace) != len(want) {
		t.Errorf("%s: %d records at %d offsets, and not %d", what, len(got), len(byPlace), len(want))
	}
	for _, w := range want {
		g, ok := byPlace[[2]int64{int64(w.partition), w.offset}]
		if !ok {
			t.Errorf("%s: nothing at %d@%d", what, w.partition, w.offset)
			continue
		}
		if w.time == 0 {
			w.time = g.time
		}
		if joined {
			w.headers = joinHeaders(w.headers)
		}
		if w.String() != g.String() {
			t.Errorf("%s:\n%.300s\nand not\n%.300s", what, g, w)
		}
	}
}

func (c clients) readPython(client, topic string) (all []kafkaRecord) {
	c.t.Helper()
	for _, w := range decodeLines[wire](c.t, c.records("", client, "consume", topic)) {
		all = append(all, w.record(c.t))
	}
	return all
}

// joinHeaders is how kcat prints headers: a value ends at its first zero byte.
func joinHeaders(headers []kafkaHeader) []kafkaHeader {
	if len(headers) == 0 {
		return nil
	}
	var all []string
	for _, h := range headers {
		value := "NULL"
		if h.value != nil {
			value, _, _ = strings.Cut(*h.value, "\x00")
		}
		all = append(all, h.name+"="+value)
	}
	return []kafkaHeader{{value: new(strings.Join(all, ","))}}
}

func (c clients) readKcat(topic string) (all []kafkaRecord) {
	c.t.Helper()
	const end = "<end of a record>\n"
	out := c.runs("", "kcat", "-b", c.brokers, "-C", "-t", topic, "-o", "beginning", "-e", "-q", "-X", "isolation.level=read_committed",
		"-f", "%p %o %T %K %S\n%k%s%h"+end)
	for part := range strings.SplitSeq(strings.TrimSuffix(out, end), end) {
		head, body, _ := strings.Cut(part, "\n")
		var r kafkaRecord
		var key, value int
		if _, err := fmt.Sscanf(head, "%d %d %d %d %d", &r.partition, &r.offset, &r.time, &key, &value); err != nil {
			c.t.Fatalf("kcat printed %.200q: %v", part, err)
		}
		take := func(n int) *string {
			if n < 0 {
				return nil
			}
			s := body[:n]
			body = body[n:]
			return &s
		}
		r.key, r.value = take(key), take(value)
		if body != "" {
			r.headers = []kafkaHeader{{value: new(body)}}
		}
		all = append(all, r)
	}
	return all
}

func (c clients) readConsole(topic string) (all []kafkaRecord) {
	c.t.Helper()
	const null, field, pair, end = "<null>", "<field>", "<pair>", "<end of a record>\n"
	total := strings.Count(c.runs("", "kcat", "-b", c.brokers, "-C", "-t", topic, "-o", "beginning", "-e", "-q",
		"-X", "isolation.level=read_committed", "-f", "x"), "x")
	args := []string{"--topic", topic, "--from-beginning", "--isolation-level", "read_committed", "--max-messages", strconv.Itoa(total),
		"--formatter-property", "null.literal=" + null, "--formatter-property", "key.separator=" + field,
		"--formatter-property", "headers.separator=" + pair, "--formatter-property", "line.separator=" + end}
	for _, name := range []string{"key", "headers", "partition", "offset", "timestamp"} {
		args = append(args, "--formatter-property", "print."+name+"=true")
	}
	orNull := func(s string) *string {
		if s == null {
			return nil
		}
		return &s
	}
	for part := range strings.SplitSeq(strings.TrimSuffix(c.tool("", "consumer.ConsoleConsumer", args...), end), end) {
		fields := strings.Split(part, field)
		if len(fields) != 6 {
			c.t.Fatalf("kafka-console-consumer printed %.300q", part)
		}
		var r kafkaRecord
		if _, err := fmt.Sscanf(strings.Join(fields[:3], " "), "CreateTime:%d Partition:%d Offset:%d", &r.time, &r.partition, &r.offset); err != nil {
			c.t.Fatalf("kafka-console-consumer printed %.300q: %v", part, err)
		}
		if fields[3] != "NO_HEADERS" {
			for h := range strings.SplitSeq(fields[3], pair) {
				name, value, _ := strings.Cut(h, ":")
				r.headers = append(r.headers, kafkaHeader{name: name, value: orNull(value)})
			}
		}
		r.key, r.value = orNull(fields[4]), orNull(fields[5])
		all = append(all, r)
	}
	return all
}

// readWeir reads with weir messages.
func (c clients) readWeir(topic string) (all []kafkaRecord) {
	c.t.Helper()
	out, err := c.run("messages", topic, "--offset", "oldest", "-o", "jsonl")
	if err != nil {
		c.t.Fatal(err)
	}
	type message struct {
		Partition int       `json:"partition"`
		Offset    int64     `json:"offset"`
		Time      time.Time `json:"time"`
		Key       *string   `json:"key"`
		KeyB      *[]byte   `json:"key_base64"`
		Value     *string   `json:"value"`
		ValueB    *[]byte   `json:"value_base64"`
		Headers   []struct {
			Name   string  `json:"name"`
			Value  *string `json:"value"`
			ValueB *[]byte `json:"value_base64"`
		} `json:"headers"`
	}
	either := func(s *string, b *[]byte) *string {
		if b != nil {
			return new(string(*b))
		}
		return s
	}
	for _, m := range decodeLines[message](c.t, string(out)) {
		r := kafkaRecord{partition: m.Partition, offset: m.Offset, time: m.Time.UnixMilli(), key: either(m.Key, m.KeyB), value: either(m.Value, m.ValueB)}
		for _, h := range m.Headers {
			r.headers = append(r.headers, kafkaHeader{name: h.Name, value: either(h.Value, h.ValueB)})
		}
		all = append(all, r)
	}
	return all
}

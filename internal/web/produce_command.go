package web

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"
)

// shownArgument bounds what a shown command has in one argument, in bytes.
const shownArgument = 4 << 10

// plain reports whether weir send can be given the record as arguments.
func (p *production) plain() bool {
	ok := func(b []byte) bool { return utf8.Valid(b) && len(b) <= shownArgument && !slices.Contains(b, 0) }
	return ok(p.text.Key) && ok(p.value) && !slices.ContainsFunc(p.text.Headers, func(h kgo.RecordHeader) bool {
		return !ok([]byte(h.Key)) || !ok(h.Value) || strings.Contains(h.Key, "=")
	})
}

// command is the command that writes the same. One that is long or not text is taken
// from the message that was written.
func (p *production) command(a ProduceAnswer) string {
	if !p.plain() {
		from := command{words: "messages", args: []string{p.topic}, flags: []string{"--partition", strconv.Itoa(int(a.Partition)),
			"--offset", strconv.FormatInt(a.Offset, 10), "-n", "1", "-o", "jsonl"}}
		flags := []string{"--input", "jsonl"}
		if p.text.Partition >= 0 {
			flags = append(flags, "--keep-partitions")
		}
		return from.shown(p.where) + " | " + command{words: "send", args: []string{p.topic}, flags: flags}.shown(p.where)
	}
	c := command{words: "send", args: []string{p.topic}}
	if p.value == nil {
		c.flags = append(c.flags, "--null") // a flag without a value, which no word may follow
	} else {
		c.args = append(c.args, string(p.value))
	}
	if p.text.Key != nil {
		c.flags = append(c.flags, "--key", string(p.text.Key))
	}
	for _, h := range p.text.Headers {
		word := h.Key
		if h.Value != nil {
			word += "=" + string(h.Value)
		}
		c.flags = append(c.flags, "--header", word)
	}
	if p.text.Partition >= 0 {
		c.flags = append(c.flags, "--partition", strconv.Itoa(int(p.text.Partition)))
	}
	if p.Count > 0 {
		if c.flags = append(c.flags, "--count", strconv.FormatInt(p.Count, 10)); p.value == nil {
			c.args = append(c.args, "")
		}
		if p.Rate > 0 {
			c.flags = append(c.flags, "--rate", strconv.FormatFloat(p.Rate, 'g', -1, 64))
		}
	}
	return c.shown(p.where)
}

// produceOthers are the commands of other programs that write the same record, to the partition
// where it lies. They generate nothing, and can write some records only.
func (s *Server) produceOthers(h how, p *production, partition int32) how {
	if p.Count > 0 || !p.plain() {
		return h
	}
	if line, reader, ok := p.consoleLine(); ok && p.text.Partition < 0 {
		words := s.apache("kafka-console-producer.sh", "--topic", p.topic)
		for _, property := range reader {
			words = append(words, "--reader-property", property)
		}
		h = h.piped(line+"\n", words...)
	}
	// kcat skips empty lines. It writes null where a key stands in front of nothing, and no empty value.
	if len(p.value) == 0 && (p.value != nil || len(p.text.Key) == 0 || strings.ContainsAny(string(p.text.Key), "\t\n")) {
		return h
	}
	words := []string{"kcat", "-P", "-b", s.address(), "-t", p.topic, "-p", strconv.Itoa(int(partition))}
	if p.text.Key != nil && p.value != nil {
		words = append(words, "-k", string(p.text.Key))
	}
	for _, header := range p.text.Headers {
		word := header.Key
		if header.Value != nil {
			word += "=" + string(header.Value)
		}
		words = append(words, "-H", word)
	}
	text := string(p.value) + "\n"
	switch {
	case p.value == nil:
		words, text = append(words, "-Z", "-K", `\t`), string(p.text.Key)+"\t\n"
	case strings.Contains(string(p.value), "\n"):
		words, text = append(words, "-D", `\x1e`), string(p.value)
	}
	return h.piped(text, words...)
}

// consoleLine is the record as a line for Kafka's console producer, and the properties of its reader.
func (p *production) consoleLine() (line string, reader []string, ok bool) {
	const null = "NULL"
	fits := func(b []byte, separators string) bool {
		return string(b) != null && !strings.ContainsAny(string(b), separators)
	}
	ok = fits(p.value, "\n\r") && fits(p.text.Key, "\t\n\r")
	var headers []string
	for _, h := range p.text.Headers {
		ok = ok && h.Value != nil && fits([]byte(h.Key), ":,\t\n\r") && fits(h.Value, ",\t\n\r")
		headers = append(headers, h.Key+":"+string(h.Value))
	}
	word := func(b []byte) string {
		if b == nil {
			return null
		}
		return string(b)
	}
	line = word(p.value)
	if len(headers) > 0 {
		reader = append(reader, "parse.headers=true")
	}
	if p.text.Key != nil || len(headers) > 0 {
		line, reader = word(p.text.Key)+"\t"+line, append(reader, "parse.key=true")
	}
	if len(headers) > 0 {
		line = strings.Join(headers, ",") + "\t" + line
	}
	if p.value == nil || p.text.Key == nil && len(headers) > 0 {
		reader = append(reader, "null.marker="+null)
	}
	return line, reader, ok
}

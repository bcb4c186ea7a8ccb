package inspect

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf16"
)

// GroupOffset is a committed offset, as a file of kafka-consumer-groups.sh --reset-offsets
// has it. Group is empty where the file is about one group and does not name it.
type GroupOffset struct {
	Group     string `json:"group"`
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
}

// CommittedOffsets lists the committed offsets of groups, in the order of the groups, then by
// topic and partition. A share group has none.
func (i *Inspector) CommittedOffsets(ctx context.Context, groups ...string) (list []GroupOffset, err error) {
	defer wrap(&err, "list committed offsets")
	list = []GroupOffset{}
	for _, name := range groups {
		d, err := i.Group(ctx, name)
		switch {
		case err != nil:
			return nil, err
		case d.Error != "":
			return nil, fmt.Errorf("%q: %s", name, d.Error)
		case d.Type == TypeShare:
			return nil, notAsAsked("%q is a share group: it acknowledges messages one by one and commits no offsets", name)
		}
		for _, p := range d.Partitions {
			if p.Committed >= 0 {
				list = append(list, GroupOffset{name, p.Topic, p.Partition, p.Committed})
			}
		}
	}
	return list, nil
}

// WriteOffsets writes offsets byte by byte as kafka-consumer-groups.sh --reset-offsets --export
// does: topic,partition,offset of one group, group,topic,partition,offset of several.
func WriteOffsets(w io.Writer, list []GroupOffset, several bool) error {
	out := bufio.NewWriter(w)
	for _, o := range list {
		group := ""
		if several {
			group = csvWord(o.Group) + ","
		}
		if _, err := fmt.Fprintf(out, "%s%s,%d,%d\n", group, csvWord(o.Topic), o.Partition, o.Offset); err != nil {
			return fmt.Errorf("write offsets: %w", err)
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write offsets: %w", err)
	}
	return nil
}

// csvWord quotes a name as Jackson's CSV writer does, which Kafka's tools use: every name of
// more than 24 characters, and any with a character up to the comma, such as a space.
func csvWord(s string) string {
	if len(utf16.Encode([]rune(s))) <= 24 && !strings.ContainsFunc(s, func(c rune) bool { return c <= ',' }) {
		return s
	}
	return `"` + strings.ReplaceAll(s, `"`, `""`) + `"`
}

// Limits of a file of offsets.
const (
	maxOffsetsFile = 4 << 20
	maxOffsets     = 50_000
)

// ReadOffsets reads a file of offsets: topic,partition,offset or group,topic,partition,offset
// on each line, as WriteOffsets writes them. Lines of one file have the same form.
func ReadOffsets(r io.Reader) (list []GroupOffset, err error) {
	defer wrap(&err, "read offsets")
	in := &io.LimitedReader{R: r, N: maxOffsetsFile + 1}
	lines := csv.NewReader(in)
	lines.FieldsPerRecord = -1
	seen := map[GroupOffset]int{} // the line of an offset; the offset itself is left out
	for {
		fields, err := lines.Read()
		switch {
		case in.N == 0:
			return nil, fmt.Errorf("the file is larger than %d MiB: divide it", maxOffsetsFile>>20)
		case errors.Is(err, io.EOF):
			return list, nil
		case err != nil:
			return nil, err
		}
		line, _ := lines.FieldPos(0)
		o, err := parseOffset(fields)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		key := o
		key.Offset = 0
		switch before := seen[key]; {
		case before > 0:
			return nil, fmt.Errorf("line %d: partition %d of topic %q stands on line %d already", line, o.Partition, o.Topic, before)
		case len(list) > 0 && (o.Group == "") != (list[0].Group == ""):
			return nil, fmt.Errorf("line %d: some lines name a group, others do not", line)
		case len(list) == maxOffsets:
			return nil, fmt.Errorf("the file has more than %d lines: divide it", maxOffsets)
		}
		seen[key] = line
		list = append(list, o)
	}
}

// parseOffset reads the fields of a line.
func parseOffset(fields []string) (o GroupOffset, err error) {
	if len(fields) == 4 {
		if o.Group, fields = fields[0], fields[1:]; o.Group == "" {
			return o, errors.New("the group is empty")
		}
	}
	if len(fields) != 3 {
		return o, fmt.Errorf("want topic,partition,offset or group,topic,partition,offset, and there are %d fields", len(fields))
	}
	if o.Topic = fields[0]; o.Topic == "" {
		return o, errors.New("the topic is empty")
	}
	partition, err := strconv.ParseInt(strings.TrimSpace(fields[1]), 10, 32)
	if err != nil || partition < 0 {
		return o, fmt.Errorf("%q is not a partition: give a number from 0", fields[1])
	}
	offset, err := strconv.ParseInt(strings.TrimSpace(fields[2]), 10, 64)
	if err != nil || offset < 0 {
		return o, fmt.Errorf("%q is not an offset: give a number from 0", fields[2])
	}
	o.Partition, o.Offset = int32(partition), offset
	return o, nil
}

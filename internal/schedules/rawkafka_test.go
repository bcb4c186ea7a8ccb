package schedules

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"

	"github.com/klauspost/compress/s2"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// rawKafka reads topics with requests of its own on plain connections. Which records are committed
// it finds in the markers of the log, without the brokers' list of aborted transactions; with
// committed it asks the brokers, and both have to agree.
type rawKafka struct {
	dial  dialer
	addr  string
	conns map[string]net.Conn
	logs  map[place]*logOf
	order []place

	leaders     map[place]string
	coordinator string // of the group
	serial      int32
}

// place is a partition.
type place struct {
	topic     string
	partition int32
}

// logOf is what was read of a partition.
type logOf struct {
	next, end, stable int64 // offsets: to read, high watermark, last stable
	open              map[int64][]stored
	committed         []stored
	aborted           map[int64]bool // offsets
	visible           int64          // read as read_committed up to here
}

// stored is one record.
type stored struct {
	place
	offset               int64
	producer             int64
	key, value           string
	kind, seq, source    string
	foreign              bool
	transactional, marks bool
	commits              bool // of a marker
}

func newRawKafka(dial dialer, addr string) *rawKafka {
	return &rawKafka{dial: dial, addr: addr, conns: map[string]net.Conn{}, logs: map[place]*logOf{}}
}

func (k *rawKafka) close() {
	for _, c := range k.conns {
		_ = c.Close()
	}
	clear(k.conns)
}

// ask sends one request and reads its answer.
func (k *rawKafka) ask(addr string, req kmsg.Request, version int16) (kmsg.Response, error) {
	c := k.conns[addr]
	if c == nil {
		var err error
		if c, err = k.dial(context.Background(), "tcp", addr); err != nil {
			return nil, err
		}
		k.conns[addr] = c
	}
	req.SetVersion(version)
	k.serial++
	b := make([]byte, 4, 256)
	b = binary.BigEndian.AppendUint16(b, uint16(req.Key()))
	b = binary.BigEndian.AppendUint16(b, uint16(version))
	b = binary.BigEndian.AppendUint32(b, uint32(k.serial))
	b = binary.BigEndian.AppendUint16(b, 0xffff) // no client ID
	if req.IsFlexible() {
		b = append(b, 0)
	}
	b = req.AppendTo(b)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	if _, err := c.Write(b); err != nil {
		return nil, err
	}
	var head [4]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return nil, err
	}
	body := make([]byte, binary.BigEndian.Uint32(head[:]))
	if _, err := io.ReadFull(c, body); err != nil {
		return nil, err
	}
	if got := int32(binary.BigEndian.Uint32(body)); got != k.serial {
		return nil, fmt.Errorf("answer %d to request %d", got, k.serial)
	}
	body = body[4:]
	if req.IsFlexible() {
		body = body[1:]
	}
	resp := req.ResponseKind()
	resp.SetVersion(version)
	return resp, resp.ReadFrom(body)
}

// metadata finds the partitions of topics and their leaders.
func (k *rawKafka) metadata(topics ...string) error {
	req := kmsg.NewPtrMetadataRequest()
	for _, t := range topics {
		req.Topics = append(req.Topics, kmsg.MetadataRequestTopic{Topic: kmsg.StringPtr(t)})
	}
	resp, err := k.ask(k.addr, req, 9)
	if err != nil {
		return err
	}
	md := resp.(*kmsg.MetadataResponse)
	brokers := map[int32]string{}
	for _, b := range md.Brokers {
		brokers[b.NodeID] = fmt.Sprintf("%s:%d", b.Host, b.Port)
	}
	k.leaders, k.order = map[place]string{}, nil
	for _, t := range md.Topics {
		for _, p := range t.Partitions {
			at := place{*t.Topic, p.Partition}
			k.leaders[at] = brokers[p.Leader]
			k.order = append(k.order, at)
			if k.logs[at] == nil {
				k.logs[at] = &logOf{open: map[int64][]stored{}, aborted: map[int64]bool{}}
			}
		}
	}
	slices.SortFunc(k.order, func(a, b place) int {
		if a.topic != b.topic {
			return slices.Index(topics, a.topic) - slices.Index(topics, b.topic)
		}
		return int(a.partition - b.partition)
	})
	return nil
}

// fetch reads one partition from an offset.
func (k *rawKafka) fetch(at place, from int64, isolation int8) (*kmsg.FetchResponseTopicPartition, error) {
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID, req.MaxBytes, req.IsolationLevel, req.SessionEpoch = -1, 64<<20, isolation, -1
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = at.partition, from, 32<<20
	req.Topics = []kmsg.FetchRequestTopic{{Topic: at.topic, Partitions: []kmsg.FetchRequestTopicPartition{p}}}
	resp, err := k.ask(k.leaders[at], req, 11)
	if err != nil {
		return nil, err
	}
	f := resp.(*kmsg.FetchResponse)
	if len(f.Topics) != 1 || len(f.Topics[0].Partitions) != 1 {
		return nil, fmt.Errorf("%v: %d topics in the answer, error %d", at, len(f.Topics), f.ErrorCode)
	}
	return &f.Topics[0].Partitions[0], nil
}

const notLeader = 6

// offsets asks for the offsets that a group has committed; nil where it has none.
func (k *rawKafka) offsets(group string, brokers []string) (map[place]int64, error) {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Group = group
	for n := range brokers {
		if k.coordinator == "" || n > 0 {
			k.coordinator = brokers[n]
		}
		resp, err := k.ask(k.coordinator, req, 5)
		if err != nil {
			return nil, err
		}
		r := resp.(*kmsg.OffsetFetchResponse)
		if r.ErrorCode == notCoordinator {
			continue
		}
		var out map[place]int64
		for _, t := range r.Topics {
			for _, p := range t.Partitions {
				if p.Offset >= 0 {
					if out == nil {
						out = map[place]int64{}
					}
					out[place{t.Topic, p.Partition}] = p.Offset
				}
			}
		}
		return out, nil
	}
	return nil, fmt.Errorf("no broker coordinates %s", group)
}

const notCoordinator = 16

// read takes over what a partition has beyond what was read. It reports what cannot be: ends that went back.
func (k *rawKafka) read(at place) error {
	l := k.logs[at]
	for again := 0; ; again++ {
		p, err := k.fetch(at, l.next, 0)
		if err != nil {
			return err
		}
		if p.ErrorCode == notLeader && again < 10 {
			if err := k.metadata(k.topics()...); err != nil {
				return err
			}
			continue
		}
		if p.ErrorCode != 0 {
			return fmt.Errorf("%v: fetch from %d: error %d", at, l.next, p.ErrorCode)
		}
		if p.HighWatermark < l.end || p.LastStableOffset < l.stable {
			return fmt.Errorf("%v: ends went back: %d to %d, stable %d to %d", at, l.end, p.HighWatermark, l.stable, p.LastStableOffset)
		}
		l.end, l.stable = p.HighWatermark, p.LastStableOffset
		batches, err := split(at, p.RecordBatches)
		if err != nil {
			return err
		}
		for i := range batches {
			records, err := decode(at, &batches[i])
			if err != nil {
				return err
			}
			for _, r := range records {
				if r.offset < l.next {
					continue
				}
				if r.offset != l.next {
					return fmt.Errorf("%v: offset %d follows %d", at, r.offset, l.next-1)
				}
				l.next = r.offset + 1
				l.take(r)
			}
		}
		if l.next >= l.end {
			return nil
		}
	}
}

func (k *rawKafka) topics() (names []string) {
	for _, at := range k.order {
		if !slices.Contains(names, at.topic) {
			names = append(names, at.topic)
		}
	}
	return names
}

// take puts a record where it belongs.
func (l *logOf) take(r stored) {
	switch {
	case r.marks:
		if r.commits {
			l.committed = append(l.committed, l.open[r.producer]...)
		} else {
			for _, a := range l.open[r.producer] {
				l.aborted[a.offset] = true
			}
		}
		delete(l.open, r.producer)
	case r.transactional:
		l.open[r.producer] = append(l.open[r.producer], r)
	default:
		l.committed = append(l.committed, r)
	}
}

// compareCommitted reads what a read_committed consumer gets, and compares it with the markers. The
// records themselves are those that read has taken over.
func (k *rawKafka) compareCommitted(at place) error {
	l := k.logs[at]
	for l.visible < l.stable {
		p, err := k.fetch(at, l.visible, 1)
		if err != nil {
			return err
		}
		if p.ErrorCode != 0 {
			return fmt.Errorf("%v: fetch as read_committed: error %d", at, p.ErrorCode)
		}
		batches, err := split(at, p.RecordBatches)
		if err != nil || len(batches) == 0 {
			return fmt.Errorf("%v: nothing at %d below the last stable offset %d: %v", at, l.visible, l.stable, err)
		}
		slices.SortFunc(p.AbortedTransactions, func(a, b kmsg.FetchResponseTopicPartitionAbortedTransaction) int {
			return int(a.FirstOffset - b.FirstOffset)
		})
		aborts := aborts{list: p.AbortedTransactions, begun: map[int64]bool{}}
		for i := range batches {
			if err := l.compareBatch(at, &batches[i], &aborts); err != nil {
				return err
			}
		}
	}
	return nil
}

// aborts is what the brokers list: transactions that are aborted, and the producers of those that have begun.
type aborts struct {
	list  []kmsg.FetchResponseTopicPartitionAbortedTransaction
	begun map[int64]bool
}

// compareBatch compares the offsets of a batch, all of which one transaction wrote.
func (l *logOf) compareBatch(at place, batch *kmsg.RecordBatch, a *aborts) error {
	transactional, marks := batch.Attributes&16 != 0, batch.Attributes&32 != 0
	for offset := batch.FirstOffset; offset <= batch.FirstOffset+int64(batch.LastOffsetDelta); offset++ {
		if offset < l.visible || offset >= l.stable {
			continue
		}
		l.visible = offset + 1
		for len(a.list) > 0 && a.list[0].FirstOffset <= offset {
			a.begun[a.list[0].ProducerID] = true
			a.list = a.list[1:]
		}
		if marks {
			records, err := decode(at, batch)
			if err != nil {
				return err
			}
			if !records[0].commits {
				delete(a.begun, batch.ProducerID)
			}
			continue
		}
		if got := transactional && a.begun[batch.ProducerID]; got != l.aborted[offset] {
			return fmt.Errorf("%v@%d: aborted by its marker: %v, by the brokers' list: %v", at, offset, l.aborted[offset], got)
		}
	}
	return nil
}

// split takes a response apart into record batches.
func split(at place, b []byte) (out []kmsg.RecordBatch, err error) {
	for len(b) >= 61 {
		size := 12 + int(binary.BigEndian.Uint32(b[8:]))
		if size > len(b) {
			break
		}
		var batch kmsg.RecordBatch
		if err := batch.ReadFrom(b[:size]); err != nil {
			return nil, fmt.Errorf("%v: %w", at, err)
		}
		b = b[size:]
		out = append(out, batch)
	}
	return out, nil
}

// decode takes the records of a batch apart.
func decode(at place, batch *kmsg.RecordBatch) (out []stored, err error) {
	records := batch.Records
	switch batch.Attributes & 7 {
	case 0:
	case 2:
		if records, err = s2.Decode(nil, records); err != nil {
			return nil, fmt.Errorf("%v@%d: %w", at, batch.FirstOffset, err)
		}
	default:
		return nil, fmt.Errorf("%v@%d: codec %d", at, batch.FirstOffset, batch.Attributes&7)
	}
	rest := string(records) // once: what is stored of the records are parts of it
	out = make([]stored, 0, batch.NumRecords)
	for i := range batch.NumRecords {
		r := stored{place: at, producer: batch.ProducerID, transactional: batch.Attributes&16 != 0, marks: batch.Attributes&32 != 0}
		if rest, err = r.decode(rest, batch.FirstOffset); err != nil {
			return nil, fmt.Errorf("%v@%d, record %d: %w", at, batch.FirstOffset, i, err)
		}
		out = append(out, r)
	}
	return out, nil
}

// decode takes one record apart and returns what follows it.
func (r *stored) decode(b string, first int64) (rest string, err error) {
	defer func() {
		if p := recover(); p != nil { // an index beyond the record
			err = fmt.Errorf("broken record: %v", p)
		}
	}()
	number := func() int64 {
		var u uint64
		for shift := 0; ; shift += 7 {
			c := b[0]
			b = b[1:]
			if u |= uint64(c&0x7f) << shift; c < 0x80 {
				return int64(u>>1) ^ -int64(u&1)
			}
		}
	}
	text := func() string {
		n := number()
		if n < 0 {
			return ""
		}
		s := b[:n]
		b = b[n:]
		return s
	}
	length := number()
	rest = b[length:]
	b = b[1:]
	number()
	r.offset = first + number()
	r.key, r.value = text(), text()
	for n := number(); n > 0; n-- {
		switch name, value := text(), text(); name {
		case "kind":
			r.kind = value
		case "seq":
			r.seq = value
		case "source":
			r.source = value
		case "foreign":
			r.foreign = true
		}
	}
	if r.marks {
		r.commits = r.key[3] == 1
	}
	return rest, nil
}

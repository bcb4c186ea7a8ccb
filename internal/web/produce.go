package web

import (
	"encoding/base64"
	"errors"
	"math"
	"net/http"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/send"
)

// Limits on records that one request generates.
const (
	maxGenerated = 100_000
	// maxGenerating is how long they may take: less than a request may take to be read. More
	// records are more requests, each with its first number.
	maxGenerating = 20 * time.Second
)

// ProduceRequest is a record by hand, a message that is sent once more, or a template.
type ProduceRequest struct {
	// Key is null for none. KeyBase64 is for one that is not text.
	Key       *string `json:"key"`
	KeyBase64 string  `json:"key_base64,omitempty"`
	// Value null is a tombstone. ValueBase64 is for one that is not text.
	Value       *string `json:"value"`
	ValueBase64 string  `json:"value_base64,omitempty"`
	// Headers are pairs of name and value. A value can be null.
	Headers [][2]*string `json:"headers"`
	// Partition null is chosen by the key.
	Partition *int32 `json:"partition"`
	// Again sends a message of this topic once more, whole: its key, value and headers.
	Again *MessagePlace `json:"again,omitempty"`
	// Count generates so many records, 1 to 100,000. Key, value and headers are templates then:
	// {n}, {uuid}, {now}, {choice a b c}. 0 writes one record as it is.
	Count int64 `json:"count,omitempty"`
	// First is the number {n} of the first of them; 0 means 1.
	First int64 `json:"first,omitempty"`
	// Rate is at most how many of them are written per second; 0 is as fast as possible.
	Rate float64 `json:"rate,omitempty"`
}

// MessagePlace is where a message lies.
type MessagePlace struct {
	Partition int32 `json:"partition"`
	Offset    int64 `json:"offset"`
}

// ProduceAnswer says where records were written.
type ProduceAnswer struct {
	// Partition and Offset are those of the last record.
	Partition int32 `json:"partition"`
	Offset    int64 `json:"offset"`
	Records   int64 `json:"records"`
	// Landed has the partitions that records were written to.
	Landed []send.Landed `json:"landed"`
	how
}

var errReadOnly = conflict("this weir writes no records: start weir up, weir cluster or weir ui")

func (s *Server) produce(r *http.Request, req ProduceRequest) (a ProduceAnswer, err error) {
	if s.cfg.Producer == nil {
		return a, errReadOnly
	}
	p := production{ProduceRequest: req, topic: r.PathValue("topic"), where: s.cfg.Where.Kafka}
	if req.Again != nil {
		err = s.again(r, &p)
	} else {
		err = p.record()
	}
	if err != nil {
		return a, err
	}
	in, err := p.input()
	if err != nil {
		return a, err
	}
	result, err := s.cfg.Producer.Produce(r.Context(), p.topic, in, p.text.Partition >= 0, func(rec *kgo.Record) {
		a.Partition, a.Offset = rec.Partition, rec.Offset
	})
	if err != nil {
		return a, refusedRecord(err)
	}
	a.Records, a.Landed = result.Records, result.Landed
	a.how = s.produceOthers(by(p.command(a), "Metadata", "DescribeConfigs", "InitProducerId", "Produce"), &p, a.Partition)
	return a, nil
}

// refusedRecord gives an error of a record that the cluster refused the status of a conflict:
// the cluster has not failed.
func refusedRecord(err error) error {
	if failed, ok := errors.AsType[*send.FailedError](err); ok && !errors.Is(err, send.ErrUnconfirmed) {
		return &statusError{http.StatusConflict, failed}
	}
	return err
}

// production is a request to write, as a record, and what the shown commands need.
type production struct {
	ProduceRequest
	topic string
	where []string
	text  send.Text
	value []byte
}

// record reads the record of the request.
func (p *production) record() (err error) {
	p.text.Partition = -1
	if p.Partition != nil {
		if p.text.Partition = *p.Partition; p.text.Partition < 0 {
			return badRequest("partition is %d: give one from 0, or null for that of the key", p.text.Partition)
		}
	}
	if p.text.Key, err = given("key", p.Key, p.KeyBase64); err != nil {
		return err
	}
	if p.value, err = given("value", p.Value, p.ValueBase64); err != nil {
		return err
	}
	for _, h := range p.Headers {
		if h[0] == nil || *h[0] == "" {
			return badRequest("a header has no name: give pairs of name and value")
		}
		header := kgo.RecordHeader{Key: *h[0]}
		if h[1] != nil {
			header.Value = []byte(*h[1])
		}
		p.text.Headers = append(p.text.Headers, header)
	}
	return nil
}

// given is a text, or bytes as base64; nil for null.
func given(name string, text *string, b64 string) ([]byte, error) {
	switch {
	case b64 != "" && text != nil:
		return nil, badRequest("%s and %s_base64 both give it: leave out one of them", name, name)
	case b64 != "":
		b, err := base64.StdEncoding.DecodeString(b64)
		if err != nil {
			return nil, badRequest("%s_base64 is not base64: %w", name, err)
		}
		return b, nil
	case text == nil:
		return nil, nil
	}
	return []byte(*text), nil
}

// again reads the message that is to be sent once more.
func (s *Server) again(r *http.Request, p *production) error {
	if p.Key != nil || p.Value != nil || p.KeyBase64+p.ValueBase64 != "" || len(p.Headers) > 0 || p.Count != 0 {
		return badRequest("again sends a message as it is: leave out key, value, headers and count")
	}
	if p.Again.Partition < 0 || p.Again.Offset < 0 {
		return badRequest("again names a message by its partition and offset, both from 0")
	}
	if err := p.record(); err != nil {
		return err
	}
	m, err := s.messageAt(r.Context(), p.topic, p.Again.Partition, p.Again.Offset)
	if err != nil {
		return err
	}
	p.text.Key, p.text.Headers, p.value = m.Key, m.Headers, m.Value
	return nil
}

// input is the records to write.
func (p *production) input() (send.Input, error) {
	if p.Count == 0 {
		if p.Rate != 0 || p.First != 0 {
			return nil, badRequest("rate and first are about generated records: give count, too")
		}
		return send.NewRecords(kgo.Record{Key: p.text.Key, Value: p.value, Headers: p.text.Headers, Partition: p.text.Partition}), nil
	}
	first := max(p.First, 1)
	switch {
	case p.Count < 0 || p.Count > maxGenerated:
		return nil, badRequest("count is %d: give 1 to %d", p.Count, maxGenerated)
	case p.First < 0 || first > math.MaxInt64-maxGenerated:
		return nil, badRequest("first is %d: give a number from 1", p.First)
	case p.Rate < 0:
		return nil, badRequest("rate is %g: give records per second, or 0 for as fast as possible", p.Rate)
	case p.Rate > 0 && float64(p.Count-1)/p.Rate > maxGenerating.Seconds():
		return nil, badRequest("%d records at %g per second take longer than %v: ask for fewer, and for the next ones with first",
			p.Count, p.Rate, maxGenerating)
	}
	how := p.text
	how.Null = p.value == nil
	in, err := send.NewTemplates(how, []string{string(p.value)}, first, p.Count, p.Rate)
	if err != nil {
		return nil, badRequest("%w", err)
	}
	return in, nil
}

type partitionAnswer struct {
	Hash      uint32 `json:"hash"` // murmur2 of the key
	Partition int32  `json:"partition"`
}

func (s *Server) partition(r *http.Request) (a partitionAnswer, err error) {
	if s.cfg.Producer == nil {
		return a, errReadOnly
	}
	a.Hash, a.Partition, err = s.cfg.Producer.PartitionOf(r.Context(), r.PathValue("topic"), []byte(r.URL.Query().Get("key")))
	return a, err
}

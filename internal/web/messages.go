package web

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/inspect"
)

// Limits on what one answer holds.
const (
	maxShown    = 500      // messages
	shownValue  = 64 << 10 // bytes of a value; the whole is a link away
	scanBudget  = 200_000  // messages that a filter looks at before it answers with what it has
	maxDownload = 1_000_000
)

// query reads what to read from the URL.
func query(r *http.Request) (q inspect.Query, n int64, err error) {
	v := r.URL.Query()
	q = inspect.Query{Topic: r.PathValue("topic")}
	switch isolation := v.Get("isolation"); isolation {
	case "", "committed":
	case "uncommitted":
		q.Uncommitted = true
	default:
		return q, 0, badRequest("isolation is %q: give committed or uncommitted", isolation)
	}
	if n, err = number(r, "n", 50, 1, maxShown); err != nil {
		return q, 0, err
	}
	for _, p := range v["partition"] {
		id, err := integer("partition", p, 0, math.MaxInt32)
		if err != nil {
			return q, 0, err
		}
		q.Partitions = append(q.Partitions, int32(id))
	}
	if q.Filter, err = filter(r); err != nil {
		return q, 0, err
	}
	switch from := v.Get("from"); from {
	case "", "newest":
		q.From = inspect.Newest(n)
	case "oldest":
		q.From = inspect.Oldest()
	case "offset":
		offset, err := integer("offset", v.Get("offset"), math.MinInt64, math.MaxInt64)
		if err != nil {
			return q, 0, err
		}
		q.From = inspect.AtOffset(offset)
	case "time":
		t, err := moment(v.Get("time"))
		if err != nil {
			return q, 0, err
		}
		q.From = inspect.AtTime(t)
	default:
		return q, 0, badRequest("from is %q: give newest, oldest, offset or time", from)
	}
	if c := v.Get("cursor"); c != "" {
		positions := map[int32]int64{}
		c, older := strings.CutPrefix(c, olderCursor)
		raw, err := base64.RawURLEncoding.DecodeString(c)
		if err != nil || json.Unmarshal(raw, &positions) != nil {
			return q, 0, badRequest("cursor is not one that an earlier answer gave")
		}
		q.From = inspect.AtPositions(positions)
		if older {
			q.From = inspect.NewestBefore(n, positions)
		}
	}
	return q, n, nil
}

// olderCursor begins a cursor that leads to older messages; others lead to newer ones.
const olderCursor = "older."

// moment reads a time: Unix milliseconds, or as inspect.ParseTime does.
func moment(s string) (time.Time, error) {
	if ms, err := strconv.ParseInt(s, 10, 64); err == nil {
		return time.UnixMilli(ms), nil
	}
	t, err := inspect.ParseTime(s, time.Now())
	if err != nil {
		return t, badRequest("time %v, or Unix milliseconds", err)
	}
	return t, nil
}

// filter reads the conditions: text, key, header and path, all of which must hold.
func filter(r *http.Request) (*inspect.Filter, error) {
	v := r.URL.Query()
	f := &inspect.Filter{Contains: v.Get("text"), Headers: v["header"], Paths: v["path"], Regexp: v.Get("regexp")}
	if k := v.Get("key"); k != "" {
		f.Key = &k
	}
	if f.Contains == "" && f.Regexp == "" && f.Key == nil && len(f.Headers) == 0 && len(f.Paths) == 0 {
		return nil, nil
	}
	if err := f.Check(); err != nil {
		return nil, badRequest("%w", err)
	}
	return f, nil
}

type messagesAnswer struct {
	Messages []inspect.WireMessage `json:"messages"`
	Scanned  int64                 `json:"scanned"`
	Matched  int64                 `json:"matched"`
	// Cursor leads on to the next page; empty where there is none.
	Cursor string `json:"cursor"`
	Done   bool   `json:"done"`
	// Unread says of partitions that were left out why: their leaders do not answer.
	Unread []string `json:"unread,omitempty"`
	how
}

// newestFirst reports whether a request reads backward from the newest message.
func newestFirst(r *http.Request) bool {
	from := r.URL.Query().Get("from")
	return from == "" || from == "newest"
}

// messages answers one page. Reading forward has a cursor that leads on to the next.
func (s *Server) messages(r *http.Request) (a messagesAnswer, err error) {
	q, n, err := query(r)
	if err != nil {
		return a, err
	}
	q.MaxMessages, q.MaxScanned, q.MaxBytes, q.Partial, q.Gaps = n, scanBudget, 256<<20, true, true
	list := []inspect.WireMessage{}
	p, err := s.cfg.Inspector.Read(r.Context(), q, func(m inspect.Message) error {
		list = append(list, m.Wire(shownValue))
		return nil
	})
	if err != nil {
		return a, err
	}
	next, prefix, done := p.Next, "", p.Stopped == inspect.StoppedEnd
	if newestFirst(r) {
		slices.Reverse(list) // the newest first, as the page shows them
		next, prefix, done = p.Before, olderCursor, p.Before == nil
	}
	a = messagesAnswer{Messages: list, Scanned: p.Scanned, Matched: p.Matched, Done: done, Unread: p.Unread,
		how: by(s.messagesCommand(r, n), "Metadata", "ListOffsets", "Fetch")}
	if !done && len(next) > 0 {
		b, err := json.Marshal(next)
		if err != nil {
			return a, err
		}
		a.Cursor = prefix + base64.RawURLEncoding.EncodeToString(b)
	}
	return a, nil
}

// messagesCommand is the command line that prints the same.
func (s *Server) messagesCommand(r *http.Request, n int64) string {
	v := r.URL.Query()
	c := command{words: "messages", args: []string{r.PathValue("topic")}}
	add := func(words ...string) { c.flags = append(c.flags, words...) }
	switch v.Get("from") {
	case "oldest":
		add("--offset", "oldest")
	case "offset":
		add("--offset", v.Get("offset"))
	case "time":
		if t, err := moment(v.Get("time")); err == nil {
			add("--since", t.UTC().Format(time.RFC3339Nano))
		}
	}
	add("-n", strconv.FormatInt(n, 10))
	for _, p := range v["partition"] {
		add("--partition", p)
	}
	if v.Get("isolation") == "uncommitted" {
		add("--uncommitted")
	}
	filter := func(before string, words []string, after string) {
		for _, w := range words {
			if w != "" {
				add("--filter", before+w+after)
			}
		}
	}
	if t := v.Get("text"); t != "" {
		add("--filter", filterWord(t))
	}
	filter("/", []string{v.Get("regexp")}, "/")
	filter("key=", []string{v.Get("key")}, "")
	filter("header:", v["header"], "")
	filter("", v["path"], "")
	return c.shown(s.cfg.Where.Kafka)
}

// one finds the message that the path names.
func (s *Server) one(r *http.Request) (found inspect.Message, err error) {
	partition, err := pathID(r, "partition")
	if err != nil {
		return found, err
	}
	offset, err := integer("offset", r.PathValue("offset"), 0, math.MaxInt64)
	if err != nil {
		return found, err
	}
	ok := false
	_, err = s.cfg.Inspector.Read(r.Context(), inspect.Query{
		Topic: r.PathValue("topic"), Partitions: []int32{partition}, From: inspect.AtOffset(offset), MaxMessages: 1, Uncommitted: true,
	}, func(m inspect.Message) error {
		found, ok = m, m.Offset == offset
		return inspect.ErrStop
	})
	if err == nil && !ok {
		err = notFound("no message at offset %d of partition %d: it was deleted, or the offset is a transaction's marker", offset, partition)
	}
	return found, err
}

type messageAnswer struct {
	inspect.WireMessage
	how
}

func (s *Server) message(r *http.Request) (a messageAnswer, err error) {
	m, err := s.one(r)
	if err != nil {
		return a, err
	}
	c := command{words: "messages", args: []string{m.Topic}, flags: []string{"--partition", strconv.Itoa(int(m.Partition)),
		"--offset", strconv.FormatInt(m.Offset, 10), "-n", "1", "--uncommitted", "-o", "jsonl"}}
	return messageAnswer{m.Wire(shownValue), by(c.shown(s.cfg.Where.Kafka), "Metadata", "ListOffsets", "Fetch")}, nil
}

// value sends the bytes as a file to keep: whatever they are, no page is made of them.
func (s *Server) value(w http.ResponseWriter, r *http.Request) error {
	m, err := s.one(r)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", fmt.Sprintf(`attachment; filename="%s-%d-%d"`, m.Topic, m.Partition, m.Offset))
	_, _ = w.Write(m.Value)
	return nil
}

// download streams the messages of a query, whole, as JSON lines.
func (s *Server) download(w http.ResponseWriter, r *http.Request) error {
	q, _, err := query(r)
	if err != nil {
		return err
	}
	q.MaxMessages = maxDownload
	if newestFirst(r) {
		q.MaxMessages = maxShown
	}
	started := false
	rc := http.NewResponseController(w)
	enc := json.NewEncoder(w)
	begin := func() {
		started = true
		w.Header().Set("Content-Type", "application/jsonl")
		w.Header().Set("Content-Disposition", fmt.Sprintf(`attachment; filename="%s.jsonl"`, q.Topic))
	}
	_, err = s.cfg.Inspector.Read(r.Context(), q, func(m inspect.Message) error {
		if !started {
			begin()
		}
		_ = rc.SetWriteDeadline(time.Now().Add(writeTimeout))
		return enc.Encode(m.Wire(0))
	})
	if !started && err == nil {
		begin()
		w.WriteHeader(http.StatusOK)
	}
	if started && err != nil {
		panic(http.ErrAbortHandler) // half a file must not look like a whole one
	}
	return err
}

// produceRequest is a record by hand. A partition that is null is chosen by the key.
type produceRequest struct {
	Key       *string     `json:"key"`
	Value     string      `json:"value"`
	Headers   [][2]string `json:"headers"`
	Partition *int32      `json:"partition"`
}

type produceAnswer struct {
	Partition int32 `json:"partition"`
	Offset    int64 `json:"offset"`
	how
}

var errReadOnly = conflict("nothing can be written from here: this weir only looks")

func (s *Server) produce(r *http.Request, req produceRequest) (a produceAnswer, err error) {
	if s.cfg.Producer == nil {
		return a, errReadOnly
	}
	rec := &kgo.Record{Topic: r.PathValue("topic"), Partition: -1, Value: []byte(req.Value)}
	for _, h := range req.Headers {
		rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: h[0], Value: []byte(h[1])})
	}
	if req.Partition != nil {
		rec.Partition = *req.Partition
	}
	if req.Key != nil {
		rec.Key = []byte(*req.Key)
	}
	err = s.cfg.Producer.Produce(r.Context(), rec)
	return produceAnswer{rec.Partition, rec.Offset, by(produceCommand(rec, s.brokerAddress(-1)), "Metadata", "InitProducerId", "Produce")}, err
}

// produceCommand writes the same record; a value that is long comes from a file.
func produceCommand(r *kgo.Record, broker string) string {
	c := fmt.Sprintf("kcat -P -b %s -t %s -p %d", broker, ShellWord(r.Topic), r.Partition)
	if r.Key != nil {
		c += " -k " + ShellWord(string(r.Key))
	}
	for _, h := range r.Headers {
		c += " -H " + ShellWord(h.Key+"="+string(h.Value))
	}
	if len(r.Value) > 4<<10 {
		return c + " VALUE.json"
	}
	return "printf %s " + ShellWord(string(r.Value)) + " | " + c + ` -D '\x1e'`
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

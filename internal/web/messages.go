package web

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weir-project/weir/internal/inspect"
)

// Limits on what one answer holds.
const (
	maxShown    = 500      // messages
	shownValue  = 64 << 10 // bytes of a value; the whole is a link away
	scanBudget  = 200_000  // messages that a filter looks at before it answers with what it has
	maxDownload = 1_000_000
)

// query is what a request for messages asks for, with the command that prints the same.
type query struct {
	inspect.Query
	n           int64 // messages of a page
	newestFirst bool
	command     command
}

// readQuery reads what to read from the URL.
func readQuery(r *http.Request) (q query, err error) {
	v, topic := r.URL.Query(), r.PathValue("topic")
	q = query{Query: inspect.Query{Topic: topic}, command: command{words: "messages", args: []string{topic}}}
	flag := func(words ...string) { q.command.flags = append(q.command.flags, words...) }
	if q.n, err = number(r, "n", 50, 1, maxShown); err != nil {
		return q, err
	}
	switch from := v.Get("from"); from {
	case "", "newest":
		q.From, q.newestFirst = inspect.Newest(q.n), true
	case "oldest":
		q.From = inspect.Oldest()
		flag("--offset", from)
	case "offset":
		offset, err := integer("offset", v.Get("offset"), math.MinInt64, math.MaxInt64)
		if err != nil {
			return q, err
		}
		q.From = inspect.AtOffset(offset)
		flag("--offset", v.Get("offset"))
	case "time":
		t, err := moment(v.Get("time"))
		if err != nil {
			return q, err
		}
		q.From = inspect.AtTime(t)
		flag("--since", t.UTC().Format(time.RFC3339Nano))
	default:
		return q, badRequest("from is %q: give newest, oldest, offset or time", from)
	}
	flag("-n", strconv.FormatInt(q.n, 10))
	for _, p := range v["partition"] {
		id, err := integer("partition", p, 0, math.MaxInt32)
		if err != nil {
			return q, err
		}
		q.Partitions = append(q.Partitions, int32(id))
		flag("--partition", p)
	}
	switch isolation := v.Get("isolation"); isolation {
	case "", "committed":
	case "uncommitted":
		q.Uncommitted = true
		flag("--uncommitted")
	default:
		return q, badRequest("isolation is %q: give committed or uncommitted", isolation)
	}
	if q.Filter = filter(v, flag); q.Filter != nil {
		if err := q.Filter.Check(); err != nil {
			return q, badRequest("%w", err)
		}
	}
	return q, q.page(v.Get("cursor"))
}

// filter reads the conditions, all of which must hold; nil for none.
func filter(v url.Values, flag func(words ...string)) *inspect.Filter {
	f := &inspect.Filter{Contains: v.Get("text"), Regexp: v.Get("regexp"), Headers: v["header"], Paths: v["path"]}
	var words []string
	if f.Contains != "" {
		words = append(words, filterWord(f.Contains))
	}
	if f.Regexp != "" {
		words = append(words, "/"+f.Regexp+"/")
	}
	if key := v.Get("key"); key != "" {
		f.Key = &key
		words = append(words, "key="+key)
	}
	for _, h := range f.Headers {
		words = append(words, "header:"+h)
	}
	if words = append(words, f.Paths...); len(words) == 0 {
		return nil
	}
	for _, w := range words {
		flag("--filter", w)
	}
	return f
}

// olderCursor begins a cursor that leads to older messages; others lead to newer ones.
const olderCursor = "older."

// page makes the query go on where a cursor of an earlier answer says; empty for none.
func (q *query) page(cursor string) error {
	if cursor == "" {
		return nil
	}
	positions := map[int32]int64{}
	cursor, older := strings.CutPrefix(cursor, olderCursor)
	raw, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || json.Unmarshal(raw, &positions) != nil {
		return badRequest("cursor is not one that an earlier answer gave")
	}
	if q.From = inspect.AtPositions(positions); older {
		q.From = inspect.NewestBefore(q.n, positions)
	}
	return nil
}

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

// messages answers one page. Reading forward has a cursor that leads on to the next.
func (s *Server) messages(r *http.Request) (a messagesAnswer, err error) {
	q, err := readQuery(r)
	if err != nil {
		return a, err
	}
	q.MaxMessages, q.MaxScanned, q.MaxBytes, q.Partial, q.Gaps = q.n, scanBudget, 256<<20, true, true
	list := []inspect.WireMessage{}
	p, err := s.cfg.Inspector.Read(r.Context(), q.Query, func(m inspect.Message) error {
		list = append(list, m.Wire(shownValue))
		return nil
	})
	if err != nil {
		return a, err
	}
	next, prefix, done := p.Next, "", p.Stopped == inspect.StoppedEnd
	if q.newestFirst {
		slices.Reverse(list) // the newest first, as the page shows them
		next, prefix, done = p.Before, olderCursor, p.Before == nil
	}
	a = messagesAnswer{Messages: list, Scanned: p.Scanned, Matched: p.Matched, Done: done, Unread: p.Unread,
		how: by(q.command.shown(s.cfg.Where.Kafka), "Metadata", "ListOffsets", "Fetch")}
	if !done && len(next) > 0 {
		b, err := json.Marshal(next)
		if err != nil {
			return a, err
		}
		a.Cursor = prefix + base64.RawURLEncoding.EncodeToString(b)
	}
	return a, nil
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
	return s.messageAt(r.Context(), r.PathValue("topic"), partition, offset)
}

// messageAt finds a message by its place.
func (s *Server) messageAt(ctx context.Context, topic string, partition int32, offset int64) (found inspect.Message, err error) {
	ok := false
	_, err = s.cfg.Inspector.Read(ctx, inspect.Query{
		Topic: topic, Partitions: []int32{partition}, From: inspect.AtOffset(offset), MaxMessages: 1, Uncommitted: true,
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
	q, err := readQuery(r)
	if err != nil {
		return err
	}
	q.MaxMessages = maxDownload
	if q.newestFirst {
		q.MaxMessages = maxShown
	}
	h, started := w.Header(), false
	h.Set("Content-Type", "application/jsonl")
	h.Set("Content-Disposition", fmt.Sprintf(`attachment; filename="%s.jsonl"`, q.Topic))
	rc, enc := http.NewResponseController(w), json.NewEncoder(w)
	_, err = s.cfg.Inspector.Read(r.Context(), q.Query, func(m inspect.Message) error {
		started = true
		_ = rc.SetWriteDeadline(time.Now().Add(writeTimeout))
		return enc.Encode(m.Wire(0))
	})
	if err != nil && started {
		panic(http.ErrAbortHandler) // half a file must not look like a whole one
	}
	if err != nil {
		h.Del("Content-Disposition")
	}
	_ = rc.SetWriteDeadline(time.Now().Add(writeTimeout)) // a filter may have looked for long behind its last message
	return err
}

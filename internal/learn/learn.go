// Package learn is the guided path through Kafka: stations with a text, a question, something to
// do and a check. It owns the texts, what the questions and the pictures take from the cluster, the
// checks, and the learner's progress in a file. It reads Kafka and Redis through internal/inspect
// and internal/tally, changes nothing in them, and knows no HTTP.
package learn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/markdown"
	"github.com/weir-project/weir/internal/watch"
)

// Config of a Course. Inspector is required.
type Config struct {
	Inspector *inspect.Inspector
	// Tallies has the counts in Redis; nil where there is none.
	Tallies inspect.Tallies
	// State returns the newest live state, for Run; nil where nothing is watched.
	State func() *watch.State
	// Streams are weir's own streams; empty where they are unknown.
	Streams []watch.StreamConfig
	// Path is the file with the progress; empty keeps the progress in memory.
	Path string
	// Own names the cluster where weir runs the brokers: live or simulated. It is empty for an
	// existing cluster, where topics may exist that are not the learner's.
	Own string
	// Members says that members of weir's own groups can be added and removed here.
	Members bool
	// Where says how the commands that are shown find this cluster.
	Where Where
	// Reports is the directory of the labs' reports, Exercises that of the exercises' reports;
	// empty where there are none.
	Reports, Exercises string
	// BrokersStarted is when this process started its brokers; zero where it runs none.
	BrokersStarted time.Time
	Log            *slog.Logger
}

// Where says how a command in another terminal finds the cluster and Redis of a Course.
type Where struct {
	// Program is what to type to run weir; empty for weir.
	Program string
	// Data are the flags for commands that know --data alone, Kafka those for commands that know --kafka,
	// too, Redis those for commands that know --redis, too.
	Data, Kafka, Redis []string
	// RedisURL is the Redis with the counts; empty for none. Its password is never shown.
	RedisURL string
}

// Summary is a station in the list.
type Summary struct {
	Number  int    `json:"number"`
	Name    string `json:"name"`
	Title   string `json:"title"`
	Minutes int    `json:"minutes"`
	// Able says what a learner can do after the station.
	Able string `json:"able"`
	Done bool   `json:"done"`
	// DoneAt is in Unix milliseconds, 0 for not yet.
	DoneAt int64 `json:"done_at"`
	// Answered says that the question was answered, right or wrong.
	Answered bool `json:"answered"`
	// Unavailable says why the station cannot be done on this cluster; empty where it can.
	Unavailable string `json:"unavailable"`
}

// List is all stations in their order.
type List struct {
	Stations []Summary `json:"stations"`
	// Next is the first station that is not done and can be done, 0 for none.
	Next int `json:"next"`
}

// Detail is a station with all that a page shows of it.
type Detail struct {
	Summary
	Text     []markdown.Node `json:"text"`
	Question Question        `json:"question"`
	Task     []markdown.Node `json:"task"`
	// Commands are weir's commands for the task, Others those of other tools.
	Commands   []Command       `json:"commands"`
	Others     []Command       `json:"others"`
	Production []markdown.Node `json:"production"`
	Picture    Picture         `json:"picture"`
	Check      Check           `json:"check"`
}

// Command is a command line of a tool.
type Command struct {
	Tool    string `json:"tool"`
	Command string `json:"command"`
}

// Types of a question.
const (
	Choice = "choice" // the answer is one of Choices
	Number = "number" // the answer is a number in decimal
)

// Question is asked before the learner acts.
type Question struct {
	Text []markdown.Node `json:"text"`
	// Kind is choice or number; empty where the cluster cannot be asked at present.
	Kind    string   `json:"kind"`
	Choices []string `json:"choices"`
	// Given is the learner's last answer, Right whether it was right; null before the first one.
	Given string `json:"given"`
	Right *bool  `json:"right"`
	// Explanation is there once the question was answered.
	Explanation []markdown.Node `json:"explanation,omitempty"`
}

// Answered says whether an answer was right.
type Answered struct {
	Right bool `json:"right"`
	// Answer is the right one.
	Answer      string          `json:"answer"`
	Explanation []markdown.Node `json:"explanation"`
}

// Check says whether the task is done, and what weir saw in the cluster.
type Check struct {
	Done bool `json:"done"`
	// Reason says what is missing; empty where the task is done.
	Reason string   `json:"reason"`
	Seen   []string `json:"seen"`
}

// Kinds of pictures.
const (
	PictureLanes    = "lanes"    // the partitions of a topic, with the committed offsets of a group
	PictureMembers  = "members"  // the members of a group and their partitions
	PictureReplicas = "replicas" // the replicas of the partitions
	PictureMessage  = "message"  // one record
	PictureQueue    = "queue"    // the queue between socket and Kafka
	PictureNone     = "none"
)

// Picture is drawn from the running cluster.
type Picture struct {
	Kind       string             `json:"kind"`
	Topic      string             `json:"topic"`
	Group      string             `json:"group"`
	Partitions []PicturePartition `json:"partitions"`
	Members    []PictureMember    `json:"members"`
	// Note says why there is no picture yet; empty where there is one.
	Note string `json:"note"`
	// Message is one record; null for other pictures.
	Message *inspect.WireMessage `json:"message"`
}

// PicturePartition is a partition in a picture.
type PicturePartition struct {
	Partition int32   `json:"partition"`
	Leader    int32   `json:"leader"` // -1 for none
	Replicas  []int32 `json:"replicas"`
	ISR       []int32 `json:"isr"`
	Start     int64   `json:"start"`
	End       int64   `json:"end"`
	// Committed is the committed offset of the picture's group; null for none.
	Committed *int64 `json:"committed"`
	// Member is the ID of the member that the partition is assigned to; empty for none.
	Member string `json:"member"`
}

// PictureMember is a member of the picture's group.
type PictureMember struct {
	ID         string  `json:"id"`
	ClientID   string  `json:"client_id"`
	Partitions []int32 `json:"partitions"`
}

// Errors that callers branch on.
var (
	// ErrNoStation is in the chain where a station does not exist.
	ErrNoStation = errors.New("no such station: give a number or a name of weir learn list")
	// ErrNotNow is in the chain where the question cannot be asked on this cluster at present.
	ErrNotNow = errors.New("the question cannot be asked now")
	// ErrAnswer is in the chain of an answer that the question does not take.
	ErrAnswer = errors.New("not an answer to this question")
)

// Course is the path of one learner. Create it with New. It is safe for concurrent use.
type Course struct {
	cfg      Config
	progress *progress

	observing sync.Mutex // held while a station gets a sample

	mu     sync.Mutex
	memory map[string]any // by station and cluster: what observers remember between two samples

	recounts recountCache
	opened   time.Time
}

// New checks the configuration. It starts nothing.
func New(cfg Config) (*Course, error) {
	if cfg.Inspector == nil {
		return nil, errors.New("open the stations: no inspector given")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Course{cfg: cfg, progress: &progress{path: cfg.Path}, memory: map[string]any{}, opened: time.Now()}, nil
}

// List returns all stations.
func (c *Course) List(ctx context.Context) (List, error) {
	p, err := c.progress.load()
	if err != nil {
		return List{}, err
	}
	shared := c.look(ctx)
	return listOf(func(st *station) Summary { return shared.at(st).summary(ctx, p.station(st.number)) }), nil
}

// ListKept returns all stations with the progress in a file, where no cluster answers.
func ListKept(path string) (List, error) {
	p, err := (&progress{path: path}).load()
	if err != nil {
		return List{}, err
	}
	return listOf(func(st *station) Summary { return st.listed(p.station(st.number)) }), nil
}

func listOf(summary func(*station) Summary) List {
	list := List{Stations: make([]Summary, 0, len(stations))}
	for i := range stations {
		s := summary(&stations[i])
		if list.Next == 0 && !s.Done && s.Unavailable == "" {
			list.Next = s.Number
		}
		list.Stations = append(list.Stations, s)
	}
	return list
}

// Get returns one station, by its number or its name.
func (c *Course) Get(ctx context.Context, name string) (Detail, error) {
	l, rec, err := c.open(ctx, name)
	if err != nil {
		return Detail{}, err
	}
	t := l.text
	asked := l.asked(ctx, rec) // first: texts and commands name what the question is about
	d := Detail{Summary: l.summary(ctx, rec), Text: l.fill(t.read), Task: l.fill(t.task), Production: l.fill(t.production),
		Commands: l.commands(t.weir), Others: l.commands(t.others), Question: asked}
	if d.Picture, err = l.drawn(ctx); err != nil {
		d.Picture = Picture{Kind: PictureNone}
	}
	d.Picture.complete()
	d.Check = l.checked(ctx, rec)
	if d.Check.Done && !d.Done {
		d.Done, d.DoneAt = true, c.done(l, d.Check)
	}
	return d, nil
}

// Answer gives an answer to the question of a station.
func (c *Course) Answer(ctx context.Context, name, answer string) (Answered, error) {
	l, _, err := c.open(ctx, name)
	if err != nil {
		return Answered{}, err
	}
	l.answers = true
	q, err := l.ask(ctx)
	if err != nil {
		return Answered{}, fmt.Errorf("%w: %w", ErrNotNow, err)
	}
	answer = q.meant(strings.TrimSpace(answer))
	right, err := q.judge(answer)
	if err != nil {
		return Answered{}, err
	}
	wrong := answer
	if right {
		wrong = ""
	}
	explanation := q.why(wrong)
	err = c.progress.change(func(p *saved) {
		p.station(l.number).Answer = &savedAnswer{Given: answer, Right: right, Explanation: explanation, At: time.Now().UnixMilli()}
	})
	return Answered{Right: right, Answer: q.answer, Explanation: markdown.Parse([]byte(explanation))}, err
}

// Check looks whether the task of a station is done, and keeps it where it is.
func (c *Course) Check(ctx context.Context, name string) (Check, error) {
	l, rec, err := c.open(ctx, name)
	if err != nil {
		return Check{}, err
	}
	if rec.DoneAt == 0 && l.observe != nil {
		if err := l.observeNow(ctx); err != nil {
			return notYet(err.Error()), nil
		}
		if _, rec, err = c.open(ctx, name); err != nil {
			return Check{}, err
		}
	}
	result := l.checked(ctx, rec)
	if result.Done && rec.DoneAt == 0 {
		c.done(l, result)
	}
	return result, nil
}

// Reset starts a station over, or all of them where number is 0.
func (c *Course) Reset(number int) error {
	if number != 0 {
		if _, err := find(strconv.Itoa(number)); err != nil {
			return err
		}
	}
	c.observing.Lock() // a sample that is looked at now would bring back what is deleted here
	defer c.observing.Unlock()
	c.mu.Lock()
	c.memory = map[string]any{}
	c.mu.Unlock()
	if number == 0 {
		return c.progress.clear()
	}
	return c.progress.change(func(p *saved) { delete(p.Stations, number) })
}

// done keeps that a task is done, and returns the time.
func (c *Course) done(l *look, result Check) int64 {
	now := time.Now().UnixMilli()
	if err := c.progress.change(func(p *saved) {
		s := p.station(l.number)
		s.DoneAt, s.Seen = now, result.Seen
	}); err != nil {
		c.cfg.Log.Warn("progress not kept", "error", err)
	}
	return now
}

// open returns a look at the cluster for a station, and what is kept of the station.
func (c *Course) open(ctx context.Context, name string) (*look, *savedStation, error) {
	st, err := find(name)
	if err != nil {
		return nil, nil, err
	}
	p, err := c.progress.load()
	if err != nil {
		return nil, nil, err
	}
	return c.look(ctx).at(st), p.station(st.number), nil
}

// complete makes the lists of a picture lists where they are null.
func (p *Picture) complete() {
	if p.Partitions == nil {
		p.Partitions = []PicturePartition{}
	}
	if p.Members == nil {
		p.Members = []PictureMember{}
	}
}

// notYet is the check of a task that is not done, with what is missing.
func notYet(reason string) Check { return Check{Reason: reason, Seen: []string{}} }

func notYetf(format string, args ...any) Check { return notYet(fmt.Sprintf(format, args...)) }

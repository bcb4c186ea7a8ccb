package learn

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/weir-project/weir/internal/exercise"
	"github.com/weir-project/weir/internal/learn/crashnote"
	"github.com/weir-project/weir/internal/watch"
)

// semanticsStation: the learner kills a counter under at least once, and one under exactly once.
var semanticsStation = station{number: 12, name: "semantics", minutes: 10, unavailable: noCounter, question: semanticsQuestion,
	check: semanticsCheck,
	picture: func(ctx context.Context, l *look) (Picture, error) {
		topic, group := l.shown()
		if all, err := l.counters(ctx); err == nil {
			for _, semantics := range crashnote.Semantics {
				if c := all[semantics]; c.topic != "" && !c.proves(semantics) {
					topic, group = c.topic, crashnote.Group(semantics)
					break
				}
			}
		}
		return l.lanes(ctx, PictureLanes, topic, group)
	}}

func noCounter(_ context.Context, l *look) string {
	switch {
	case l.c.cfg.Tallies == nil:
		return "the counter of this station counts in Redis, and weir knows no Redis here: give --redis"
	case l.c.cfg.Path == "":
		return "the counter of this station notes its crashes in a data directory, and weir has none here: give --data"
	}
	return ""
}

func semanticsQuestion(_ context.Context, l *look) (question, error) {
	pin, err := pinned(l, nil, func() (pinnedRate, error) { return l.rateAfter(settled), nil })
	if err != nil {
		return question{}, err
	}
	again := pin.Rate * int64(crashnote.CommitEvery.Seconds())
	return question{kind: Number, within: predictWithin, answer: strconv.FormatInt(again, 10),
		text: fmt.Sprintf("Suppose that the topic `%s` gets %d events a second.", pin.Topic, pin.Rate),
		why: because(fmt.Sprintf("All events since the last commit: %d a second × 5 seconds = about %d. The counts of them are in Redis, "+
			"but the committed offset is before them, so the next run reads them again.", pin.Rate, again), mistakes{
			"0": " None would be counted twice if offset and counts changed in one step, as under exactly once.",
		}, " An answer within 20 % is right.")}, nil
}

// settled is how long a rate has to be watched before a question is about it.
const settled = 15 * time.Second

// counterOutcome is what weir sees of one of the two counters.
type counterOutcome struct {
	topic string // that it counts; empty where it has counted nothing
	note  crashnote.Note
	recounted
}

// more is how many events were counted more often than once; below 0 some were not counted.
func (c counterOutcome) more() int64 { return c.counted - c.records }

// whole reports whether the counts can be compared with the log.
func (c counterOutcome) whole() bool { return c.topic != "" && c.left == 0 && !c.trimmed }

// proves reports whether it shows what its semantics are.
func (c counterOutcome) proves(semantics string) bool {
	if !c.whole() || c.note.Crashes == 0 {
		return false
	}
	if semantics == crashnote.ExactlyOnce {
		return c.more() == 0
	}
	return c.more() > 0
}

// counters compares the counts of both counters with the log.
func (l *look) counters(ctx context.Context) (map[string]counterOutcome, error) {
	all := map[string]counterOutcome{}
	if why := noCounter(ctx, l); why != "" {
		return nil, errors.New(why)
	}
	tallies, err := l.c.cfg.Tallies.All(ctx)
	if err != nil {
		return nil, err
	}
	for _, semantics := range crashnote.Semantics {
		var c counterOutcome
		if c.note, err = crashnote.ReadNote(filepath.Dir(l.c.cfg.Path), semantics); err != nil {
			return nil, err
		}
		for _, t := range tallies {
			if t.Group == crashnote.Group(semantics) && t.TopicID == c.note.TopicID {
				c.topic = t.Topic
			}
		}
		if c.topic != "" {
			if c.recounted, err = l.recount(ctx, crashnote.Group(semantics), c.topic); err != nil {
				return nil, err
			}
		}
		all[semantics] = c
	}
	return all, nil
}

func semanticsCheck(ctx context.Context, l *look) (Check, error) {
	all, err := l.counters(ctx)
	if err != nil {
		return Check{}, err
	}
	result := Check{Seen: []string{}}
	for _, semantics := range crashnote.Semantics {
		c := all[semantics]
		if c.whole() {
			result.Seen = append(result.Seen, c.said(semantics))
		}
		if result.Reason == "" && !c.proves(semantics) {
			result.Reason = c.missing(l, semantics)
		}
	}
	result.Done = result.Reason == ""
	return result, nil
}

// said is what weir saw of a counter.
func (c counterOutcome) said(semantics string) string {
	text := fmt.Sprintf("%s: %s that did not end cleanly; %d events counted, %d records in the log", semantics,
		watch.Plural(c.note.Crashes, "run"), c.counted, c.records)
	switch more := c.more(); {
	case more > 0:
		text += fmt.Sprintf(": %d too many", more)
	case more < 0:
		text += fmt.Sprintf(": %d too few", -more)
	}
	return text
}

// missing says what is missing of what a counter has to show.
func (c counterOutcome) missing(l *look, semantics string) string {
	start, again := l.run("weir learn counter "+semantics), l.run("weir groups reset "+crashnote.Group(semantics)+" --to oldest")
	switch {
	case c.topic == "":
		return "the counter has counted nothing yet; start it: " + start
	case c.trimmed:
		return fmt.Sprintf("retention has deleted records that the counter %s has counted, so its counts cannot be compared with the "+
			"log: stop it, begin anew with %s and start it again", semantics, again)
	case c.left > 0:
		return fmt.Sprintf("weir compares the counts of %s with the log; %d offsets are left: check again", semantics, c.left)
	case c.note.Crashes == 0 && !c.note.Running:
		return fmt.Sprintf("the counter %s always ended cleanly: start it, and kill it with kill -9 instead of Ctrl-C", semantics)
	case c.note.Crashes == 0:
		return fmt.Sprintf("the counter %s has not been killed and started again: kill it with kill -9, then start it: %s", semantics, start)
	case semantics == crashnote.ExactlyOnce:
		return fmt.Sprintf("the counts of %s are not those of the log: was another program writing to weir:tally:%s:*? Begin anew: %s",
			semantics, crashnote.Group(semantics), again)
	case c.more() < 0:
		return fmt.Sprintf("%d events of the log are not counted yet under %s: wait until the counter has caught up", -c.more(), semantics)
	}
	return "the counter at-least-once was killed, but has counted nothing twice yet: kill it some seconds after a commit, while " +
		"events arrive, and start it again"
}

// programStation: the learner's own program passes an exercise.
var programStation = station{number: 13, name: "program", minutes: 20, unavailable: noExercises, question: programQuestion,
	check: programCheck, picture: streamPicture}

func noExercises(_ context.Context, l *look) string {
	if l.c.cfg.Exercises == "" {
		return "weir keeps no reports of exercises here: start weir with a data directory"
	}
	return ""
}

func programQuestion(_ context.Context, l *look) (question, error) {
	topic, _ := l.shown()
	n := len(l.meta.Topics[topic].Partitions)
	if n == 0 {
		return question{}, errNoTopicYet
	}
	return question{kind: Number, answer: strconv.Itoa(n), text: fmt.Sprintf("The topic is `%s`.", topic),
		why: because(fmt.Sprintf("Every record is in exactly one of the %s, so the program needs all of them. A program that subscribes "+
			"gets them from Kafka.", watch.Plural(n, "partition")), mistakes{
			"1": " A program that assigns itself partition 0 misses the rest. That is a frequent mistake.",
		})}, nil
}

func programCheck(_ context.Context, l *look) (Check, error) {
	result := notYet("no program was checked yet; when yours is ready, run: " + l.run("weir exercise check count --dir count"))
	var newest time.Time
	for _, e := range exercise.Listing(l.c.cfg.Exercises) {
		switch r := e.Last; {
		case r == nil:
		case r.Verdict == exercise.Passed:
			return Check{Done: true, Seen: []string{fmt.Sprintf("your program passed the exercise %s: %s", e.Name, plain(r.Headline))}}, nil
		case !r.At.Before(newest):
			newest = r.At
			result.Reason = fmt.Sprintf("the last check of the exercise %s has the verdict %s (%s): correct the program, and check it "+
				"again", e.Name, plain(string(r.Verdict)), plain(r.Headline))
		}
	}
	return result, nil
}

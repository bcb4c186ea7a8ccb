package learn

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weir-project/weir/internal/lab/record"
	"github.com/weir-project/weir/internal/watch"
)

// maxReports is how many reports of labs a check reads at most, the newest first.
const maxReports = 20

// keptReport is a report by the name of its directory.
type keptReport struct {
	name string
	*record.Report
}

// reports are the kept reports of a lab, the newest first. Those that cannot be read are left out.
func (l *look) reports(lab string) (list []keptReport, err error) {
	if l.c.cfg.Reports == "" {
		return nil, nil
	}
	entries, err := os.ReadDir(l.c.cfg.Reports)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list the reports of labs: %w", err)
	}
	slices.Reverse(entries) // the names end with the time
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), lab+"-") || len(list) == maxReports {
			continue
		}
		if r, err := l.c.report(filepath.Join(l.c.cfg.Reports, e.Name())); err == nil && r.Lab == lab {
			list = append(list, keptReport{e.Name(), r})
		}
	}
	return list, nil
}

// report reads a report, once: a report that is kept does not change.
func (c *Course) report(dir string) (*record.Report, error) {
	c.mu.Lock()
	r, ok := c.memory["report/"+dir].(*record.Report)
	c.mu.Unlock()
	if ok {
		return r, nil
	}
	r, err := record.Read(dir)
	if err != nil {
		return nil, err
	}
	r.Lines, r.Marks = nil, nil // not needed, and the largest part
	c.mu.Lock()
	defer c.mu.Unlock()
	c.memory["report/"+dir] = r
	return r, nil
}

func noReports(_ context.Context, l *look) string {
	if l.c.cfg.Reports == "" {
		return "weir keeps no reports of labs here: labs run where weir has a data directory"
	}
	return ""
}

// backpressureStation: the learner predicts when a queue is full, and lets a lab measure it.
var backpressureStation = station{number: 10, name: "backpressure", minutes: 8, unavailable: noReports,
	question: backpressureQuestion, check: backpressureCheck,
	picture: func(_ context.Context, l *look) (Picture, error) {
		topic, group := l.streamTopic()
		if topic == "" {
			return Picture{Kind: PictureNone}, nil
		}
		return Picture{Kind: PictureQueue, Topic: topic, Group: group}, nil
	}}

// The settings that the question is about are those of weir lab backpressure --short.
const (
	labQueue   = 1_000 // events
	labRate    = 1_000 // events/s
	labWorkers = 4
	labWork    = 10 * time.Millisecond
	// predictWithin is how far a prediction may be from what is measured.
	predictWithin = 0.2
	backpressure  = "backpressure"
	firstDrop     = "first drop after"
	countedLoss   = "every loss is counted with a policy that was set"
)

func backpressureQuestion(context.Context, *look) (question, error) {
	capacity := labWorkers / labWork.Seconds()
	full := math.Round(1000 * labQueue / (labRate - capacity))
	return question{kind: Number, within: predictWithin, answer: strconv.FormatInt(int64(full), 10),
		why: func(wrong string) string {
			text := fmt.Sprintf("Four workers of 10 ms process %d × 1000 / 10 = %.0f events a second. So %.0f of the %d events a second "+
				"have to wait, and %d places are full after %d / %.0f = %.2f s.",
				labWorkers, capacity, labRate-capacity, labRate, labQueue, labQueue, labRate-capacity, full/1000)
			if n, err := strconv.ParseFloat(wrong, 64); err == nil && n > 0 && n < 100 {
				text += " Give the answer in milliseconds."
			}
			return text + " An answer within 20 % is right. Now measure it."
		}}, nil
}

func backpressureCheck(_ context.Context, l *look) (Check, error) {
	given, err := l.answer()
	if err != nil {
		return Check{}, err
	}
	if given == nil {
		return notYet("answer the question first: your answer is the prediction that the lab's measurement is compared with"), nil
	}
	predicted, err := strconv.ParseFloat(given.Given, 64)
	if err != nil || predicted <= 0 {
		return notYetf("your prediction is %s ms: give a time above 0", given.Given), nil //nolint:nilerr // the learner sees why
	}
	list, err := l.reports(backpressure)
	if err != nil {
		return Check{}, err
	}
	reason := "weir finds no report of the lab yet; run: " + l.run("weir lab backpressure --short --policies drop-newest")
	for i, r := range list {
		if r.Started.UnixMilli() < given.At {
			if i == 0 {
				reason = fmt.Sprintf("the newest report, %s, is older than your prediction: run the lab again", r.name)
			}
			break
		}
		result := compared(r, predicted)
		if result.Done {
			return result, nil
		}
		if i == 0 {
			reason = result.Reason
		}
	}
	return notYet(reason), nil
}

// compared holds a prediction, in milliseconds, against a report.
func compared(r keptReport, predicted float64) Check {
	reason := fmt.Sprintf("in the report %s no event was dropped: run the lab with a policy that drops, such as drop-newest", r.name)
	for _, m := range r.Measures {
		if m.Name != firstDrop || m.Value <= 0 {
			continue
		}
		i := slices.IndexFunc(r.Checks, func(c record.Check) bool { return c.Case == m.Case && c.Claim == countedLoss })
		measured := 1000 * m.Value
		off := math.Abs(predicted-measured) / measured
		switch {
		case i < 0 || r.Checks[i].Verdict != record.Holds:
			reason = fmt.Sprintf("in the report %s the lost events of %s are not all counted (%s): run the lab again", r.name, m.Case, r.Reason)
		case off > predictWithin:
			reason = fmt.Sprintf("you predicted %.0f ms, and in the report %s the first event was dropped after %.0f ms with %s: that is "+
				"%.0f %% off, and 20 %% are allowed; predict again, and run the lab again",
				predicted, r.name, measured, m.Case, 100*off)
		default:
			return Check{Done: true, Seen: []string{
				fmt.Sprintf("you predicted %.0f ms, and the first event was dropped after %.0f ms with %s (report %s)", predicted, measured,
					m.Case, r.name),
				"every lost event was counted: " + r.Checks[i].Got,
			}}
		}
	}
	return notYet(reason)
}

// batchingStation: the learner compares two settings of a producer.
var batchingStation = station{number: 11, name: "batching", minutes: 10, unavailable: noReports, question: batchingQuestion,
	check: batchingCheck, picture: streamPicture}

func batchingQuestion(_ context.Context, l *look) (question, error) {
	const rate, linger = 600, 100 * time.Millisecond
	topic, _ := l.shown()
	n := len(l.meta.Topics[topic].Partitions)
	if n == 0 {
		return question{}, errNoTopicYet
	}
	waiting := int(rate * linger.Seconds())
	return question{kind: Number, within: predictWithin, answer: strconv.Itoa((waiting + n/2) / n),
		text: fmt.Sprintf("The topic is `%s`. It has %s.", topic, watch.Plural(n, "partition")),
		why: because(fmt.Sprintf("In 100 ms %d × 0.1 = %d records arrive. Each partition has a batch of its own, so one batch holds %d / "+
			"%d records, about %d.", rate, waiting, waiting, n, (waiting+n/2)/n), mistakes{
			strconv.Itoa(waiting): " A batch never has records of two partitions. More partitions mean smaller batches.",
		})}, nil
}

// shownDifferences is how many figures a check lists.
const shownDifferences = 6

func batchingCheck(_ context.Context, l *look) (Check, error) {
	var none Check
	reason := "weir finds no report of a lab yet: run the lab batching twice, with different settings"
	for _, lab := range l.labs() {
		list, err := l.reports(lab)
		if err != nil {
			return none, err
		}
		if len(list) == 1 {
			reason = fmt.Sprintf("there is one report of the lab %s, and two are compared: run the lab again with another setting", lab)
		}
		for i := range list {
			for j := i + 1; j < len(list); j++ {
				result, why := sideBySide(list[j], list[i])
				if result.Done {
					return result, nil
				}
				if i == 0 && j == 1 {
					reason = why
				}
			}
		}
	}
	return notYet(reason), nil
}

// labs are the labs that have reports, without that of station 10, and batching last, so that its reason is the one that is shown.
func (l *look) labs() (names []string) {
	entries, err := os.ReadDir(l.c.cfg.Reports)
	if err != nil {
		return nil // there are none yet
	}
	for _, e := range entries {
		if name, _, ok := strings.Cut(e.Name(), "-"); ok && e.IsDir() && name != "" && name != backpressure && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.SortStableFunc(names, func(a, b string) int {
		return boolInt(a == "batching") - boolInt(b == "batching")
	})
	return names
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// sideBySide compares two reports of one lab, the older one first.
func sideBySide(a, b keptReport) (result Check, why string) {
	c, err := record.Compare(a.Report, b.Report)
	if err != nil {
		return result, err.Error()
	}
	var seen []string
	for _, d := range c.Differences {
		if d.A != nil && d.B != nil && *d.A != *d.B && len(seen) < shownDifferences {
			seen = append(seen, fmt.Sprintf("%s, %s: %s → %s", d.Case, d.Name, figure(*d.A, d.Unit), figure(*d.B, d.Unit)))
		}
	}
	settings := slices.DeleteFunc(slices.Clone(c.Settings), func(s string) bool { return strings.HasPrefix(s, "version: ") })
	switch {
	case len(settings) == 0:
		return result, fmt.Sprintf("the reports %s and %s have the same settings: change one setting, and run the lab again", a.name, b.name)
	case len(seen) == 0:
		return result, fmt.Sprintf("the reports %s and %s have no case in common, so no figure stands beside another: measure the "+
			"same case with another rate, or let both reports include the setting base", a.name, b.name)
	}
	first := fmt.Sprintf("reports %s and %s differ in %s", a.name, b.name, strings.Join(settings, "; "))
	return Check{Done: true, Seen: append([]string{first}, seen...)}, ""
}

func figure(v float64, unit string) string {
	precision := 0
	if math.Abs(v) < 100 && v != math.Trunc(v) {
		precision = 1
	}
	return strconv.FormatFloat(v, 'f', precision, 64) + " " + unit
}

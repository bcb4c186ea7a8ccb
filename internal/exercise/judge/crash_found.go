package judge

import (
	"fmt"
	"strings"

	"github.com/weir-project/weir/internal/exercise"
	"github.com/weir-project/weir/internal/visible"
)

// aftermath is what a crash has done to the counts.
type aftermath struct {
	name string
	// at is from the moment of the crash, and now from when the program had counted everything again.
	at, now *Sample
	diff    Counts // by how much the crash changed the distance of the counts from the truth
	// early says that the group committed an event while its count still waited for Redis, and
	// on that the program was not started again.
	early, on bool
}

// sums returns how many events the crash lost, and how many were counted twice because of it.
func (a *aftermath) sums() (lost, twice int64) {
	for _, d := range a.diff {
		lost += max(0, -d)
		twice += max(0, d)
	}
	return lost, twice
}

// afterCrash judges what a crash has done to the counts.
func (b *Bench) afterCrash(a *aftermath, exact bool) error {
	lost, twice := a.sums()
	ok := b.Check(lost == 0, "no event is lost by "+a.name, "0 lost", fmt.Sprintf("%d lost", lost))
	if exact {
		ok = b.Check(twice == 0, "no event is counted twice because of "+a.name, "0 counted twice", fmt.Sprintf("%d counted twice", twice)) && ok
	} else if twice > 0 {
		b.Mark("twice", "%s counted a second time after %s", many(twice, "event"), a.name)
	}
	switch {
	case ok && !exact && twice > 0 && len(a.at.Committed) == 0:
		return b.neverCommitted(a, twice)
	case ok:
		return nil
	case lost > 0:
		return b.lostFinding(a, lost)
	}
	return b.twiceFinding(a, twice)
}

// neverCommitted says that the program begins with the first record at each start.
func (b *Bench) neverCommitted(a *aftermath, twice int64) *Finding {
	b.Check(false, "the group has committed offsets", "at least one", "none")
	return &Finding{
		Headline: fmt.Sprintf("the program commits nothing: after %s it began with the first record, and counted %s again", a.name,
			many(twice, "event")),
		Evidence: []exercise.Evidence{Observed(a.name, a.at.At)},
		Why: "A program that starts again continues at the committed offsets of its group. This group has none. " +
			"Nothing is lost, but each start counts the whole topic again.",
		Hint: "Commit offsets to the group, after their events are counted.",
	}
}

// lostFinding says that a crash lost events.
func (b *Bench) lostFinding(a *aftermath, lost int64) *Finding {
	var kinds []string
	for _, k := range Kinds {
		if a.diff[k] < 0 {
			kinds = append(kinds, fmt.Sprintf("%d of type %s", -a.diff[k], k))
		}
	}
	f := &Finding{
		Headline: fmt.Sprintf("%s lost %s: %s", a.name, many(lost, "event"), strings.Join(kinds, ", ")),
		Evidence: []exercise.Evidence{Observed(a.name, a.at.At)},
		Why: "The committed offsets were not ahead of the counts, so the restarted program read these events again, and did not count them. " +
			"That happens when a program stores the offset of an event in one step and counts it in a later one: it takes the event for a " +
			"counted one.",
		Hint: "Count, and store the offset of the event, in one step. Commit an offset only when every event below it is counted in Redis.",
	}
	ahead := b.Truth.Below(a.at.Committed).Sum() - a.at.Counts.Sum()
	p, moved := b.lastMoved(a.at)
	switch {
	case a.on:
		f.Why = "The program ran on after Redis restarted, and never counted these events. There are two ways to get there: " +
			"it goes on to the next event after an error of Redis, or it stores the offset of an event before it counts it, " +
			"and takes the event for a counted one when it tries again."
		f.Hint = "Repeat the change until Redis confirms it, and only then go on to the next event. Count, and store the offset, in one step."
	case moved && ahead > 0:
		f.Evidence = append(f.Evidence, b.Evidence("the newest event below the committed offset; the group never reads it again", p,
			a.at.Committed[p]-1))
		f.Why, f.Hint = b.committedAhead(a)
	case a.now.Group == "" || len(a.at.Committed) == 0:
		f.Why = "The group has no committed offset, so the restarted program did not start where the killed one had been."
		f.Hint = "Commit offsets to the group, after the events are counted."
	}
	return f
}

// committedAhead is the reason and the hint where offsets were committed whose events were not counted.
func (b *Bench) committedAhead(a *aftermath) (why, hint string) {
	why = fmt.Sprintf("When the program ended, the group %s had committed offsets behind %d events, but Redis had counted %d. "+
		"The restarted program starts at the committed offsets, so it never reads what was committed and not counted. ",
		visible.Text(a.at.Group), b.Truth.Below(a.at.Committed).Sum(), a.at.Counts.Sum())
	hint = "Count first, commit afterwards. Automatic commits also commit events that are being counted: " +
		"set enable.auto.offset.store to false and store the offset after INCR, or commit by hand."
	if a.early {
		return why + "The group committed while the change still waited for Redis, so the program does not wait for Redis before it commits.",
			hint
	}
	return why + "There are two ways to get there: a program commits first and counts afterwards, " +
			"or it ignores an error of Redis, such as a response that does not come in time, and commits all the same.",
		hint + " Repeat a change that Redis did not confirm."
}

// twiceFinding says that events were counted twice because of a crash.
func (b *Bench) twiceFinding(a *aftermath, twice int64) *Finding {
	verb := "were"
	if twice == 1 {
		verb = "was"
	}
	f := &Finding{
		Headline: fmt.Sprintf("%s %s counted twice because of %s", many(twice, "event"), verb, a.name),
		Evidence: []exercise.Evidence{Observed(a.name, a.at.At)},
		Why: "A count and an offset that are stored one after the other can be torn apart: " +
			"the count is stored, the offset is not, and the event is counted again.",
		Hint: "Keep the offset of each partition in Redis, and change it in the same step as the counts: MULTI and EXEC, or a script. Start " +
			"from the offset in Redis. " +
			"A step that is repeated must see that it was done.",
	}
	p, ok := b.lastMoved(a.at)
	if !ok {
		return f
	}
	f.Evidence = append(f.Evidence, b.Evidence("the committed offset at that moment; the program may read from here again", p,
		a.at.Committed[p]))
	switch ahead := a.at.Counts.Sum() - b.Truth.Below(a.at.Committed).Sum(); {
	case ahead > twice:
		f.Why = fmt.Sprintf("At that moment Redis had counted %s at or above the committed offsets of the group %s. The program read them "+
			"again, and counted %d of them again. "+
			"It stores elsewhere what is counted, but not in the same step as the count, and this moment was between the two.", many(ahead, "event"),
			visible.Text(a.at.Group), twice)
	case ahead > 0:
		f.Why = fmt.Sprintf("At that moment Redis had counted %s at or above the committed offsets of the group %s. "+
			"The restarted program starts at the committed offsets and counts them again.", many(ahead, "event"), visible.Text(a.at.Group))
	}
	return f
}

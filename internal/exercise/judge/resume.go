package judge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/weir-project/weir/internal/simulate"
)

// The stream of the exercise resume.
const (
	resumeEvents = 3000
	resumeRate   = 500 // per second
	// resumeFaults: connections are cut in the middle of an event, closed, and refused for a
	// while, and events of a little before are sent once more.
	resumeFaults = "cut@350,close@800,restart@1200:1s,cut@1700,restart@2200:2s,cut@2600,duplicate/130"
	// resumeQuiet is how long the program may store nothing before it is judged.
	resumeQuiet = 8 * time.Second
)

// resumeCuts are the events at which a connection ends.
var resumeCuts = []int64{350, 800, 1200, 1700, 2200, 2600}

// resume gives a producer a stream that cuts its connections.
func resume(ctx context.Context, b *Bench) error {
	plan, err := simulate.ParsePlan(resumeFaults)
	if err != nil {
		return err
	}
	faults := plan.Faults("bluesky")
	stream, err := b.OpenStream(resumeRate, resumeEvents, faults)
	if err != nil {
		return err
	}
	b.Output = b.Topic
	items, err := stream.Items()
	if err != nil {
		return err
	}
	r := &resumed{truth: postsOf(items)}
	program, output, err := b.begin(ctx)
	if err != nil {
		return err
	}
	if err := b.streamEnds(ctx, stream, faults, output, r); err != nil {
		f, ok := errors.AsType[*Finding](err)
		if !ok || !program.Over() {
			return err
		}
		r.ended = strings.TrimPrefix(f.Headline, "the program ")
	}
	program.Stop()
	if r.output, err = b.readAll(ctx, b.Output); err != nil {
		return err
	}
	r.requests, r.cuts = stream.connections(), faults.Fired()
	if len(r.requests) > 0 {
		lost, again := r.sums()
		b.Check(r.ended == "", "The program goes on when its connection ends", "it connects again", cmp.Or(r.ended, "it does"))
		b.Check(lost == 0, "No event is lost", "0 lost", fmt.Sprintf("%d lost of %d", lost, len(r.truth)))
		b.Check(again == 0, "Events are duplicated only where the stream repeats them after a cut",
			"0 elsewhere", fmt.Sprintf("%d elsewhere", again))
		if r.ended == "" && len(r.output) == 0 {
			return b.nothingWritten(ctx, &Finding{Headline: "OUTPUT_TOPIC has no event",
				Why:  "The program connected to the stream and stored nothing.",
				Hint: "Take the name of the topic from OUTPUT_TOPIC and the addresses from KAFKA_BROKER. Look at the output below."})
		}
	}
	if f := r.find(); f != nil {
		return f
	}
	b.Pass("all %d posts are stored, although the connection ended %d times", len(r.truth), len(resumeCuts))
	return nil
}

// streamEnds waits until the stream has ended and all of it is stored, or nothing more is.
func (b *Bench) streamEnds(ctx context.Context, stream *Upstream, faults *simulate.Faults, output *tail, r *resumed) error {
	fired := map[string]int64{}
	seen, changed, complete := -1, time.Now(), time.Time{}
	_, err := b.Until(ctx, 3*time.Minute, func(s *Sample) bool {
		for name, n := range faults.Fired() {
			if n > fired[name] && name != simulate.FaultDuplicate {
				b.Mark(name, "%s", map[string]string{
					simulate.FaultCut:     "the connection is cut in the middle of an event",
					simulate.FaultClose:   "the server closes the connection",
					simulate.FaultRestart: "the server restarts, and refuses connections meanwhile",
				}[name])
			}
			fired[name] = n
		}
		tip := stream.Tip()
		b.Point("stored", "events", float64(output.len()))
		b.Point("offered", "events", float64(tip))
		if n := output.len(); n != seen {
			seen, changed = n, s.At
		}
		if _, begun := stream.Begun(); !begun {
			return s.At.Sub(changed) > startTime
		}
		if tip < resumeEvents {
			return false
		}
		if complete.IsZero() && seen >= len(r.truth) {
			r.output = output.plain()
			if lost, _ := r.sums(); lost == 0 {
				complete = s.At
			}
		}
		return !complete.IsZero() && s.At.Sub(complete) > extraTime || s.At.Sub(changed) > resumeQuiet
	})
	return errors.Join(err, stream.Err())
}

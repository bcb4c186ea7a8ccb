//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/weir-project/weir/internal/lab/record"
)

// soak is a run.
type soak struct {
	settings
	progress   io.Writer
	upstream   *upstream
	ports, web string
	brokers    string
	begun      time.Time // of the events

	process  *process
	launched time.Time
	last     *reading // of the process; nil before the first
	csv      *os.File

	samples               []sample
	marks                 []record.Mark
	starts                []start
	batches, transactions float64
	fast, slow            figures   // at the rates of the acceleration, and at live ones
	fastTo, slowFrom      int       // how many samples there were at their end, and before
	back                  *readBack // nil until all was read
}

// start is a start of weir on a log that it has.
type start struct {
	after string // what ended the one before
	at    float64
	took  time.Duration
	peak  int64
	disk  int64
}

// figures are what was made in a part of the run.
type figures struct {
	seconds, events, batches, transactions float64
}

// note prints what happens.
func (k *soak) note(text string) {
	fmt.Fprintf(k.progress, "%s %6.0f s  %s\n", time.Now().Format(time.TimeOnly), time.Since(k.begun).Seconds(), text)
}

// mark prints what happens and draws it.
func (k *soak) mark(text string) {
	k.marks = append(k.marks, record.Mark{X: time.Since(k.begun).Seconds(), Text: text})
	k.note(text)
}

// up starts weir and notes how long that took.
func (k *soak) up(ctx context.Context, after string, pace time.Duration) error {
	k.last, k.launched = nil, time.Now()
	if err := k.launch(ctx, pace); err != nil {
		return err
	}
	disk, err := allocated(k.data())
	if err != nil {
		return err
	}
	p := k.process
	if after != "" {
		k.starts = append(k.starts, start{after, time.Since(k.begun).Seconds(), p.start, p.peak, disk})
	}
	k.note(fmt.Sprintf("started in %.1f s, %d MB", p.start.Seconds(), p.peak/1e6))
	return nil
}

// day runs everything.
func (k *soak) day(ctx context.Context) (err error) {
	addrs, err := freeAddrs(5)
	if err != nil {
		return err
	}
	var ports []string
	for _, a := range addrs[:4] {
		ports = append(ports, a[strings.LastIndexByte(a, ':')+1:])
	}
	k.ports, k.web, k.brokers = strings.Join(ports, ","), addrs[4], strings.Join(addrs[:3], ",")
	if k.upstream, err = openUpstream(k.Seed, k.Posts*k.factor(), k.Edits*k.factor()); err != nil {
		return err
	}
	defer func() {
		if k.process != nil {
			select {
			case <-k.process.ended:
			default:
				_, _ = k.finish(syscall.SIGKILL)
			}
		}
	}()
	k.begun = time.Now()
	if err := k.up(ctx, "", k.Pace); err != nil {
		return err
	}
	k.begun = time.Now()
	k.mark(fmt.Sprintf("%g times the live rates", k.factor()))
	for i := range k.Kills {
		if err := k.sampleUntil(ctx, k.begun.Add(k.Duration*time.Duration(i+1)/time.Duration(k.Kills))); err != nil {
			return err
		}
		if i == k.Kills-1 {
			k.fast, k.fastTo = k.since(k.begun, figures{}), len(k.samples)
		}
		if _, err := k.finish(syscall.SIGKILL); err != nil {
			return err
		}
		k.mark("kill -9")
		if err := k.up(ctx, "kill -9", k.Pace); err != nil {
			return err
		}
	}
	return k.after(ctx)
}

// after is what follows the day: a clean stop, a while at live rates, and the log read back.
func (k *soak) after(ctx context.Context) error {
	if err := k.sampleUntil(ctx, time.Now().Add(6*k.Every)); err != nil {
		return err
	}
	if err := k.upstream.rates(k.Posts, k.Edits); err != nil {
		return err
	}
	if err := k.sampleUntil(ctx, time.Now().Add(2*k.Every)); err != nil {
		return err
	}
	took, err := k.finish(syscall.SIGINT)
	if err != nil {
		return err
	}
	k.mark("clean stop")
	k.note(fmt.Sprintf("it took %.1f s", took.Seconds()))
	if err := k.up(ctx, "a clean stop", 0); err != nil {
		return err
	}
	k.mark("live rates")
	if err := k.take(); err != nil { // what was waiting is not part of it
		return err
	}
	k.slowFrom = len(k.samples)
	from, before := time.Now(), k.since(k.begun, figures{})
	if err := k.sampleUntil(ctx, time.Now().Add(k.Live)); err != nil {
		return err
	}
	k.slow = k.since(from, before)
	if err := k.upstream.close(); err != nil {
		return err
	}
	k.mark("read back")
	return k.readBack(ctx)
}

// since is what was made since a moment.
func (k *soak) since(from time.Time, before figures) figures {
	last := k.samples[len(k.samples)-1]
	return figures{time.Since(from).Seconds(), last.events - before.events, k.batches - before.batches, k.transactions - before.transactions}
}

// sampleUntil samples until a moment.
func (k *soak) sampleUntil(ctx context.Context, until time.Time) error {
	tick := time.NewTicker(k.Every)
	defer tick.Stop()
	end := time.NewTimer(time.Until(until))
	defer end.Stop()
	for {
		select {
		case <-tick.C:
			if err := k.take(); err != nil {
				return err
			}
		case <-end.C:
			return k.take()
		case <-k.process.ended:
			return fmt.Errorf("weir has ended: %w\n%s", k.process.err, &k.process.log)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

package persistence

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/weir-project/weir/internal/cluster"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/lab/kit"
	"github.com/weir-project/weir/internal/tally"
)

// whole is a weir up in a process of its own.
type whole struct {
	s     *Settings
	b     *lab.Bench
	shown kit.Throttle
	dir   string
	addrs []string // three brokers and Redis
	kafka kafka.Config
	log   bytes.Buffer // what the process printed; read when it has ended
	cmd   *exec.Cmd
	ended chan error
}

func (w *whole) command(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, w.s.program, append(args, "--data", w.dir)...)
}

// start starts it.
func (w *whole) start() error {
	ports := make([]string, len(w.addrs))
	for i, a := range w.addrs {
		_, ports[i], _ = net.SplitHostPort(a)
	}
	// Not bound to a context: it is killed, or asked to end.
	cmd := w.command(context.Background(), append([]string{"up", "--engine", w.b.Engine, "--listen", "off", "--ports", strings.Join(ports, ",")}, w.s.streams()...)...)
	w.log.Reset()
	cmd.Stdout, cmd.Stderr = &w.log, &w.log
	cmd.SysProcAttr = processAttributes()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start weir: %w", err)
	}
	w.cmd, w.ended = cmd, make(chan error, 1)
	go func() { w.ended <- cmd.Wait() }()
	return nil
}

// streams are the arguments that say where events come from.
func (s *Settings) streams() []string {
	if s.Live == nil {
		return []string{"--source", lab.SourceSimulated, "--rate", fmt.Sprint(s.Rate)}
	}
	args := []string{"--source", lab.SourceLive, "--collections", strings.Join(s.Live.Collections, ",")}
	if len(s.Live.URLs) > 0 {
		args = append(args, "--bluesky-url", strings.Join(s.Live.URLs, ","))
	}
	if s.WikipediaURL != "" {
		args = append(args, "--wikipedia-url", s.WikipediaURL)
	}
	return args
}

// end sends a signal and waits for the end, which it returns.
func (w *whole) end(s os.Signal) (how, err error) {
	if w.cmd == nil {
		return nil, nil
	}
	if err = w.cmd.Process.Signal(s); errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	select {
	case how = <-w.ended:
	case <-time.After(kit.Patience):
		err = errors.Join(errors.New("weir did not end within a minute when asked, and was killed"), w.cmd.Process.Kill())
		how = <-w.ended
	}
	w.cmd = nil
	return how, err
}

// destroy kills everything: the process, and the brokers that are processes of their own.
func (w *whole) destroy(ctx context.Context) (how, err error) {
	how, err = w.end(os.Kill)
	dirs, globErr := filepath.Glob(filepath.Join(w.dir, "*"))
	err = errors.Join(err, globErr)
	for _, dir := range dirs {
		err = errors.Join(err, cluster.StopOrphans(ctx, dir, nil))
	}
	return how, err
}

// redis is the address of the counts.
func (w *whole) redis() string { return "redis://" + w.addrs[3] + "/1" }

// answers reports whether anybody listens on one of its addresses.
func (w *whole) answers() bool {
	for _, a := range w.addrs {
		if c, err := net.DialTimeout("tcp", a, time.Second); err == nil {
			_ = c.Close()
			return true
		}
	}
	return false
}

// counts waits until more than n events are counted and returns how many are;
// false when that takes too long. It is an error when the process has ended.
func (w *whole) counts(ctx context.Context, n int64, show func(string)) (sum int64, ok bool, err error) {
	var store *tally.Store
	defer func() {
		if store != nil {
			_ = store.Close()
		}
	}()
	long := kit.Patience
	if w.b.Engine == cluster.Apache {
		long *= 2 // three Java processes start first
	}
	ok, err = kit.Poll(ctx, long, kit.SampleEvery, func() (bool, error) {
		select {
		case how := <-w.ended:
			w.ended <- how // for the next caller
			return false, fmt.Errorf("weir ended by itself (%w): %s", how, lastLine(w.log.String()))
		default:
		}
		if store == nil {
			if store, _ = tally.Open(ctx, w.redis()); store == nil { // not yet: try again
				return false, nil
			}
		}
		var err error
		if sum, err = kit.Total(ctx, store, countedBy); err != nil {
			return false, nil //nolint:nilerr // Redis is not ready yet, or not any more
		}
		if w.shown.Due(kit.TellEvery) {
			w.b.Point(caseKill, "counted (events)", float64(sum))
		}
		show(fmt.Sprintf("%d events counted", sum))
		return sum > n, nil
	})
	return sum, ok, err
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}

// observe kills everything as often as asked.
func (s *Settings) observe(ctx context.Context, b *lab.Bench) (_ *seen, err error) {
	addrs, err := cluster.FreeAddrs("127.0.0.1", 4)
	if err != nil {
		return nil, err
	}
	w := &whole{s: s, b: b, dir: filepath.Join(b.Dir, "weir"), addrs: addrs, kafka: kafka.Config{Brokers: addrs[:3], ClientID: "weir-lab", Log: b.Log}}
	defer func() {
		_, e := w.destroy(context.WithoutCancel(ctx)) // whatever is left of it
		err = errors.Join(err, e)
	}()
	b.Begin(caseKill, time.Now())
	b.Progress("starting weir")
	if err := w.start(); err != nil {
		return nil, err
	}
	o := &seen{}
	counted, ok, err := w.counts(ctx, 0, func(string) {})
	for i := 0; i < s.Kills && err == nil && ok; i++ {
		counted, ok, err = w.round(ctx, o, i, counted)
	}
	if err != nil {
		return nil, err
	}
	o.finished = ok
	b.Progress("comparing with weir verify, and shutting down")
	return o, w.finish(ctx, o)
}

// round kills everything once, when enough more than counted is counted, and starts it again.
// It returns what is counted then; false where that does not come about.
func (w *whole) round(ctx context.Context, o *seen, i int, counted int64) (_ int64, ok bool, err error) {
	show := func(text string) { w.b.Progress(fmt.Sprintf("kill %d of %d  %s", i+1, w.s.Kills, text)) }
	if _, ok, err = w.counts(ctx, counted+int64(w.s.Rate*w.s.Between.Seconds()), show); err != nil || !ok {
		return 0, false, err
	}
	before, err := w.read(ctx)
	if err != nil {
		return 0, false, err
	}
	x := round{records: int64(len(before.records))}
	// What is counted until the kill, which follows at once, is not what is counted
	// after it: Redis answers before the brokers do.
	if counted, _, err = w.counts(ctx, 0, func(string) {}); err != nil {
		return 0, false, err
	}
	counted += int64(w.s.Rate / 5)
	if w.s.Break != breakSpare {
		show("killing everything")
		w.b.Mark(caseKill, fmt.Sprintf("kill %d: brokers, Redis, producers, consumers", i+1))
		how, err := w.destroy(ctx)
		if err != nil {
			return 0, false, err
		}
		x.killed = bySignal(how, syscall.SIGKILL) && !w.answers()
		if w.s.Break == breakForget {
			err = forget(w.dir)
		}
		if err = errors.Join(err, w.start()); err != nil {
			return 0, false, err
		}
	}
	began := time.Now()
	// More than before: Redis may have lost its last second, and then counts again.
	if counted, ok, err = w.counts(ctx, counted, func(t string) { show("started again: " + t) }); err != nil {
		return 0, false, err
	}
	x.first = time.Since(began).Seconds()
	w.b.Mark(caseKill, fmt.Sprintf("counting again after %.1f s", x.first))
	after, err := w.read(ctx)
	if err != nil {
		return 0, false, err
	}
	x.compare(before, after)
	o.rounds = append(o.rounds, x)
	return counted, ok, nil
}

func bySignal(how error, s syscall.Signal) bool {
	exit, ok := errors.AsType[*exec.ExitError](how)
	if !ok {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == s
}

// forget removes a file of the log that holds records: the damage that the
// experiment must find.
func forget(dir string) error {
	var largest string
	var size int64
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.Contains(filepath.Dir(path), kafka.TopicBluesky) {
			return err
		}
		if info, err := d.Info(); err == nil && info.Size() > size {
			largest, size = path, info.Size()
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("break: %w", err)
	}
	if largest == "" {
		return errors.New("break: no file of the log was found")
	}
	return os.Remove(largest)
}

// finish compares counts with the log, asks weir verify, and ends the process.
func (w *whole) finish(ctx context.Context, o *seen) error {
	if err := w.recount(ctx, o); err != nil {
		return err
	}
	out, err := w.command(ctx, "verify", "-o", "json").CombinedOutput()
	o.verify = "ok"
	if err != nil {
		o.verify = fmt.Sprintf("%v: %s", err, lastLine(string(out)))
	}
	how, err := w.end(syscall.SIGINT)
	o.orderly = how == nil
	return err
}

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/lab/record"
	"github.com/weir-project/weir/internal/node"
	"github.com/weir-project/weir/internal/watch"
	"github.com/weir-project/weir/internal/web"
)

// actions are the operations of a weir, below /api/v1: of the one that runs, over its control
// socket, or of this process where none does.
type actions struct {
	client  *web.Client
	running *node.Runtime // nil where this process does it
	close   func()
}

// actionsOf returns the operations of a running weir.
func actionsOf(r *node.Runtime) *actions {
	return &actions{client: web.Dial(r.Control, r.ControlToken, r.Version), running: r, close: func() {}}
}

// runningActions returns the operations of the weir that runs on the data directory.
func (a *app) runningActions() (*actions, error) {
	dir, err := a.data()
	if err != nil {
		return nil, err
	}
	if r := a.runningWeir(dir); r != nil {
		return actionsOf(r), nil
	}
	return nil, cli.ConnectError("start one with weir up or weir cluster, or name its directory with --data", "no weir runs on %s", dir)
}

// groupActions returns the operations that change groups, which can have counts in Redis.
func (a *app) groupActions(ctx context.Context) (*actions, error) { return a.targetActions(ctx, true) }

// topicActions returns the operations that change topics.
func (a *app) topicActions(ctx context.Context) (*actions, error) { return a.targetActions(ctx, false) }

// targetActions returns the operations on the cluster that the flags name: of the weir that
// runs on it, which logs them and shows them on its page, or of this process.
func (a *app) targetActions(ctx context.Context, counts bool) (*actions, error) {
	t, err := a.find()
	if err != nil {
		return nil, err
	}
	if r := t.Running; r != nil && (!counts || t.Redis == r.Redis) {
		return actionsOf(r), nil
	}
	if t.Running == nil && a.given["redis"] == "" {
		t.WithoutCounts = func(err error) { a.stderr.Linef("without counts: %s", cli.OneLine(err.Error())) }
	}
	client, closeAll, err := t.Actions(ctx, a.where(), counts)
	if err != nil {
		return nil, err
	}
	return &actions{client: client, close: closeAll}, nil
}

func (c *actions) post(ctx context.Context, path string, body, answer any) error {
	return c.ask(ctx, http.MethodPost, path, body, answer)
}

func (c *actions) ask(ctx context.Context, method, path string, body, answer any) error {
	err := c.client.Ask(ctx, method, "/api/v1"+path, body, answer)
	refused, ok := errors.AsType[*web.RefusedError](err)
	switch {
	case err == nil || ctx.Err() != nil:
		return err
	case ok && (refused.Status == http.StatusBadGateway || refused.Status == http.StatusServiceUnavailable):
		return cli.ConnectError("", "%w", err)
	case ok || c.running == nil:
		return err
	}
	return cli.ConnectError("start it again with weir up or weir cluster", "the running weir does not answer on %s: %w", c.running.Control, cli.Brief(err))
}

// change asks for the plan of a change of what has a name, calls show with it, and does it when
// show returns no error. body makes the request, which is a plan without a confirmation. It
// returns the answer to the change.
func change[A any](ctx context.Context, c *actions, path, name string, body func(confirm string) any, show func(A) error) (done A, err error) {
	var plan A
	if err := c.post(ctx, path, body(""), &plan); err != nil {
		return done, err
	}
	if err := show(plan); err != nil {
		return done, err
	}
	err = c.post(ctx, path, body(name), &done)
	return done, err
}

// awaitEvery is how often await reads.
const awaitEvery = 200 * time.Millisecond

// await reads path again and again, until look returns no text about the progress, or an error.
func await[T any](ctx context.Context, a *app, c *actions, path string, look func(T) (string, error)) error {
	prog := cli.NewProgress(a.stderr)
	defer prog.Done()
	var err error
	ended := false
	node.Every(ctx, awaitEvery, func(time.Time) bool {
		var answer T
		var text string
		if err = c.ask(ctx, http.MethodGet, path, nil, &answer); err == nil {
			text, err = look(answer)
		}
		if ended = err != nil || text == ""; !ended {
			prog.Show(text)
		}
		return !ended
	})
	if !ended {
		err = ctx.Err()
	}
	return err
}

// groupPath is the path of an operation on a group, whatever its name is.
func groupPath(name, operation string) string {
	return "/groups/_/" + operation + "?group=" + url.QueryEscape(name)
}

// noteLab returns what logs a lab in the weir that runs on the data directory, if there is
// one: what a process of its own does is not seen there otherwise. begun is called when
// the lab runs, as often as it likes, ended with the verdict.
func (a *app) noteLab(ctx context.Context, name string) (begun func(), ended func(*lab.Report, error)) {
	from := "a terminal"
	if a.labControl { // as the page starts it
		from = "the page"
	}
	note := func(format string, args ...any) {
		c, err := a.runningActions()
		if err != nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		text := "lab " + name + ", started from " + from + ", " + fmt.Sprintf(format, args...)
		if err := c.post(ctx, "/log", web.NoteRequest{Kind: watch.LogLab, Text: text}, nil); err != nil {
			a.log.Debug("lab not noted", "error", err)
		}
	}
	var once sync.Once
	var start time.Time
	begun = func() { once.Do(func() { start = time.Now(); note("runs") }) }
	return begun, func(r *lab.Report, err error) {
		once.Do(func() {}) // a lab that was refused has not run
		switch took := time.Since(start).Round(time.Second); {
		case start.IsZero():
		case err != nil:
			note("ended after %s without a verdict", took)
		default:
			note("ended after %s: the claim %s", took, verdictWords[r.Verdict])
		}
	}
}

var verdictWords = map[record.Verdict]string{record.Holds: "holds", record.DoesNotHold: "does not hold", record.Inconclusive: "was not decided"}

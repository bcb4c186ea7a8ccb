package judge

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-project/weir/internal/exercise"
	"github.com/weir-project/weir/internal/exercise/program"
	"github.com/weir-project/weir/internal/visible"
)

// grace is how long a program has to end when it is asked to.
const grace = 10 * time.Second

// Copy is one started copy of the program.
type Copy struct {
	*program.Process
	b       *Bench
	started time.Time
	// free says that it may end by itself.
	free atomic.Bool
}

// Start starts a copy of the program.
func (b *Bench) Start() (*Copy, error) {
	p, err := program.Start(program.Config{Args: b.cfg.Args, Dir: b.cfg.Dir, Env: b.environ(), Self: b.cfg.Self})
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	c := &Copy{Process: p, b: b, started: time.Now()}
	b.copies = append(b.copies, c)
	b.mu.Unlock()
	b.Mark("start", "the program starts")
	return c, nil
}

// Kill ends the copy and all that it started, without warning.
func (c *Copy) Kill() {
	c.free.Store(true)
	over := c.Over()
	c.Close()
	if over {
		c.b.Mark("kill", "the program had ended by itself, with %s; kill -9 ends its children", c.Exit())
		return
	}
	c.b.Mark("kill", "kill -9 ends the program")
}

// Stop asks the copy to end, and kills it when it has not ended in time. It reports whether it
// ended by itself.
func (c *Copy) Stop() bool {
	c.free.Store(true)
	if c.Over() {
		c.b.Mark("end", "the program had ended by itself, with %s", c.Exit())
		return c.Process.Stop(grace) // what it started
	}
	c.b.Mark("stop", "SIGTERM asks the program to end")
	asked := time.Now()
	if !c.Process.Stop(grace) {
		c.b.Mark("kill", "the program did not end within %v and is killed", grace)
		return false
	}
	c.b.Mark("end", "the program ended after %.1f s with %s", time.Since(asked).Seconds(), c.Exit())
	return true
}

// asks says that a program can be asked to end. Windows has no SIGTERM, and Ctrl-Break reaches only
// programs that have the same console: there, how a program ends is not judged.
const asks = runtime.GOOS != "windows"

// mustStop asks a copy to end, and says what is wrong where it does not. what names the copy.
func (b *Bench) mustStop(c *Copy, what string) error {
	if stopped := c.Stop(); !asks || b.Check(stopped, what+" ends when it is asked to", "within 10 s", c.Exit().String()) {
		return nil
	}
	return &Finding{Headline: fmt.Sprintf("%s did not end within %v after SIGTERM and was killed", what, grace),
		Evidence: []exercise.Evidence{Observed("end of "+what, c.Exit().At)},
		Why:      "A program that is killed finishes nothing: it does not commit, does not flush, and does not leave its group.",
		Hint: "Handle SIGTERM: leave the loop, finish what is begun, and close the client. " +
			"A call that waits for the next event needs a timeout, or the loop never sees the signal."}
}

// MayEnd says whether the copy may end by itself.
func (c *Copy) MayEnd(may bool) { c.free.Store(may) }

func (b *Bench) closeCopies() {
	b.mu.Lock()
	all := slices.Clone(b.copies)
	b.mu.Unlock()
	for _, c := range all {
		c.free.Store(true)
		c.Close()
	}
}

// output is what the copies printed last.
func (b *Bench) output() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var lines []string
	for _, c := range b.copies {
		for _, l := range c.Output() {
			lines = append(lines, visible.Text(l))
		}
	}
	return strings.Join(lines[max(0, len(lines)-60):], "\n")
}

// trouble returns what is wrong with the copies themselves: one ended by itself, or exceeds a limit.
func (b *Bench) trouble() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.copies {
		if c.Over() && !c.free.Load() {
			return c.endedFinding()
		}
		if n, tooMuch := c.Printed(); tooMuch {
			return &Finding{Headline: fmt.Sprintf("the program printed %d MB", n/1e6),
				Why: "Output costs time, and a log that grows without limit fills a disk.", Hint: "Print a summary from time to time, not a line " +
					"for each step."}
		}
		if c.Over() {
			continue
		}
		if n := c.Memory(); n > b.cfg.Memory {
			return &Finding{Headline: fmt.Sprintf("the program uses %d MiB of memory; the limit is %d MiB", n>>20, b.cfg.Memory>>20),
				Evidence: []exercise.Evidence{Observed("memory of the program and its children", time.Now())},
				Why:      "A program that keeps every event in memory ends when the memory does.",
				Hint:     "Keep counts and offsets, not events. Bound every queue and list."}
		}
	}
	return nil
}

// endedFinding says that a copy ended by itself.
func (c *Copy) endedFinding() *Finding {
	exit := c.Exit()
	last := complaint(c.Output(), exit)
	f := &Finding{Headline: fmt.Sprintf("the program ended by itself after %.1f s, with %s: %s", exit.At.Sub(c.started).Seconds(), exit,
		visible.Text(last)),
		Evidence: []exercise.Evidence{Observed("end of the program", exit.At)}}
	f.Why, f.Hint = whyEnded(last, exit)
	return f
}

// variable is what Python says where the environment has no such variable.
var variable = regexp.MustCompile(`^KeyError: '([A-Z][A-Z_]+)'`)

// whyEnded says why a program ended that complained so.
func whyEnded(complaint string, exit program.Exit) (why, hint string) {
	has := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(complaint, w) })
	}
	name := variable.FindStringSubmatch(complaint)
	switch {
	case has("SyntaxError: ", "IndentationError: ", "TabError: "):
		return "The text of the program is not valid, so none of it ran.", "Mend the line that the output below names."
	case has("ModuleNotFoundError: ", "Cannot find module "):
		return "The program imports a module that is not installed for the interpreter that ran it.",
			"Check the name of the module. Install it where the interpreter looks: for Python, .venv/bin/pip install -r requirements.txt in " +
				"the directory of the program. " +
				"weir finds the directory .venv with --dir; behind --, write .venv/bin/python and not python3."
	case name != nil:
		return fmt.Sprintf("The environment of the program has no variable %s.", name[1]),
			"The variables are KAFKA_BROKER, REDIS_URL, TOPIC, GROUP and OUTPUT_TOPIC, and STREAM_URL where the exercise has a stream."
	case has("Connection refused", "connection refused", "ECONNREFUSED", "actively refused"):
		return "No server listens at the address that the program uses. Each check has addresses of its own.",
			"Take every address from the environment: KAFKA_BROKER, REDIS_URL, and STREAM_URL where the exercise has a stream."
	case exit.Signal == "" && exit.Code == 0:
		return "A program that reads or writes a stream goes on until it is asked to stop, because a stream has no end.",
			"The program came to its end without an error. Look how it leaves its loop."
	}
	return "An error that the program does not handle ends it. It has to go on until it is asked to stop, because a stream has no end.",
		"Look at the output below for the reason."
}

// complaint is the line of the output that says why a program ended: Python prints it last, Go
// before the stacks of its goroutines, and Node.js before its stack and its version. Without
// output it is how the program ended.
func complaint(lines []string, exit program.Exit) string {
	node := strings.HasPrefix(lastLine(lines), "Node.js v")
	for _, l := range lines {
		if strings.HasPrefix(l, "panic: ") || strings.HasPrefix(l, "fatal error: ") || node && nodeError.MatchString(l) {
			return l
		}
	}
	return cmp.Or(lastLine(lines), "it printed nothing, "+exit.String())
}

// nodeError is how Node.js begins the error that ends a program.
var nodeError = regexp.MustCompile(`^\w*Error\b`)

// lastLine is the last line that is not empty.
func lastLine(lines []string) string {
	for _, l := range slices.Backward(lines) {
		if l = strings.TrimSpace(l); l != "" {
			return l
		}
	}
	return ""
}

// Observed is evidence that belongs to no record.
func Observed(what string, at time.Time) exercise.Evidence {
	return exercise.Evidence{What: what, Partition: -1, Offset: -1, At: Moment(at)}
}

// ForgetMembers makes the members of all groups leave: they are dead. Kafka would notice that
// when their session timeout is over, which is up to 45 s by default.
func (b *Bench) ForgetMembers(ctx context.Context) error {
	types, err := b.groups(ctx)
	if err != nil {
		return err
	}
	for name, kind := range types {
		members, err := b.members(ctx, name, kind)
		for _, m := range members {
			if err == nil {
				err = b.forget(ctx, name, kind, m)
			}
		}
		if err != nil {
			return fmt.Errorf("remove the dead members of group %s: %w", name, err)
		}
	}
	return nil
}

// forget makes a member leave its group, in the protocol of the group.
func (b *Bench) forget(ctx context.Context, group, kind string, m member) (err error) {
	switch {
	case kind == consumerGroup:
		req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		req.Group, req.MemberID, req.MemberEpoch = group, m.id, -1
		_, err = req.RequestWith(ctx, b.Client)
	case !m.static:
		req := kmsg.NewPtrLeaveGroupRequest()
		leaving := kmsg.NewLeaveGroupRequestMember()
		leaving.MemberID = m.id
		req.Group, req.Members = group, append(req.Members, leaving)
		_, err = req.RequestWith(ctx, b.Client)
	}
	return err
}

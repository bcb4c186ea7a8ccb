package program

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Commands to a guard, on its standard input. The end of the input is killNow, too.
const (
	beginNow     = 'b'
	terminateNow = 't'
	killNow      = 'k'
)

// control is the guard of a program. The guard takes commands on its standard input, reports on
// its standard output, and its standard error is the output of the program.
type control struct {
	guard    *exec.Cmd
	commands *os.File
	write    sync.Mutex
	close    sync.Once
	cage     cage
	pid      int // of the program
}

// Start starts a program.
func Start(cfg Config) (_ *Process, err error) {
	path, err := Find(cfg.Args[0])
	if err != nil {
		return nil, err
	}
	var pipes [3][2]*os.File // commands, reports, output
	for i := range pipes {
		if pipes[i][0], pipes[i][1], err = os.Pipe(); err != nil {
			return nil, fmt.Errorf("start the program: %w", err)
		}
	}
	commands, reports, output := pipes[0], pipes[1], pipes[2]
	// Not bound to a context: it ends when its input does.
	guard := exec.Command(cfg.Self, append([]string{GuardArgument, path}, cfg.Args...)...)
	guard.Dir, guard.Env = cfg.Dir, cfg.Env
	guard.Stdin, guard.Stdout, guard.Stderr = commands[0], reports[1], output[1]
	guard.SysProcAttr = apart()
	err = guard.Start()
	_, _, _ = commands[0].Close(), reports[1].Close(), output[1].Close()
	if err != nil {
		_, _, _ = commands[1].Close(), reports[0].Close(), output[0].Close()
		return nil, fmt.Errorf("start the guard of the program: %w", err)
	}
	p := &Process{control: control{guard: guard, commands: commands[1]}, ended: make(chan struct{})}
	if p.cage, err = confine(guard.Process); err == nil {
		p.command(beginNow)
	}
	lines := bufio.NewReader(reports[0])
	p.out.Go(func() { p.read(output[0]); _ = output[0].Close() })
	if first := p.first(lines, err); first != nil {
		p.end()
		p.out.Wait()
		_ = reports[0].Close()
		return nil, &NotFoundError{cfg.Args[0], first}
	}
	p.out.Go(func() { p.await(lines); _ = reports[0].Close() })
	return p, nil
}

// first reads the guard's first report: the program has begun, or could not.
func (p *Process) first(lines *bufio.Reader, confined error) error {
	if confined != nil {
		return confined
	}
	line, err := lines.ReadString('\n')
	word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	if word != "pid" {
		if rest == "" {
			return fmt.Errorf("the guard ended: %w", err)
		}
		return fmt.Errorf("%s", rest)
	}
	p.pid, err = strconv.Atoi(rest)
	return err
}

// await waits for the report of the program's end.
func (p *Process) await(lines *bufio.Reader) {
	line, _ := lines.ReadString('\n') // of its end, or the end of the guard
	p.exit = Exit{Code: -1, Signal: "killed", At: time.Now()}
	if word, rest, ok := strings.Cut(strings.TrimSpace(line), " "); ok && word == "exit" {
		p.exit.Code, _ = strconv.Atoi(rest)
		p.exit.Signal = ""
	} else if ok {
		p.exit.Signal = rest
	}
	close(p.ended)
}

// command sends a command, which fails when the guard has ended, and the program with it.
func (c *control) command(b byte) {
	c.write.Lock()
	defer c.write.Unlock()
	_, _ = c.commands.Write([]byte{b})
}

// end kills what is left of the program and waits for its guard.
func (c *control) end() {
	c.close.Do(func() {
		c.command(killNow)
		_ = c.commands.Close()
		_ = c.guard.Wait() // its exit code says nothing
		c.cage.close()
	})
}

// Close kills what is left of the program, and returns when nothing of it runs. It may be called twice.
func (p *Process) Close() {
	p.end()
	<-p.ended
	p.out.Wait()
}

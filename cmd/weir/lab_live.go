package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"sync"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/lab"
	"github.com/weir-project/weir/internal/lab/record"
	"github.com/weir-project/weir/internal/visible"
)

// labOutput adds the flags about what a lab shows and how it is controlled.
func (a *app) labOutput(cmd *cobra.Command) {
	a.dataFlag(cmd)
	a.outputFlag(cmd, cli.FormatTable, cli.FormatJSON, cli.FormatJSONL)
	a.logFlag(cmd)
	cmd.Flags().BoolVar(&a.labControl, labControl, false, `read changes of settings from standard input while the lab runs, as JSON lines: {"set":"policy","value":"block"}; end of input stops the lab`)
	noEnv(cmd.Flags(), labControl)
}

const labControl = "control"

// labChange is a line of standard input under --control.
type labChange struct {
	Set   string `json:"set"`
	Value string `json:"value"`
}

// maxChange bounds such a line in bytes.
const maxChange = 4 << 10

// control reads changes of settings from in until its end, and then stops the lab. It logs
// a change that the lab does not accept.
func (a *app) control(in io.Reader, live *lab.Live, stop func()) {
	defer stop()
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 0, maxChange), maxChange)
	for lines.Scan() {
		var c labChange
		err := json.Unmarshal(lines.Bytes(), &c)
		if err == nil {
			err = live.Set(c.Set, c.Value)
		}
		if err != nil {
			a.stderr.Linef("not changed: %s", visible.Text(err.Error()))
		}
	}
}

// followLab returns the Live that reports on a lab and controls it, as the flags ask for, and
// the context that the lab runs in.
func (a *app) followLab(ctx context.Context) (context.Context, *lab.Live, func()) {
	listen := func(record.Update) {}
	if a.output == cli.FormatJSONL {
		var once sync.Once
		enc := json.NewEncoder(a.stdout)
		listen = func(u record.Update) {
			if err := enc.Encode(u); err != nil {
				once.Do(func() { a.stderr.Linef("cannot write the output any more: %v", err) })
			}
		}
	}
	live := lab.NewLive(listen)
	ctx, stop := context.WithCancel(ctx)
	if a.labControl {
		// It ends with standard input, or with the process.
		go a.control(a.stdin, live, stop)
	}
	return ctx, live, stop
}

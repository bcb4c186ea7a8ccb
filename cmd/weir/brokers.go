package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/node"
	"github.com/weir-project/weir/internal/web"
)

const brokersLong = `Lists the brokers of the cluster. Those of a running weir can be killed and
restarted one at a time, to see what clients do: partitions move to the other
brokers, and come back.

Embedded brokers share one copy of the data on this disk: a killed broker is
away for its clients, as in a real cluster, but no replica is lost. Those of
--engine apache are processes: kill stops one in order, kill --hard at once. The
Brokers page lists where the embedded ones differ from Apache Kafka.`

func newBrokers(a *app) *cobra.Command {
	list := &cobra.Command{
		Use:   "brokers",
		Short: "List the brokers; kill or restart one",
		Long:  brokersLong,
		Example: `  weir brokers
  weir brokers kill 2
  weir brokers restart 2`,
		Args: cli.NoSuchCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.listBrokers(cmd) },
	}
	a.clusterFlags(list, useKafka)
	a.outputFlag(list, cli.FormatTable, cli.FormatJSON, cli.FormatJSONL)
	plain := &cobra.Command{
		Use:     "list",
		Short:   "List the brokers",
		Example: "  weir brokers list",
		Args:    cobra.NoArgs,
		RunE:    list.RunE,
	}
	a.clusterFlags(plain, useKafka)
	a.outputFlag(plain, cli.FormatTable, cli.FormatJSON, cli.FormatJSONL)
	list.AddCommand(plain,
		a.brokerAction("kill", "Kill a broker of the running weir", "killed"),
		a.brokerAction("restart", "Restart a killed broker of the running weir", "restarted"))
	return list
}

func (a *app) listBrokers(cmd *cobra.Command) error {
	ctx := cmd.Context()
	return a.withInspector(ctx, func(i *inspect.Inspector, _ *node.Target) error {
		list, err := i.Brokers(ctx)
		if err != nil {
			return err
		}
		a.notes(list.Note, list.Warnings)
		tb := cli.NewTable(">BROKER", "ADDRESS", ">PID", "STATE", ">LEADS", ">REPLICAS", ">SIZE", "")
		return writeRows(a, list.Brokers, list.Brokers, tb, func(tb *cli.Table, b inspect.Broker) {
			state, role := "up", ""
			if !b.Alive {
				state = cmp.Or(b.Reason, "killed")
			}
			pid := "-" // embedded in weir, or not started by weir
			if b.PID != 0 {
				pid = strconv.Itoa(b.PID)
			}
			if b.Controller {
				role = "controller"
			}
			tb.Add(strconv.Itoa(int(b.ID)), b.Address, pid, state, b.Leads, b.Replicas, cli.SizeOrUnknown(b.Bytes), role)
		})
	})
}

// leadersPatience bounds the look at the leaders after a kill: real brokers take
// seconds to elect new ones, and weir brokers shows them later as well.
const leadersPatience = 2 * time.Second

// sayLeaders prints how many partitions each broker leads now: what a kill or a
// restart changed for clients.
func (a *app) sayLeaders(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, leadersPatience)
	defer cancel()
	err := a.withInspector(ctx, func(i *inspect.Inspector, _ *node.Target) error {
		list, err := i.Brokers(ctx)
		if err != nil {
			return err
		}
		for _, b := range list.Brokers {
			if b.Alive {
				a.stderr.Linef("broker %d leads %d partitions", b.ID, b.Leads)
			} else {
				a.stderr.Linef("broker %d is down and leads %d partitions", b.ID, b.Leads)
			}
		}
		return nil
	})
	if err != nil {
		a.stderr.Linef("the brokers did not say in time who leads what now; ask again with: weir brokers%s", a.sameData())
	}
}

func (a *app) brokerAction(name, short, done string) *cobra.Command {
	var hard bool
	cmd := &cobra.Command{
		Use:               name + " BROKER",
		Short:             short,
		Example:           fmt.Sprintf("  weir brokers %s 2", name),
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: onlyFirst(a.completing(brokerNames)),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := strconv.ParseInt(args[0], 10, 32)
			if err != nil || id < 0 {
				return cli.UsageError("weir brokers lists them", "broker %q is not a number", args[0])
			}
			return a.changeBroker(cmd.Context(), int32(id), name, done, hard)
		},
	}
	a.dataFlag(cmd)
	if name == "kill" {
		cmd.Flags().BoolVar(&hard, "hard", false, "at once, as if the machine lost power, instead of an orderly stop (embedded brokers always end at once)")
		noEnv(cmd.Flags(), "hard")
	}
	return cmd
}

// changeBroker kills or restarts a broker of the running weir, and shows how long
// producers waited.
func (a *app) changeBroker(ctx context.Context, id int32, verb, done string, hard bool) error {
	c, err := a.runningActions()
	if err != nil {
		return err
	}
	if r := c.running; !r.OwnKafka {
		return cli.RuntimeError("use that cluster's own tools", "the brokers at %v are not weir's own, and cannot be killed or restarted by it", r.Kafka)
	}
	var body any
	if verb == "kill" {
		body = web.KillRequest{Hard: hard}
	}
	var change web.ChangeAnswer
	if err := c.post(ctx, fmt.Sprintf("/brokers/%d/%s", id, verb), body, &change); err != nil {
		return fmt.Errorf("%s broker %d: %w", verb, id, err)
	}
	a.stderr.Linef("broker %d %s, which took %d ms", id, done, change.TookMS)
	a.sayLeaders(ctx)
	return a.sayPause(ctx, c, id)
}

// sayPause waits until the pause of producers around a change has been measured, and
// prints it. Ctrl-C ends the waiting: the change is made, and the weir goes on measuring.
func (a *app) sayPause(ctx context.Context, c *actions, id int32) error {
	prog := cli.NewProgress(a.stderr)
	defer prog.Done()
	for {
		var list web.ChangesAnswer
		if err := c.get(ctx, "/brokers/changes", &list); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		i := slices.IndexFunc(list.Changes, func(x web.BrokerChange) bool { return x.Broker == id })
		if i < 0 {
			return nil // so many changes since
		}
		if !list.Changes[i].Measuring {
			prog.Done()
			a.stderr.Linef("%s", list.Changes[i].Pause())
			return nil
		}
		prog.Show("measuring how long producers wait (Ctrl-C ends the waiting, not the measurement)")
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pauseEvery):
		}
	}
}

// pauseEvery is how often it is asked whether a pause has been measured.
const pauseEvery = 200 * time.Millisecond

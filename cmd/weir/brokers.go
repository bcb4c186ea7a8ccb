package main

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/inspect"
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
		Short: "The brokers; kill and restart one",
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
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.listBrokers(cmd) },
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
	return a.withInspector(ctx, func(i *inspect.Inspector, _ *target) error {
		list, err := i.Brokers(ctx)
		if err != nil {
			return err
		}
		a.notes(list.Note, list.Warnings)
		lines := make([]any, len(list.Brokers))
		for i, b := range list.Brokers {
			lines[i] = b
		}
		return a.write(list.Brokers, lines, func() *cli.Table {
			tb := cli.NewTable(">BROKER", "ADDRESS", ">PID", "STATE", ">LEADS", ">REPLICAS", ">SIZE", "")
			for _, b := range list.Brokers {
				state, role := "up", ""
				if !b.Alive {
					state = cmp.Or(b.Reason, "killed")
				}
				pid := "-" // embedded in weir, or somebody else's
				if b.PID != 0 {
					pid = strconv.Itoa(b.PID)
				}
				if b.Controller {
					role = "controller"
				}
				tb.Add(strconv.Itoa(int(b.ID)), b.Address, pid, state, b.Leads, b.Replicas, cli.SizeOrUnknown(b.Bytes), role)
			}
			return tb
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
	err := a.withInspector(ctx, func(i *inspect.Inspector, _ *target) error {
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
		ValidArgsFunction: a.completeBrokers,
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := strconv.ParseInt(args[0], 10, 32)
			if err != nil || id < 0 {
				return cli.UsageError("weir brokers lists them", "broker %q is not a number", args[0])
			}
			dir, err := a.data()
			if err != nil {
				return err
			}
			r := a.runningWeir(dir)
			if r == nil {
				return cli.ConnectError("start one with weir up or weir cluster, or name its directory with --data", "no weir runs on %s", dir)
			}
			if !r.OwnKafka {
				return cli.RuntimeError("use that cluster's own tools", "the brokers at %v are not weir's own, and cannot be killed or restarted by it", r.Kafka)
			}
			verb := name
			if hard {
				verb = "kill-hard"
			}
			if err := controlPost(cmd.Context(), r.Control, fmt.Sprintf("/brokers/%d/%s", id, verb)); err != nil {
				return fmt.Errorf("%s broker %d: %w", name, id, err)
			}
			a.stderr.Linef("broker %d %s", id, done)
			a.sayLeaders(cmd.Context())
			return nil
		},
	}
	a.dataFlag(cmd)
	if name == "kill" {
		cmd.Flags().BoolVar(&hard, "hard", false, "at once, as a machine that dies, and not in order (embedded brokers always end at once)")
		noEnv(cmd.Flags(), "hard")
	}
	return cmd
}

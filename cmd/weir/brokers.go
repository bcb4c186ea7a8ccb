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
	"github.com/weir-project/weir/internal/web"
)

func newBrokers(a *app) *cobra.Command {
	list := func(ctx context.Context, _ []string) error {
		return show(ctx, a, (*inspect.Inspector).Brokers, a.printBrokers)
	}
	cmd := a.command("brokers", useCluster|useOutput, nil, list)
	cmd.AddCommand(a.command("brokers list", useCluster|useOutput, nil, list), newBrokerChange(a, "kill"), newBrokerChange(a, "restart"))
	return cmd
}

func (a *app) printBrokers(list inspect.BrokerList) error {
	a.notes(list.Note, list.Warnings)
	return writeRows(a, list.Brokers, list.Brokers, func(b inspect.Broker) []any {
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
		return []any{strconv.Itoa(int(b.ID)), b.Address, pid, state, b.Leads, b.Replicas, cli.SizeOrUnknown(b.Bytes), role}
	}, ">BROKER", "ADDRESS", ">PID", "STATE", ">LEADS", ">REPLICAS", ">SIZE", "")
}

// newBrokerChange is the command kill or restart.
func newBrokerChange(a *app, verb string) *cobra.Command {
	var hard bool
	return a.command("brokers "+verb, useData, func(cmd *cobra.Command) {
		if verb == "kill" {
			cmd.Flags().BoolVar(&hard, "hard", false, "at once, as if the machine lost power, instead of an orderly stop (embedded brokers always end at once)")
			noEnv(cmd.Flags(), "hard")
		}
	}, func(ctx context.Context, args []string) error {
		id, err := strconv.ParseInt(args[0], 10, 32)
		if err != nil || id < 0 {
			return cli.UsageError("weir brokers lists them", "broker %q is not a number", args[0])
		}
		return a.changeBroker(ctx, int32(id), verb, hard)
	})
}

// changeBroker kills or restarts a broker of the running weir, and shows how long
// producers waited.
func (a *app) changeBroker(ctx context.Context, id int32, verb string, hard bool) error {
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
	a.stderr.Linef("broker %d %sed, which took %d ms", id, verb, change.TookMS)
	a.showLeaders(ctx)
	// Ctrl-C ends the waiting: the change is made, and the weir goes on measuring.
	err = await(ctx, a, c, "/brokers/changes", func(list web.ChangesAnswer) (string, error) {
		i := slices.IndexFunc(list.Changes, func(x web.BrokerChange) bool { return x.Broker == id })
		if i >= 0 && list.Changes[i].Measuring {
			return "measuring how long producers wait (Ctrl-C ends the waiting, not the measurement)", nil
		}
		if i >= 0 { // otherwise there were many changes since
			a.stderr.Linef("%s", list.Changes[i].Pause())
		}
		return "", nil
	})
	if ctx.Err() != nil {
		return nil //nolint:nilerr // Ctrl-C ends the waiting
	}
	return err
}

// leadersPatience bounds how long the leaders after a kill are looked up: real brokers take
// seconds to elect new ones, and weir brokers shows them later as well.
const leadersPatience = 2 * time.Second

// showLeaders prints how many partitions each broker leads now: what a kill or a
// restart changed for clients.
func (a *app) showLeaders(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, leadersPatience)
	defer cancel()
	err := show(ctx, a, (*inspect.Inspector).Brokers, func(list inspect.BrokerList) error {
		for _, b := range list.Brokers {
			state := ""
			if !b.Alive {
				state = "is down and "
			}
			a.stderr.Linef("broker %d %sleads %d partitions", b.ID, state, b.Leads)
		}
		return nil
	})
	if err != nil {
		a.stderr.Linef("the brokers did not report the new leaders in time; list them with: weir brokers%s", a.sameData())
	}
}

package main

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/inspect"
)

// completeTime bounds how long the Tab key may take.
const completeTime = 700 * time.Millisecond

type completion = func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective)

// completing asks the cluster that the flags so far point to. Where none answers
// in time there are no suggestions, and no error: a shell is no place for one.
func (a *app) completing(ask func(context.Context, *inspect.Inspector) ([]string, error)) completion {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		const nothing = cobra.ShellCompDirectiveNoFileComp
		if err := a.bindEnv(cmd.Flags()); err != nil {
			return nil, nothing
		}
		ctx, cancel := context.WithTimeout(context.Background(), completeTime)
		defer cancel()
		t, err := a.find()
		if err != nil {
			return nil, nothing
		}
		i, cl, err := t.OpenInspector(ctx)
		if err != nil {
			return nil, nothing
		}
		defer cl.Close()
		names, err := ask(ctx, i)
		if err != nil {
			return nil, nothing
		}
		names = slices.DeleteFunc(names, func(n string) bool { return slices.Contains(args, n) })
		return names, nothing
	}
}

// onlyFirst suggests for the first argument and nothing after it.
func onlyFirst(c completion) completion {
	return func(cmd *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return c(cmd, args, toComplete)
	}
}

func (a *app) completeTopics(cmd *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return onlyFirst(a.completing(func(ctx context.Context, i *inspect.Inspector) ([]string, error) {
		list, err := i.Topics(ctx)
		var names []string
		for _, t := range list.Topics {
			names = append(names, t.Name)
		}
		return names, err
	}))(cmd, args, toComplete)
}

func (a *app) completeGroups(cmd *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return a.completing(func(ctx context.Context, i *inspect.Inspector) ([]string, error) {
		list, err := i.Groups(ctx)
		var names []string
		for _, g := range list.Groups {
			names = append(names, g.Name)
		}
		return names, err
	})(cmd, args, toComplete)
}

func (a *app) completeBrokers(cmd *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return onlyFirst(a.completing(func(ctx context.Context, i *inspect.Inspector) ([]string, error) {
		list, err := i.Brokers(ctx)
		var names []string
		for _, b := range list.Brokers {
			state := "up"
			if !b.Alive {
				state = "killed"
			}
			names = append(names, strconv.Itoa(int(b.ID))+"\t"+b.Address+", "+state)
		}
		return names, err
	}))(cmd, args, toComplete)
}

// completeTopicFlag suggests topics for a flag, whatever the arguments.
func (a *app) completeTopicFlag(cmd *cobra.Command, _ []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return a.completing(func(ctx context.Context, i *inspect.Inspector) ([]string, error) {
		list, err := i.Topics(ctx)
		var names []string
		for _, t := range list.Topics {
			names = append(names, t.Name)
		}
		return names, err
	})(cmd, nil, toComplete)
}

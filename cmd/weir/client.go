package main

import (
	"context"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/node"
	"github.com/weir-project/weir/internal/visible"
)

// withInspector finds the cluster and runs a command on it.
func (a *app) withInspector(ctx context.Context, do func(*inspect.Inspector, *node.Target) error) error {
	t, err := a.find()
	if err != nil {
		return err
	}
	i, cl, err := t.OpenInspector(ctx)
	if err != nil {
		return err
	}
	defer cl.Close()
	return do(i, t)
}

// notes tells what an answer came with: remarks about simulated replicas, and
// what could not be found out.
func (a *app) notes(note string, warnings []string) {
	if note != "" && a.output == cli.FormatTable {
		a.stderr.Linef("note: %s", visible.Text(note))
	}
	for _, w := range warnings {
		a.stderr.Linef("warning: %s", visible.Text(w))
	}
}

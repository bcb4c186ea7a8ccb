package main

import (
	"context"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/node"
	"github.com/weir-project/weir/internal/web"
)

func newUI(a *app) *cobra.Command {
	var l node.Listen
	return a.command("ui", useCluster|useRedis|useLog, func(cmd *cobra.Command) { listenFlags(cmd.Flags(), &l) }, a.onTarget(func(ctx context.Context, t *node.Target, _ []string) error {
		if l.Addr == "off" {
			return cli.UsageError("leave it out, or give an address", "weir ui serves the web UI, and --listen off switches it off")
		}
		return a.runNode(ctx, t, node.Config{Listen: &l, CountsOptional: a.given["redis"] == ""}, func(n *node.Node) {
			suffix := ""
			if l.ReadOnly {
				suffix = ", read-only"
			}
			a.stderr.Linef("weir shows %s at %s%s", strings.Join(t.Kafka, ","), n.Link(), suffix)
		}, nil)
	}))
}

// where returns the flags with which another command finds what the web UI shows. A
// Redis URL with a password is left out: a page is not a place for it.
func (a *app) where() web.Where {
	w := web.Where{Program: invocation()}
	if a.given["data"] != "" {
		if dir, err := a.data(); err == nil {
			w.Data = []string{"--data", dir}
		}
	}
	w.Kafka = slices.Clone(w.Data)
	if a.given["kafka"] != "" {
		w.Kafka = append(w.Kafka, "--kafka", strings.Join(a.kafka, ","))
	}
	if a.given["kafka-config"] != "" {
		file := a.kafkaSettings
		if abs, err := filepath.Abs(file); err == nil {
			file = abs
		}
		w.Kafka = append(w.Kafka, "--kafka-config", file)
	}
	w.Redis = slices.Clone(w.Kafka)
	if u, err := url.Parse(a.redis); err == nil && u.User == nil && a.given["redis"] != "" {
		w.Redis = append(w.Redis, "--redis", a.redis)
	}
	return w
}

package main

import (
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/node"
	"github.com/weir-project/weir/internal/web"
)

const uiLong = `Serves the web UI for a cluster that runs already: topics, messages, groups,
lag, brokers, live. weir up and weir cluster serve it by themselves.

It answers on the loopback address. On any other address it asks for a token, which
is generated at the start and printed as part of the link, or is read from
--token-file. It answers under the names that --allow-host lists.`

func newUI(a *app) *cobra.Command {
	var l node.Listen
	cmd := &cobra.Command{
		Use:   "ui",
		Short: "The web UI, for a cluster that runs already",
		Long:  uiLong,
		Example: `  weir ui --kafka broker1:9092,broker2:9092
  weir ui --kafka broker1:9092 --redis redis://cache:6379/1 --listen 127.0.0.1:9000`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if l.Addr == "off" {
				return cli.UsageError("leave it out, or give an address", "weir ui serves the web UI, and --listen off switches it off")
			}
			t, err := a.find()
			if err != nil {
				return err
			}
			cfg, err := a.nodeConfig(t, nil, &l)
			if err != nil {
				return err
			}
			cfg.CountsOptional = a.given["redis"] == ""
			return a.runNode(cmd.Context(), cfg, func(n *node.Node) {
				a.stderr.Linef("weir shows %s at %s", strings.Join(t.Kafka, ","), n.Link())
			}, nil)
		},
	}
	a.clusterFlags(cmd, useKafka, useRedis)
	listenFlags(cmd.Flags(), &l)
	a.logFlag(cmd)
	return cmd
}

// where returns the flags with which another command finds what the web UI shows. A
// Redis URL with a password is left out: a page is not a place for it.
func (a *app) where() web.Where {
	var w web.Where
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

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/cluster"
	"github.com/weir-project/weir/internal/node"
	"github.com/weir-project/weir/internal/tally"
	"github.com/weir-project/weir/internal/visible"
)

// banner says what runs, where, on what data, and what to try next. It goes to
// standard error: standard output is for data. streams is empty for none.
func (a *app) banner(ctx context.Context, n *node.Node, why, streams string) {
	s := a.stderr
	s.Linef("%s", s.Paint(cli.Bold, "weir "+buildVersion().Version))
	line := func(name, text string) { s.Linef("  %-9s %s", name, visible.Text(text)) }
	brokers := strings.Join(n.Kafka, ",")
	switch n.BrokerEngine() {
	case "":
		brokers += " (existing cluster, from " + n.KafkaFrom + ")"
	case cluster.Apache:
		brokers += " (Apache Kafka)"
	}
	line("kafka", brokers)
	redis := tally.Redacted(n.Redis)
	if !n.OwnRedis() {
		redis += " (existing, from " + n.RedisFrom + ")"
	}
	line("redis", redis)
	if streams != "" {
		line("streams", streams)
	}
	var topics []string
	for _, src := range node.Sources {
		topics = append(topics, src.Topics()...)
	}
	line("topics", strings.Join(topics, ", "))
	line("data", shortHome(n.Dir(), a.env))
	if keeps := n.Keeps(); keeps != "" {
		line("log", keeps)
	}
	now := time.Now()
	for _, r := range n.Reach(ctx) {
		line("", fmt.Sprintf("%s reaches back to %s (%s), %s", r.Topic, r.First.Local().Format("2006-01-02 15:04"), cli.AgoText(r.First, now), limitText(r.Limit)))
	}
	if n.Mode == node.Simulated {
		text := "SIMULATED events, generated locally"
		if why != "" {
			text += "; " + why
		}
		s.Linef("  %s", s.Paint(cli.Yellow, visible.Text(text)))
	}
	if link := n.Link(); link != "" {
		s.Linef("  %-9s %s", "web UI", s.Paint(cli.Bold, link))
	}
	for _, note := range n.Notes() {
		s.Linef("  note: %s", visible.Text(note))
	}
}

// tryNext names commands to type in another terminal, such that they find this weir.
func (a *app) tryNext(commands ...string) {
	a.stderr.Linef("  try, in another terminal:")
	self := invocation()
	for _, c := range commands {
		a.stderr.Linef("    %s%s%s", self, strings.TrimPrefix(c, "weir"), a.sameData())
	}
	a.stderr.Linef("  Ctrl-C stops")
}

// shortHome writes a path as a user types it.
func shortHome(path string, env map[string]string) string {
	if h := env["HOME"]; h != "" && h != "/" && strings.HasPrefix(path, h+string(filepath.Separator)) {
		return "~" + path[len(h):]
	}
	return path
}

// invocation is what to type to run this program again: weir where the shell finds
// this very program by that name, the path that it was started with otherwise.
func invocation() string {
	self, err := os.Executable()
	if err != nil {
		return "weir"
	}
	if found, err := exec.LookPath("weir"); err == nil && sameFile(found, self) {
		return "weir"
	}
	// go run builds into a temporary directory that is gone when the program ends.
	if dir := filepath.Dir(self); filepath.Base(dir) == "exe" && strings.Contains(dir, "go-build") {
		return "go run ./cmd/weir"
	}
	return visible.ShellWord(os.Args[0])
}

func sameFile(a, b string) bool {
	x, errA := os.Stat(a)
	y, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(x, y)
}

// sameData is the flag that a command in another terminal needs to find this weir.
func (a *app) sameData() string {
	if a.given["data"] != "--data" {
		return ""
	}
	return " --data " + visible.ShellWord(a.dataDir)
}

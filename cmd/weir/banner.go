package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/cluster"
	"github.com/weir-project/weir/internal/tally"
	"github.com/weir-project/weir/internal/visible"
	"github.com/weir-project/weir/internal/web"
)

// banner says what runs, where, on what data, and what to try next. It goes to
// standard error: standard output is for data.
func (a *app) banner(e *engine, mode, why string, from string) {
	s := a.stderr
	s.Linef("%s", s.Paint(cli.Bold, "weir "+buildVersion().Version))
	line := func(name, text string) { s.Linef("  %-9s %s", name, visible.Text(text)) }
	brokers := strings.Join(e.kafkaAddrs, ",")
	if e.cluster == nil {
		brokers += " (existing cluster, from " + a.given["kafka"] + ")"
	}
	if e.cluster != nil && e.cluster.Name() == cluster.Apache {
		brokers += " (Apache Kafka)"
	}
	line("kafka", brokers)
	redis := tally.Redacted(e.redisURL)
	if e.redis == nil {
		redis += " (existing, from " + a.given["redis"] + ")"
	}
	line("redis", redis)
	if from != "" {
		line("streams", from)
	}
	var topics []string
	for _, src := range sources {
		topics = append(topics, src.topic)
		if src.account != "" {
			topics = append(topics, src.account)
		}
	}
	line("topics", strings.Join(topics, ", "))
	line("data", shortHome(e.home.dir, a.env))
	if mode == modeSimulated {
		text := "SIMULATED events: made here, by nobody"
		if why != "" {
			text += "; " + why
		}
		s.Linef("  %s", s.Paint(cli.Yellow, visible.Text(text)))
	}
	if e.ui.listener != nil {
		s.Linef("  %-9s %s", "pages", s.Paint(cli.Bold, e.ui.link()))
		if e.ui.note != "" {
			e.notes = append(e.notes, e.ui.note)
		}
	}
	for _, n := range e.notes {
		s.Linef("  note: %s", visible.Text(n))
	}
}

func (a *app) upBanner(e *engine, mode, why string, f *sourceFlags) {
	from := "Bluesky (" + strings.Join(f.collections, ", ") + "), Wikipedia; live"
	if mode == modeSimulated {
		from = "Bluesky, Wikipedia; simulated"
	}
	a.banner(e, mode, why, from)
	a.tryNext("weir counts --watch", "weir messages bluesky-events --follow", "weir verify")
}

func (a *app) clusterBanner(e *engine, mode, why string) {
	a.banner(e, mode, why, "")
	a.tryNext("weir produce bluesky", "weir consume bluesky", "weir topics")
}

// tryNext names three commands to type in another terminal, such that they find
// this weir.
func (a *app) tryNext(commands ...string) {
	a.stderr.Linef("  try, in another terminal:")
	self := invocation()
	for _, c := range commands {
		a.stderr.Linef("    %s%s%s", self, strings.TrimPrefix(c, "weir"), a.sameData())
	}
	a.stderr.Linef("  Ctrl-C stops")
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
	return web.ShellWord(os.Args[0])
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
	return " --data " + web.ShellWord(a.dataDir)
}

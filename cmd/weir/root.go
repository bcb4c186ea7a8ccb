package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/metrics"
	"github.com/weir-project/weir/internal/node"
	"github.com/weir-project/weir/internal/tally"
)

// app is what every subcommand gets: the streams, the environment and the flags
// that several commands share.
type app struct {
	stdin  io.Reader
	stdout io.Writer
	stderr *cli.Screen
	env    map[string]string
	log    *slog.Logger

	// started is set once flags, arguments and environment were accepted: an
	// error before that is a usage error.
	started bool

	dataDir       string
	kafka         []string
	kafkaSettings string          // a properties file about TLS and SASL
	security      *kafka.Security // that it holds
	redis         string
	yes           bool
	output        string
	logLevel      string
	// given says where the value of a flag came from: "--kafka", "WEIR_KAFKA",
	// "KAFKA_BROKER"; empty for a default.
	given map[string]string

	// labControl is set where a lab is controlled through stdin.
	labControl bool

	// clients are those Kafka clients of this process that are measured.
	clients *metrics.Clients
}

func newApp(environ []string, stdin io.Reader, stdout, stderr io.Writer) *app {
	a := &app{stdin: stdin, stdout: stdout, env: make(map[string]string), given: make(map[string]string), clients: metrics.NewClients()}
	for _, kv := range environ {
		if k, v, ok := strings.Cut(kv, "="); ok {
			a.env[k] = v
		}
	}
	a.stderr = cli.NewScreen(stderr, a.env["NO_COLOR"] != "", a.env["TERM"])
	a.log = slog.New(slog.DiscardHandler)
	node.SetCrash(a.env[testPrefix+"CRASH"])
	return a
}

// The order of the commands is that of a first hour, not of the alphabet. cobra has
// only a global for it.
func init() { cobra.EnableCommandSorting = false }

func newRoot(a *app) *cobra.Command {
	root := a.command("weir", 0, nil, nil)
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetFlagErrorFunc(cli.SuggestFlag)
	root.CompletionOptions.HiddenDefaultCmd = false
	root.SetHelpCommandGroupID("more")
	root.SetCompletionCommandGroupID("more")
	for _, g := range []struct {
		id, title string
		commands  []*cobra.Command
	}{
		{"run", "Run:", []*cobra.Command{newUp(a), newCluster(a), newProduce(a), newConsume(a), newSend(a), newSimulate(a)}},
		{"look", "Look:", []*cobra.Command{newCounts(a), newVerify(a), newPreflight(a), newTopics(a), newMessages(a), newGroups(a), newCursor(a),
			newBrokers(a), newRate(a), newUI(a)}},
		{"learn", "Learn:", []*cobra.Command{newLearn(a), newExercise(a), newLab(a)}},
		{"more", "More:", []*cobra.Command{newHealth(a), newVersion(a)}},
	} {
		root.AddGroup(&cobra.Group{ID: g.id, Title: g.title})
		for _, c := range g.commands {
			c.GroupID = g.id
			root.AddCommand(c)
		}
	}
	a.finish(root)
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error { return a.prepare(root, cmd) }
	return root
}

// prepare applies the environment to the command's flags and checks what they share.
func (a *app) prepare(root, cmd *cobra.Command) error {
	if err := a.unknownVariables(root); err != nil {
		return err
	}
	if err := a.bindEnv(cmd.Flags()); err != nil {
		return err
	}
	if f := cmd.Flags().Lookup("output"); f != nil {
		if !f.Changed { // the commands share the variable, which has the default of the last one
			a.output = f.DefValue
		}
		if formats := f.Annotations["formats"]; !slices.Contains(formats, a.output) {
			return cli.UsageError("choose one of "+strings.Join(formats, ", "), "output format %q is unknown to weir %s", a.output, cmd.Name())
		}
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(a.logLevel)); err != nil {
		return cli.UsageError("choose one of debug, info, warn, error", "log level %q is unknown", a.logLevel)
	}
	a.log = slog.New(node.LimitLog(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: level})))
	if err := a.openSecurity(); err != nil {
		return err
	}
	if a.given["redis"] == "--redis" && tally.HasPassword(a.redis) {
		a.stderr.Linef("warning: everybody on this machine can see a password in an argument: put the URL into WEIR_REDIS, or the password into %s or a file (?password_file=/path)", redisPasswordVariable)
	}
	a.started = true
	return nil
}

// openSecurity reads the file of --kafka-config.
func (a *app) openSecurity() (err error) {
	from := a.given["kafka-config"]
	switch {
	case a.kafkaSettings == "":
		return nil
	case a.given["kafka"] == "":
		return cli.UsageError("name that cluster with --kafka", "%s is about a cluster that --kafka names, and none is named", from)
	}
	if a.security, err = kafka.ReadSecurity(a.kafkaSettings, a.env[passwordVariable]); err != nil {
		return cli.UsageError("see Kafka's documentation of clients, security.protocol", "%s: %w", from, err)
	}
	return nil
}

// wayOut adds what to do to errors of packages that know no commands.
func wayOut(err error) error {
	for known, hint := range map[error]string{
		inspect.ErrNoTopic:     "list the topics with: weir topics",
		inspect.ErrNoGroup:     "list the groups with: weir groups",
		inspect.ErrTopicExists: "describe it with weir topics describe, or choose another name",
		inspect.ErrGroupActive: "stop its members first (Ctrl-C in weir up or weir consume): a member would overwrite the new offsets",
	} {
		if errors.Is(err, known) {
			return cli.RuntimeError(hint, "%w", err)
		}
	}
	return err
}

// writeRows writes v in the format of --output: as JSON, as a JSON line for each of rows, or as
// a table of rows.
func writeRows[T any](a *app, v any, rows []T, cells func(T) []any, head ...string) error {
	lines := make([]any, len(rows))
	for i, r := range rows {
		lines[i] = r
	}
	return a.write(v, lines, func() *cli.Table { return cli.TableOf(rows, cells, head...) })
}

// write writes v in the format of --output: as JSON, as a JSON line for each of lines, or
// as the table that toTable makes.
func (a *app) write(v any, lines []any, toTable func() *cli.Table) error {
	if a.output != cli.FormatJSON && a.output != cli.FormatJSONL {
		return toTable().Write(a.stdout)
	}
	if a.output == cli.FormatJSON {
		return cli.WriteJSON(a.stdout, v)
	}
	for _, l := range lines {
		if err := cli.WriteJSONL(a.stdout, l); err != nil {
			return fmt.Errorf("write output: %w", err)
		}
	}
	return nil
}

// writeOne writes v as JSON, or as a heading and tables, of which the empty ones are left out.
func (a *app) writeOne(v any, heading func() string, tables ...*cli.Table) error {
	if a.output != cli.FormatTable {
		return a.write(v, []any{v}, nil)
	}
	_, err := fmt.Fprintln(a.stdout, heading())
	for _, t := range tables {
		if err == nil && !t.Empty() {
			fmt.Fprintln(a.stdout)
			err = t.Write(a.stdout)
		}
	}
	return err
}

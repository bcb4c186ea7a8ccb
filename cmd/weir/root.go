package main

import (
	"fmt"
	"io"
	"log/slog"
	"maps"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/weir-project/weir/internal/cli"
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

	dataDir  string
	kafka    []string
	redis    string
	security *kafka.Security // of the cluster that --kafka names
	output   string
	logLevel string
	// kafkaSettings is a properties file about TLS and SASL.
	kafkaSettings string
	// given tells for a shared flag where its value came from: "--kafka",
	// "WEIR_KAFKA", "KAFKA_BROKER"; empty for a default.
	given map[string]string

	// labControl is set where a lab is controlled through stdin.
	labControl bool
	// labPresets are what the labs' presets set, by lab and preset: for forms.
	labPresets map[string]map[string]map[string]func()

	// clients are those Kafka clients of this process that are measured.
	clients *metrics.Clients
}

// testPrefix begins the variables that only tests set; they are not checked
// against the flags. WEIR_TEST_CRASH=point[:n] kills the process with SIGKILL
// when it passes a named crash point for the nth time (see internal/crash).
const testPrefix = "WEIR_TEST_"

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

const rootLong = `weir reads the public streams of Bluesky and Wikipedia and writes each event to a
Kafka topic exactly once. It counts the events by type in Redis, each exactly once.
It starts an embedded three-broker Kafka and an embedded Redis, so it needs nothing
else. It can also use your own Kafka and Redis.

  weir up          run everything in one process, and watch it count two streams
  weir counts      print the counts by type
  weir messages    print the events
  weir verify      prove it: nothing lost, nothing duplicated, nothing miscounted

An environment variable can set every flag: WEIR_BLUESKY_URL sets --bluesky-url. A
flag overrides its variable. An unknown WEIR_ variable is an error. KAFKA_BROKER sets
--kafka. Put passwords into files, or into WEIR_KAFKA_PASSWORD and
WEIR_REDIS_PASSWORD.

Ctrl-C (SIGINT, or SIGTERM) stops weir after it has stored and counted the events
that it has received. A second Ctrl-C stops it at once. That loses nothing either: the
next start continues from the last commit.

Exit codes: 0 success, 1 a failure while running, 2 wrong usage, 3 Kafka, Redis
or an upstream cannot be reached, 4 verify or preflight found a problem, or the
claim of a lab does not hold, 5 a lab is inconclusive, 130 stopped by a second Ctrl-C.`

// The order of the commands is that of a first hour, not of the alphabet. cobra has
// only a global for it.
func init() { cobra.EnableCommandSorting = false }

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "weir",
		Short: "Two public streams into Kafka, counted exactly once",
		Long:  rootLong,
		Example: `  weir up                             # live streams, or simulated ones without network
  weir up --source simulated --rate 1000
  weir counts --watch                 # in another terminal`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cli.NoSuchCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(cli.SuggestFlag)
	root.CompletionOptions.HiddenDefaultCmd = false
	root.AddGroup(&cobra.Group{ID: "run", Title: "Run:"}, &cobra.Group{ID: "look", Title: "Look:"},
		&cobra.Group{ID: "more", Title: "More:"})
	root.SetHelpCommandGroupID("more")
	root.SetCompletionCommandGroupID("more")
	for _, g := range []struct {
		id       string
		commands []*cobra.Command
	}{
		{"run", []*cobra.Command{newUp(a), newCluster(a), newProduce(a), newConsume(a), newSimulate(a)}},
		{"look", []*cobra.Command{newCounts(a), newVerify(a), newPreflight(a), newTopics(a), newMessages(a), newGroups(a), newCursor(a), newBrokers(a), newRate(a), newUI(a)}},
		{"more", []*cobra.Command{newLab(a), newHealth(), newVersion(a)}},
	} {
		for _, c := range g.commands {
			inOrder(c)
			c.GroupID = g.id
			root.AddCommand(c)
		}
	}
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error { return a.prepare(root, cmd) }
	return root
}

// inOrder keeps the flags of help in the order in which they were added: what
// matters most first.
func inOrder(c *cobra.Command) {
	c.Flags().SortFlags = false
	for _, sub := range c.Commands() {
		inOrder(sub)
	}
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
		formats := strings.Split(f.Annotations["formats"][0], ",")
		if !slices.Contains(formats, a.output) {
			return cli.UsageError("choose one of "+strings.Join(formats, ", "), "output format %q is unknown to weir %s", a.output, cmd.Name())
		}
	}
	if err := a.openLog(); err != nil {
		return err
	}
	if err := a.openSecurity(); err != nil {
		return err
	}
	if a.given["redis"] == "--redis" && tally.HasPassword(a.redis) {
		a.stderr.Linef("warning: everybody on this machine can see a password in an argument: put the URL into WEIR_REDIS, or the password into %s or a file (?password_file=/path)", redisPasswordVariable)
	}
	a.started = true
	return nil
}

// variable is the environment variable of a flag.
func variable(flag string) string {
	return "WEIR_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// bindEnv sets the flags that were not given from their variables.
func (a *app) bindEnv(flags *pflag.FlagSet) error {
	var err error
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Changed {
			a.given[f.Name] = "--" + f.Name
			return
		}
		if err != nil || f.Annotations["noenv"] != nil || f.Name == "help" {
			return
		}
		name := variable(f.Name)
		v := a.env[name]
		if v == "" && f.Name == "kafka" {
			name, v = "KAFKA_BROKER", a.env["KAFKA_BROKER"]
		}
		if v == "" { // an empty variable is the usual way to unset one for a single command
			return
		}
		if e := flags.Set(f.Name, v); e != nil {
			err = cli.UsageError("unset it, or give --"+f.Name, "%s=%s: %w", name, v, e)
			return
		}
		a.given[f.Name] = name
	})
	return err
}

// unknownVariables refuses WEIR_ variables that no flag of any command reads: a
// misspelt one would otherwise be a setting that silently does nothing.
func (a *app) unknownVariables(root *cobra.Command) error {
	known := make(map[string]bool)
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Annotations["noenv"] == nil && f.Name != "help" {
				known[variable(f.Name)] = true
			}
		})
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
	known[passwordVariable], known[redisPasswordVariable] = true, true
	for _, name := range sortedKeys(a.env) {
		if strings.HasPrefix(name, "WEIR_") && !strings.HasPrefix(name, testPrefix) && !known[name] {
			return cli.UsageError("unset it; every flag of weir has a variable, such as WEIR_DATA for --data", "environment variable %s is unknown", name)
		}
	}
	return nil
}

// sortedKeys returns the keys of a map in order.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// noEnv marks a flag that no variable sets.
func noEnv(flags *pflag.FlagSet, name string) {
	_ = flags.SetAnnotation(name, "noenv", []string{"true"}) // fails only for a flag that does not exist
}

// passwordVariable holds the password for SASL where the file of --kafka-config
// does not. It has no flag: arguments are seen by everybody on a machine.
const passwordVariable = "WEIR_KAFKA_PASSWORD" //nolint:gosec // a variable's name

// redisPasswordVariable is the same for a Redis URL without a password.
const redisPasswordVariable = "WEIR_REDIS_PASSWORD" //nolint:gosec // a variable's name

// openSecurity reads the file of --kafka-config.
func (a *app) openSecurity() error {
	if a.kafkaSettings == "" {
		return nil
	}
	from := a.given["kafka-config"]
	if a.given["kafka"] == "" {
		return cli.UsageError("name that cluster with --kafka", "%s is about a cluster that --kafka names, and none is named", from)
	}
	s, err := kafka.ReadSecurity(a.kafkaSettings, a.env[passwordVariable])
	if err != nil {
		return cli.UsageError("see Kafka's documentation of clients, security.protocol", "%s: %w", from, err)
	}
	a.security = s
	return nil
}

// dataFlag adds --data.
func (a *app) dataFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.dataDir, "data", "", "`DIR` where data lies (default ~/.local/share/weir; macOS ~/Library/Application Support/weir)")
	_ = cmd.MarkFlagDirname("data")
}

// use says what a command talks to.
type use uint8

const (
	useKafka use = iota
	useRedis
)

// clusterFlags adds the flags by which a command finds a running weir, or what it
// talks to in its place.
func (a *app) clusterFlags(cmd *cobra.Command, uses ...use) {
	a.dataFlag(cmd)
	if slices.Contains(uses, useKafka) {
		cmd.Flags().StringSliceVar(&a.kafka, "kafka", nil, "`ADDRS` of Kafka brokers, as host:port,host:port (default: the running weir's)")
		cmd.Flags().StringVar(&a.kafkaSettings, "kafka-config", "", "`FILE` with security.protocol and what belongs to it, as Kafka's own clients read it")
		_ = cmd.MarkFlagFilename("kafka-config", "properties", "conf")
	}
	if slices.Contains(uses, useRedis) {
		cmd.Flags().StringVar(&a.redis, "redis", "", "`URL` of Redis: redis://host:port/db, redis-sentinel://…, redis-cluster://… (default: the running weir's)")
	}
}

// outputFlag adds -o with the formats that the command knows; the first is the default.
func (a *app) outputFlag(cmd *cobra.Command, formats ...string) {
	cmd.Flags().StringVarP(&a.output, "output", "o", formats[0], "`FORMAT` of the output: "+strings.Join(formats, ", "))
	_ = cmd.Flags().SetAnnotation("output", "formats", []string{strings.Join(formats, ",")})
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
}

// logFlag adds --log-level, for the commands that run until they are stopped.
func (a *app) logFlag(cmd *cobra.Command) {
	levels := []string{"debug", "info", "warn", "error"}
	cmd.Flags().StringVar(&a.logLevel, "log-level", "warn", "`LEVEL` of what is logged to standard error: "+strings.Join(levels, ", "))
	_ = cmd.RegisterFlagCompletionFunc("log-level", cobra.FixedCompletions(levels, cobra.ShellCompDirectiveNoFileComp))
}

func (a *app) openLog() error {
	var level slog.Level
	if err := level.UnmarshalText([]byte(a.logLevel)); err != nil {
		return cli.UsageError("choose one of debug, info, warn, error", "log level %q is unknown", a.logLevel)
	}
	a.log = slog.New(node.LimitLog(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: level})))
	return nil
}

// writeRows writes v in the format of --output: as JSON, as a JSON line for each of rows,
// or as a table, to which add adds one of rows.
func writeRows[T any](a *app, v any, rows []T, table *cli.Table, add func(*cli.Table, T)) error {
	lines := make([]any, len(rows))
	for i, r := range rows {
		lines[i] = r
	}
	return a.write(v, lines, func() *cli.Table {
		for _, r := range rows {
			add(table, r)
		}
		return table
	})
}

// write writes v in the format of --output: as JSON, as a JSON line for each of lines, or
// as the table that toTable makes.
func (a *app) write(v any, lines []any, toTable func() *cli.Table) error {
	switch a.output {
	case cli.FormatJSON:
		return cli.WriteJSON(a.stdout, v)
	case cli.FormatJSONL:
		for _, l := range lines {
			if err := cli.WriteJSONL(a.stdout, l); err != nil {
				return fmt.Errorf("write output: %w", err)
			}
		}
		return nil
	}
	return toTable().Write(a.stdout)
}

// data is the data directory in use, absolute.
func (a *app) data() (string, error) {
	dir := a.dataDir
	if from := a.given["data"]; dir == "" && from != "" {
		return "", cli.UsageError("name a directory, or leave it out for the default", "%s is empty", from)
	}
	if dir == "" {
		return node.DefaultData(a.env, runtime.GOOS)
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", cli.UsageError("name a directory with --data", "data directory %s: %w", dir, err)
	}
	return abs, nil
}

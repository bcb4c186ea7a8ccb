package main

import (
	"maps"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/node"
)

// testPrefix begins the variables that only tests set; they are not checked
// against the flags. WEIR_TEST_CRASH=point[:n] kills the process with SIGKILL
// when it passes a named crash point for the nth time (see internal/crash). With
// WEIR_TEST_ARCHIVE=n the embedded brokers archive all but n batches of a partition at once.
const testPrefix = "WEIR_TEST_"

// Passwords have no flags, because everybody on a machine can see arguments. The variables hold
// the password for SASL where the file of --kafka-config has none, and that of a Redis URL
// without one.
const (
	passwordVariable      = "WEIR_KAFKA_PASSWORD" //nolint:gosec // a variable's name
	redisPasswordVariable = "WEIR_REDIS_PASSWORD" //nolint:gosec // a variable's name
)

// sharedFlags adds flags that several commands have.
func (a *app) sharedFlags(cmd *cobra.Command, uses use) {
	fl := cmd.Flags()
	if uses&useData != 0 {
		a.dataFlag(cmd)
	}
	if uses&useKafka != 0 {
		fl.StringSliceVar(&a.kafka, "kafka", nil, "`ADDRS` of Kafka brokers, as host:port,host:port (default: the running weir's)")
		fl.StringVar(&a.kafkaSettings, "kafka-config", "", "`FILE` with security.protocol and what belongs to it, as Kafka's own clients read it")
		_ = cmd.MarkFlagFilename("kafka-config", "properties", "conf")
	}
	if uses&useRedis != 0 {
		fl.StringVar(&a.redis, "redis", "", "`URL` of Redis: redis://host:port/db, redis-sentinel://…, redis-cluster://… (default: the running weir's)")
	}
	if uses&useYes != 0 {
		fl.BoolVar(&a.yes, "yes", false, "do not ask for confirmation")
		noEnv(fl, "yes")
	}
	if uses&useOutput != 0 {
		a.outputFlag(cmd, cli.FormatTable, cli.FormatJSON, cli.FormatJSONL)
	}
	if uses&useLog != 0 {
		a.logFlag(cmd)
	}
}

// dataFlag adds --data.
func (a *app) dataFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.dataDir, "data", "", "`DIR` where data lies (default ~/.local/share/weir; macOS ~/Library/Application Support/weir)")
	_ = cmd.MarkFlagDirname("data")
}

// choiceFlag adds a flag with a few values, which the shell completes. usage may end with them.
func choiceFlag(cmd *cobra.Command, value *string, name, short, preset, usage string, choices []string) {
	cmd.Flags().StringVarP(value, name, short, preset, usage)
	_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(choices, cobra.ShellCompDirectiveNoFileComp))
}

// outputFlag adds -o with the formats that the command knows; the first is the default.
func (a *app) outputFlag(cmd *cobra.Command, formats ...string) {
	choiceFlag(cmd, &a.output, "output", "o", formats[0], "`FORMAT` of the output: "+strings.Join(formats, ", "), formats)
	_ = cmd.Flags().SetAnnotation("output", "formats", formats)
}

// logFlag adds --log-level, for the commands that run until they are stopped.
func (a *app) logFlag(cmd *cobra.Command) {
	levels := []string{"debug", "info", "warn", "error"}
	choiceFlag(cmd, &a.logLevel, "log-level", "", "warn", "`LEVEL` of what is logged to standard error: "+strings.Join(levels, ", "), levels)
}

// noEnv marks a flag that no variable sets.
func noEnv(flags *pflag.FlagSet, name string) {
	_ = flags.SetAnnotation(name, "noenv", []string{"true"}) // fails only for a flag that does not exist
}

// variableOf is the environment variable of a flag; empty where it has none.
func variableOf(f *pflag.Flag) string {
	if f.Annotations["noenv"] != nil || f.Name == "help" {
		return ""
	}
	return "WEIR_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
}

// bindEnv sets the flags that were not given from their variables.
func (a *app) bindEnv(flags *pflag.FlagSet) error {
	var err error
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Changed {
			a.given[f.Name] = "--" + f.Name
			return
		}
		name := variableOf(f)
		if f.Name == "kafka" && a.env[name] == "" {
			name = "KAFKA_BROKER"
		}
		if err != nil || a.env[name] == "" { // an empty variable is the usual way to unset one for a single command
			return
		}
		if e := flags.Set(f.Name, a.env[name]); e != nil {
			err = cli.UsageError("unset it, or give --"+f.Name, "%s=%s: %w", name, a.env[name], e)
			return
		}
		a.given[f.Name] = name
	})
	return err
}

// unknownVariables rejects WEIR_ variables that no flag of any command reads. Otherwise a
// misspelt one would be a setting that silently does nothing.
func (a *app) unknownVariables(root *cobra.Command) error {
	known := map[string]bool{passwordVariable: true, redisPasswordVariable: true}
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		c.LocalFlags().VisitAll(func(f *pflag.Flag) { known[variableOf(f)] = true })
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
	for _, name := range sortedKeys(a.env) {
		if strings.HasPrefix(name, "WEIR_") && !strings.HasPrefix(name, testPrefix) && !known[name] {
			return cli.UsageError("unset it; every flag of weir has a variable, such as WEIR_DATA for --data", "environment variable %s is unknown", name)
		}
	}
	return nil
}

// sortedKeys returns the keys of a map in order.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// data is the data directory in use, absolute.
func (a *app) data() (string, error) {
	from := a.given["data"]
	switch {
	case a.dataDir == "" && from != "":
		return "", cli.UsageError("name a directory, or leave it out for the default", "%s is empty", from)
	case a.dataDir == "":
		return node.DefaultData(a.env, runtime.GOOS)
	}
	abs, err := filepath.Abs(a.dataDir)
	if err != nil {
		return "", cli.UsageError("name a directory with --data", "data directory %s: %w", a.dataDir, err)
	}
	return abs, nil
}

package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/weir-project/weir/docs"
	"github.com/weir-project/weir/docs/doctest"
	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/node"
)

// generated ends the introduction of a page that a test writes.
const generated = "\n<!-- generated: go test ./cmd/weir -run TestReference -update -->\n"

// TestReference: the reference of commands and settings says what the program says.
func TestReference(t *testing.T) {
	root := newRoot(newApp(nil, strings.NewReader(""), newOutput(), newOutput()))
	var all []*cobra.Command
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Name() == "help" || c.Name() == "completion" {
			return
		}
		c.InitDefaultHelpFlag()
		all = append(all, c)
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
	if len(all) < 40 {
		t.Fatalf("%d commands were found: the check would prove nothing", len(all))
	}
	doctest.Page(t, "../../docs", "reference/commands.md", commandsPage(all), *update)
	doctest.Page(t, "../../docs", "reference/settings.md", settingsPage(all), *update)
}

// TestReferenceTables: the pages written by hand name every topic, header, group and exit code.
func TestReferenceTables(t *testing.T) {
	pages := map[string]string{}
	for _, name := range []string{"topics", "exit-codes", "redis"} {
		b, err := docs.Files.ReadFile("reference/" + name + ".md")
		if err != nil {
			t.Fatal(err)
		}
		pages[name] = string(b)
	}
	want := func(page, text string) {
		t.Helper()
		if !strings.Contains(pages[page], text) {
			t.Errorf("docs/reference/%s.md lacks %q", page, text)
		}
	}
	for _, x := range kafka.Topics() {
		want("topics", fmt.Sprintf("\n| `%s` | %d |", x.Name, x.Partitions))
	}
	for _, h := range []string{kafka.HeaderKind, kafka.HeaderSeq, kafka.HeaderHost, kafka.HeaderReceived, kafka.HeaderSource, kafka.HeaderSize, kafka.HeaderSHA256, kafka.HeaderDetail} {
		want("topics", "\n| `"+h+"` |")
	}
	for _, s := range node.Sources {
		want("topics", "\n| `"+s.Group+"` | `"+s.Topic+"` |")
	}
	for _, code := range []int{cli.ExitOK, cli.ExitRuntime, cli.ExitUsage, cli.ExitConnect, cli.ExitFailed, cli.ExitUnclear, cli.ExitAborted} {
		want("exit-codes", fmt.Sprintf("\n| %d |", code))
	}
	want("redis", "weir:tally:GROUP:TOPIC:PARTITION")
}

func commandsPage(all []*cobra.Command) string {
	var b strings.Builder
	b.WriteString("# Commands\n\nEvery command of weir with its flags, as `weir COMMAND --help` prints them. Each flag that has a\n" +
		"variable can also be set in the environment: see [settings](settings.md).\n" + generated)
	b.WriteString("\n" + doctest.Row("command", "what it does") + doctest.Row("---", "---"))
	for _, c := range all {
		b.WriteString(doctest.Row(fmt.Sprintf("[%s](#%s)", c.CommandPath(), anchor(c.CommandPath())), c.Short))
	}
	for _, c := range all {
		fmt.Fprintf(&b, "\n## %s\n\n%s.\n", c.CommandPath(), strings.TrimSuffix(c.Short, "."))
		if c.Long != "" {
			b.WriteString("\n" + prose(c.Long))
		}
		fmt.Fprintf(&b, "\nUsage: `%s`\n", c.UseLine())
		if c.Example != "" {
			fmt.Fprintf(&b, "\n```sh\n%s\n```\n", strings.ReplaceAll(strings.TrimPrefix(c.Example, "  "), "\n  ", "\n"))
		}
		rows := ""
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Hidden || f.Name == "help" {
				return
			}
			name, about := pflag.UnquoteUsage(f)
			flag := strings.TrimSpace("--" + f.Name + " " + name)
			if f.Shorthand != "" {
				flag = "-" + f.Shorthand + ", " + flag
			}
			rows += doctest.Row(doctest.Code(flag), doctest.Code(defaultOf(f)), escaped(about))
		})
		if rows != "" {
			b.WriteString("\n" + doctest.Row("flag", "default", "meaning") + doctest.Row("---", "---", "---") + rows)
		}
	}
	return b.String()
}

// settingsPage lists the variables: each sets a flag of one or several commands.
func settingsPage(all []*cobra.Command) string {
	type setting struct {
		flag, about  string
		presets, use []string
	}
	byName := map[string]*setting{}
	for _, c := range all {
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			name := variableOf(f)
			if name == "" || f.Hidden {
				return
			}
			_, about := pflag.UnquoteUsage(f)
			s := byName[name]
			if s == nil {
				s = &setting{flag: "--" + f.Name, about: about}
				byName[name] = s
			}
			if d := defaultOf(f); d != "" && !slices.Contains(s.presets, doctest.Code(d)) {
				s.presets = append(s.presets, doctest.Code(d))
			}
			s.use = append(s.use, strings.TrimPrefix(c.CommandPath(), "weir "))
		})
	}
	var b strings.Builder
	b.WriteString("# Settings\n\nA flag overrides its variable, and a variable overrides the default. weir rejects a variable that\n" +
		"begins with `WEIR_` and that no flag knows. `KAFKA_BROKER` works like `WEIR_KAFKA`.\n\n" +
		"Passwords have no flags, because everybody on a machine can see arguments: `WEIR_KAFKA_PASSWORD` is\n" +
		"the password for SASL, and `WEIR_REDIS_PASSWORD` that of a Redis URL without one. `NO_COLOR` turns\n" +
		"colours off.\n" + generated + "\n" +
		doctest.Row("variable", "flag", "default", "meaning", "commands") + doctest.Row("---", "---", "---", "---", "---"))
	for _, name := range sortedKeys(byName) {
		s := byName[name]
		use := strings.Join(s.use, ", ")
		if len(s.use) > 6 {
			use = fmt.Sprintf("%s and %d more", strings.Join(s.use[:4], ", "), len(s.use)-4)
		}
		b.WriteString(doctest.Row(doctest.Code(name), doctest.Code(s.flag), strings.Join(s.presets, ", "), escaped(s.about), use))
	}
	return b.String()
}

// defaultOf is the default of a flag, empty where it is no value.
func defaultOf(f *pflag.Flag) string {
	switch f.DefValue {
	case "false", "[]", "0s":
		return ""
	}
	return strings.Trim(f.DefValue, "[]")
}

// prose is the long text of a command: paragraphs, and indented lines that are code.
func prose(long string) string {
	var b strings.Builder
	for line := range strings.SplitSeq(strings.TrimSpace(long), "\n") {
		if strings.HasPrefix(line, "  ") {
			b.WriteString("  " + line + "\n")
		} else {
			b.WriteString(escaped(line) + "\n")
		}
	}
	return b.String()
}

// escaped is text in which nothing is markup.
func escaped(text string) string {
	return strings.NewReplacer("*", `\*`, "<", `\<`, "[", `\[`, "]", `\]`, "`", "\\`").Replace(text)
}

// anchor is what GitHub makes of a heading of letters, spaces and dashes.
func anchor(heading string) string { return strings.ReplaceAll(strings.ToLower(heading), " ", "-") }

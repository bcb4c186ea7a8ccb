package run

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// block is one fenced block of a document that is executed, or a file that is written.
type block struct {
	line int // of its fence
	file string
	body string // of a file
	// stays, interrupt and kill name a program that goes on running.
	stays, interrupt, kill string
	soon                   bool
	exit                   int
	needs                  []string
	commands               []command
}

// command is one line behind "$ ", and what a reader sees below it.
type command struct {
	line int
	text string
	want []string
}

// shownOnly are the languages of blocks that nobody types.
var shownOnly = []string{"text", "properties", "yaml", "json", "python", "go", "powershell", "dockerfile"}

// parse returns the blocks of a document. A block that would silently not be executed is an error.
func parse(src string) ([]block, error) {
	var out []block
	lines := strings.Split(src, "\n")
	for i := 0; i < len(lines); i++ {
		if strings.HasPrefix(lines[i], "    ") && (i == 0 || strings.TrimSpace(lines[i-1]) == "") {
			return nil, fmt.Errorf("line %d: an indented block is not executed: fence it", i+1)
		}
		fence := strings.TrimSpace(lines[i])
		if !strings.HasPrefix(fence, "```") {
			continue
		}
		indent := lines[i][:len(lines[i])-len(strings.TrimLeft(lines[i], " "))]
		start := i + 1
		for i++; i < len(lines) && strings.TrimSpace(lines[i]) != "```"; i++ {
			lines[i] = strings.TrimPrefix(lines[i], indent)
		}
		if i == len(lines) {
			return nil, fmt.Errorf("line %d: the block does not end", start)
		}
		b, err := parseBlock(strings.Fields(fence[3:]), lines[start:i], start)
		if err != nil {
			return nil, err
		}
		if b != nil {
			out = append(out, *b)
		}
	}
	return out, nil
}

func parseBlock(info, body []string, line int) (*block, error) {
	if len(info) == 0 {
		return nil, fmt.Errorf("line %d: a block without a language: console, or one of %s", line, strings.Join(shownOnly, ", "))
	}
	b := &block{line: line}
	for _, word := range info[1:] {
		name, value, _ := strings.Cut(word, "=")
		switch name {
		case "file":
			b.file, b.body = value, strings.Join(body, "\n")+"\n"
		case "stays":
			b.stays = value
		case "interrupt":
			b.interrupt = value
		case "kill":
			b.kill = value
		case "soon":
			b.soon = true
		case "exit":
			b.exit, _ = strconv.Atoi(value)
		case "needs":
			b.needs = strings.Split(value, ",")
		default:
			return nil, fmt.Errorf("line %d: %q is not a word of a block", line, word)
		}
	}
	switch {
	case b.file != "":
		return b, nil
	case info[0] != "console" && slices.Contains(shownOnly, info[0]):
		return nil, nil
	case info[0] != "console":
		return nil, fmt.Errorf("line %d: %q is not console, nor one of %s", line, info[0], strings.Join(shownOnly, ", "))
	}
	for i, l := range body {
		text, isCommand := strings.CutPrefix(l, "$ ")
		switch {
		case b.interrupt != "" && l == "^C" && i == 0:
			b.commands = []command{{line: line + 1}}
		case isCommand && b.interrupt == "":
			b.commands = append(b.commands, command{line: line + 1 + i, text: text})
		case len(b.commands) == 0:
			return nil, fmt.Errorf("line %d: a block of console begins with \"$ \" and a command, or with ^C", line+1+i)
		default:
			last := &b.commands[len(b.commands)-1]
			if rest, more := strings.CutPrefix(l, "> "); more && strings.HasSuffix(last.text, `\`) {
				last.text = strings.TrimSuffix(last.text, `\`) + rest
				continue
			}
			last.want = append(last.want, l)
		}
	}
	if len(b.commands) == 0 {
		return nil, fmt.Errorf("line %d: a block of console without a command", line)
	}
	return b, nil
}

// anyNumber has commas only between thousands: 1,2,0 is a list, of which each number counts.
const anyNumber = `[0-9]+(?:,[0-9]{3})*(?:\.[0-9]+)*`

var number = regexp.MustCompile(anyNumber)

// pattern returns what a line of a document may be on the screen.
func pattern(line string) *regexp.Regexp {
	var out strings.Builder
	for i, part := range strings.Split(strings.Join(strings.Fields(line), " "), "…") {
		if i > 0 {
			out.WriteString(".*")
		}
		at := 0
		for _, m := range number.FindAllStringIndex(part, -1) {
			out.WriteString(regexp.QuoteMeta(part[at:m[0]]))
			if m[1]-m[0] == 1 {
				out.WriteString(part[m[0]:m[1]])
			} else {
				out.WriteString(anyNumber)
			}
			at = m[1]
		}
		out.WriteString(regexp.QuoteMeta(part[at:]))
	}
	return regexp.MustCompile("^" + out.String() + "$")
}

// shows returns the first line of want that output does not show in its place, or "". open says
// that more may come: then want must appear, and what follows it does not matter.
func shows(want []string, output string, open bool) string {
	var got []string
	for l := range strings.Lines(output) {
		if l = strings.Join(strings.Fields(l), " "); l != "" {
			got = append(got, l)
		}
	}
	want = slices.DeleteFunc(slices.Clone(want), func(l string) bool { return strings.TrimSpace(l) == "" })
	deepest := 0
	var match func(w, g int) bool
	match = func(w, g int) bool {
		deepest = max(deepest, w)
		switch {
		case w == len(want):
			return open || g == len(got)
		case strings.TrimSpace(want[w]) == "…":
			for ; g <= len(got); g++ {
				if match(w+1, g) {
					return true
				}
			}
			return false
		}
		return g < len(got) && pattern(want[w]).MatchString(got[g]) && match(w+1, g+1)
	}
	switch {
	case match(0, 0):
		return ""
	case deepest == len(want):
		return "the end of the output"
	}
	return want[deepest]
}

func TestShows(t *testing.T) {
	const output = "created topic orders: 3 partitions\n\nPARTITION   HIGH\n        0   1,204\nlost 0, read in 0.4 s\n"
	for _, x := range []struct {
		name, want, missing string
		open                bool
	}{
		{"the same", output, "", false},
		{"other long numbers", "created topic orders: 3 partitions\nPARTITION HIGH\n0 77\nlost 0, read in 12.5 s", "", false},
		{"another short number", "created topic orders: 2 partitions\n…", "created topic orders: 2 partitions", false},
		{"a loss", "…\nlost 1, read in 0.4 s", "lost 1, read in 0.4 s", false},
		{"any lines", "created topic orders…\n…\nlost 0, …", "", false},
		{"a line too few", "created topic orders: 3 partitions\nPARTITION HIGH", "the end of the output", false},
		{"more may come", "created topic orders: 3 partitions\nPARTITION HIGH", "", true},
		{"a line too many", output + "and more", "and more", false},
		{"another order", "PARTITION HIGH\n…", "PARTITION HIGH", false},
		{"a list", "…\nlost 0, read in 0.4 s\nreplicas 1,2,0", "replicas 1,2,0", false},
		{"a dot is a dot", "created topic orders. 3 partitions\n…", "created topic orders. 3 partitions", false},
	} {
		if got := shows(strings.Split(x.want, "\n"), output, x.open); got != x.missing {
			t.Errorf("%s: %q is missing, want %q", x.name, got, x.missing)
		}
	}
}

func TestParse(t *testing.T) {
	blocks, err := parse("# Title\n\n1. Do:\n\n   ```console stays=up needs=kcat,java\n   $ a \\\n   > b\n   $ weir up\n   …\n   Ctrl-C stops\n   ```\n\n" +
		"```python file=x.py\nprint()\n```\n\n```text\nshown\n```\n\n```console interrupt=up\n^C\nthe end\n```\n\n```console exit=4 soon\n$ c\n```\n")
	if err != nil {
		t.Fatal(err)
	}
	want := []block{
		{line: 5, stays: "up", needs: []string{"kcat", "java"}, commands: []command{{line: 6, text: "a b"}, {line: 8, text: "weir up", want: []string{"…", "Ctrl-C stops"}}}},
		{line: 13, file: "x.py", body: "print()\n"},
		{line: 21, interrupt: "up", commands: []command{{line: 22, want: []string{"the end"}}}},
		{line: 26, exit: 4, soon: true, commands: []command{{line: 27, text: "c"}}},
	}
	if got := fmt.Sprintf("%+v", blocks); got != fmt.Sprintf("%+v", want) {
		t.Errorf("the blocks are\n%s\nwant\n%+v", got, want)
	}
	for _, bad := range []string{
		"```\n$ a\n```\n", "```bash\n$ a\n```\n", "```console later\n$ a\n```\n", "```console\na\n```\n",
		"```console\n```\n", "```console\n$ a\n", "text\n\n    $ a\n",
	} {
		if _, err := parse(bad); err == nil {
			t.Errorf("%q would not be executed, and no error says so", bad)
		}
	}
}

// notRun is how many blocks need something that not every machine has. A block that is marked
// is one that the gate may skip: a new one belongs here, too.
var notRun = map[string]int{"clone": 4, "cluster": 2, "docker": 1, "java": 5, "kcat": 1, "lab": 1, "network": 1, "python": 3, "redis-cli": 1}

// TestEveryBlockIsExecutedOrMarked reads the documents and runs nothing.
func TestEveryBlockIsExecutedOrMarked(t *testing.T) {
	marked, commands := map[string]int{}, 0
	for _, d := range documents(t) {
		for _, b := range d.blocks {
			commands += len(b.commands)
			for _, need := range b.needs {
				marked[need]++
			}
		}
	}
	if fmt.Sprint(marked) != fmt.Sprint(notRun) {
		t.Errorf("blocks are marked as needing %v, but %v are expected", marked, notRun)
	}
	if commands < 60 {
		t.Errorf("the documents have only %d commands: they are not read", commands)
	}
}

// TestLines holds README to a length that people read, and prose to a width that fits beside other windows.
func TestLines(t *testing.T) {
	guides, err := filepath.Glob("../how-to/*.md")
	if err != nil {
		t.Fatal(err)
	}
	explanations, err := filepath.Glob("../explanation/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(append([]string{"../../README.md", "../tutorial.md", "../teaching.md"}, guides...), explanations...) {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(string(raw), "\n"), "\n")
		readme := strings.HasSuffix(name, "README.md")
		if readme && len(lines) > 150 {
			t.Errorf("README has %d lines, and 150 are the most", len(lines))
		}
		for i, l := range lines {
			if n := utf8.RuneCountInString(l); n > 100 && (readme || !strings.HasPrefix(l, "|")) {
				t.Errorf("%s:%d has %d columns, and 100 are the most", name, i+1, n)
			}
		}
	}
}

// document is one of the texts that are executed.
type document struct {
	name   string
	blocks []block
}

func documents(t *testing.T) []document {
	t.Helper()
	guides, err := os.ReadDir("../how-to")
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"../../README.md", "../tutorial.md", "../teaching.md"}
	for _, g := range guides {
		names = append(names, "../how-to/"+g.Name())
	}
	var out []document
	for _, name := range names {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		blocks, err := parse(string(raw))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		out = append(out, document{name: strings.TrimSuffix(name[strings.LastIndex(name, "/")+1:], ".md"), blocks: blocks})
	}
	return out
}

package web

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// command is a command of weir, to be shown: its words, its positional arguments
// and its flags, each quoted where it needs to be.
type command struct {
	words string // the command, such as "groups reset"
	args  []string
	flags []string // name, value, name, value
}

// shown writes the command for a shell. Where says with which flags it finds the
// cluster. An argument that begins with a dash comes last, after --.
func (c command) shown(where []string) string {
	out := []string{"weir", c.words}
	dashed := false
	for _, a := range c.args {
		dashed = dashed || strings.HasPrefix(a, "-")
	}
	quoted := func(words []string) {
		for _, w := range words {
			out = append(out, ShellWord(w))
		}
	}
	if !dashed {
		quoted(c.args)
	}
	quoted(c.flags)
	quoted(where)
	if dashed {
		out = append(out, "--")
		quoted(c.args)
	}
	return strings.Join(out, " ")
}

// brokerAddress is where a command of another program connects: to a broker or,
// where that is not known to be alive, to any that is.
func (s *Server) brokerAddress(id int32) string {
	brokers := s.cfg.Watch.State().Cluster.Brokers
	if b := brokers[strconv.Itoa(int(id))]; b != nil && b.Alive {
		return ShellWord(b.Address)
	}
	for _, name := range slices.Sorted(maps.Keys(brokers)) {
		if b := brokers[name]; b.Alive {
			return ShellWord(b.Address)
		}
	}
	return "BROKER" // none is known yet
}

// filterWord writes a text that messages must contain as --filter reads it. A text
// that --filter would take for something else is written as a regular expression.
func filterWord(text string) string {
	special := text[0] == '.' || text[0] == '/' || strings.HasPrefix(text, "key=") || strings.HasPrefix(text, "header:")
	if !special {
		return text
	}
	return "/" + regexp.QuoteMeta(text) + "/"
}

package web

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/weir-project/weir/internal/visible"
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
	words := slices.Concat(c.flags, where)
	if slices.ContainsFunc(c.args, func(a string) bool { return strings.HasPrefix(a, "-") }) {
		words = slices.Concat(words, []string{"--"}, c.args)
	} else {
		words = slices.Concat(c.args, words)
	}
	for _, w := range words {
		out = append(out, visible.ShellWord(w))
	}
	return strings.Join(out, " ")
}

// weir is the command line of a command without flags of its own.
func weir(words string, where []string, args ...string) string {
	return command{words: words, args: args}.shown(where)
}

// brokerAddress is where a command of another program connects: to a broker or,
// where that is not known to be alive, to any that is.
func (s *Server) brokerAddress(id int32) string {
	brokers := s.cfg.Watch.State().Cluster.Brokers
	for _, name := range append([]string{strconv.Itoa(int(id))}, slices.Sorted(maps.Keys(brokers))...) {
		if b := brokers[name]; b != nil && b.Alive {
			return visible.ShellWord(b.Address)
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

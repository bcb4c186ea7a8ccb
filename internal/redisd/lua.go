package redisd

import (
	"crypto/sha1" //nolint:gosec // scripts are known by it; it guards nothing
	_ "embed"
	"encoding/hex"
	"regexp"
	"slices"
	"strings"
)

// miniredis' scripts have no bit, struct and cmsgpack, and a cjson that makes an array
// of an empty table and does not know null. Scripts that name one of the four are run
// with libraries in Lua in front of them; others run as they are, at no cost.

//go:embed libs.lua
var libsLua string

// libraries is libs.lua in one line.
var libraries = func() string {
	var b strings.Builder
	for l := range strings.Lines(libsLua) {
		if l = strings.TrimSpace(l); !strings.HasPrefix(l, "--") {
			b.WriteString(l + " ")
		}
	}
	return b.String()
}()

// maxCompiled bounds the scripts that are compiled together with the libraries, 1 MB
// each, for miniredis keeps what it compiled for ever. A script beyond it is compiled
// again with each call, by compileHere, which gets it as the last argument.
const maxCompiled = 64

const compileHere = ` local script, problem = loadstring(table.remove(ARGV)) if not script then error(problem) end return script()`

var namesLibrary = regexp.MustCompile(`\b(bit|struct|cmsgpack|cjson)\b`)

// withLibraries replaces EVAL and EVALSHA of a script that needs the libraries. miniredis
// keeps the script itself, under the digest that clients know. The caller holds the gate.
func (s *Server) withLibraries(args []string) []string {
	if len(args) < 3 {
		return args
	}
	switch cmd := strings.ToUpper(args[0]); cmd {
	case "SCRIPT":
		if strings.EqualFold(args[1], "LOAD") && namesLibrary.MatchString(args[2]) {
			s.scripts[digest(args[2])] = args[2]
		}
	case "EVAL", "EVAL_RO":
		if !namesLibrary.MatchString(args[1]) {
			return args
		}
		sha := digest(args[1])
		if s.scripts[sha] == "" || !s.knows(sha) {
			if s.internal().do(0, "SCRIPT", "LOAD", args[1]) == nil {
				return args // does not compile: EVAL says where
			}
			s.scripts[sha] = args[1]
		}
		return s.prepend(cmd, sha, args)
	case "EVALSHA", "EVALSHA_RO":
		if s.scripts[args[1]] != "" && s.knows(args[1]) {
			return s.prepend(strings.Replace(cmd, "SHA", "", 1), args[1], args)
		}
	}
	return args
}

// prepend returns the EVAL that runs a script behind the libraries.
func (s *Server) prepend(cmd, sha string, args []string) []string {
	script := s.scripts[sha]
	if s.compiled[sha] || len(s.compiled) < maxCompiled {
		s.compiled[sha] = true
		return append([]string{cmd, libraries + script}, args[2:]...)
	}
	return slices.Concat([]string{cmd, libraries + compileHere}, args[2:], []string{script})
}

// knows reports whether miniredis has a script: SCRIPT FLUSH may have removed it.
func (s *Server) knows(sha string) bool {
	found := list(s.internal().do(0, "SCRIPT", "EXISTS", sha))
	return len(found) == 1 && found[0] == 1
}

func digest(script string) string {
	sum := sha1.Sum([]byte(script)) //nolint:gosec // as above
	return hex.EncodeToString(sum[:])
}

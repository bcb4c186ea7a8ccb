package redisd

import (
	"bytes"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // scripts are known by it; it guards nothing
	"encoding/hex"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/alicebob/miniredis/v2/server"
	lua "github.com/yuin/gopher-lua"
)

// miniredis runs scripts without any limit: a script that does not end, or returns a
// table that holds itself, would stop every client or the process. So scripts run here,
// in the same interpreter, and miniredis serves the commands that they call.

// scripting are the commands that this package answers itself, under the gate.
var scripting = set("EVAL", "EVAL_RO", "EVALSHA", "EVALSHA_RO", "SCRIPT")

// maxEvaluated bounds the scripts that EVAL leaves behind; a real Redis keeps as many.
const maxEvaluated = 500

// script is one compiled script.
type script struct {
	sha       string
	proto     *lua.FunctionProto
	libraries bool // it names one
	loaded    bool // with SCRIPT LOAD: stays until SCRIPT FLUSH
}

// scriptStore holds the scripts that the server knows. All is under the gate.
type scriptStore struct {
	bySHA     map[string]*script
	evaluated []string // by EVAL alone, the oldest first

	// nested is miniredis' context of a running script.
	nested any
	// executing is the client whose EXEC runs, and secret what miniredis calls back with.
	executing *client
	secret    string
}

// hiddenPrefix begins the name of the command by which EXEC comes back to here.
const hiddenPrefix = "WEIR.SCRIPT."

// prepare registers the hidden command, and learns what miniredis' context of a script is.
func (s *Server) prepare() error {
	s.scripts = scriptStore{bySHA: map[string]*script{}, secret: hiddenPrefix + strings.ToUpper(rand.Text())}
	err := s.redis.Server().Register(s.scripts.secret, func(p *server.Peer, _ string, args []string) {
		if c := s.scripts.executing; c != nil && len(args) == 1 {
			i, _ := strconv.Atoi(args[0])
			c.replies = append(c.replies, s.script(c.scripts[i], p.Ctx, database(p.Ctx), c.peer.Resp3))
		} else {
			s.scripts.nested = p.Ctx
		}
		p.WriteBulk(s.scripts.secret)
	})
	if err != nil {
		return err
	}
	in := s.inner(nil)
	if in.do(0, "EVAL", "return redis.call(unpack(ARGV))", "0", s.scripts.secret); s.scripts.nested == nil {
		return fmt.Errorf("run a script: %w", in.err)
	}
	return nil
}

// answerScript answers a scripting command. The caller holds the gate. Inside MULTI
// miniredis queues the call of the hidden command instead.
func (c *client) answerScript(args []string) {
	s := c.s
	if c.multi {
		c.scripts = append(c.scripts, args)
		s.redis.Server().Dispatch(c.peer, []string{
			"EVAL", "return redis.call(unpack(ARGV))", "0",
			s.scripts.secret, strconv.Itoa(len(c.scripts) - 1),
		})
		return
	}
	s.redis.Lock()
	defer s.redis.Unlock()
	c.peer.WriteRaw(string(s.script(args, s.scripts.nested, database(c.peer.Ctx), c.peer.Resp3)))
}

// exec runs a transaction that has scripts in it, and puts their replies where
// miniredis wrote the secret. The caller holds the gate.
func (c *client) exec(args []string) {
	s := c.s
	c.out.sending.Lock()
	defer c.out.sending.Unlock()
	s.scripts.executing = c
	defer func() { s.scripts.executing, c.scripts, c.replies = nil, nil, nil }()
	c.rewritten(func() { s.redis.Server().Dispatch(c.peer, args) }, func(reply []byte) []byte {
		marker := fmt.Appendf(nil, "$%d\r\n%s\r\n", len(s.scripts.secret), s.scripts.secret)
		for _, r := range c.replies {
			reply = bytes.Replace(reply, marker, r, 1)
		}
		return reply
	})
}

// database is the number of the database that a connection or a script has selected,
// which miniredis keeps to itself.
func database(ctx any) string {
	if ctx == nil {
		return "0"
	}
	return strconv.FormatInt(reflect.ValueOf(ctx).Elem().FieldByName("selectedDB").Int(), 10)
}

// malformed is the error for a scripting command that is not even queued, or "".
func malformed(args []string) string {
	least := 3
	if strings.EqualFold(args[0], "SCRIPT") {
		least = 2
	}
	if len(args) < least {
		return "ERR wrong number of arguments for '" + strings.ToLower(args[0]) + "' command"
	}
	return ""
}

// script answers a scripting command. The caller holds the gate and miniredis' lock.
func (s *Server) script(args []string, nested any, db string, resp3 bool) []byte {
	if message := malformed(args); message != "" {
		return errorReply(message)
	}
	cmd := strings.ToUpper(args[0])
	if cmd == "SCRIPT" {
		return s.manageScripts(args)
	}
	n, err := strconv.Atoi(args[2])
	switch {
	case err != nil:
		return errorReply("ERR value is not an integer or out of range")
	case n < 0:
		return errorReply("ERR Number of keys can't be negative")
	case n > len(args)-3:
		return errorReply("ERR Number of keys can't be greater than number of args")
	}
	var sc *script
	if strings.HasPrefix(cmd, "EVALSHA") {
		if sc = s.scripts.bySHA[strings.ToLower(args[1])]; sc == nil {
			return errorReply("NOSCRIPT No matching script. Please use EVAL.")
		}
	} else if sc, err = s.scripts.add(args[1], false); err != nil {
		return errorReply(compileError(err))
	}
	return s.run(sc, nested, db, strings.HasSuffix(cmd, "_RO"), resp3, args[3:3+n], args[3+n:])
}

func compileError(err error) string {
	return "ERR Error compiling script (new function): " + strings.TrimSpace(err.Error())
}

// digest is the name of a script.
func digest(source string) string {
	sum := sha1.Sum([]byte(source)) //nolint:gosec // as above
	return hex.EncodeToString(sum[:])
}

// add returns the script of a source, and keeps it.
func (s *scriptStore) add(source string, load bool) (*script, error) {
	sha := digest(source)
	sc := s.bySHA[sha]
	if sc == nil {
		proto, err := compile(source, "user_script", true)
		if err != nil {
			return nil, err
		}
		sc = &script{sha: sha, proto: proto, libraries: namesLibrary.MatchString(source), loaded: load}
		s.bySHA[sha] = sc
		if !load {
			s.evaluated = append(s.evaluated, sha)
		}
		if len(s.evaluated) > maxEvaluated {
			delete(s.bySHA, s.evaluated[0])
			s.evaluated = s.evaluated[1:]
		}
	}
	if load && !sc.loaded {
		sc.loaded = true
		s.evaluated = slices.DeleteFunc(s.evaluated, func(e string) bool { return e == sha })
	}
	return sc, nil
}

// manageScripts answers SCRIPT.
func (s *Server) manageScripts(args []string) []byte {
	switch sub := strings.ToUpper(args[1]); {
	case sub == "LOAD" && len(args) == 3:
		sc, err := s.scripts.add(args[2], true)
		if err != nil {
			return errorReply(compileError(err))
		}
		return fmt.Appendf(nil, "$%d\r\n%s\r\n", len(sc.sha), sc.sha)
	case sub == "EXISTS" && len(args) > 2:
		reply := fmt.Appendf(nil, "*%d\r\n", len(args)-2)
		for _, sha := range args[2:] {
			known := 0
			if s.scripts.bySHA[strings.ToLower(sha)] != nil {
				known = 1
			}
			reply = fmt.Appendf(reply, ":%d\r\n", known)
		}
		return reply
	case sub == "FLUSH" && (len(args) == 2 || len(args) == 3 && (strings.EqualFold(args[2], "SYNC") || strings.EqualFold(args[2], "ASYNC"))):
		s.scripts.bySHA, s.scripts.evaluated = map[string]*script{}, nil
		return []byte("+OK\r\n")
	case sub == "FLUSH":
		return errorReply("ERR SCRIPT FLUSH only support SYNC|ASYNC option")
	}
	return errorReply("ERR unknown subcommand or wrong number of arguments for " + head(args) + ". Try SCRIPT HELP.")
}

// scriptKill answers SCRIPT KILL, which does not wait for the gate.
func (c *client) scriptKill(args []string) bool {
	if c.multi || len(args) != 2 || !strings.EqualFold(args[1], "KILL") {
		return false
	}
	c.peer.WriteRaw(string(c.s.kill()))
	return true
}

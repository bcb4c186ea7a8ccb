package redisd

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"math"
	"regexp"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// Limits of one script. Those of Lua itself are like the ones of a real Redis.
const (
	// scriptLimit is how long a script may run that wrote nothing. Nobody else is served
	// meanwhile: a real Redis begins to answer BUSY after this time.
	scriptLimit = 5 * time.Second
	// patience is how many times as long a script may run that wrote. To stop it half-way
	// leaves data as no script leaves them, so only one that would never end may get there.
	patience = 6
	// scriptMemory bounds what a script holds, looked at every watchEvery.
	scriptMemory = 256 << 20
	watchEvery   = 20 * time.Millisecond
	maxCalls     = 16_000    // functions that call each other
	maxRegisters = 128 << 10 // values on Lua's stack
	maxResults   = 8000      // values that one function returns
	maxSource    = 1 << 20
	maxResumes   = 190 // coroutines that wait for each other
)

func init() {
	// A table as a list of this many elements at most: gopher-lua fills the list up to
	// the largest index that a script names, and 64 million are a gigabyte.
	lua.MaxArrayIndex = 1 << 22
}

//go:embed base.lua
var baseLua string

//go:embed libs.lua
var libsLua string

// The parts of this package that are written in Lua: what every script finds, and bit,
// struct, cmsgpack and cjson. Scripts that name one of these four get all of them.
var (
	base         = sync.OnceValue(func() *lua.FunctionProto { return mustCompile(baseLua, "base") })
	libraries    = sync.OnceValue(func() *lua.FunctionProto { return mustCompile(libsLua, "libs") })
	namesLibrary = regexp.MustCompile(`\b(bit|struct|cmsgpack|cjson)\b`)
)

// Reasons for ending a script.
var (
	errScriptTime = fmt.Errorf("the script ran longer than %s (%s after a write) and was stopped; what it wrote until then stays. "+
		"Longer scripts are%s", scriptLimit, patience*scriptLimit, notServed)
	errScriptMemory = fmt.Errorf("the script needed more than %d MB and was stopped; what it wrote until then stays. "+
		"Larger scripts are%s", scriptMemory>>20, notServed)
	errScriptKilled = errors.New("Error running script: Script killed by user with SCRIPT KILL")
)

// run is one script while it runs.
type run struct {
	s        *Server
	script   *script
	readOnly bool
	stop     context.CancelCauseFunc
	wrote    atomic.Bool

	in *inner // for the commands that it calls
}

// run runs a script. nested is miniredis' context of a script, which calls commands
// without taking the lock; the caller holds the lock and the gate.
func (s *Server) run(sc *script, nested any, db string, readOnly, resp3 bool, keys, args []string) []byte {
	ctx, stop := context.WithCancelCause(context.Background())
	defer stop(nil)
	r := &run{s: s, script: sc, readOnly: readOnly, stop: stop, in: s.inner(nested)}
	_, _ = r.in.dispatch("SELECT", db)
	s.running.Store(r)
	defer s.running.Store(nil)
	defer r.watch(s.scriptLimit)()

	l := lua.NewState(lua.Options{
		SkipOpenLibs: true, CallStackSize: maxCalls, MinimizeStackMemory: true,
		RegistrySize: 1 << 10, RegistryGrowStep: 8 << 10, RegistryMaxSize: maxRegisters,
	})
	defer l.Close()
	r.open(l, keys, args)
	l.SetContext(ctx) // only now: a script that is stopped before would raise an error that nothing catches
	l.Push(l.NewFunctionFromProto(sc.proto))
	at := ""
	err := l.PCall(0, 1, l.NewFunction(func(l *lua.LState) int {
		at = line(l)
		return 1
	}))
	var reply []byte
	if err == nil {
		reply = encodeReply(ctx, l.Get(-1), resp3)
	} else {
		reply = r.failure(err, at)
	}
	if cause := context.Cause(ctx); cause != nil {
		if !errors.Is(cause, errScriptKilled) {
			s.log.Warn("redis: stopped a script", "sha", sc.sha, "reason", cause)
		}
		return errorReply("ERR " + cause.Error())
	}
	return reply
}

// watch stops a script that takes too much time or memory. It returns what ends it. Time
// is counted in looks, so that it stands still while the process is stopped or starved.
func (r *run) watch(limit time.Duration) func() {
	every := min(watchEvery, limit)
	over := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		first := uint64(math.MaxUint64)
		for spent := every; ; spent += every {
			select {
			case <-over:
				return
			case <-tick.C:
			}
			allowed := limit
			if r.wrote.Load() {
				allowed = patience * limit
			}
			first = min(first, heap()) // what is collected meanwhile was not the script's
			switch {
			case spent >= allowed:
				r.stop(errScriptTime)
				return
			case r.needs(first):
				r.stop(errScriptMemory)
				return
			}
		}
	})
	return func() {
		close(over)
		watching.Wait()
	}
}

// needs reports whether a script holds too much. What others have left behind does not
// count, unless it is so much that there is no time to find out.
func (r *run) needs(before uint64) bool {
	if heap() <= before+scriptMemory {
		return false
	}
	if r.wrote.Load() || heap() <= before+2*scriptMemory {
		runtime.GC()
	}
	return heap() > before+scriptMemory
}

// heap is how many bytes objects take.
func heap() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// alive ends a script that is to stop, from inside a function that takes long.
func alive(l *lua.LState) {
	if err := l.Context().Err(); err != nil {
		l.RaiseError("%s", err.Error())
	}
}

// kill ends the running script for SCRIPT KILL, as Redis does: not after it wrote.
func (s *Server) kill() []byte {
	r := s.running.Load()
	switch {
	case r == nil:
		return errorReply("NOTBUSY No scripts in execution right now.")
	case r.wrote.Load():
		return errorReply("UNKILLABLE Sorry the script already executed write commands against the dataset. " +
			"It is stopped when it has run for " + (patience * s.scriptLimit).String() + ".")
	}
	r.stop(errScriptKilled)
	return []byte("+OK\r\n")
}

var position = regexp.MustCompile(`^user_script:(\d+):`)

// line is where in the script the innermost function is that belongs to it, as
// Redis appends it to errors.
func line(l *lua.LState) string {
	for level := range maxNamed {
		if at := position.FindStringSubmatch(l.Where(level)); at != nil {
			return ", on @user_script:" + at[1] + "."
		}
	}
	return ""
}

// maxNamed bounds the calls that are looked at for the line of an error.
const maxNamed = 20

// failure is the reply after an error in a script.
func (r *run) failure(err error, at string) []byte {
	v, ofCommand := raised(err)
	message := v.String()
	if v.Type() == lua.LTTable {
		message = "the script raised a table without a field err"
	}
	if !ofCommand {
		message = "ERR " + message
	}
	return errorReply(message + " script: " + r.script.sha + at)
}

// call is redis.call and redis.pcall.
func (r *run) call(raise bool) lua.LGFunction {
	return func(l *lua.LState) int {
		v, message := r.command(l)
		if message == "" {
			l.Push(v)
			return 1
		}
		t := l.NewTable()
		t.RawSetString("err", lua.LString(message))
		t.RawSetString("source", lua.LString("@user_script"))
		if raise {
			l.Error(t, 1)
		}
		l.Push(t)
		return 1
	}
}

// notFromScripts are commands that a script must not call, for they belong to a connection.
var notFromScripts = set("AUTH", "HELLO", "QUIT", "MULTI", "EXEC", "DISCARD", "WATCH", "UNWATCH", "SUBSCRIBE", "UNSUBSCRIBE",
	"PSUBSCRIBE", "PUNSUBSCRIBE", "EVAL", "EVAL_RO", "EVALSHA", "EVALSHA_RO", "SCRIPT", "CLIENT")

// command lets miniredis answer a command of a script, or returns an error message.
func (r *run) command(l *lua.LState) (reply lua.LValue, message string) {
	alive(l)
	args := make([]string, l.GetTop())
	if len(args) == 0 {
		return nil, "ERR Please specify at least one argument for this redis lib call"
	}
	for i := range args {
		switch a := l.Get(i + 1).(type) {
		case lua.LNumber, lua.LString:
			args[i] = a.String()
		default:
			return nil, "ERR Lua redis lib command arguments must be strings or integers"
		}
	}
	srv, cmd := r.s.redis.Server(), strings.ToUpper(args[0])
	writes := !inert[cmd] && !srv.IsReadOnlyCommand(cmd)
	switch {
	case own[cmd] != nil && cmd != "INFO" || notFromScripts[cmd]:
		return nil, "ERR This Redis command is not allowed from script"
	case strings.HasPrefix(cmd, hiddenPrefix), !srv.IsRegisteredCommand(cmd):
		return nil, "ERR Unknown Redis command called from script"
	case writes && r.readOnly:
		return nil, "ERR Write commands are not allowed from read-only scripts."
	case writes:
		r.wrote.Store(true)
	}
	if mayBlock[cmd] {
		args = withoutWaiting(cmd, args)
	}
	v, err := r.in.dispatch(args...)
	if err != nil {
		return nil, err.Error()
	}
	return toLua(l, v), ""
}

// withoutWaiting changes a command that can block, for a script never waits.
func withoutWaiting(cmd string, args []string) []string {
	const soon = "0.001" // seconds; 0 is for ever
	if cmd == "XREAD" || cmd == "XREADGROUP" {
		for i := 1; i+1 < len(args) && !strings.EqualFold(args[i], "STREAMS"); i++ {
			if strings.EqualFold(args[i], "BLOCK") {
				return append(args[:i:i], args[i+2:]...)
			}
		}
		return args
	}
	at := len(args) - 1
	if cmd == "BLMPOP" || cmd == "BZMPOP" {
		at = min(at, 1)
	}
	if f, err := strconv.ParseFloat(args[at], 64); err == nil && f >= 0 {
		args[at] = soon
	}
	return args
}

package redisd

import (
	"context"
	"strconv"
	"strings"

	"github.com/alicebob/miniredis/v2/server"
	lua "github.com/yuin/gopher-lua"
)

// maxReplyDepth bounds the tables inside each other that a script returns. A table
// that holds itself has no end, and Go cannot recover from a stack that overflows.
const maxReplyDepth = 2000

// maxScriptReply bounds a reply in bytes: a table that holds another one twice, and so
// on, has a reply that doubles with each.
const maxScriptReply = 64 << 20

// replyWriter makes the reply out of a value that a script returns.
type replyWriter struct {
	ctx     context.Context //nolint:containedctx // of the one call of encodeReply
	b       []byte
	resp3   bool
	problem string
}

// encodeReply is the reply for a value, or an error where it is too deep or too large.
func encodeReply(ctx context.Context, v lua.LValue, resp3 bool) []byte {
	w := &replyWriter{ctx: ctx, resp3: resp3}
	w.value(v, 0)
	if w.problem != "" {
		return errorReply(w.problem)
	}
	return w.b
}

func (w *replyWriter) value(v lua.LValue, depth int) {
	switch t := v.(type) {
	case lua.LBool:
		if t {
			w.b = append(w.b, ":1\r\n"...)
		} else {
			w.null()
		}
	case lua.LNumber:
		w.header(':', int64(t))
	case lua.LString:
		w.header('$', int64(len(t)))
		w.b = append(append(w.b, t...), "\r\n"...)
	case *lua.LTable:
		w.table(t, depth)
	default: // a function, say
		w.null()
	}
	if len(w.b) > maxScriptReply {
		w.problem = "ERR the reply of the script is larger than " + strconv.Itoa(maxScriptReply>>20) + " MB; larger ones are" + notServed
	}
}

func (w *replyWriter) table(t *lua.LTable, depth int) {
	if err := w.ctx.Err(); err != nil {
		w.problem = "ERR " + err.Error()
		return
	}
	if depth >= maxReplyDepth {
		w.problem = "ERR reached lua stack limit: the script returned tables more than " + strconv.Itoa(maxReplyDepth) +
			" deep; does one contain itself?"
		return
	}
	if s, ok := t.RawGetString("err").(lua.LString); ok {
		w.b = append(w.b, errorReply(string(s))...)
		return
	}
	if s, ok := t.RawGetString("ok").(lua.LString); ok {
		w.b = append(w.b, "+"+oneLine(string(s))+"\r\n"...)
		return
	}
	n := 0
	for t.RawGetInt(n+1) != lua.LNil {
		n++
	}
	w.header('*', int64(n))
	for i := 1; i <= n && w.problem == ""; i++ {
		w.value(t.RawGetInt(i), depth+1)
	}
}

func (w *replyWriter) header(kind byte, n int64) {
	w.b = append(strconv.AppendInt(append(w.b, kind), n, 10), "\r\n"...)
}

func (w *replyWriter) null() {
	if w.resp3 {
		w.b = append(w.b, "_\r\n"...)
	} else {
		w.b = append(w.b, "$-1\r\n"...)
	}
}

// oneLine keeps a script from writing more than one line of the protocol.
func oneLine(s string) string { return strings.NewReplacer("\r", " ", "\n", " ").Replace(s) }

func errorReply(message string) []byte {
	return []byte("-" + oneLine(strings.TrimPrefix(message, "-")) + "\r\n")
}

// toLua makes a value for a script out of the reply to a command.
func toLua(l *lua.LState, reply any) lua.LValue {
	switch r := reply.(type) {
	case int:
		return lua.LNumber(r)
	case string:
		return lua.LString(r)
	case server.Simple:
		t := l.NewTable()
		t.RawSetString("ok", lua.LString(r))
		return t
	case []any:
		t := l.CreateTable(len(r), 0)
		for i, e := range r {
			t.RawSetInt(i+1, toLua(l, e))
		}
		return t
	}
	return lua.LFalse
}

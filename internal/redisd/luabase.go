package redisd

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"

	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/ast"
	"github.com/yuin/gopher-lua/parse"
)

// maxNesting bounds how deep the parts of a script are inside each other, for
// gopher-lua compiles them by recursion.
const maxNesting = 10_000

// compile compiles a script. Errors say the line.
func compile(source, name string) (proto *lua.FunctionProto, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	if len(source) > maxSource {
		return nil, fmt.Errorf("%s: scripts of more than %d MB are%s", name, maxSource>>20, notServed)
	}
	chunk, err := parse.Parse(strings.NewReader(source), name)
	if err != nil {
		return nil, err
	}
	if walk(reflect.ValueOf(&chunk), name != "libs") {
		return nil, fmt.Errorf("%s: chunk has too many syntax levels", name)
	}
	return lua.Compile(chunk, name)
}

// walk reports whether a syntax tree is too deep, and makes the operator .. a call of
// join where bound is set. It does not recurse itself.
func walk(tree reflect.Value, bound bool) (deep bool) {
	type node struct {
		v     reflect.Value
		depth int
	}
	for todo := []node{{tree, 0}}; len(todo) > 0; {
		n := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if n.depth > maxNesting {
			return true
		}
		switch n.v.Kind() {
		case reflect.Interface, reflect.Pointer:
			if n.v.IsNil() {
				continue
			}
			if op, ok := n.v.Interface().(*ast.StringConcatOpExpr); ok && bound && n.v.CanSet() {
				n.v.Set(reflect.ValueOf(joining(op)))
			}
			todo = append(todo, node{n.v.Elem(), n.depth})
		case reflect.Slice:
			for i := range n.v.Len() {
				todo = append(todo, node{n.v.Index(i), n.depth})
			}
		case reflect.Struct:
			for i := range n.v.NumField() {
				todo = append(todo, node{n.v.Field(i), n.depth + 1})
			}
		default:
		}
	}
	return false
}

// joinName is the global by which scripts reach join. No script can write it as a name.
const joinName = "\x00join"

// joining is the call of join for a chain of the operator .. .
func joining(op *ast.StringConcatOpExpr) ast.Expr {
	call := &ast.FuncCallExpr{Func: &ast.IdentExpr{Value: joinName}, AdjustRet: true}
	call.SetLine(op.Line())
	call.SetLastLine(op.LastLine())
	call.Func.SetLine(op.Line())
	for more := true; more; {
		call.Args = append(call.Args, op.Lhs)
		last := op.Rhs
		if op, more = last.(*ast.StringConcatOpExpr); !more {
			call.Args = append(call.Args, last)
		}
		switch e := last.(type) { // an operand is one value
		case *ast.FuncCallExpr:
			e.AdjustRet = true
		case *ast.Comma3Expr:
			e.AdjustRet = true
		}
	}
	return call
}

// removed are functions of gopher-lua that reach files, the process or other functions'
// globals; a real Redis has none of them.
var removed = []string{"getfenv", "setfenv", "dofile", "loadfile", "print", "module", "require", "newproxy", "_printregs"}

// bounded replace functions of the base library.
var bounded = map[string]lua.LGFunction{
	"load": load, "loadstring": load, "pcall": pcall, "unpack": unpackTable,
	"error": func(l *lua.LState) int { // without an argument, too
		l.Error(l.Get(1), l.OptInt(2, 1))
		return 0
	},
	joinName: join,
	"collectgarbage": func(l *lua.LState) int {
		l.Push(lua.LNumber(0))
		return 1
	},
}

// pcall returns errors of commands as text, as Redis does. gopher-lua's own describes
// the whole stack with each error, tail calls by the million included.
func pcall(l *lua.LState) int {
	l.CheckAny(1)
	err := l.PCall(l.GetTop()-1, lua.MultRet, l.NewFunction(func(*lua.LState) int { return 1 }))
	if err == nil {
		l.Insert(lua.LTrue, 1)
		return l.GetTop()
	}
	l.Push(lua.LFalse)
	var api *lua.ApiError
	if !errors.As(err, &api) || api.Object == nil {
		l.Push(lua.LString(err.Error()))
		return 2
	}
	l.Push(api.Object)
	if t, ok := api.Object.(*lua.LTable); ok {
		if text, ok := t.RawGetString("err").(lua.LString); ok {
			l.Pop(1)
			l.Push(text)
		}
	}
	return 2
}

func unpackTable(l *lua.LState) int {
	t, i := l.CheckTable(1), l.OptInt(2, 1)
	j := t.Len()
	if l.Get(3) != lua.LNil {
		j = l.CheckInt(3)
	}
	if i > j {
		return 0
	}
	if uint64(j)-uint64(i) >= maxResults {
		l.RaiseError("too many results to unpack")
	}
	for k := i; k <= j; k++ {
		l.Push(t.RawGetInt(k))
	}
	return j - i + 1
}

// open gives a new state what a script finds in Redis.
func (r *run) open(l *lua.LState, keys, args []string) {
	for _, f := range []lua.LGFunction{lua.OpenBase, lua.OpenTable, lua.OpenString, lua.OpenMath, lua.OpenCoroutine} {
		l.Push(l.NewFunction(f))
		l.Call(0, 0)
	}
	for _, name := range removed {
		l.SetGlobal(name, lua.LNil)
	}
	l.SetFuncs(l.GetGlobal("string").(*lua.LTable), boundedStrings)
	l.SetField(l.GetGlobal("table"), "concat", l.NewFunction(concat))
	boundCoroutines(l)
	for name, f := range bounded {
		l.SetGlobal(name, l.NewFunction(f))
	}
	l.SetGlobal("os", l.SetFuncs(l.NewTable(), map[string]lua.LGFunction{"clock": clock}))
	l.SetGlobal("KEYS", texts(l, keys))
	l.SetGlobal("ARGV", texts(l, args))
	redis := r.library(l)
	l.SetGlobal("redis", redis)
	l.SetGlobal("server", redis)
	if r.script.libraries {
		proto, err := libraries()
		if err != nil {
			panic(err) // libs.lua is part of the program
		}
		null := l.NewUserData()
		null.Metatable = l.SetFuncs(l.NewTable(), map[string]lua.LGFunction{"__tostring": func(l *lua.LState) int {
			l.Push(lua.LString("userdata: NULL"))
			return 1
		}})
		l.Push(l.NewFunctionFromProto(proto))
		l.Push(null)
		l.Call(1, 0)
	}
	guardGlobals(l)
}

// maxResumes bounds the coroutines that wait for each other, as in Lua.
const maxResumes = 190

// boundCoroutines replaces coroutine.resume and coroutine.wrap: each coroutine that is
// resumed inside another one takes part of Go's stack.
func boundCoroutines(l *lua.LState) {
	lib := l.GetGlobal("coroutine").(*lua.LTable)
	create := lib.RawGetString("create").(*lua.LFunction).GFunction
	original := lib.RawGetString("resume").(*lua.LFunction).GFunction
	depth := 0
	resume := func(l *lua.LState) int {
		if depth++; depth > maxResumes {
			depth--
			l.RaiseError("C stack overflow")
		}
		defer func() { depth-- }()
		return original(l)
	}
	l.SetFuncs(lib, map[string]lua.LGFunction{
		"resume": resume,
		"wrap": func(l *lua.LState) int {
			create(l)
			co := l.Get(-1)
			l.Push(l.NewFunction(func(l *lua.LState) int {
				l.Insert(co, 1)
				n := resume(l)
				if !lua.LVAsBool(l.Get(-n)) {
					l.Error(l.Get(-1), 0)
				}
				return n - 1
			}))
			return 1
		},
	})
}

// guardGlobals makes a name that is not defined an error, as Redis does.
func guardGlobals(l *lua.LState) {
	say := func(what string) lua.LGFunction {
		return func(l *lua.LState) int {
			l.RaiseError("Script attempted to %s global variable '%s'", what, l.ToStringMeta(l.Get(2)))
			return 0
		}
	}
	l.G.Global.Metatable = l.SetFuncs(l.NewTable(), map[string]lua.LGFunction{
		"__index": say("access nonexistent"), "__newindex": say("create"),
	})
}

func texts(l *lua.LState, values []string) *lua.LTable {
	t := l.CreateTable(len(values), 0)
	for i, v := range values {
		t.RawSetInt(i+1, lua.LString(v))
	}
	return t
}

// load is loadstring, and load, which takes a function that returns pieces.
func load(l *lua.LState) int {
	var source bytes.Buffer
	if f, ok := l.Get(1).(*lua.LFunction); ok {
		for {
			l.Push(f)
			l.Call(0, 1)
			piece := l.Get(-1)
			l.Pop(1)
			if lua.LVIsFalse(piece) || piece.String() == "" {
				break
			}
			if source.WriteString(piece.String()); source.Len() > maxLuaString {
				tooLarge(l)
			}
		}
	} else {
		source.WriteString(l.CheckString(1))
	}
	proto, err := compile(source.String(), l.OptString(2, "user_script"))
	if err != nil {
		l.Push(lua.LNil)
		l.Push(lua.LString(strings.TrimSpace(err.Error())))
		return 2
	}
	l.Push(l.NewFunctionFromProto(proto))
	return 1
}

package redisd

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/ast"
	"github.com/yuin/gopher-lua/parse"
)

// maxNesting bounds how deep the parts of a script are inside each other, for
// gopher-lua compiles them by recursion.
const maxNesting = 10_000

// mustCompile compiles a part of this package.
func mustCompile(source, name string) *lua.FunctionProto {
	proto, err := compile(source, name, false)
	if err != nil {
		panic(err)
	}
	return proto
}

// compile compiles a script, with a bounded operator .. where bound is set. Errors say the line.
func compile(source, name string, bound bool) (proto *lua.FunctionProto, err error) {
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
	if walk(reflect.ValueOf(&chunk), bound) {
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

// bounded replace functions of the base library; base.lua has more of them.
var bounded = map[string]lua.LGFunction{
	"loadstring": loadString, "pcall": pcall, joinName: join,
	"error": func(l *lua.LState) int { // without an argument, too
		l.Error(l.Get(1), l.OptInt(2, 1))
		return 0
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
	v, _ := raised(err)
	l.Push(lua.LFalse)
	l.Push(v)
	return 2
}

// raised is the value that a script ended with: of a table with an error of a command, its text.
func raised(err error) (v lua.LValue, ofCommand bool) {
	var api *lua.ApiError
	if !errors.As(err, &api) || api.Object == nil {
		return lua.LString(err.Error()), false
	}
	if t, ok := api.Object.(*lua.LTable); ok {
		if text, ok := t.RawGetString("err").(lua.LString); ok {
			return text, true
		}
	}
	return api.Object, false
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
	for name, f := range bounded {
		l.SetGlobal(name, l.NewFunction(f))
	}
	l.SetGlobal("os", l.SetFuncs(l.NewTable(), map[string]lua.LGFunction{"clock": clock}))
	l.SetGlobal("KEYS", texts(l, keys))
	l.SetGlobal("ARGV", texts(l, args))
	redis := l.SetFuncs(l.NewTable(), map[string]lua.LGFunction{"call": r.call(true), "pcall": r.call(false), "sha1hex": sha1hex})
	redis.RawSetString("REDIS_VERSION", lua.LString(version))
	l.SetGlobal("redis", redis)
	include(l, base, redis, lua.LNumber(maxResults), lua.LNumber(maxResumes), lua.LNumber(maxSource))
	if r.script.libraries {
		null := l.NewUserData()
		null.Metatable = l.SetFuncs(l.NewTable(), map[string]lua.LGFunction{"__tostring": func(l *lua.LState) int {
			l.Push(lua.LString("userdata: NULL"))
			return 1
		}})
		include(l, libraries, null)
	}
}

// include runs a part of this package that is written in Lua.
func include(l *lua.LState, part func() *lua.FunctionProto, args ...lua.LValue) {
	l.Push(l.NewFunctionFromProto(part()))
	for _, a := range args {
		l.Push(a)
	}
	l.Call(len(args), 0)
}

func texts(l *lua.LState, values []string) *lua.LTable {
	t := l.CreateTable(len(values), 0)
	for i, v := range values {
		t.RawSetInt(i+1, lua.LString(v))
	}
	return t
}

func loadString(l *lua.LState) int {
	proto, err := compile(l.CheckString(1), l.OptString(2, "user_script"), true)
	if err != nil {
		l.Push(lua.LNil)
		l.Push(lua.LString(strings.TrimSpace(err.Error())))
		return 2
	}
	l.Push(l.NewFunctionFromProto(proto))
	return 1
}

func sha1hex(l *lua.LState) int {
	l.Push(lua.LString(digest(l.CheckString(1))))
	return 1
}

var started = time.Now()

func clock(l *lua.LState) int {
	l.Push(lua.LNumber(time.Since(started).Seconds()))
	return 1
}

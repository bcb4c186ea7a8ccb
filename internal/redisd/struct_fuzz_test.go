package redisd

import (
	"bytes"
	"encoding/binary"
	"math"
	"reflect"
	"strconv"
	"strings"
	"testing"

	lua "github.com/yuin/gopher-lua"
)

// plainStruct reads what struct.unpack reads, with encoding/binary.
type plainStruct struct {
	data   []byte
	at     int
	order  binary.ByteOrder
	values []lua.LValue
	// exact says that packing the values makes the same bytes again.
	exact bool
}

var structSizes = map[byte]int{'b': 1, 'B': 1, 'h': 2, 'H': 2, 'i': 4, 'I': 4, 'l': 8, 'L': 8, 'T': 8, 'f': 4, 'd': 8, 'x': 1, 's': 0, 'c': 1}

// integer reads a whole number of up to 8 bytes.
func (p *plainStruct) integer(raw []byte, signed bool) lua.LNumber {
	wide := make([]byte, 8)
	var n uint64
	if p.order == binary.BigEndian {
		copy(wide[8-len(raw):], raw)
		n = binary.BigEndian.Uint64(wide)
	} else {
		copy(wide, raw)
		n = binary.LittleEndian.Uint64(wide)
	}
	unused := 64 - 8*len(raw)
	if signed {
		i := int64(n<<unused) >> unused
		p.exact = p.exact && i < 1<<53 && i > -1<<53
		return lua.LNumber(i)
	}
	p.exact = p.exact && n < 1<<53
	return lua.LNumber(n)
}

// read reads one element; whole is false where the data end before.
func (p *plainStruct) read(kind byte, size int) (whole bool) {
	if kind == 's' {
		if size = bytes.IndexByte(p.data[min(p.at, len(p.data)):], 0) + 1; size == 0 {
			return false
		}
	}
	if kind == 'c' && size == 0 { // as many as the number before it says
		p.exact = false
		if len(p.values) == 0 {
			return false
		}
		n, ok := p.values[len(p.values)-1].(lua.LNumber)
		if p.values = p.values[:len(p.values)-1]; !ok || !(n >= 0 && n <= lua.LNumber(len(p.data))) {
			return false
		}
		size = int(n)
	}
	if p.at > len(p.data) || size > len(p.data)-p.at {
		return false
	}
	raw := p.data[p.at : p.at+size]
	p.at += size
	switch kind {
	case 'x':
		p.exact = p.exact && raw[0] == 0
		return true
	case 's':
		p.values = append(p.values, lua.LString(raw[:size-1]))
	case 'c':
		p.values = append(p.values, lua.LString(raw))
	case 'f', 'd':
		var x float64
		if kind == 'f' {
			x = float64(math.Float32frombits(p.order.Uint32(raw)))
		} else {
			x = math.Float64frombits(p.order.Uint64(raw))
		}
		p.exact = p.exact && x == x && (x != 0 || !math.Signbit(x)) // the interpreter has no negative zero
		p.values = append(p.values, lua.LNumber(x))
	default:
		p.values = append(p.values, p.integer(raw, kind >= 'a'))
	}
	return true
}

// unpack reads the data by a format. known is false for what has no second reader.
func (p *plainStruct) unpack(format string) (whole, known bool) {
	for i := 0; i < len(format); {
		kind := format[i]
		i++
		switch kind {
		case '<', '=':
			p.order = binary.LittleEndian
			continue
		case '>':
			p.order = binary.BigEndian
			continue
		case ' ':
			continue
		}
		size, ok := structSizes[kind]
		if !ok {
			return false, true
		}
		end := i
		for end < len(format) && format[end] >= '0' && format[end] <= '9' {
			end++
		}
		if end > i && (kind == 'i' || kind == 'I' || kind == 'c') {
			n, err := strconv.Atoi(format[i:end])
			if i = end; err != nil || kind != 'c' && (n < 1 || n > 32) {
				return false, true
			}
			size = n
		}
		if kind != 'c' && size > 8 {
			return false, false
		}
		if !p.read(kind, size) {
			return false, true
		}
	}
	return true, true
}

// FuzzStruct compares struct with encoding/binary: what is unpacked, and what the values are packed to.
func FuzzStruct(f *testing.F) {
	f.Add(">I2i2bBc2sdf", []byte("\xfd\xe8\xff\xfb\x80\xc8xytext\x00\xc0\x02\x00\x00\x00\x00\x00\x00\x3f\x00\x00\x00"), int32(1))
	f.Add("<i8>l<Bc0", []byte("\xfe\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfd\x03abc"), int32(1))
	f.Add(">L=L", []byte("\xff\xff\xff\xff\xff\xff\xfb\xff\xff\xff\xff\xff\xff\xff\xfb\xff"), int32(1))
	f.Add("bc0", []byte("\xfdabc"), int32(1))
	f.Add("<fc0", []byte("\x00\x00\xc0\x3fab"), int32(1))
	f.Add("<d>f", []byte("\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"), int32(1))
	f.Add("<d>f", []byte("\x00\x00\x00\x00\x00\x00\xf0\xff\x7f\x80\x00\x01"), int32(1))
	f.Add("i3I7I1x c3 T", []byte("\x00\x00\x80\xff\xff\xff\xff\xff\xff\xff\x01\x00abc\x00\x00\x00\x00\x00\x00\x00\x80"), int32(1))
	f.Add("<i7>i7", []byte("\xfe\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfd"), int32(1))
	f.Add("B", []byte("abc"), int32(-2))
	f.Add("!4i", []byte("abcd"), int32(3))
	f.Add("i0", []byte("abcd"), int32(1))
	f.Add("I16c99999999999999999999", []byte("abcdefghijklmnop"), int32(1))
	lib := openLua(f)
	f.Fuzz(func(t *testing.T, format string, data []byte, at int32) {
		got, err := lib.call("struct.unpack", lua.LString(format), lua.LString(data), lua.LNumber(at))
		p := &plainStruct{data: data, at: max(int(at)-1, 0), order: binary.LittleEndian, exact: true}
		begin := p.at
		whole, known := p.unpack(format)
		if !known || at < 1 && len(p.values) == 0 && p.at == begin {
			return
		}
		if whole = whole && at >= 1; whole != (err == nil) {
			t.Fatalf("%q of %q from %d: %v, %v; want %v", format, data, at, got, err, p.values)
		}
		if !whole {
			return
		}
		for i, v := range append(p.values, lua.LNumber(p.at+1)) {
			nan := v.Type() == lua.LTNumber && v != v && i < len(got) && got[i] != got[i]
			if len(got) != len(p.values)+1 || got[i] != v && !nan {
				t.Fatalf("%q of %q from %d: %v, want %v up to %d", format, data, at, got, p.values, p.at)
			}
		}
		if !p.exact || begin > len(data) {
			return
		}
		packed, err := lib.call("struct.pack", append([]lua.LValue{lua.LString(format)}, p.values...)...)
		if err != nil || packed[0] != lua.LString(data[begin:p.at]) {
			t.Errorf("%q of %v: %q, %v; want %q", format, p.values, packed, err, data[begin:p.at])
		}
	})
}

// plainMsgpack reads MessagePack in the plainest way.
type plainMsgpack struct {
	b              []byte
	depth, deepest int
	// bad: it is not a value; odd: a table of it cannot be compared, for a key is neither a number nor a text.
	bad, odd bool
}

func (p *plainMsgpack) take(n uint64) []byte {
	if p.bad = p.bad || n > uint64(len(p.b)); p.bad {
		return make([]byte, min(n, 8))
	}
	out := p.b[:n]
	p.b = p.b[n:]
	return out
}

func (p *plainMsgpack) size(bytes uint64) uint64 {
	wide := make([]byte, 8)
	copy(wide[8-bytes:], p.take(bytes))
	return binary.BigEndian.Uint64(wide)
}

// deeper notes a table until it ends.
func (p *plainMsgpack) deeper() (end func()) {
	p.depth++
	p.deepest = max(p.deepest, p.depth)
	return func() { p.depth-- }
}

func (p *plainMsgpack) list(n uint64) any {
	table := map[any]any{}
	defer p.deeper()()
	for i := uint64(1); i <= n && !p.bad; i++ {
		if v := p.value(); v != nil {
			table[float64(i)] = v
		}
	}
	return table
}

func (p *plainMsgpack) pairs(n uint64) any {
	table := map[any]any{}
	defer p.deeper()()
	for i := uint64(0); i < n && !p.bad; i++ {
		k, v := p.value(), p.value()
		switch k := k.(type) {
		case nil:
			continue
		case float64:
			p.odd = p.odd || math.Abs(k) > 1e5 // the interpreter makes a long list of it
		case bool:
		case string:
			p.odd = p.odd || k == "NaN"
		default:
			p.odd = true
			continue
		}
		if table[k] = v; v == nil {
			delete(table, k)
		}
	}
	return table
}

func real(x float64) any {
	if x != x {
		return "NaN" // which is equal to itself
	}
	return x
}

func (p *plainMsgpack) value() any {
	c := uint64(p.take(1)[0])
	switch {
	case p.bad:
		return nil
	case c < 0x80:
		return float64(c)
	case c < 0x90:
		return p.pairs(c - 0x80)
	case c < 0xa0:
		return p.list(c - 0x90)
	case c < 0xc0:
		return string(p.take(c - 0xa0))
	case c >= 0xe0:
		return float64(int8(c))
	}
	switch c {
	case 0xc0:
		return nil
	case 0xc2, 0xc3:
		return c == 0xc3
	case 0xc4, 0xc5, 0xc6:
		return string(p.take(p.size(1 << (c - 0xc4))))
	case 0xca:
		return real(float64(math.Float32frombits(binary.BigEndian.Uint32(p.take(4)))))
	case 0xcb:
		return real(math.Float64frombits(binary.BigEndian.Uint64(p.take(8))))
	case 0xcc, 0xcd, 0xce, 0xcf:
		return float64(p.size(1 << (c - 0xcc)))
	case 0xd0, 0xd1, 0xd2, 0xd3:
		unused := 64 - 8<<(c-0xd0)
		return float64(int64(p.size(1<<(c-0xd0))<<unused) >> unused)
	case 0xd9, 0xda, 0xdb:
		return string(p.take(p.size(1 << (c - 0xd9))))
	case 0xdc, 0xdd:
		return p.list(p.size(2 << (c - 0xdc)))
	case 0xde, 0xdf:
		return p.pairs(p.size(2 << (c - 0xde)))
	}
	p.bad = true
	return nil
}

// tables is a value of a script in the form of plainMsgpack.
func tables(v lua.LValue) any {
	switch v := v.(type) {
	case lua.LNumber:
		return real(float64(v))
	case lua.LString:
		return string(v)
	case lua.LBool:
		return bool(v)
	case *lua.LTable:
		out := map[any]any{}
		v.ForEach(func(k, e lua.LValue) {
			if of := tables(k); reflect.TypeOf(of).Comparable() {
				out[of] = tables(e)
			}
		})
		return out
	}
	return nil
}

// FuzzMsgpack compares cmsgpack with a plain reader, and what is packed again with what was unpacked.
func FuzzMsgpack(f *testing.F) {
	for _, s := range []string{
		"\x00\x7f\xcc\x80\xcd\x01\x00\xce\xff\xff\xff\xff\xcf\x00\x00\x00\x01\x00\x00\x00\x00", "\xff\xe0\xd0\xdf\xd1\x80\x00\xd2\x80\x00\x00\x00\xd3\xff\xff\xff\xff\x7f\xff\xff\xff",
		"\xca\x3f\xc0\x00\x00\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a\xc3\xc2\xc0\xa3abc", "\x93\x01\xc0\x81\xa1a\x90", "\x82\x01\xa1x\x03\xa1y", "\xcf\xff\xff\xff\xff\xff\xff\xfb\xff",
		"\xd9\x03abc\xda\x00\x01x\xdb\x00\x00\x00\x00\xc4\x01\xff\xc5\x00\x00\xc6\x00\x00\x00\x01a", "\xdd\xff\xff\xff\xff\x01", "\xdf\xff\xff\xff\xff", "\xcd\x01", "\xc1", "\xd4\x01\x02",
		"\xdc\x00\x02\x01\x02\xde\x00\x01\xc3\xc2", "\xca\x7f\x80\x00\x00\xcb\x7f\xf8\x00\x00\x00\x00\x00\x01", strings.Repeat("\x91", 20) + "\x01",
	} {
		f.Add([]byte(s))
	}
	lib := openLua(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1000 {
			t.Skip("more values than a function returns, or deeper than calls go")
		}
		p := &plainMsgpack{b: data}
		var want []any
		for len(p.b) > 0 && !p.bad {
			want = append(want, p.value())
		}
		if p.odd {
			return
		}
		got, err := lib.call("cmsgpack.unpack", lua.LString(data))
		if p.bad || err != nil {
			if p.bad != (err != nil) {
				t.Errorf("%q is read as %v, %v; want %v", data, got, err, want)
			}
			return
		}
		read := func(values []lua.LValue) (out []any) {
			for _, v := range values {
				out = append(out, tables(v))
			}
			return out
		}
		if !reflect.DeepEqual(read(got), want) {
			t.Fatalf("%q is read as %v, want %v", data, read(got), want)
		}
		if len(got) == 0 || p.deepest > 16 {
			return // nothing, or deeper than what is packed
		}
		packed, err := lib.call("cmsgpack.pack", got...)
		if err != nil {
			t.Fatalf("%v is not packed: %v", want, err)
		}
		if again, err := lib.call("cmsgpack.unpack", packed[0]); err != nil || !reflect.DeepEqual(read(again), want) {
			t.Errorf("%v is packed as %q, which is read as %v, %v", want, packed, read(again), err)
		}
	})
}

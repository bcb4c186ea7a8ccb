// Package setting derives a lab's settings from one tagged struct: the flags of its command
// with defaults, bounds and presets, the fields of the page's form, the checks, and the
// JSON in the report.
//
//	type Replay struct {
//		Rate  float64       `flag:"rate" json:"rate" default:"2000" short:"1000" min:"50" max:"20000"`
//		Offer time.Duration `flag:"time" json:"offer_s" default:"20s" short:"4s" min:"2s" max:"15m"`
//		Break string        `flag:"break" json:"break,omitempty" choices:"skip,stay"`
//	}
//
// The tags of a field:
//
//	flag       the name of its flag; a field without one cannot be set on the command line
//	json       its name in the report; a time.Duration is written in seconds or milliseconds
//	           where the name ends in _s or _ms
//	default    what it is where nobody sets it
//	short      what --short makes of it
//	presets    what other presets make of it, as "io=1;live=100"
//	min, max   its bounds, which belong to it
//	choices    all values that it can have, or of which a list can have some
//	list       "repeat": each use of the flag adds one element; its type reads itself
//	simulated  "only": it contradicts a live stream
//
// A field is a number, a time.Duration, a text, or anything that implements
// encoding.TextUnmarshaler and fmt.Stringer; or a slice of one of those, which is written
// with commas. Embedded structs belong to the struct.
package setting

import (
	"cmp"
	"encoding"
	"fmt"
	"iter"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Short is the preset that the flag --short stands for.
const Short = "short"

// Field is one setting. It implements pflag.Value.
type Field struct {
	// Flag is its name, Default what it is where nobody sets it, as it is written.
	Flag, Default string
	// Min and Max are its bounds as they are written; empty where it has none.
	Min, Max string
	// Choices are all values that it, or an element of the list, can have; empty for any.
	Choices []string
	// Presets are what it is in each preset that changes it, as it is written.
	Presets map[string]string
	// List says that it has several values, Repeat that each use of the flag adds one.
	List, Repeat bool
	// Number says that it is a number, Whole that it has no fraction.
	Number, Whole bool
	// Simulated says that it is about simulated streams and contradicts a live one.
	Simulated bool

	value reflect.Value
	set   bool // by the user
}

// Fields returns the settings of a pointer to a tagged struct, in their order. Setting a
// field changes the struct. It panics where a tag is wrong, which a test finds.
func Fields(settings any) (out []*Field) {
	for tag, v := range members(reflect.ValueOf(settings).Elem()) {
		if tag.Get("flag") == "" {
			continue
		}
		f := &Field{Flag: tag.Get("flag"), Presets: map[string]string{}, Repeat: tag.Get("list") == "repeat", Simulated: tag.Get("simulated") == "only",
			List: v.Kind() == reflect.Slice, value: v}
		switch v.Interface().(type) {
		case int, int64:
			f.Number, f.Whole = true, true
		case float64:
			f.Number = true
		}
		if s := tag.Get("choices"); s != "" {
			f.Choices = strings.Split(s, ",")
		}
		if !f.Repeat {
			f.Default = f.written(tag.Get("default"))
		}
		f.Min, f.Max = f.written(tag.Get("min")), f.written(tag.Get("max"))
		presets := tag.Get("presets")
		if s, ok := tag.Lookup("short"); ok {
			presets = Short + "=" + s + ";" + presets
		}
		for p := range strings.SplitSeq(presets, ";") {
			if name, s, ok := strings.Cut(p, "="); ok {
				f.Presets[name] = f.written(s)
			}
		}
		out = append(out, f)
	}
	return out
}

// New returns settings with their defaults, or as presets make them.
func New[T any](presets ...string) *T {
	t := new(T)
	for tag, v := range members(reflect.ValueOf(t).Elem()) {
		if s, ok := tag.Lookup("default"); ok {
			must(parse(v, s))
		}
	}
	for _, p := range presets {
		Apply(Fields(t), p)
	}
	return t
}

// Apply makes of settings what a preset makes of them, but for those that the user has set.
func Apply(fields []*Field, preset string) {
	for _, f := range fields {
		if s, ok := f.Presets[preset]; ok && !f.set {
			must(parse(f.value, s))
		}
	}
}

// members are the fields of a struct with their tags, and those of the structs that it embeds.
func members(v reflect.Value) iter.Seq2[reflect.StructTag, reflect.Value] {
	return func(yield func(reflect.StructTag, reflect.Value) bool) {
		for _, f := range reflect.VisibleFields(v.Type()) {
			if f.IsExported() && !f.Anonymous && !yield(f.Tag, v.FieldByIndex(f.Index)) {
				return
			}
		}
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// written is a text of a tag as the field writes it; empty stays empty. Forms do not show
// fields that are repeated, and bounds of a list are those of its elements.
func (f *Field) written(text string) string {
	if text == "" || f.Repeat {
		return text
	}
	v := reflect.New(f.value.Type()).Elem()
	must(parse(v, text))
	return format(v)
}

// Set reads a value that the user gave. It says what is not a value at all; Check knows
// the bounds.
func (f *Field) Set(text string) error {
	v := reflect.New(f.value.Type()).Elem()
	if err := parse(v, text); err != nil {
		return err
	}
	if f.List && f.set { // a list that is given in parts
		v = reflect.AppendSlice(f.value, v)
	}
	f.value.Set(v)
	f.set = true
	return nil
}

// String writes the present value, a list in brackets as pflag does.
func (f *Field) String() string {
	if f == nil || !f.value.IsValid() {
		return ""
	}
	if f.List {
		return "[" + format(f.value) + "]"
	}
	return format(f.value)
}

// Type is the name of the type for pflag, which puts the default of a string in quotes.
func (f *Field) Type() string {
	if !f.List && f.value.Kind() == reflect.String {
		return "string"
	}
	return f.value.Type().String()
}

// IsSet reports whether the user has set it.
func (f *Field) IsSet() bool { return f.set }

// parse reads a text into a value.
func parse(v reflect.Value, text string) error {
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(text))
	}
	if v.Kind() == reflect.Slice {
		out := reflect.MakeSlice(v.Type(), 0, 0)
		for p := range strings.SplitSeq(text, ",") {
			e := reflect.New(v.Type().Elem()).Elem()
			if p = strings.TrimSpace(p); p == "" {
				continue
			}
			if err := parse(e, p); err != nil {
				return err
			}
			out = reflect.Append(out, e)
		}
		v.Set(out)
		return nil
	}
	switch p := v.Addr().Interface().(type) {
	case *time.Duration:
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("%q is not a duration such as 500ms or 2m", text)
		}
		*p = d
	case *float64:
		x, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return fmt.Errorf("%q is not a number", text)
		}
		*p = x
	case *int, *int64:
		n, err := strconv.ParseInt(text, 0, 64)
		if err != nil {
			return fmt.Errorf("%q is not a whole number", text)
		}
		v.SetInt(n)
	default:
		v.SetString(text)
	}
	return nil
}

// format writes a value as parse reads it.
func format(v reflect.Value) string {
	if v.Kind() == reflect.Slice {
		parts := make([]string, v.Len())
		for i := range parts {
			parts[i] = format(v.Index(i))
		}
		return strings.Join(parts, ",")
	}
	if x, ok := v.Interface().(float64); ok {
		return strconv.FormatFloat(x, 'f', -1, 64)
	}
	return fmt.Sprint(v.Interface())
}

// Check returns an error that names the first setting that is out of its bounds, is not
// one of its choices, or names an element twice.
func Check(settings any) error {
	for _, f := range Fields(settings) {
		if err := f.check(); err != nil {
			return err
		}
	}
	return nil
}

func (f *Field) check() error {
	all, one, colon := []reflect.Value{f.value}, "one", ""
	if f.List {
		all, one, colon = nil, "some", ":"
		for i := range f.value.Len() {
			all = append(all, f.value.Index(i))
		}
		if len(all) == 0 {
			return fmt.Errorf("--%s is empty: choose some of %s", f.Flag, cmp.Or(strings.Join(f.Choices, ", "), "what --help says"))
		}
	}
	var named []string
	for _, v := range all {
		s := format(v)
		switch x := number(v); {
		case f.Min != "" && !(x >= bound(v, f.Min) && x <= bound(v, f.Max)): // true for what is not a number
			return fmt.Errorf("--%s %s is not between %s and %s", f.Flag, format(f.value), f.Min, f.Max)
		case slices.Contains(named, s):
			return fmt.Errorf("--%s: %s is named twice", f.Flag, s)
		case len(f.Choices) > 0 && !slices.Contains(f.Choices, s) && (f.List || s != f.Default):
			return fmt.Errorf("--%s%s %q is unknown: choose %s of %s", f.Flag, colon, s, one, strings.Join(f.Choices, ", "))
		}
		named = append(named, s)
	}
	return nil
}

// bound is one of the bounds of a value, as a number.
func bound(of reflect.Value, text string) float64 {
	v := reflect.New(of.Type()).Elem()
	must(parse(v, text))
	return number(v)
}

// number is a number or a duration as a float64.
func number(v reflect.Value) float64 {
	switch {
	case v.CanFloat():
		return v.Float()
	case v.CanInt():
		return float64(v.Int())
	}
	return math.NaN()
}

// Values returns what the report's JSON says of settings: every field that has a name in
// JSON.
func Values(settings any) map[string]any {
	out := map[string]any{}
	for tag, v := range members(reflect.ValueOf(settings).Elem()) {
		name, options, _ := strings.Cut(tag.Get("json"), ",")
		if name == "" || name == "-" || options == "omitempty" && v.IsZero() {
			continue
		}
		x := v.Interface()
		if d, ok := x.(time.Duration); ok {
			switch {
			case strings.HasSuffix(name, "_ms"):
				x = float64(d) / float64(time.Millisecond)
			case strings.HasSuffix(name, "_s"):
				x = d.Seconds()
			}
		}
		if v.Kind() == reflect.Slice && enumerated(v.Type().Elem()) {
			x = strings.Split(format(v), ",") // none is never there: Check rejects it
		}
		out[name] = x
	}
	return out
}

// enumerated reports whether a type numbers things that have names.
func enumerated(t reflect.Type) bool {
	return t.Kind() != reflect.Struct && t.Implements(reflect.TypeFor[fmt.Stringer]()) && t != reflect.TypeFor[time.Duration]()
}

package setting

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

type colour uint8

func (c colour) String() string { return [...]string{"red", "green", "blue"}[c] }

// UnmarshalText implements encoding.TextUnmarshaler.
func (c *colour) UnmarshalText(text []byte) error {
	i := slices.Index([]string{"red", "green", "blue"}, string(text))
	if i < 0 {
		return fmt.Errorf("%q is not a colour", text)
	}
	*c = colour(i)
	return nil
}

type way string

type pair struct {
	A, B int
}

func (p pair) String() string { return fmt.Sprintf("%d,%d", p.A, p.B) }

type pairs []pair

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *pairs) UnmarshalText(text []byte) error {
	if string(text) == "usual" {
		*p = pairs{{1, 2}, {3, 4}}
		return nil
	}
	var one pair
	_, err := fmt.Sscanf(string(text), "%d,%d", &one.A, &one.B)
	*p = pairs{one}
	return err
}

type Common struct {
	Seed int64 `flag:"seed" json:"seed" default:"1"`
}

type upstream struct {
	URL string `json:"url"`
}

type settings struct {
	Rate  float64       `flag:"rate" json:"rate" default:"2000" short:"1000" presets:"slow=0.5" min:"0.5" max:"20000" simulated:"only"`
	Offer time.Duration `flag:"time" json:"offer_s" default:"20s" short:"1500ms" min:"1s" max:"15m"`
	Work  time.Duration `flag:"work" json:"work_ms" default:"10ms" min:"1ms" max:"1s"`
	Count int           `flag:"count" json:"count" default:"3" presets:"slow=1;play=7" min:"1" max:"9"`
	Common
	Colours []colour  `flag:"colours" json:"colours" default:"red,green,blue" presets:"play=blue" choices:"red,green,blue"`
	Ways    []way     `flag:"ways" json:"-" default:"on,off" choices:"on,off"`
	Sizes   []int     `flag:"sizes" json:"sizes" default:"3,7" short:"3" min:"2" max:"24"`
	Pairs   pairs     `flag:"pair" json:"pairs" default:"usual" short:"1,2" list:"repeat"`
	Slow    way       `flag:"slow" json:"slow" default:"on" choices:"on,off"`
	Live    *upstream `json:"live,omitempty"`
	Break   string    `flag:"break" json:"break,omitempty" choices:"lose,stay"`
	hidden  int
}

func field(t *testing.T, s any, name string) *Field {
	t.Helper()
	for _, f := range Fields(s) {
		if f.Flag == name {
			return f
		}
	}
	t.Fatalf("no setting %s", name)
	return nil
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	s := New[settings]()
	want := settings{Rate: 2000, Offer: 20 * time.Second, Work: 10 * time.Millisecond, Count: 3, Common: Common{Seed: 1}, Colours: []colour{0, 1, 2}, Ways: []way{"on", "off"},
		Sizes: []int{3, 7}, Pairs: pairs{{1, 2}, {3, 4}}, Slow: "on"}
	if !reflect.DeepEqual(*s, want) {
		t.Errorf("defaults are %+v", *s)
	}
	if err := Check(s); err != nil {
		t.Error(err)
	}
	for name, want := range map[string]string{"rate": "2000", "time": "20s", "colours": "[red,green,blue]", "sizes": "[3,7]", "slow": "on", "break": ""} {
		if got := field(t, s, name).String(); got != want {
			t.Errorf("%s is written %q, want %q", name, got, want)
		}
	}
}

func TestPresets(t *testing.T) {
	t.Parallel()
	s := New[settings](Short)
	if s.Rate != 1000 || s.Offer != 1500*time.Millisecond || s.Count != 3 || !slices.Equal(s.Sizes, []int{3}) || !slices.Equal(s.Pairs, pairs{{1, 2}}) {
		t.Errorf("short: %+v", *s)
	}
	if s := New[settings]("slow"); s.Rate != 0.5 || s.Count != 1 || s.Offer != 20*time.Second {
		t.Errorf("slow: %+v", *s)
	}
	if s := New[settings]("play"); s.Count != 7 || !slices.Equal(s.Colours, []colour{2}) {
		t.Errorf("play: %+v", *s)
	}
	s = New[settings]()
	fields := Fields(s)
	if err := fields[0].Set("700"); err != nil {
		t.Fatal(err)
	}
	if Apply(fields, Short); s.Rate != 700 || s.Offer != 1500*time.Millisecond {
		t.Errorf("a preset must leave alone what the user has set: %+v", *s)
	}
	if p := field(t, s, "time").Presets; p[Short] != "1.5s" || len(p) != 1 {
		t.Errorf("presets of time are %q", p)
	}
	if p := field(t, s, "colours").Presets; p["play"] != "blue" {
		t.Errorf("presets of colours are %q", p)
	}
}

func TestSet(t *testing.T) {
	t.Parallel()
	s := New[settings]()
	fields := Fields(s)
	for _, tt := range []struct{ name, value, is string }{
		{"rate", "0.75", "0.75"}, {"time", "2m", "2m0s"}, {"count", "5", "5"}, {"seed", "-7", "-7"}, {"slow", "off", "off"}, {"break", "lose", "lose"},
		{"colours", "blue, red", "[blue,red]"}, {"colours", "green", "[blue,red,green]"}, // lists may come in parts
		{"sizes", "5", "[5]"}, {"pair", "5,6", "[5,6]"}, {"pair", "7,8", "[5,6,7,8]"},
	} {
		f := fields[slices.IndexFunc(fields, func(f *Field) bool { return f.Flag == tt.name })]
		if err := f.Set(tt.value); err != nil || f.String() != tt.is || !f.IsSet() {
			t.Errorf("%s=%s: %v, is %s, want %s", tt.name, tt.value, err, f, tt.is)
		}
	}
	for _, tt := range []struct{ name, value, says string }{
		{"rate", "fast", "not a number"}, {"time", "7", "not a duration such as"}, {"count", "1.5", "not a whole number"}, {"sizes", "3,x", "not a whole number"}, {"colours", "pink", "not a colour"},
	} {
		f := field(t, New[settings](), tt.name)
		before := f.String()
		if err := f.Set(tt.value); err == nil || !strings.Contains(err.Error(), tt.says) || f.String() != before || f.IsSet() {
			t.Errorf("%s=%s: %v, want %q; is %s", tt.name, tt.value, err, tt.says, f)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	zero := 0.0
	for says, do := range map[string]func(*settings){
		"--rate 0.25 is not between 0.5 and 20000":            func(s *settings) { s.Rate = 0.25 },
		"--rate NaN is not between":                           func(s *settings) { s.Rate = zero / zero },
		"--rate 20001 is not between":                         func(s *settings) { s.Rate = 20001 },
		"--time 1ms is not between 1s and 15m0s":              func(s *settings) { s.Offer = time.Millisecond },
		"--count 10 is not between 1 and 9":                   func(s *settings) { s.Count = 10 },
		"--sizes 3,25 is not between 2 and 24":                func(s *settings) { s.Sizes = []int{3, 25} },
		"--sizes: 3 is named twice":                           func(s *settings) { s.Sizes = []int{3, 4, 3} },
		`--break "burn" is unknown: choose one of lose, stay`: func(s *settings) { s.Break = "burn" },
		`--slow "" is unknown: choose one of on, off`:         func(s *settings) { s.Slow = "" },
		`--ways: "maybe" is unknown: choose some of on, off`:  func(s *settings) { s.Ways = []way{"on", "maybe"} },
		"--colours: blue is named twice":                      func(s *settings) { s.Colours = []colour{2, 1, 2} },
		"--colours is empty: choose some of red, green, blue": func(s *settings) { s.Colours = nil },
		"--pair: 1,2 is named twice":                          func(s *settings) { s.Pairs = pairs{{1, 2}, {1, 2}} },
	} {
		s := New[settings]()
		do(s)
		if err := Check(s); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("want an error with %q, got %v", says, err)
		}
	}
}

// TestFieldsOfAForm: what a page says about a setting.
func TestFieldsOfAForm(t *testing.T) {
	t.Parallel()
	s := New[settings]()
	if f := field(t, s, "rate"); f.Default != "2000" || f.Min != "0.5" || f.Max != "20000" || !f.Number || f.Whole || !f.Simulated || f.Presets["slow"] != "0.5" {
		t.Errorf("rate: %+v", f)
	}
	if f := field(t, s, "time"); f.Max != "15m0s" || f.Number {
		t.Errorf("time: %+v", f)
	}
	if f := field(t, s, "count"); !f.Number || !f.Whole || f.List {
		t.Errorf("count: %+v", f)
	}
	if f := field(t, s, "colours"); !f.List || len(f.Choices) != 3 || f.Default != "red,green,blue" {
		t.Errorf("colours: %+v", f)
	}
	if f := field(t, s, "pair"); !f.Repeat || f.Default != "" {
		t.Errorf("pair: %+v", f)
	}
	for _, f := range Fields(s) {
		if quoted := f.Type() == "string"; quoted != (f.Flag == "slow" || f.Flag == "break") {
			t.Errorf("%s is of type %s", f.Flag, f.Type())
		}
	}
	if len(Fields(s)) != 11 {
		t.Errorf("%d settings", len(Fields(s)))
	}
}

func TestValues(t *testing.T) {
	t.Parallel()
	s := New[settings]()
	got, err := json.Marshal(Values(s))
	const want = `{"colours":["red","green","blue"],"count":3,"offer_s":20,"pairs":[{"A":1,"B":2},{"A":3,"B":4}],"rate":2000,"seed":1,"sizes":[3,7],"slow":"on","work_ms":10}`
	if err != nil || string(got) != want {
		t.Errorf("JSON is %s (%v), want %s", got, err, want)
	}
	s.Live, s.Break, s.Work = &upstream{URL: "ws://x"}, "lose", 1500*time.Microsecond
	s.hidden = 1
	got, _ = json.Marshal(Values(s))
	for _, part := range []string{`"live":{"url":"ws://x"}`, `"break":"lose"`, `"work_ms":1.5`} {
		if !strings.Contains(string(got), part) {
			t.Errorf("JSON is %s, without %s", got, part)
		}
	}
}

package lab

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/weir-project/weir/internal/lab/setting"
)

const tubHelp = `# Water in a tub

What a tub holds,
in litres.

  rows of a table stay as they are

## Claim

A tub that is
full runs over.

## Settings

- litres: LITRES that it holds
- colour: COLOUR of it: {choices}
- short: a small one

## Examples

weir lab tub --short
weir lab tub --litres 7    # a bucket
`

type tub struct {
	Litres int    `flag:"litres" json:"litres" default:"100" short:"10" min:"1" max:"200"`
	Colour string `flag:"colour" json:"colour" default:"white" choices:"white,black"`
	Break  string `flag:"break" json:"break,omitempty" choices:"leak"`
}

func (s *tub) Source() string          { return "the tap" }
func (s *tub) Derived() map[string]any { return map[string]any{"millilitres": 1000 * s.Litres} }

func (s *tub) Check() error {
	if s.Litres == 13 {
		return errors.New("13 is unlucky")
	}
	return nil
}

func (s *tub) Run(_ context.Context, _ *Bench, r *Report) error {
	r.Of("tub").Check("it is full", "full", "full", true)
	return nil
}

func TestALabIsDefinedByItsSettingsAndItsText(t *testing.T) {
	t.Parallel()
	l := Define[tub]("tub", tubHelp)
	if l.Title != "Water in a tub" || l.Long != "What a tub holds,\nin litres.\n\n  rows of a table stay as they are" || l.Claim != "A tub that is full runs over." {
		t.Errorf("texts: %+v", l)
	}
	if l.Examples != "  weir lab tub --short\n  weir lab tub --litres 7    # a bucket" {
		t.Errorf("examples: %q", l.Examples)
	}
	for flag, want := range map[string]string{"litres": "`LITRES` that it holds", "colour": "`COLOUR` of it: white, black", "short": "a small one",
		"break": "`HOW` to break the lab on purpose, so that the claim must fail: leak"} {
		if l.Usage[flag] != want {
			t.Errorf("--%s is explained with %q, want %q", flag, l.Usage[flag], want)
		}
	}
	e := l.With(l.Settings(setting.Short))
	r, _, err := Perform(t.Context(), Config{Dir: t.TempDir()}, e)
	if err != nil {
		t.Fatal(err)
	}
	values, _ := json.Marshal(r.Settings)
	if r.Lab != "tub" || r.Source != "the tap" || r.Claim != l.Claim || string(values) != `{"colour":"white","litres":10,"millilitres":10000}` {
		t.Errorf("report: %s of %s, settings %s", r.Lab, r.Source, values)
	}
	for says, do := range map[string]func(*tub){"unlucky": func(s *tub) { s.Litres = 13 }, "--litres 0 is not between": func(s *tub) { s.Litres = 0 }} {
		s := setting.New[tub]()
		do(s)
		if err := l.With(s).Check(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("want an error with %q, got %v", says, err)
		}
	}
}

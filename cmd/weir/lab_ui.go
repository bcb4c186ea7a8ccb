package main

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/weir-project/weir/internal/lab/setting"
	"github.com/weir-project/weir/internal/web"
)

// labsForUI returns what the web UI needs to run the labs as processes of this program, with
// the same settings as the commands. It returns nil when the program cannot be found.
func (a *app) labsForUI(data string) *web.Labs {
	self, err := os.Executable()
	if err != nil {
		return nil
	}
	l := &web.Labs{Program: []string{self}, Data: data, Dir: filepath.Join(data, labsDir)}
	for _, x := range labs() {
		// Its flags write to an app: not to this one.
		l.List = append(l.List, web.Lab{Name: x.Name, Short: x.Title, Claim: x.Claim, Fields: labFields(labCommand(&app{}, x))})
	}
	return l
}

// notForUI are flags that are about the terminal, or decided by the page.
var notForUI = []string{"data", "output", "log-level", labControl, "help"}

// labFields are a command's flags as settings of a form.
func labFields(cmd *cobra.Command) []web.LabField {
	fields := []web.LabField{}
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if slices.Contains(notForUI, f.Name) || f.Hidden {
			return
		}
		what, about := pflag.UnquoteUsage(f)
		about = strings.Replace(about, what, strings.ToLower(what), 1) // capitals are for terminals
		x := web.LabField{Name: f.Name, About: about, Kind: "text", Default: f.DefValue, Values: []string{}, Presets: map[string]string{}}
		s, own := f.Value.(*setting.Field)
		if own {
			x.Default, x.Whole = s.Default, s.Whole
			if !s.List { // the bounds of a list are those of its elements, which the lab checks
				x.Min, x.Max = s.Min, s.Max
			}
			if len(s.Presets) > 0 && !s.Repeat {
				for _, name := range labPresets(cmd) {
					x.Presets[name] = cmp.Or(s.Presets[name], s.Default)
				}
			}
		}
		if complete, ok := cmd.GetFlagCompletionFunc(f.Name); ok {
			x.Kind = "choice"
			x.Values, _ = complete(cmd, nil, "")
		}
		switch {
		case own && s.List && len(s.Choices) > 0:
			x.Kind = "list"
		case own && s.Number:
			x.Kind = "number"
		case f.Value.Type() == "bool":
			x.Kind = "switch"
		case f.Value.Type() == "stringSlice":
			x.Default = strings.Trim(f.DefValue, "[]")
		}
		fields = append(fields, x)
	})
	return fields
}

// labPresets are the presets that a command has.
func labPresets(cmd *cobra.Command) []string {
	if f := cmd.Flags().Lookup("preset"); f != nil {
		return f.Value.(*setting.Field).Choices
	}
	return []string{setting.Short}
}

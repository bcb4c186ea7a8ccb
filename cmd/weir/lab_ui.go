package main

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	texts "github.com/weir-project/weir/docs/labs"
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
	own := &app{}
	commands := newLab(own).Commands() // flags write to an app: not to this one
	for _, e := range allLabs(false) {
		i := slices.IndexFunc(commands, func(c *cobra.Command) bool { return c.Name() == e.Name() })
		if i < 0 {
			continue
		}
		text, _ := texts.Files.ReadFile(e.Name() + ".md") // a lab may have none yet
		l.List = append(l.List, web.Lab{Name: e.Name(), Short: commands[i].Short, Claim: e.Claim(), Text: string(text), Fields: labFields(commands[i], own.labPresets[e.Name()])})
	}
	return l
}

// notForUI are flags that are about the terminal, or decided by the page.
var notForUI = []string{"data", "output", "log-level", labControl, "help"}

// labFields are a command's flags as settings of a form.
// Presets are what it has of them: by name, and by flag.
func labFields(cmd *cobra.Command, presets map[string]map[string]func()) []web.LabField {
	fields := []web.LabField{}
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if slices.Contains(notForUI, f.Name) || f.Hidden {
			return
		}
		what, about := pflag.UnquoteUsage(f)
		about = strings.Replace(about, what, strings.ToLower(what), 1) // capitals are for terminals
		x := web.LabField{Name: f.Name, About: about, Kind: "text", Default: f.DefValue, Values: []string{}, Presets: map[string]string{}}
		if s, ok := f.Value.(*setting.Field); ok {
			x.Default, x.Min, x.Max, x.Whole = s.Default, s.Min, s.Max, s.Whole
			if len(s.Presets) > 0 && !s.Repeat {
				for _, name := range labPresets(cmd) {
					x.Presets[name] = cmp.Or(s.Presets[name], s.Default)
				}
			}
			switch {
			case len(s.Choices) > 0 && s.List:
				x.Kind, x.Values = "list", s.Choices
			case len(s.Choices) > 0:
				x.Kind, x.Values = "choice", s.Choices
			case s.Number:
				x.Kind = "number"
			}
			fields = append(fields, x)
			return
		}
		for key, to := range map[string]*string{labLeast: &x.Min, labMost: &x.Max} {
			if v := f.Annotations[key]; len(v) > 0 {
				*to = v[0]
			}
		}
		for name, sets := range presets {
			if set := sets[f.Name]; set != nil && f.Name != "setting" { // which shows none as default, either
				set()
				x.Presets[name] = strings.Trim(f.Value.String(), "[]")
			}
		}
		switch f.Value.Type() {
		case "bool":
			x.Kind = "switch"
		case "int", "int64", "float64":
			x.Kind, x.Whole = "number", f.Value.Type() != "float64"
		case "stringSlice":
			x.Default = strings.Trim(f.DefValue, "[]")
		}
		if complete, ok := cmd.GetFlagCompletionFunc(f.Name); ok {
			x.Values, _ = complete(cmd, nil, "")
			x.Kind = "choice"
			if f.Value.Type() == "stringSlice" {
				x.Kind = "list"
			}
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

package lab

import (
	"context"
	"maps"
	"strings"

	"github.com/weir-project/weir/internal/lab/setting"
)

// Lab is one lab as people choose it: what they read about it, and how it is made.
type Lab struct {
	Name string
	// Title is one line, Long the text above the flags, Claim what is held against the
	// measurements, and Examples are command lines.
	Title, Long, Claim, Examples string
	// Usage explains flags, by name, as pflag takes it: the placeholder in back quotes.
	Usage map[string]string
	// Settings returns its settings as presets make them: a pointer to a struct that
	// package setting reads.
	Settings func(presets ...string) Settings
}

// Settings are a lab's, and run it. They may have some of these methods, too:
//
//	Check() error               says what cannot be shown with them, beyond their bounds
//	Source() string             is SourceLive, or says in a few words where else events come from
//	Derived() map[string]any    are figures that follow from them, for the report
type Settings interface {
	// Run measures and fills in checks, measures and lines. An error means that the
	// experiment could not be carried out; ctx's that it was stopped.
	Run(ctx context.Context, b *Bench, r *Report) error
}

// Define makes a lab of its settings' type and of the text in its help.md: the title, the
// long text, and the sections Claim, Settings ("- rate: EVENTS per second", the word in
// capitals being the placeholder) and Examples. {choices} stands for those of the setting.
func Define[T any, P interface {
	*T
	Settings
}](name, help string) *Lab {
	l := &Lab{Name: name, Usage: map[string]string{"break": "`HOW` to break the lab on purpose, so that the claim must fail: {choices}"}}
	l.Settings = func(presets ...string) Settings { return P(setting.New[T](presets...)) }
	parts := strings.Split(help, "\n## ")
	l.Title, l.Long, _ = strings.Cut(strings.TrimPrefix(parts[0], "# "), "\n")
	l.Long = strings.TrimSpace(l.Long)
	for _, p := range parts[1:] {
		head, body, _ := strings.Cut(p, "\n")
		body = strings.TrimSpace(body)
		switch head {
		case "Claim":
			l.Claim = strings.Join(strings.Fields(body), " ")
		case "Examples":
			l.Examples = "  " + strings.ReplaceAll(body, "\n", "\n  ")
		case "Settings":
			for line := range strings.Lines(body) {
				flag, text, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "- "), ": ")
				if what, rest, ok := strings.Cut(text, " "); ok && len(what) > 1 && what == strings.ToUpper(what) && what != strings.ToLower(what) {
					text = "`" + what + "` " + rest
				}
				l.Usage[flag] = text
			}
		}
	}
	for _, f := range setting.Fields(l.Settings()) {
		l.Usage[f.Flag] = strings.ReplaceAll(l.Usage[f.Flag], "{choices}", strings.Join(f.Choices, ", "))
	}
	return l
}

// Experiment is a lab with the settings of one run.
type Experiment struct {
	*Lab
	settings Settings
}

// With makes an experiment of a lab and its settings.
func (l *Lab) With(s Settings) *Experiment { return &Experiment{l, s} }

// Values are the settings in a report, and the figures that follow from them.
func (e *Experiment) Values() map[string]any {
	values := setting.Values(e.settings)
	if s, ok := e.settings.(interface{ Derived() map[string]any }); ok {
		maps.Copy(values, s.Derived())
	}
	return values
}

// Check returns an error that says what is wrong with the settings.
func (e *Experiment) Check() error {
	if err := setting.Check(e.settings); err != nil {
		return err
	}
	if s, ok := e.settings.(interface{ Check() error }); ok {
		return s.Check()
	}
	return nil
}

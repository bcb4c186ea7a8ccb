package web

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/weir-project/weir/internal/lab/record"
	"github.com/weir-project/weir/internal/visible"
)

// Labs says which experiments there are and how one is run: as a process of its own,
// so that it measures itself alone, and so that nothing of it can harm this one.
type Labs struct {
	// Program is what runs weir: its path, and arguments that come first.
	Program []string
	// Data is the data directory, Dir in it where the reports are kept.
	Data, Dir string
	List      []Lab
}

// Lab is one experiment.
type Lab struct {
	Name   string     `json:"name"`
	Short  string     `json:"short"` // one line
	Claim  string     `json:"claim"`
	Fields []LabField `json:"fields"`
}

// LabField is a setting of an experiment: a flag of its command.
type LabField struct {
	Name  string `json:"name"`
	About string `json:"about"`
	// Kind is text, number, choice (one of Values), list (some of Values) or switch.
	Kind    string   `json:"kind"`
	Values  []string `json:"values"`
	Default string   `json:"default"`
	// Min and Max are what it takes at least and at most, as it is written; empty where
	// only the lab itself can say. Whole says that a number has no fraction.
	Min   string `json:"min"`
	Max   string `json:"max"`
	Whole bool   `json:"whole"`
	// Presets are what it is, if it is left out, by the preset; the short form is short.
	Presets map[string]string `json:"presets"`
}

// maxSetting bounds a setting's value in bytes.
const maxSetting = 200

type (
	labsAnswer struct {
		Labs    []Lab         `json:"labs"`
		Running string        `json:"running"` // empty for none
		Reports []record.Kept `json:"reports"` // the newest first
		how
	}
	labStart struct {
		// Settings are by the name of a field; what is left out has its default.
		Settings map[string]string `json:"settings"`
	}
	labStarted struct {
		Lab string `json:"lab"`
		how
	}
	labSet struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	// labCourse is an event of the live stream: what the experiment that runs, or
	// ran last, has reported so far, or what it has reported since the event before.
	labCourse struct {
		Lab     string          `json:"lab"`
		Command string          `json:"command"`
		Running bool            `json:"running"`
		Picture *record.Picture `json:"picture,omitempty"`
		Updates []record.Update `json:"updates,omitempty"`
	}
	reportAnswer struct {
		Report *record.Report `json:"report"`
		how
	}
	compareAnswer struct {
		record.Comparison
		how
	}
)

// What is behind these operations, where others name Kafka's requests.
const (
	fromFiles  = "none: reports are files"
	ownProcess = "none here: the lab is a process with brokers of its own"
)

func (s *Server) labs(*http.Request) (labsAnswer, error) {
	a := labsAnswer{Labs: []Lab{}, Reports: []record.Kept{}, how: by(weir("lab list", s.cfg.Where.Data), fromFiles)}
	if l := s.cfg.Labs; l != nil {
		kept, err := record.List(l.Dir)
		if err != nil {
			return a, err
		}
		slices.Reverse(kept)
		a.Labs, a.Reports, a.Running = l.List, append(a.Reports, kept...), s.lab.name()
	}
	return a, nil
}

var errNoLabs = conflict("labs run where weir keeps its own data: start one with weir up, or on a terminal with weir lab")

// labCommand returns the arguments of a lab's command line, and how a shell takes
// them, with the flags that say where its report is kept.
func (l *Labs) labCommand(name string, settings map[string]string, where []string) (args []string, shell string, err error) {
	i := slices.IndexFunc(l.List, func(x Lab) bool { return x.Name == name })
	if i < 0 {
		return nil, "", notFound("there is no lab called %q", name)
	}
	args = []string{"lab", name}
	c := command{words: "lab " + name}
	left := len(settings)
	for _, f := range l.List[i].Fields {
		v, ok := settings[f.Name]
		if !ok {
			continue
		}
		if left--; len(v) > maxSetting {
			return nil, "", badRequest("%s is longer than %d bytes", f.Name, maxSetting)
		}
		if v == f.Default {
			continue
		}
		flag := "--" + f.Name + "=" + v
		args = append(args, flag)
		if f.Kind != "switch" {
			c.flags = append(c.flags, "--"+f.Name, v)
		} else {
			c.flags = append(c.flags, strings.TrimSuffix(flag, "=true"))
		}
	}
	if left > 0 {
		return nil, "", badRequest("%s has no such setting: /api/v1/labs lists them", name)
	}
	return args, c.shown(where), nil
}

func (s *Server) labStart(r *http.Request, req labStart) (labStarted, error) {
	l := s.cfg.Labs
	if l == nil {
		return labStarted{}, errNoLabs
	}
	name := r.PathValue("lab")
	args, shell, err := l.labCommand(name, req.Settings, s.cfg.Where.Data)
	if err == nil {
		err = s.lab.start(s.work.ctx, l, name, args, shell)
	}
	return labStarted{Lab: name, how: by(shell, ownProcess)}, err
}

func (s *Server) labStop(*http.Request) (labStarted, error) {
	name, err := s.lab.stop()
	return labStarted{Lab: name, how: by("Ctrl-C", ownProcess)}, err
}

func (s *Server) labSet(_ *http.Request, req labSet) (labStarted, error) {
	name, err := s.lab.set(req.Name, req.Value)
	// A terminal changes a setting of a lab that it starts itself.
	shell := "echo " + visible.ShellWord(setLine(req.Name, req.Value)) + "   # as a line of standard input of: weir lab " + name + " --control"
	return labStarted{Lab: name, how: by(shell, ownProcess)}, err
}

// labLive follows the experiment that runs, for as long as the browser listens.
func (s *Server) labLive(w http.ResponseWriter, r *http.Request) error {
	out, err := newStream(w)
	if err != nil {
		return err
	}
	for at := -1; ; {
		course, next, err := s.lab.next(r.Context(), at)
		if err != nil {
			return nil //nolint:nilerr // the browser is gone
		}
		at = next
		out.event("course", "", course)
		if out.send() != nil {
			return nil //nolint:nilerr // the same
		}
	}
}

// report reads a kept report; its name is a directory's.
func (s *Server) keptReport(name string) (*record.Report, error) {
	l := s.cfg.Labs
	if l == nil {
		return nil, errNoLabs
	}
	if name == "" || name != filepath.Base(name) || strings.HasPrefix(name, ".") {
		return nil, badRequest("%q is not the name of a report", name)
	}
	r, err := record.Read(filepath.Join(l.Dir, name))
	if err != nil {
		return nil, notFound("there is no report %q that can be read", name)
	}
	return r, nil
}

func (s *Server) labReport(r *http.Request) (reportAnswer, error) {
	rep, err := s.keptReport(r.PathValue("report"))
	return reportAnswer{rep, by(weir("lab list", s.cfg.Where.Data), fromFiles)}, err
}

// maxPlot bounds a plot that is read back, in bytes.
const maxPlot = 32 << 20

func (s *Server) labPlot(w http.ResponseWriter, r *http.Request) error {
	if _, err := s.keptReport(r.PathValue("report")); err != nil {
		return err
	}
	dir, err := os.OpenRoot(s.cfg.Labs.Dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	path := r.PathValue("report") + "/" + record.PlotName
	if info, err := dir.Stat(path); err != nil || info.Size() > maxPlot {
		return notFound("the report has no plot")
	}
	b, err := dir.ReadFile(path)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "image/svg+xml")
	w.Header().Set("Cache-Control", "private, max-age=3600")
	_, _ = w.Write(b) //nolint:gosec // a picture, under a policy that lets nothing in it run
	return nil
}

func (s *Server) labCompare(r *http.Request) (none compareAnswer, _ error) {
	a, b := r.URL.Query().Get("a"), r.URL.Query().Get("b")
	ra, err := s.keptReport(a)
	if err != nil {
		return none, err
	}
	rb, err := s.keptReport(b)
	if err != nil {
		return none, err
	}
	c, err := record.Compare(ra, rb)
	if err != nil {
		return none, badRequest("%v", err)
	}
	return compareAnswer{*c, by(weir("lab compare", s.cfg.Where.Data, a, b), fromFiles)}, nil
}

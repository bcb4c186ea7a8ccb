// Package exercise has the exercises that a learner's own program solves: their names, their
// instructions, the starter programs, and the reports of checks that are kept in the data
// directory. It runs nothing and knows no Kafka, so that the web UI can show it.
// internal/exercise/judge runs a program and judges it.
package exercise

import (
	"archive/zip"
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/weir-project/weir/internal/markdown"
)

//go:embed texts all:starters
var files embed.FS

// Info is what a list shows of an exercise.
type Info struct {
	Name  string `json:"name"`
	Title string `json:"title"`
	// Summary says in one sentence what the program does and what happens to it.
	Summary string `json:"summary"`
	// Minutes is how long a learner needs, roughly.
	Minutes int `json:"minutes"`
}

// list has the exercises in the order in which they build on each other.
var list = []Info{
	{"count", "Count events", "Read a topic with a consumer group and count the events by type in Redis.", 20},
	{"produce", "Write a stream to Kafka", "Read events from a WebSocket and write them to a topic, each with its author as key.", 20},
	{"share", "Share the work", "Two copies of your counter divide the partitions, and divide them again when one leaves.", 20},
	{"survive", "Survive kill -9", "Your counter is killed three times and loses no event.", 25},
	{"once", "Count exactly once", "Your counter is killed three times and Redis restarts; no event is lost, none is counted twice.", 40},
	{"poison", "Bad records", "Malformed, empty and null records arrive; your consumer goes on and writes them to a dead-letter topic.", 25},
	{"keep-up", "Keep up", "Each event takes 10 ms of work and 1,000 arrive per second; keep the order per key.", 40},
	{"resume", "Resume a stream", "The stream cuts the connection; your producer resumes and loses nothing.", 40},
	{"window", "Count by time", "Count events in windows of 10 seconds of event time, although some arrive late.", 40},
}

// Languages are those that have starters.
var Languages = []string{"python", "go"}

// List returns all exercises.
func List() []Info { return slices.Clone(list) }

// Find returns the exercise of a name.
func Find(name string) (Info, error) {
	for _, e := range list {
		if e.Name == name {
			return e, nil
		}
	}
	return Info{}, fmt.Errorf("there is no exercise called %q", name)
}

// Text returns the instructions of an exercise as Markdown, empty for one that does not exist.
func Text(name string) string {
	b, _ := files.ReadFile("texts/" + name + ".md") // every exercise has some
	return string(b)
}

// Nodes returns the instructions of an exercise as nodes.
func Nodes(name string) []markdown.Node { return markdown.Parse([]byte(Text(name))) }

// File is a file of a starter.
type File struct {
	// Name is the path with slashes, below the directory of the exercise.
	Name string
	Data []byte
}

// Starter returns the files of a starter: the program, what it needs, and the instructions.
func Starter(name, lang string) ([]File, error) {
	if _, err := Find(name); err != nil {
		return nil, err
	}
	if !slices.Contains(Languages, lang) {
		return nil, fmt.Errorf("there are no starters in %q: choose %s", lang, strings.Join(Languages, " or "))
	}
	of := path.Join("starters", lang)
	root := path.Join(of, name)
	out := []File{{Name: "EXERCISE.md", Data: []byte(Text(name))}}
	err := fs.WalkDir(files, of, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		below, own := strings.CutPrefix(p, root+"/")
		switch {
		case d.IsDir() && p != of && p != root && !own:
			return fs.SkipDir // of another exercise
		case d.IsDir():
			return nil
		case !own:
			below = strings.TrimPrefix(p, of+"/")
		}
		b, err := files.ReadFile(p)
		if err != nil {
			return err
		}
		out = append(out, File{Name: written(below), Data: b})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the starter: %w", err)
	}
	return out, nil
}

// written is the name of a starter's file where it is written. A directory with a go.mod
// cannot be embedded, so the file has another name there.
func written(name string) string {
	if base, ok := strings.CutSuffix(name, ".txt"); ok && (slices.Contains([]string{".mod", ".sum", ".go"}, path.Ext(base))) {
		return base
	}
	return name
}

// Zip packs the files of a starter, in a directory with the name of the exercise.
func Zip(name string, starter []File) ([]byte, error) {
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for _, f := range starter {
		w, err := z.Create(name + "/" + f.Name)
		if err == nil {
			_, err = w.Write(f.Data)
		}
		if err != nil {
			return nil, fmt.Errorf("pack %s: %w", f.Name, err)
		}
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("pack the starter: %w", err)
	}
	return out.Bytes(), nil
}

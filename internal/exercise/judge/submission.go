package judge

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/weir-project/weir/internal/exercise"
	"github.com/weir-project/weir/internal/exercise/program"
	"github.com/weir-project/weir/internal/visible"
)

// buildTime bounds the build of a program in Go.
const buildTime = 5 * time.Minute

// CommandError says that no start command was found in a directory.
type CommandError struct{ Dir string }

func (e *CommandError) Error() string {
	return fmt.Sprintf("no program was found in %s: it needs run.sh, main.py, go.mod or package.json", visible.Text(e.Dir))
}

// BuildError says that a program could not be built.
type BuildError struct {
	Err    error
	Output string
}

func (e *BuildError) Error() string { return fmt.Sprintf("the program does not compile: %v", e.Err) }

// Unwrap returns the cause.
func (e *BuildError) Unwrap() error { return e.Err }

// Command returns the command that starts the program in a directory, or a file in Python. It
// builds programs in Go; done removes what it built.
func Command(ctx context.Context, path, name string) (args []string, done func(), err error) {
	done = func() {}
	info, err := os.Stat(path)
	if err != nil {
		return nil, done, fmt.Errorf("find the program: %w", err)
	}
	if !info.IsDir() {
		return []string{python(filepath.Dir(path)), filepath.Base(path)}, done, nil
	}
	has := func(file string) bool {
		info, err := os.Stat(filepath.Join(path, file))
		return err == nil && !info.IsDir()
	}
	switch {
	case runtime.GOOS == "windows" && has("run.cmd"):
		return []string{"cmd", "/c", "run.cmd"}, done, nil
	case has("run.sh"):
		return []string{"sh", "run.sh"}, done, nil
	case has("main.py"):
		return []string{python(path), "main.py"}, done, nil
	case has(name + ".py"):
		return []string{python(path), name + ".py"}, done, nil
	case has("go.mod"):
		return build(ctx, path)
	case has("package.json"):
		return []string{"npm", "start", "--silent"}, done, nil
	}
	if all, _ := filepath.Glob(filepath.Join(path, "*.py")); len(all) == 1 {
		return []string{python(path), filepath.Base(all[0])}, done, nil
	}
	return nil, done, &CommandError{path}
}

// python is the interpreter of a directory: that of its virtual environment, or that of the path.
func python(dir string) string {
	own := filepath.Join(dir, ".venv", "bin", "python")
	if runtime.GOOS == "windows" {
		own = filepath.Join(dir, ".venv", "Scripts", "python.exe")
	}
	if abs, err := filepath.Abs(own); err == nil {
		if _, err := os.Stat(abs); err == nil {
			return abs
		}
	}
	for _, name := range []string{"python3", "python"} {
		if _, err := exec.LookPath(name); err == nil {
			return name
		}
	}
	return "python3"
}

// build builds a program in Go. `go run` would build it at each start, and the time would count.
func build(ctx context.Context, dir string) (args []string, done func(), err error) {
	temp, err := os.MkdirTemp("", "weir-exercise-")
	if err != nil {
		return nil, func() {}, fmt.Errorf("make a directory: %w", err)
	}
	done = func() { _ = os.RemoveAll(temp) }
	defer func() {
		if err != nil {
			done()
		}
	}()
	out := filepath.Join(temp, "program")
	if runtime.GOOS == "windows" {
		out += ".exe"
	}
	limited, cancel := context.WithTimeout(ctx, buildTime)
	defer cancel()
	c := exec.CommandContext(limited, "go", "build", "-o", out, ".")
	c.Dir = dir
	c.WaitDelay = time.Second
	if !slices.ContainsFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "GOFLAGS=") }) {
		c.Env = append(os.Environ(), "GOFLAGS=-mod=mod")
	}
	printed, err := c.CombinedOutput()
	if ctx.Err() != nil {
		return nil, func() {}, ctx.Err()
	}
	if err != nil {
		lines := strings.Split(strings.TrimSpace(string(printed)), "\n")
		for i := range lines {
			lines[i] = visible.Text(lines[i])
		}
		return nil, func() {}, &BuildError{err, strings.Join(lines[:min(len(lines), 40)], "\n")}
	}
	return []string{out}, done, nil
}

// CheckDir checks the program in a directory, or a file in Python. cfg.Args and cfg.Dir are found there.
func CheckDir(ctx context.Context, cfg Config, path string) (*exercise.Report, error) {
	cfg.Dir = path
	if info, err := os.Stat(path); err == nil && !info.IsDir() {
		cfg.Dir = filepath.Dir(path)
	}
	if cfg.Progress != nil {
		cfg.Progress("looking for the program in " + visible.Text(path))
	}
	started := time.Now()
	args, done, err := Command(ctx, path, cfg.Exercise)
	if broken, ok := errors.AsType[*BuildError](err); ok {
		return &exercise.Report{Exercise: cfg.Exercise, Verdict: exercise.Wrong, Command: "go build", Started: started,
			Seconds:  time.Since(started).Seconds(),
			Headline: broken.Error(), Why: "The Go compiler reported errors; see the output below.", Hint: "Mend the first error and check again.",
			Evidence: []exercise.Evidence{}, Checks: []exercise.Check{}, Timeline: exercise.Timeline{Series: []exercise.Series{},
				Marks: []exercise.Mark{}},
			Output: broken.Output}, nil
	}
	if err != nil {
		return nil, err
	}
	defer done()
	cfg.Args = args
	return Run(ctx, cfg)
}

// Submission is a program to grade.
type Submission struct {
	// Name is its path below the directory of submissions, with slashes.
	Name, Path, Exercise string
}

// Submissions finds the programs in a directory: what has the name of an exercise there, or in a
// directory there.
func Submissions(dir string) ([]Submission, error) {
	var out []Submission
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read the submissions: %w", err)
	}
	add := func(below string, e os.DirEntry) bool {
		name := e.Name()
		if !e.IsDir() {
			if filepath.Ext(name) != ".py" {
				return false
			}
			name = strings.TrimSuffix(name, ".py")
		}
		if _, err := exercise.Find(name); err != nil {
			return false
		}
		path := filepath.Join(below, e.Name())
		out = append(out, Submission{filepath.ToSlash(path), filepath.Join(dir, path), name})
		return true
	}
	for _, e := range entries {
		if add("", e) || !e.IsDir() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		inside, err := os.ReadDir(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, fmt.Errorf("read the submissions: %w", err)
		}
		for _, x := range inside {
			add(e.Name(), x)
		}
	}
	return out, nil
}

// IsCommand reports whether an error says that a program cannot be started: its command or its
// directory is wrong.
func IsCommand(err error) bool {
	_, missing := errors.AsType[*program.NotFoundError](err)
	_, none := errors.AsType[*CommandError](err)
	return missing || none || errors.Is(err, fs.ErrNotExist)
}

// Command mutants changes weir's code in one place at a time, and expects a test to fail
// each time. A change that no test notices shows a missing test.
//
// The changes are in the catalogue, one file for each package: see catalogue.go for its
// format. All of it is checked at every start, so that it follows the code. The checkout
// itself stays as it is: a changed file reaches the compiler as an overlay.
//
//	go -C tools run ./mutants                  all of them
//	go -C tools run ./mutants -part day/10     a tenth, another one each day
//	go -C tools run ./mutants NAME…            some of them; a name is also the start of names
//	go -C tools run ./mutants -unchanged       the same tests on the code as it is, each once
//
// It ends with 0 when every change made its test fail, with 1 when one did not (the test
// passed, or met its time limit), and with 2 when a change cannot be tried: its old text is
// not in its file exactly once, the code does not compile, or no test has the name.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code, err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		code = 2
	}
	os.Exit(code)
}

func run(ctx context.Context, args []string, out io.Writer) (code int, err error) {
	flags := flag.NewFlagSet("mutants", flag.ContinueOnError)
	part := flags.String("part", "0/1", "which part of the catalogue: K/N, or day/N for the day's own")
	jobs := flags.Int("j", 2, "how many at a time")
	unchanged := flags.Bool("unchanged", false, "run the same tests on unchanged code: all must pass")
	list := flags.Bool("list", false, "check the catalogue and print it; run nothing")
	file := flags.String("json", "", "write a line of JSON for each mutant into this file")
	limit := flags.Duration("limit", 2*time.Minute, "how long the tests of one mutant may take")
	if err := flags.Parse(args); err != nil {
		return 2, err
	}
	root, err := moduleRoot()
	if err != nil {
		return 2, err
	}
	all, err := readCatalogue(root)
	if err != nil {
		return 2, err
	}
	chosen, err := choose(all, *part, flags.Args(), time.Now())
	if err != nil {
		return 2, err
	}
	if *unchanged {
		chosen = onePerTest(chosen)
	}
	if *list {
		for _, m := range chosen {
			fmt.Fprintf(out, "%-44s %s\n", m.Name, cmp.Or(m.Why, m.Equivalent))
		}
		return 0, nil
	}
	work, err := os.MkdirTemp("", "weir-mutants.")
	if err != nil {
		return 2, err
	}
	defer os.RemoveAll(work)
	t := trial{root: root, work: work, limit: *limit, unchanged: *unchanged}
	began := time.Now()
	results := t.all(ctx, chosen, *jobs, out)
	if *file != "" {
		if err := writeJSON(*file, results); err != nil {
			return 2, err
		}
	}
	if ctx.Err() != nil {
		return 2, errors.New("interrupted")
	}
	return summarize(out, results, len(all), *unchanged, time.Since(began)), nil
}

// moduleRoot finds weir's own go.mod, from the current directory upwards.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	for ; err == nil && dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if text, err := os.ReadFile(filepath.Join(dir, "go.mod")); err == nil && strings.HasPrefix(string(text), "module github.com/weir-project/weir\n") {
			return dir, nil
		}
	}
	return "", errors.New("this directory is not in a checkout of weir")
}

// choose returns the mutants of a part, or those whose names begin with one of names.
func choose(all []mutant, part string, names []string, now time.Time) (out []mutant, err error) {
	if len(names) > 0 {
		for _, name := range names {
			found := false
			for _, m := range all {
				if strings.HasPrefix(m.Name, name) {
					found = true
					out = append(out, m)
				}
			}
			if !found {
				return nil, fmt.Errorf("no mutant's name begins with %q", name)
			}
		}
		return out, nil
	}
	which, of, _ := strings.Cut(part, "/")
	n, err := strconv.Atoi(of)
	k := int(now.Unix() / (24 * 3600))
	if which != "day" && err == nil {
		k, err = strconv.Atoi(which)
	}
	if err != nil || n < 1 || k < 0 {
		return nil, fmt.Errorf("-part %q is not K/N or day/N", part)
	}
	for i, m := range all {
		if i%n == k%n {
			out = append(out, m)
		}
	}
	return out, nil
}

// onePerTest leaves one mutant of those that the same test has to notice, and no equivalent one.
func onePerTest(mutants []mutant) []mutant {
	type test struct{ dir, pattern string }
	seen := map[test]bool{}
	return slices.DeleteFunc(mutants, func(m mutant) bool {
		t := test{m.Tests, m.Pattern}
		again := seen[t]
		seen[t] = true
		return again || m.Equivalent != ""
	})
}

// all tries the mutants in their order, some at a time, and reports each.
func (t *trial) all(ctx context.Context, mutants []mutant, jobs int, out io.Writer) []result {
	results := make([]result, len(mutants))
	todo := make(chan int)
	var mu sync.Mutex
	var wg sync.WaitGroup
	done := 0
	for worker := range max(1, jobs) {
		wg.Go(func() {
			for i := range todo {
				r := t.one(ctx, &mutants[i], worker)
				results[i] = r
				mu.Lock()
				done++
				fmt.Fprintf(out, "%3d/%d  %-10s %5.1f s  %-40s %s\n", done, len(mutants), r.Outcome, r.Seconds, r.Name, r.By)
				if r.bad() {
					fmt.Fprintf(out, "         %s\n         %s\n%s", r.Why, r.command(), indent(r.output))
				}
				mu.Unlock()
			}
		})
	}
	for i := range mutants {
		if ctx.Err() != nil {
			break
		}
		todo <- i
	}
	close(todo)
	wg.Wait()
	return results
}

// indent returns the end of a program's output, moved to the right.
func indent(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	lines = lines[max(0, len(lines)-20):]
	return "           " + strings.Join(lines, "\n           ") + "\n"
}

// summarize prints what became of the mutants, by package, and returns the exit code.
func summarize(out io.Writer, results []result, catalogue int, unchanged bool, took time.Duration) (code int) {
	type line struct {
		outcomes map[string]int
		seconds  float64
	}
	by := map[string]*line{}
	var bad []string
	for _, r := range results {
		l := by[r.Package]
		if l == nil {
			l = &line{outcomes: map[string]int{}}
			by[r.Package] = l
		}
		l.outcomes[r.Outcome]++
		l.seconds += r.Seconds
		switch {
		case r.Outcome == broken:
			code = 2
		case r.bad():
			code = max(code, 1)
		default:
			continue
		}
		bad = append(bad, r.Name+": "+r.Outcome)
	}
	fmt.Fprintf(out, "\n%-28s %7s %9s %10s %7s %11s %8s\n", "package", killed, survived, timeLimit, broken, equivalent, "seconds")
	for _, p := range slices.Sorted(maps.Keys(by)) {
		o := by[p].outcomes
		fmt.Fprintf(out, "%-28s %7d %9d %10d %7d %11d %8.1f\n", p, o[killed], o[survived], o[timeLimit], o[broken], o[equivalent], by[p].seconds)
	}
	fmt.Fprintf(out, "%d of %d mutants in %.0f s\n", len(results), catalogue, took.Seconds())
	if unchanged {
		fmt.Fprintln(out, "on unchanged code, where every test has to pass: survived is right")
	}
	for _, text := range bad {
		fmt.Fprintln(out, text)
	}
	return code
}

func writeJSON(name string, results []result) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	enc := json.NewEncoder(f)
	for i := range results {
		if err = errors.Join(err, enc.Encode(&results[i])); err != nil {
			break
		}
	}
	return errors.Join(err, f.Close())
}

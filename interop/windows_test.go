package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// windows is the program for Windows with one data directory, run by Wine.
type windows struct {
	t         *testing.T
	exe, data string
	page      string
}

func (w *windows) start() *process {
	w.t.Helper()
	p := start(w.t, "weir up", []string{"WINEDEBUG=-all"}, "wine", w.exe, "up", "--data", w.data, "--source", "simulated", "--rate", "500",
		"--ports", "0", "--listen", w.page)
	waitFor(w.t, "the web UI", func() bool {
		b, err := w.get("/healthz")
		return err == nil && len(b) > 0
	})
	return p
}

func (w *windows) get(path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.page+path, nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: status %d: %s", path, res.StatusCode, b)
	}
	return b, err
}

// run runs a command to its end and returns what it printed.
func (w *windows) run(args ...string) string {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "wine", append([]string{w.exe}, args...)...)
	cmd.Env = append(os.Environ(), "WINEDEBUG=-all")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		w.t.Errorf("weir %s: %v\n%s%s", strings.Join(args, " "), err, out, &stderr)
	}
	return string(out)
}

// verified returns how many events verify has proven to be there and counted.
func (w *windows) verified() (events int64) {
	w.t.Helper()
	var report struct {
		Bluesky, Wikipedia struct {
			OK                                bool
			Events, Lost, Doubled, Miscounted int64
		}
	}
	if err := json.Unmarshal([]byte(w.run("verify", "--data", w.data, "-o", "json")), &report); err != nil {
		w.t.Fatal(err)
	}
	b, k := report.Bluesky, report.Wikipedia
	if !b.OK || !k.OK || b.Lost+b.Doubled+b.Miscounted+k.Lost+k.Doubled+k.Miscounted != 0 {
		w.t.Errorf("verified: %+v", report)
	}
	if b.Events > 0 && k.Events > 0 {
		events = b.Events + k.Events
	}
	return events
}

// TestWindows runs the program that students with Windows get: streams to counted events, pages,
// commands, Ctrl-C, a second start, a crash, a third start, the proof, an exercise and a lab.
func TestWindows(t *testing.T) {
	exe := os.Getenv("WEIR_TEST_WINDOWS")
	if exe == "" {
		t.Skip("WEIR_TEST_WINDOWS names no weir.exe: .ci/run windows builds one and runs this")
	}
	w := &windows{t: t, exe: exe, data: filepath.Join(t.TempDir(), "Jo's data"), page: fmt.Sprintf("127.0.0.1:%d", freePort(t))}
	if got := w.run("version"); !strings.Contains(got, "windows/amd64") {
		t.Fatalf("version %q", got)
	}

	p := w.start()
	first := w.more(0)
	if page, err := w.get("/"); err != nil || !bytes.Contains(page, []byte("<!doctype html>")) {
		t.Errorf("the page: %v %s", err, page)
	}
	w.run("topics", "create", "orders", "--partitions", "3", "--data", w.data)
	w.run("send", "orders", "grüße", "--key", "anna", "--data", w.data)
	if got := w.run("messages", "orders", "-o", "jsonl", "--data", w.data); !strings.Contains(got, "grüße") {
		t.Errorf("the message of orders: %q", got)
	}
	w.run("brokers", "kill", "2", "--data", w.data)
	w.run("brokers", "restart", "2", "--data", w.data)
	first = w.more(first)
	p.stop(t, syscall.SIGINT)
	if got := p.out.tail(4000); !strings.Contains(got, "stopping") || !strings.Contains(got, "create") {
		t.Errorf("after Ctrl-C weir printed no counts: %s", got)
	}

	p = w.start()
	second := w.more(first)
	p.stop(t, syscall.SIGKILL)

	p = w.start()
	w.more(second)
	if got := w.run("messages", "orders", "-o", "jsonl", "--data", w.data); strings.Count(got, "grüße") != 1 {
		t.Errorf("after a crash, the messages of orders: %q", got)
	}
	p.stop(t, syscall.SIGINT)

	counter := filepath.Join(t.TempDir(), "counter.exe")
	make := exec.CommandContext(t.Context(), "go", "build", "-o", counter, "./count")
	make.Dir, make.Env = filepath.Join("exercises", "go"), append(os.Environ(), "GOOS=windows", "GOARCH=amd64", "CGO_ENABLED=0")
	if b, err := make.CombinedOutput(); err != nil {
		t.Fatalf("build the counter: %v\n%s", err, b)
	}
	if got := w.run("exercise", "check", "count", "--data", w.data, "-o", "json", "--", counter); !strings.Contains(got, `"verdict": "passed"`) {
		t.Errorf("exercise count: %s", got)
	}

	report := w.run("lab", "replay", "--short", "--data", w.data, "-o", "json")
	var verdict struct{ Verdict string }
	if err := json.Unmarshal([]byte(report), &verdict); err != nil || verdict.Verdict != "holds" {
		t.Errorf("lab replay: %q, %v", verdict.Verdict, err)
	}
}

// more waits until more events than before are proven, and returns how many.
func (w *windows) more(before int64) (events int64) {
	w.t.Helper()
	waitFor(w.t, "more events than before", func() bool {
		events = w.verified()
		return events > before
	})
	return events
}

package web

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestALabThatDoesNotReadItsSettings: it stalls neither the pages nor its end.
func TestALabThatDoesNotReadItsSettings(t *testing.T) {
	t.Parallel()
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("needs sh, which stands in for a lab that is stuck")
	}
	const script = `echo '{"at":0,"controls":[{"name":"n","label":"n","max":9,"value":"1"}]}'; until [ -e "$1" ]; do sleep 0.05; done`
	over := filepath.Join(t.TempDir(), "over")
	l := &labRun{}
	cfg := &Labs{Program: []string{sh, "-c", script, "lab", over}, Data: t.TempDir()}
	if err := l.start(t.Context(), cfg, "stuck", nil, "weir lab stuck"); err != nil {
		t.Fatal(err)
	}
	refused := make(chan error, 1)
	go func() {
		for {
			if _, err := l.set("n", "2"); err != nil {
				refused <- err
				return
			}
		}
	}()
	answered := make(chan string, 1)
	go func() {
		for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
			l.name()
		}
		answered <- l.name()
	}()
	select {
	case name := <-answered:
		if name != "stuck" {
			t.Errorf("%q runs", name)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("a lab that does not read stalls whoever asks which lab runs")
	}
	select {
	case err := <-refused:
		if !strings.Contains(err.Error(), "does not read its settings") {
			t.Errorf("err = %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("nobody says that the lab does not read")
	}
	if _, err := l.stop(); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(over, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l.wg.Wait()
}

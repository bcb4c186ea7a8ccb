package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-project/weir/internal/cli"
)

// With few descriptors the program ends at once, names the limit, and creates nothing.
func TestFewDescriptors(t *testing.T) {
	for _, limit := range []int{16, 128} {
		for _, command := range []string{"up", "cluster"} {
			dir := filepath.Join(t.TempDir(), "data")
			script := fmt.Sprintf(`ulimit -n %d && exec "$0" "$@"`, limit)
			cmd := exec.CommandContext(t.Context(), "sh", "-c", script, os.Args[0],
				command, "--source", "simulated", "--ports", "0", "--listen", "127.0.0.1:0", "--data", dir)
			cmd.Env = append(os.Environ(), asWeir+"=1")
			out, err := cmd.CombinedOutput()
			text := string(out)
			if err == nil || cmd.ProcessState.ExitCode() != cli.ExitRuntime {
				t.Errorf("%s with %d descriptors: %v", command, limit, err)
			}
			if !strings.Contains(text, fmt.Sprintf("only %d files", limit)) || !strings.Contains(text, "ulimit -n 4096") ||
				strings.Contains(text, "another directory") {
				t.Errorf("%s with %d descriptors says:\n%s", command, limit, text)
			}
			if _, err := os.Stat(dir); !os.IsNotExist(err) {
				t.Errorf("%s with %d descriptors left a data directory: %v", command, limit, err)
			}
		}
	}
}

package apache

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestHelperBinds starts a process that is bound to it or not, says which, and waits
// to be killed.
func TestHelperBinds(t *testing.T) {
	bound := os.Getenv("WEIR_TEST_BOUND")
	if bound == "" {
		t.Skip("a helper process of TestBound")
	}
	child := exec.Command("sleep", "600")
	child.SysProcAttr = processAttributes(bound == "yes")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	fmt.Println("child", child.Process.Pid)
	select {}
}

// A bound process ends with the one that started it, even if that is killed; another
// one outlives it.
func TestBound(t *testing.T) {
	for _, bound := range []string{"yes", "no"} {
		t.Run(bound, func(t *testing.T) {
			parent := exec.Command(os.Args[0], "-test.run=^TestHelperBinds$")
			parent.Env = append(os.Environ(), "WEIR_TEST_BOUND="+bound)
			out, err := parent.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := parent.Start(); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(out).ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			pid, err := strconv.Atoi(strings.TrimPrefix(strings.TrimSpace(line), "child "))
			if err != nil {
				t.Fatalf("the helper said %q", line)
			}
			started, err := startTime(pid)
			if err != nil {
				t.Fatal(err)
			}
			_ = parent.Process.Kill()
			_ = parent.Wait()
			alive := func() bool {
				now, err := startTime(pid)
				return err == nil && now == started
			}
			if bound == "no" {
				if !alive() {
					t.Error("it ended although nothing binds it, so this test would prove nothing")
				}
				if err := end(context.Background(), processRecord{PID: pid, Started: started}); err != nil {
					t.Error(err)
				}
				return
			}
			tick := time.NewTicker(10 * time.Millisecond)
			defer tick.Stop()
			for deadline := time.Now().Add(time.Minute); alive(); <-tick.C {
				if time.Now().After(deadline) {
					t.Fatal("it outlived the process that it is bound to")
				}
			}
		})
	}
}

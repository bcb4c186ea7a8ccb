package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/cluster"
	"github.com/weir-project/weir/internal/node"
)

// apachePatience is how long three Java processes on a loaded machine may take for
// anything: to start, to notice a death, to be in sync again.
const apachePatience = 5 * time.Minute

// TestApache is the main job on real brokers: up, the commands that look, kill -9
// of the whole program, a broker that dies by itself, and the proof at the end.
// Brokers that are killed under load are TestApacheFailover's.
func TestApache(t *testing.T) {
	env := apacheEnv(t, node.Simulated, "WEIR_RATE=1000", "WEIR_LISTEN=off", "WEIR_PORTS="+portList(freePorts(t, 4)))
	up := spawn(t, env, "up")
	begin := time.Now()
	up.out.waitFor(t, "Ctrl-C stops", apachePatience)
	t.Logf("up after %v", time.Since(begin).Round(100*time.Millisecond))
	if !strings.Contains(up.out.String(), "Apache Kafka") {
		t.Errorf("the banner does not say which engine runs:\n%s", up.out)
	}
	waitMore(t, env, 500)
	t.Run("looks", func(t *testing.T) { looks(t, env) })
	before := counted(t, env)

	up.signal(t, syscall.SIGKILL)
	up.exit(t)
	up = spawn(t, env, "up")
	up.out.waitFor(t, "Ctrl-C stops", apachePatience)
	if n := strings.Count(up.out.String(), "an earlier weir left running"); n != 3 {
		t.Errorf("%d orphans are told of, want 3:\n%s", n, up.out)
	}
	waitMore(t, env, sum(before["bluesky"])+500)

	t.Run("died by itself", func(t *testing.T) { diesByItself(t, env, up) })
	t.Run("groups", func(t *testing.T) { groupsChange(t, env) })
	waitMore(t, env, sum(counted(t, env)["bluesky"])+500)
	verified(t, env)
	up.signal(t, syscall.SIGTERM)
	if code := up.exit(t); code != cli.ExitOK {
		t.Errorf("exit code %d:\n%s", code, up.out)
	}
	if left, _ := filepath.Glob(filepath.Join(dataOf(env), node.Simulated, "apache", "broker-*", "process.json")); len(left) > 0 {
		t.Errorf("brokers outlived an orderly stop: %v", left)
	}
	if t.Failed() {
		t.Logf("up:\n%s", up.out)
	}
}

// apacheEnv is an environment for the program on real brokers, which a weir that
// the test's end kills does not leave behind.
func apacheEnv(t *testing.T, mode string, more ...string) []string {
	t.Helper()
	if os.Getenv("WEIR_TEST_KAFKA") != "apache" {
		t.Skip("starts real brokers (Java 17, and Maven or KAFKA_HOME): WEIR_TEST_KAFKA=apache go test ./cmd/weir -run TestApache")
	}
	env := testEnv(t, append(append(javaEnv(t), "WEIR_ENGINE=apache"), more...)...)
	stopOrphans(t, filepath.Join(dataOf(env), mode))
	return env
}

// javaEnv is what finds the programs of Apache Kafka where they are for all tests.
func javaEnv(t *testing.T) []string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	return []string{"XDG_CACHE_HOME=" + cache, "KAFKA_HOME=" + os.Getenv("KAFKA_HOME"), "JAVA_HOME=" + os.Getenv("JAVA_HOME")}
}

// stopOrphans ends at the test's end the brokers that a weir which was killed has left on the data below dir.
func stopOrphans(t *testing.T, dir string) {
	t.Cleanup(func() {
		if err := cluster.StopOrphans(context.Background(), dir, nil); err != nil {
			t.Error(err)
		}
	})
}

// succeeds runs a command that has to succeed, with the patience that Java needs.
func succeeds(t *testing.T, env []string, args ...string) {
	t.Helper()
	c := start(t, env, "", args...)
	select {
	case <-c.done:
	case <-time.After(apachePatience):
		t.Fatalf("weir %v does not end; stderr:\n%s", args, c.stderr)
	}
	if c.code != cli.ExitOK {
		t.Fatalf("weir %v: exit code %d: %s", args, c.code, c.stderr)
	}
}

func restartBroker(t *testing.T, env []string, id string) {
	t.Helper()
	succeeds(t, env, "brokers", "restart", id)
}

// waitMore waits until so many Bluesky events are counted.
func waitMore(t *testing.T, env []string, want int64) {
	t.Helper()
	within(t, fmt.Sprintf("%d events are counted", want), func() bool { return sum(counted(t, env)["bluesky"]) >= want })
}

// within is eventually with the patience that Java needs.
func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(apachePatience); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v in vain: %s", apachePatience, what)
		}
	}
}

// diesByItself kills a broker's process behind weir's back: it must say so.
func diesByItself(t *testing.T, env []string, up *child) {
	stdout, stderr, code := weir(t, env, "brokers", "-o", "json")
	var list []struct{ ID, PID int }
	if err := json.Unmarshal([]byte(stdout), &list); err != nil || code != cli.ExitOK || len(list) != 3 || list[1].PID <= 1 {
		t.Fatalf("weir brokers: exit code %d, %v:\n%s%s", code, err, stdout, stderr)
	}
	if err := sendSignal(list[1].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	up.out.waitFor(t, "broker 2 ended: signal: killed", apachePatience)
	if stdout, _, _ := weir(t, env, "brokers"); !strings.Contains(stdout, "ended: signal: killed") {
		t.Errorf("weir brokers does not tell of it:\n%s", stdout)
	}
	if _, stderr, code := weir(t, env, "brokers", "kill", "2"); code != cli.ExitRuntime || !strings.Contains(stderr, "not running") {
		t.Errorf("killing it again: exit code %d: %s", code, stderr)
	}
	restartBroker(t, env, "2")
}

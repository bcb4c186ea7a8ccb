package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/cluster/apache"
)

// apachePatience is how long three Java processes on a loaded machine may take for
// anything: to start, to notice a death, to be in sync again.
const apachePatience = 2 * time.Minute

// apacheRounds is how often a broker is killed under load.
const apacheRounds = 5

// TestApache is the main job on real brokers: up, the commands that look, kill -9
// of the whole program, kill -9 of one broker after the other under load, and the
// proof at the end.
func TestApache(t *testing.T) {
	if os.Getenv("WEIR_TEST_KAFKA") != "apache" {
		t.Skip("starts real brokers (Java 17, and Maven or KAFKA_HOME): WEIR_TEST_KAFKA=apache go test ./cmd/weir -run TestApache")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	ports := portList(freePorts(t, 4))
	env := testEnv(t, "XDG_CACHE_HOME="+cache, "KAFKA_HOME="+os.Getenv("KAFKA_HOME"), "JAVA_HOME="+os.Getenv("JAVA_HOME"),
		"WEIR_ENGINE=apache", "WEIR_RATE=1000", "WEIR_LISTEN=off", "WEIR_PORTS="+ports)
	t.Cleanup(func() { // of a weir that the test's end killed
		if err := apache.StopOrphans(context.Background(), filepath.Join(dataOf(env), modeSimulated, apacheDir), nil); err != nil {
			t.Error(err)
		}
	})
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

	r := follow(t, strings.Split(ports, ",")[:3])
	var table []string
	for n := range apacheRounds {
		table = append(table, r.round(t, env, int32(n%3+1)))
	}
	t.Logf("kill -9 of one broker of three at 1,000 events/s, as a read_committed consumer sees it:\n%s", strings.Join(table, "\n"))

	t.Run("died by itself", func(t *testing.T) { diesByItself(t, env, up) })
	t.Run("groups", func(t *testing.T) { groupsChange(t, env) })
	waitMore(t, env, sum(counted(t, env)["bluesky"])+500)
	verified(t, env)
	up.signal(t, syscall.SIGTERM)
	if code := up.exit(t); code != exitOK {
		t.Errorf("exit code %d:\n%s", code, up.out)
	}
	if left, _ := filepath.Glob(filepath.Join(dataOf(env), modeSimulated, apacheDir, "broker-*", "process.json")); len(left) > 0 {
		t.Errorf("brokers outlived an orderly stop: %v", left)
	}
	if t.Failed() {
		t.Logf("up:\n%s", up.out)
	}
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
	if err := json.Unmarshal([]byte(stdout), &list); err != nil || code != exitOK || len(list) != 3 || list[1].PID <= 1 {
		t.Fatalf("weir brokers: exit code %d, %v:\n%s%s", code, err, stdout, stderr)
	}
	if err := syscall.Kill(list[1].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	up.out.waitFor(t, "broker 2 died: signal: killed", apachePatience)
	if stdout, _, _ := weir(t, env, "brokers"); !strings.Contains(stdout, "died: signal: killed") {
		t.Errorf("weir brokers does not tell of it:\n%s", stdout)
	}
	if _, stderr, code := weir(t, env, "brokers", "kill", "2"); code != exitRuntime || !strings.Contains(stderr, "not running") {
		t.Errorf("killing it again: exit code %d: %s", code, stderr)
	}
	if _, stderr, code := weir(t, env, "brokers", "restart", "2"); code != exitOK {
		t.Fatalf("restart: exit code %d: %s", code, stderr)
	}
}

// follower reads the committed events of Bluesky and measures what it waits.
type follower struct {
	admin *kadm.Client

	mu    sync.Mutex
	last  time.Time           // of a delivery
	gap   time.Duration       // the longest between two
	late  time.Duration       // the longest from a record's time to its delivery
	fresh map[int32]time.Time // by partition, the newest record's time
}

func follow(t *testing.T, ports []string) *follower {
	t.Helper()
	var seeds []string
	for _, p := range ports {
		seeds = append(seeds, host+":"+p)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(seeds...), kgo.ConsumeTopics("bluesky-events"), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtEnd()), kgo.MetadataMinAge(250*time.Millisecond), kgo.RetryTimeout(2*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	f := &follower{admin: kadm.NewClient(cl), last: time.Now(), fresh: make(map[int32]time.Time)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			fetches := cl.PollFetches(t.Context())
			if fetches.IsClientClosed() || t.Context().Err() != nil {
				return
			}
			f.mu.Lock()
			now := time.Now()
			fetches.EachRecord(func(r *kgo.Record) {
				f.gap, f.last = max(f.gap, now.Sub(f.last)), now
				f.late = max(f.late, now.Sub(r.Timestamp))
				f.fresh[r.Partition] = r.Timestamp
			})
			f.mu.Unlock()
		}
	}()
	t.Cleanup(func() { cl.Close(); <-done })
	return f
}

// freshSince reports whether every partition delivered something that was written
// after a moment.
func (f *follower) freshSince(partitions int, moment time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, at := range f.fresh {
		if at.After(moment) {
			n++
		}
	}
	return n == partitions
}

// inSync reports whether every replica of every partition is.
func (f *follower) inSync(t *testing.T) bool {
	topics, err := f.admin.ListTopicsWithInternal(t.Context())
	if err != nil {
		return false
	}
	whole := true
	topics.EachPartition(func(p kadm.PartitionDetail) { whole = whole && p.Err == nil && len(p.ISR) == 3 })
	return whole
}

// round kills a broker, waits until events flow through all partitions, brings it
// back, and returns a line of the table.
func (f *follower) round(t *testing.T, env []string, id int32) string {
	t.Helper()
	within(t, "all replicas are in sync", func() bool { return f.inSync(t) })
	within(t, "all partitions flow", func() bool { return f.freshSince(6, time.Now().Add(-time.Second)) })
	f.mu.Lock()
	f.gap, f.late = 0, 0
	f.mu.Unlock()
	n := strconv.Itoa(int(id))
	killed := time.Now()
	if _, stderr, code := weir(t, env, "brokers", "kill", n, "--hard"); code != exitOK {
		t.Fatalf("kill: exit code %d: %s", code, stderr)
	}
	within(t, "events flow without broker "+n, func() bool { return f.freshSince(6, killed.Add(time.Second)) })
	flows := time.Since(killed)
	begin := time.Now()
	if _, stderr, code := weir(t, env, "brokers", "restart", n); code != exitOK {
		t.Fatalf("restart: exit code %d: %s", code, stderr)
	}
	back := time.Since(begin)
	within(t, "broker "+n+" is in sync again", func() bool { return f.inSync(t) })
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.gap < 100*time.Millisecond {
		t.Errorf("broker %s was killed, and no delivery was later than %v: was it?", n, f.gap)
	}
	return fmt.Sprintf("broker %s: longest pause %5.1f s, latest event %5.1f s, all partitions after %5.1f s; answered %4.1f s after its restart, in sync after %4.1f s",
		n, f.gap.Seconds(), f.late.Seconds(), flows.Seconds(), back.Seconds(), time.Since(begin).Seconds())
}

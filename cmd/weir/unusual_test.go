package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/node"
)

// unusualRig is the real program on three real brokers and a real Redis, one
// broker of which has a small disk where mounting is possible.
type unusualRig struct {
	t        *testing.T
	env      []string
	up       *child
	pages    string
	admin    *kadm.Client // on kafka
	kafka    *kgo.Client
	clock    *brokerClock
	redis    *redis.Client
	server   *exec.Cmd // the Redis
	port     int       // of it
	disk     string    // of broker 2, empty where there is none
	noDisk   string    // why
	redisDir string
}

// diskSize is enough for the broker to start and to run for minutes.
const diskSize = 160 << 20

func newUnusualRig(t *testing.T) *unusualRig {
	t.Helper()
	ports := freePorts(t, 5)
	env := apacheEnv(t, node.Simulated, "WEIR_RATE=200", "WEIR_LISTEN=127.0.0.1:0", "WEIR_PORTS="+portList(ports[:4]),
		"WEIR_REDIS=redis://"+"127.0.0.1:"+strconv.Itoa(ports[4])+"/1")
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Fatalf("needs redis-server: %v", err)
	}
	r := &unusualRig{t: t, env: env, port: ports[4], redisDir: t.TempDir()}
	r.redis = redis.NewClient(&redis.Options{Addr: "127.0.0.1:" + strconv.Itoa(r.port), DB: 1, MaxRetries: -1})
	t.Cleanup(func() { _ = r.redis.Close() })
	r.startRedis()
	t.Cleanup(func() { r.stopRedis() })
	r.mountDisk(filepath.Join(dataOf(env), node.Simulated, "apache", "broker-2", "data"))
	clock, preload := newBrokerClock(t)
	r.clock = clock
	r.up = spawn(t, append(preload, env...), "up")
	r.up.out.waitFor(t, "Ctrl-C stops", apachePatience)
	r.pages = link.FindString(r.up.out.String())
	cl, err := kgo.NewClient(kgo.SeedBrokers("127.0.0.1:"+strconv.Itoa(ports[0]), "127.0.0.1:"+strconv.Itoa(ports[2])))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	r.kafka, r.admin = cl, kadm.NewClient(cl)
	return r
}

func (r *unusualRig) startRedis() {
	r.t.Helper()
	r.server = exec.Command("redis-server", "--port", strconv.Itoa(r.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", r.redisDir)
	if err := r.server.Start(); err != nil {
		r.t.Fatal(err)
	}
	eventually(r.t, "redis-server answers", func() bool { return r.redis.Ping(r.t.Context()).Err() == nil })
}

func (r *unusualRig) stopRedis() {
	_ = r.server.Process.Kill()
	_ = r.server.Wait()
}

// mountDisk gives a directory a disk of its own.
func (r *unusualRig) mountDisk(dir string) {
	r.t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		r.t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%d", diskSize), "tmpfs", dir).CombinedOutput(); err != nil {
		r.noDisk = fmt.Sprintf("a small disk cannot be mounted here (%v: %s): run as root where mounting is allowed", err, strings.TrimSpace(string(out)))
		return
	}
	r.disk = dir
	r.t.Cleanup(func() { // after the brokers are gone
		if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
			r.t.Errorf("unmount %s: %v: %s", dir, err, out)
		}
	})
}

// says waits until /readyz and the status line say something.
func (r *unusualRig) says(text string) {
	r.t.Helper()
	within(r.t, "/readyz says "+text, func() bool {
		status, got := r.readyz()
		return status == http.StatusServiceUnavailable && strings.Contains(got, text)
	})
	r.up.out.waitFor(r.t, text, apachePatience)
}

func (r *unusualRig) readyz() (status int, text string) {
	resp, err := http.Get(r.pages + "/readyz")
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

// goesOn waits until a stream is counted further, and nothing is amiss.
func (r *unusualRig) goesOn(stream string) {
	r.t.Helper()
	within(r.t, "/readyz is content", func() bool { status, _ := r.readyz(); return status == http.StatusOK })
	before := sum(counted(r.t, r.env)[stream])
	within(r.t, stream+" is counted further", func() bool { return sum(counted(r.t, r.env)[stream]) > before })
}

func (r *unusualRig) must(args ...string) {
	r.t.Helper()
	if stdout, stderr, code := weir(r.t, r.env, args...); code != cli.ExitOK {
		r.t.Fatalf("weir %v: exit code %d:\n%s%s", args, code, stdout, stderr)
	}
}

func (r *unusualRig) tally(group, topic string, partition int) map[string]string {
	r.t.Helper()
	m, err := r.redis.HGetAll(r.t.Context(), fmt.Sprintf("weir:tally:%s:%s:%d", group, topic, partition)).Result()
	if err != nil {
		r.t.Fatal(err)
	}
	return m
}

const unusualGroup, unusualTopic = "weir-bluesky-counter", "bluesky-events"

// TestApacheUnusual lets happen to the real program what happens to those who run
// Kafka for longer: each has the words that README promises, and a way out that is
// tried. Whatever the brokers kept is stored once and counted once afterwards.
func TestApacheUnusual(t *testing.T) {
	r := newUnusualRig(t)
	defer func() {
		if t.Failed() {
			_, body := r.readyz()
			text := r.up.out.String()
			t.Logf("/readyz: %s\nup:\n%s", body, text[max(0, len(text)-20000):])
		}
	}()
	waitMore(t, r.env, 200)
	step := func(name string, fn func()) {
		t.Helper()
		if t.Failed() {
			t.Fatalf("not tried, because of what failed before: %s", name)
		}
		begin := time.Now()
		fn()
		t.Logf("%s: %v", name, time.Since(begin).Round(100*time.Millisecond))
	}
	step("partitions are added", r.partitionsAdded)
	step("Redis comes back empty", r.redisEmpty)
	step("the log is trimmed below the counter's position", r.trimmed)
	step("the brokers' clock steps", r.clockSteps)
	step("a topic refuses the ends of transactions", r.markersRefused)
	step("a broker's disk is full", r.diskFull)
	step("a topic is deleted and created again", r.recreated)
	r.up.signal(t, syscall.SIGTERM)
	if code := r.up.exitWithin(t, apachePatience); code != cli.ExitOK {
		t.Errorf("exit code %d:\n%s", code, r.up.out)
	}
}

// partitionsAdded: ingest writes to them, counters share them, and verify knows them.
func (r *unusualRig) partitionsAdded() {
	resp, err := r.admin.CreatePartitions(r.t.Context(), 2, unusualTopic)
	if err = errors.Join(err, resp.Error()); err != nil {
		r.t.Fatal(err)
	}
	within(r.t, "the new partitions are counted", func() bool {
		return r.tally(unusualGroup, unusualTopic, 6)["k:create"] != "" && r.tally(unusualGroup, unusualTopic, 7)["k:create"] != ""
	})
	verified(r.t, r.env)
}

// redisEmpty: everything that Kafka has is counted again.
func (r *unusualRig) redisEmpty() {
	before := sum(counted(r.t, r.env)["bluesky"])
	r.stopRedis()
	r.says("waiting for Redis: ")
	r.startRedis()
	r.goesOn("bluesky")
	r.up.out.waitFor(r.t, "the counts in Redis were gone; counting again from the offset that is stored now", apachePatience)
	within(r.t, "all is counted again", func() bool { return sum(counted(r.t, r.env)["bluesky"]) >= before })
	verified(r.t, r.env)
}

// trimmed: Redis is set back to a state that is older than what the log keeps. The
// partition stops and says so, and the others go on; a reset is the way out.
func (r *unusualRig) trimmed() {
	old := r.tally(unusualGroup, unusualTopic, 0)
	next, err := strconv.ParseInt(old["next"], 10, 64)
	if err != nil {
		r.t.Fatalf("a tally is %v", old)
	}
	within(r.t, "partition 0 is counted further", func() bool {
		n, _ := strconv.ParseInt(r.tally(unusualGroup, unusualTopic, 0)["next"], 10, 64)
		return n > next+10
	})
	to := kadm.Offsets{}
	to.Add(kadm.Offset{Topic: unusualTopic, Partition: 0, At: next + 10})
	if _, err := r.admin.DeleteRecords(r.t.Context(), to); err != nil {
		r.t.Fatal(err)
	}
	restored := map[string]any{}
	for k, v := range old {
		restored[k] = v
	}
	key := fmt.Sprintf("weir:tally:%s:%s:0", unusualGroup, unusualTopic)
	if _, err := r.redis.TxPipelined(r.t.Context(), func(p redis.Pipeliner) error {
		p.Del(r.t.Context(), key)
		p.HSet(r.t.Context(), key, restored)
		return nil
	}); err != nil {
		r.t.Fatal(err)
	}
	r.says(fmt.Sprintf("partition 0 of %s is not counted: offsets %d to %d were deleted from the log before they were counted (by retention, or on request); `weir groups leave`, `reset` and `join`, in this order, set a new offset", unusualTopic, next, next+9))
	other := r.tally(unusualGroup, unusualTopic, 1)["next"]
	within(r.t, "the other partitions are counted", func() bool { return r.tally(unusualGroup, unusualTopic, 1)["next"] != other })
	r.must("groups", "leave", unusualGroup)
	r.must("groups", "reset", unusualGroup, "--topic", unusualTopic, "--partition", "0", "--to", "oldest", "--yes")
	r.must("groups", "join", unusualGroup)
	r.goesOn("bluesky")
}

// diskFull fills the disk of broker 2: the broker ends, weir says why and what to
// do, the two others go on, and with room it comes back.
func (r *unusualRig) diskFull() {
	if r.disk == "" {
		r.t.Errorf("a full disk was not tried: %s", r.noDisk)
		return
	}
	filler := filepath.Join(r.disk, "filler")
	f, err := os.Create(filler)
	if err != nil {
		r.t.Fatal(err)
	}
	block := make([]byte, 4096)
	for err == nil {
		_, err = f.Write(block)
	}
	_ = f.Close()
	if !errors.Is(err, syscall.ENOSPC) {
		r.t.Fatalf("the disk is not full, but %v", err)
	}
	r.up.out.waitFor(r.t, "broker 2 ended", apachePatience)
	r.up.out.waitFor(r.t, "because its disk is full", apachePatience)
	if stdout, _, _ := weir(r.t, r.env, "brokers"); !strings.Contains(stdout, "because its disk is full") {
		r.t.Errorf("weir brokers does not tell why:\n%s", stdout)
	}
	r.goesOn("bluesky")
	if err := os.Remove(filler); err != nil {
		r.t.Fatal(err)
	}
	restartBroker(r.t, r.env, "2")
	r.inSync()
	r.goesOn("bluesky")
}

// inSync waits until all replicas are in sync: the next broker that is taken away could
// be the last one that has everything, and then nobody would lead.
func (r *unusualRig) inSync() {
	r.t.Helper()
	within(r.t, "all replicas are in sync", func() bool {
		ctx, cancel := context.WithTimeout(r.t.Context(), 5*time.Second)
		defer cancel()
		topics, err := r.admin.ListTopicsWithInternal(ctx)
		whole := err == nil
		topics.EachPartition(func(p kadm.PartitionDetail) { whole = whole && len(p.ISR) == 3 })
		return whole
	})
}

// recreated: a topic is gone and, when it is there again, is not the one that was
// counted. What it held is lost, which verify says; the other stream is untouched.
func (r *unusualRig) recreated() {
	const topic, group = "wikipedia-edits", "weir-wikipedia-counter"
	if _, err := r.admin.DeleteTopics(r.t.Context(), topic); err != nil {
		r.t.Fatal(err)
	}
	r.says("the topic " + topic + " does not exist, so it was deleted")
	minISR := "2"
	within(r.t, "the topic is created again", func() bool { // a deletion takes its time
		resp, err := r.admin.CreateTopic(r.t.Context(), 6, 3, map[string]*string{"min.insync.replicas": &minISR}, topic)
		return err == nil && resp.Err == nil
	})
	r.says("the topic was deleted")
	r.must("groups", "leave", group)
	within(r.t, "the group is reset", func() bool { // until brokers have heard of the new leaders, it says LEADER_NOT_AVAILABLE
		_, _, code := weir(r.t, r.env, "groups", "reset", group, "--to", "oldest", "--yes")
		return code == cli.ExitOK
	})
	r.must("groups", "join", group)
	r.goesOn("wikipedia")
	r.goesOn("bluesky")
	stdout, _, code := weir(r.t, r.env, "verify", "-o", "json")
	if code != cli.ExitFailed {
		r.t.Errorf("weir verify of a topic that was deleted: exit code %d:\n%s", code, stdout)
	}
}

package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weir-project/weir/internal/cli"
)

// killRow is a row of the table of kills: what is done to which process of a running pipeline.
type killRow struct {
	name   string
	engine string
	times  int // in a whole run
	// every is about how long one takes. The world has events for so long, at rate a second.
	every time.Duration
	rate  float64
	start func(k *killTable)
	do    func(k *killTable) // it once
}

// killTable is a row while it runs.
type killTable struct {
	killRun
	engine    string
	random    *rand.Rand
	addresses []string // flags
	redis     string   // URL
	upstream  string   // URL
	listen    string   // address of the web UI
	ingester  *child   // where it is not started again by itself

	disk    string        // that is filled
	brokers *unusualRig   // whose clock steps
	ahead   time.Duration // of it
	proofs  []string      // that faults fired
}

var killRows = []killRow{
	{"the ingester", "embedded", 100, time.Second, 300, (*killTable).startAll, func(k *killTable) { k.killOne("produce") }},
	{"the ingester", "apache", 50, 2 * time.Second, 200, (*killTable).startAll, func(k *killTable) { k.killOne("produce") }},
	{"a counter", "embedded", 100, 5 * time.Second, 100, (*killTable).startAll, func(k *killTable) { k.killOne("consume", "consume again") }},
	{"a counter", "apache", 20, 7 * time.Second, 100, (*killTable).startAll, func(k *killTable) { k.killOne("consume", "consume again") }},
	{"the brokers and Redis", "embedded", 20, 3 * time.Second, 200, (*killTable).startAll, func(k *killTable) { k.killOne("cluster") }},
	{"redis-server, which loses its last writes", "embedded", 40, 2 * time.Second, 200,
		func(k *killTable) { k.startRedis(); k.startAll() }, func(k *killTable) { k.killOne("redis-server") }},
	{"a broker", "embedded", 20, 2 * time.Second, 200, (*killTable).startAll, (*killTable).killBroker},
	{"a broker", "apache", 20, 15 * time.Second, 100, (*killTable).startAll, (*killTable).killBroker},
	{"an ingester that comes back after its successor began", "embedded", 20, 20 * time.Second, 100,
		func(k *killTable) { k.startCluster(); k.ingester = k.ingest(); k.startCounters() }, (*killTable).comeBack},
	{"weir up", "embedded", 20, 3 * time.Second, 200, (*killTable).startUp, (*killTable).killUp},
	{"the disk of the brokers and Redis is full", "embedded", 20, 4 * time.Second, 200, (*killTable).startOnSmallDisk, (*killTable).fillDisk},
	{"a disk on which each write waits for up to 0.3 s", "embedded", 20, 4 * time.Second, 200,
		(*killTable).startOnSlowDisk, (*killTable).slowDisk},
	{"a process that may open no files and connections", "embedded", 20, 12 * time.Second, 400,
		(*killTable).startWithSmallSegments, (*killTable).takeDescriptors},
	{"the clock of weir up between 2 h behind and 2 h ahead", "embedded", 20, 3 * time.Second, 200,
		(*killTable).startSkewed, (*killTable).stepClock},
	{"the clock of the brokers up to 31 min further ahead each time", "apache", 20, 4 * time.Second, 100,
		(*killTable).startWithBrokerClock, (*killTable).stepBrokerClock},
	{"the disk of a broker is full", "apache", 20, 10 * time.Second, 100, (*killTable).startBrokerOnSmallDisk, (*killTable).fillDisk},
}

// TestKillTable ends processes of the pipeline in every way, or lets the machine fail them, many times each,
// while events come in. Then what is stored and counted is held against the world that was streamed. WEIR_TEST_KILLS is
// how many per cent of the times are done; WEIR_TEST_KILLS_TABLE is a file to which each row is added.
func TestKillTable(t *testing.T) {
	share, err := strconv.Atoi(os.Getenv("WEIR_TEST_KILLS"))
	if err != nil {
		t.Skip("starts Apache Kafka and redis-server, and takes minutes: WEIR_TEST_KILLS=10 go test ./cmd/weir -run TestKillTable, 100 for the whole table")
	}
	for _, row := range killRows {
		t.Run(row.name+" ("+row.engine+")", func(t *testing.T) {
			t.Parallel()
			row.run(t, max(2, row.times*share/100))
		})
	}
}

// run is one row, so many times.
func (row *killRow) run(t *testing.T, times int) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	limit := int64(float64(times) * row.every.Seconds() * row.rate)
	server, url := blueskyWorld(t, row.rate, limit)
	ports := freePorts(t, 5)
	k := &killTable{killRun: killRun{t: t, dir: t.TempDir(), ports: ports[:4]}, engine: row.engine, upstream: url,
		listen: fmt.Sprintf("127.0.0.1:%d", ports[4]),
		random: rand.New(rand.NewPCG(seed, 0))}
	if row.engine == "apache" {
		k.more = javaEnv(t)
		stopOrphans(t, filepath.Join(k.dir, "simulated"))
	}
	k.addresses = []string{"--kafka", fmt.Sprintf("127.0.0.1:%d,127.0.0.1:%d,127.0.0.1:%d", k.ports[0], k.ports[1], k.ports[2])}
	k.redis = fmt.Sprintf("redis://127.0.0.1:%d/1", k.ports[3])
	t.Cleanup(func() {
		k.end()
		if t.Failed() {
			k.dump()
		}
	})
	row.start(k)
	k.waitStored(k.addresses)
	for range times {
		row.do(k)
	}
	if len(k.proofs) > 0 {
		t.Logf("what showed that it happened: %q", k.proofs)
	}
	k.check(server(), limit, k.addresses, k.redis)
	k.note(row, times, limit)
}

func (k *killTable) startAll() {
	k.startCluster()
	k.keep("produce", 0, k.produceArgs()...)
	k.startCounters()
}

func (k *killTable) startCluster() {
	k.keep("cluster", 0, "cluster", "--engine", k.engine, "--source", "simulated", "--ports", portList(k.ports), "--listen", k.listen)
	out := k.processes[len(k.processes)-1].out
	out.waitFor(k.t, "Ctrl-C stops", apachePatience)
}

// startCounters starts two that share a group. One that is killed while the group rebalances holds the
// other up until its session is over.
func (k *killTable) startCounters() {
	for _, name := range []string{"consume", "consume again"} {
		k.keep(name, 6*time.Second, append([]string{"consume", "bluesky", "--redis", k.redis}, k.addresses...)...)
	}
}

func (k *killTable) produceArgs() []string {
	return append([]string{"produce", "bluesky", "--bluesky-url", k.upstream, "--collections", "*"}, k.addresses...)
}

func (k *killTable) startUp() {
	k.keep("up", 0, "up", "--source", "live", "--bluesky-url", k.upstream, "--collections", "*", "--wikipedia-url", "http://127.0.0.1:1/",
		"--ports", portList(k.ports), "--listen", k.listen)
}

// startRedis starts a redis-server that writes its log to disk once a second, on a port of its own. Each time
// it is started again, the end of the log is missing.
func (k *killTable) startRedis() {
	port := strconv.Itoa(freePorts(k.t, 1)[0])
	k.redis = "redis://127.0.0.1:" + port + "/1"
	dir, random, lost := k.t.TempDir(), rand.New(rand.NewPCG(k.random.Uint64(), 0)), 0
	k.keepCommand("redis-server", 0, func() *exec.Cmd {
		logs, _ := filepath.Glob(filepath.Join(dir, "appendonlydir", "*.incr.aof"))
		for _, name := range logs {
			if info, err := os.Stat(name); err == nil && info.Size() > 0 {
				less := min(info.Size(), 1+random.Int64N(4096))
				if err := os.Truncate(name, info.Size()-less); err != nil {
					k.t.Error(err)
				}
				lost++
			}
		}
		return exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", dir, "--appendonly", "yes", "--appendfsync", "everysec")
	})
	k.t.Cleanup(func() { // after the end of the process: cleanups run in reverse order
		if lost == 0 {
			k.t.Error("redis-server lost nothing")
		}
	})
}

// pause is a random moment, which is what is tested.
func (k *killTable) pause(least, most time.Duration) {
	<-time.After(least + time.Duration(k.random.Int64N(int64(most-least))))
}

// killOne kills one of the processes with these names, as soon as it runs.
func (k *killTable) killOne(names ...string) {
	k.t.Helper()
	name := names[k.random.IntN(len(names))]
	k.pause(100*time.Millisecond, time.Second)
	within(k.t, name+" is killed", func() bool {
		for _, p := range k.processes {
			if p.name == name && p.kill() {
				return true
			}
		}
		return false
	})
}

// killBroker kills one of the three and restarts it.
func (k *killTable) killBroker() {
	k.t.Helper()
	id := k.random.IntN(3)
	if k.engine == "apache" {
		id++ // its brokers are 1 to 3
	}
	succeeds(k.t, k.env(), "brokers", "kill", strconv.Itoa(id), "--hard", "--data", k.dir)
	k.pause(100*time.Millisecond, time.Second)
	succeeds(k.t, k.env(), "brokers", "restart", strconv.Itoa(id), "--data", k.dir)
}

// ingest starts an ingester once.
func (k *killTable) ingest() *child {
	k.t.Helper()
	return spawn(k.t, k.env(), append(k.produceArgs(), "--data", k.dir)...)
}

// comeBack stops the ingester for longer than Kafka lets its transaction be open, while another one takes its
// place. When it goes on it must find that out, and end.
func (k *killTable) comeBack() {
	k.t.Helper()
	k.pause(100*time.Millisecond, 2*time.Second)
	old := k.ingester
	old.signal(k.t, sigStop)
	k.ingester = k.ingest()
	<-time.After(16 * time.Second) // the transaction timeout is 15 s
	k.ingester.out.waitFor(k.t, "Ctrl-C stops", startPatience)
	old.signal(k.t, sigCont)
	if code := old.exit(k.t); code == cli.ExitOK || !strings.Contains(old.out.String(), "another weir ingests bluesky") {
		k.t.Errorf("the ingester that came back ended with %d:\n%s", code, old.out)
	}
}

// killUp kills weir up: while it starts, while it runs, or while it ends in order.
func (k *killTable) killUp() {
	k.t.Helper()
	p := k.processes[0]
	inOrder := k.random.IntN(3) == 0
	k.pause(time.Millisecond, 3*time.Second)
	if inOrder {
		p.mu.Lock()
		if p.cmd != nil {
			_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		}
		p.mu.Unlock()
		k.pause(time.Millisecond, 300*time.Millisecond)
	}
	within(k.t, "weir up is killed", p.kill)
}

// note adds the row to the file that WEIR_TEST_KILLS_TABLE names.
func (k *killTable) note(row *killRow, times int, events int64) {
	name := os.Getenv("WEIR_TEST_KILLS_TABLE")
	if name == "" {
		return
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		k.t.Fatal(err)
	}
	_, err = fmt.Fprintf(f, "| %s | %s | %d | %d | %t |\n", row.name, row.engine, times, events, !k.t.Failed())
	if err = errors.Join(err, f.Close()); err != nil {
		k.t.Fatal(err)
	}
}

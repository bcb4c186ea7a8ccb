package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/cluster"
	"github.com/weir-project/weir/internal/simulate"
)

var (
	killSeed = flag.Uint64("kill.seed", 0, "seed of the kills; 0 draws one and prints it")
	killTime = flag.Duration("kill.time", 6*time.Second, "how long processes are killed")
)

// killRate is enough events that every kill hits some under way.
const killRate = 400

// TestKill kills processes with SIGKILL at random moments while events come in:
// the cluster, the producer, two consumers that share a group. Then the topics and
// the counts must hold exactly what the simulated world says happened.
func TestKill(t *testing.T) {
	t.Parallel()
	seed := *killSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("replay with: go test ./cmd/weir -run TestKill -kill.seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))

	limit := int64(killTime.Seconds()*killRate) + 2*killRate
	server, url := blueskyWorld(t, killRate, limit)
	k := &killRun{t: t, dir: t.TempDir()}
	k.ports = freePorts(t, 4)
	kafka := fmt.Sprintf("127.0.0.1:%d,127.0.0.1:%d,127.0.0.1:%d", k.ports[0], k.ports[1], k.ports[2])
	redis := fmt.Sprintf("redis://127.0.0.1:%d/1", k.ports[3])
	addresses := []string{"--kafka", kafka}
	k.keep("cluster", 0, "cluster", "--source", "simulated", "--ports", portList(k.ports))
	k.keep("produce", 0, append([]string{"produce", "bluesky", "--bluesky-url", url, "--collections", "*"}, addresses...)...)
	// A consumer that is killed while a group rebalances holds the others up until
	// its session is over; one after the other, that would be all that there is.
	const session = 6 * time.Second
	k.keep("consume", session, append([]string{"consume", "bluesky", "--redis", redis}, addresses...)...)
	k.keep("consume again", session, append([]string{"consume", "bluesky", "--redis", redis}, addresses...)...)
	t.Cleanup(k.end)

	kills := map[string]int{}
	for until := time.Now().Add(*killTime); time.Now().Before(until); {
		<-time.After(time.Duration(100+random.IntN(500)) * time.Millisecond) // a random moment is what is tested
		p := k.processes[random.IntN(len(k.processes))]
		if p.kill() {
			kills[p.name]++
		}
	}
	t.Logf("kills: %v", kills)
	for _, p := range k.processes {
		if kills[p.name] == 0 {
			p.kill() // each at least once
			kills[p.name]++
		}
	}

	k.check(server(), limit, addresses, redis)
	if t.Failed() {
		k.dump()
	}
}

// check holds what is stored and counted against the world, event by event, and lets weir do so, too.
func (k *killRun) check(world *simulate.BlueskyServer, limit int64, addresses []string, redis string) {
	k.t.Helper()
	first := k.firstStored(world, limit, addresses)
	truth := simulate.Count(world.Items(first, limit))
	k.t.Logf("truth: events %d to %d: %v and %v", first, limit, truth.Data, truth.Account)
	k.waitCounts(truth.Data, redis)
	k.sameEvents(world, first, limit, addresses)
	stdout, stderr, code := weir(k.t, k.env(), append([]string{"verify", "-o", "json", "--redis", redis}, addresses...)...)
	if code != cli.ExitOK {
		k.t.Errorf("weir verify: exit code %d:\n%s%s", code, stdout, stderr)
	}
}

// blueskyWorld serves a world of limit events, which begin to happen when somebody
// connects: on a busy machine, the producer may take seconds until it is there.
func blueskyWorld(t *testing.T, rate float64, limit int64) (server func() *simulate.BlueskyServer, url string) {
	t.Helper()
	world := sync.OnceValue(func() *simulate.BlueskyServer {
		timeline, err := simulate.OpenTimeline(simulate.TimelineConfig{World: "bluesky:9", Rate: rate, Variant: simulate.MixOf(nil), Limit: limit})
		if err != nil {
			panic(err)
		}
		server, err := simulate.NewBluesky(simulate.ServerConfig{World: simulate.NewWorld(9), Timeline: timeline})
		if err != nil {
			panic(err)
		}
		t.Cleanup(func() {
			_ = server.Close()
			_ = timeline.Close()
		})
		return server
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { world().ServeHTTP(w, r) })}
	var served sync.WaitGroup
	served.Go(func() { _ = srv.Serve(l) })
	t.Cleanup(func() {
		_ = srv.Close()
		served.Wait()
	})
	return world, "ws://" + l.Addr().String() + "/subscribe"
}

// freePorts returns ports that nobody listens on. They stay the same over the
// restarts of the cluster, as a user's would.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	ports := make([]int, n)
	addrs, err := cluster.FreeAddrs("127.0.0.1", n)
	if err != nil {
		t.Fatal(err)
	}
	for i, addr := range addrs {
		_, port, _ := net.SplitHostPort(addr)
		ports[i], _ = strconv.Atoi(port)
	}
	return ports
}

func portList(ports []int) string {
	s := make([]string, len(ports))
	for i, p := range ports {
		s[i] = strconv.Itoa(p)
	}
	return strings.Join(s, ",")
}

// killRun is a set of real processes that are started again whenever they end.
type killRun struct {
	t         *testing.T
	dir       string
	more      []string // variables
	ports     []int
	processes []*process
	clock     *skewedClock // of all processes; nil: the machine's
	ending    atomic.Bool
	wg        sync.WaitGroup
}

// begin starts a process.
func (k *killRun) begin(cmd *exec.Cmd) error {
	if k.clock != nil {
		return k.clock.start(cmd)
	}
	return cmd.Start()
}

func (k *killRun) env() []string {
	return append([]string{"HOME=" + k.dir, "PATH=" + os.Getenv("PATH")}, k.more...)
}

// process is one of them.
type process struct {
	name string
	rest time.Duration // between two kills
	last time.Time     // of them
	mu   sync.Mutex
	cmd  *exec.Cmd
	out  *output
}

// kill sends SIGKILL to the process if it runs.
func (p *process) kill() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil || time.Since(p.last) < p.rest || p.cmd.Process.Kill() != nil {
		return false
	}
	p.last = time.Now()
	return true
}

// keep starts the program with these arguments, and again whenever it ends. It is
// killed at most once every rest.
func (k *killRun) keep(name string, rest time.Duration, args ...string) {
	k.keepCommand(name, rest, func() *exec.Cmd {
		cmd := exec.Command(os.Args[0], append(args, "--data", k.dir)...)
		cmd.Env = append(k.env(), asWeir+"=1")
		return cmd
	})
}

// keepCommand is keep for any program.
func (k *killRun) keepCommand(name string, rest time.Duration, command func() *exec.Cmd) {
	p := &process{name: name, rest: rest, out: newOutput()}
	k.processes = append(k.processes, p)
	k.wg.Go(func() {
		for !k.ending.Load() {
			cmd := command()
			cmd.Stdout, cmd.Stderr = p.out, p.out
			p.mu.Lock()
			err := k.begin(cmd)
			p.cmd = cmd
			p.mu.Unlock()
			if err != nil {
				k.t.Errorf("start %s: %v", name, err)
				return
			}
			err = cmd.Wait()
			p.mu.Lock()
			p.cmd = nil
			p.mu.Unlock()
			fmt.Fprintf(p.out, "--- %s ended: %v\n", name, err)
			if cmd.ProcessState.ExitCode() > 0 {
				<-time.After(100 * time.Millisecond) // it found no cluster: one is on its way
			}
		}
	})
}

// end stops the processes for good.
func (k *killRun) end() {
	k.ending.Store(true)
	for _, p := range k.processes {
		p.mu.Lock()
		if p.cmd != nil {
			_ = p.cmd.Process.Signal(syscall.SIGKILL)
		}
		p.mu.Unlock()
	}
	k.wg.Wait()
}

func (k *killRun) dump() {
	for _, p := range k.processes {
		text := p.out.String()
		k.t.Logf("%s:\n%s", p.name, text[max(0, len(text)-4000):])
	}
}

// stored is one event as the topics hold it, read through the program and parsed
// with encoding/json alone.
type stored struct {
	DID, Kind string
	Commit    struct{ Operation, Collection, RKey, Rev string }
	Account   struct{ Seq int64 }
	Identity  struct{ Seq int64 }
}

func (k *killRun) topic(name string, addresses []string) []stored {
	k.t.Helper()
	stdout, stderr, code := weir(k.t, k.env(), append([]string{"messages", name, "--offset", "oldest", "-o", "raw"}, addresses...)...)
	if code != cli.ExitOK {
		k.t.Fatalf("weir messages %s: exit code %d: %s", name, code, stderr)
	}
	if stderr != "" {
		k.t.Logf("weir messages %s: %d lines, and: %s", name, strings.Count(stdout, "\n"), stderr)
	}
	var all []stored
	for line := range strings.Lines(stdout) {
		var s stored
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			k.t.Fatalf("%s holds %q: %v", name, line, err)
		}
		all = append(all, s)
	}
	return all
}

// name is the same for two stored copies of one event.
func (s stored) name() string {
	return fmt.Sprint(s.DID, s.Kind, s.Commit, s.Account.Seq, s.Identity.Seq)
}

// nameOf is the name of the event that the world made.
func nameOf(it simulate.Item) string {
	s := stored{DID: it.DID, Kind: "commit"}
	switch it.Kind {
	case "account":
		s.Kind, s.Account.Seq = it.Kind, it.Seq
	case "identity":
		s.Kind, s.Identity.Seq = it.Kind, it.Seq
	default:
		s.Commit.Operation, s.Commit.Collection, s.Commit.RKey, s.Commit.Rev = it.Kind, it.Collection, it.RKey, it.Rev
	}
	return s.name()
}

// events counts what the topics hold, by name.
func (k *killRun) events(addresses []string) map[string]int {
	have := map[string]int{}
	for _, s := range append(k.topic("bluesky-events", addresses), k.topic("bluesky-accounts", addresses)...) {
		have[s.name()]++
	}
	return have
}

// waitStored waits until the first events are in Kafka.
func (k *killRun) waitStored(addresses []string) {
	k.t.Helper()
	eventually(k.t, "something is stored", func() bool {
		stdout, _, code := weir(k.t, k.env(), append([]string{"messages", "bluesky-events", "-n", "1", "-o", "raw"}, addresses...)...)
		return code == cli.ExitOK && stdout != ""
	})
}

// firstStored is the index of the first event that the producer was there for: a stream
// without a cursor begins at the live end. It waits until all from there on are stored, or for so long
// that they are lost. A producer that continues asks for what came before its cursor, too: one
// that is killed at once can leave older events to its successor.
func (k *killRun) firstStored(server *simulate.BlueskyServer, limit int64, addresses []string) int64 {
	k.t.Helper()
	k.waitStored(addresses)
	first := limit
	for deadline := time.Now().Add(2 * startPatience); ; {
		have, missing := k.events(addresses), 0
		first = limit
		for it := range server.Items(0, limit) {
			if have[nameOf(it)] == 0 {
				missing++
			} else if first == limit {
				first, missing = it.Index, 0
			}
		}
		if first < limit && missing == 0 || time.Now().After(deadline) {
			break
		}
		<-time.After(50 * time.Millisecond)
	}
	if first > limit/2 {
		k.t.Errorf("the first stored event is %d of %d: most happened before the producer was there", first, limit)
	}
	return first
}

// waitCounts waits until the counts are the truth, and sees to it that they stay.
func (k *killRun) waitCounts(truth map[string]int64, redis string) {
	k.t.Helper()
	var got map[string]int64
	deadline := time.Now().Add(2 * startPatience)
	for time.Now().Before(deadline) {
		stdout, _, code := weir(k.t, k.env(), "counts", "-o", "json", "--redis", redis)
		var all map[string]map[string]int64
		if code == cli.ExitOK && json.Unmarshal([]byte(stdout), &all) == nil {
			if got = all["bluesky"]; sum(got) >= sum(truth) {
				break
			}
		}
		<-time.After(50 * time.Millisecond)
	}
	if !maps.Equal(got, truth) {
		k.t.Errorf("counted %v, and %v happened", got, truth)
	}
}

// sameEvents compares the topics with the world, event by event.
func (k *killRun) sameEvents(server *simulate.BlueskyServer, first, limit int64, addresses []string) {
	k.t.Helper()
	have := k.events(addresses)
	lost := 0
	for it := range server.Items(first, limit) {
		switch n := have[nameOf(it)]; {
		case n == 0:
			lost++
		case n > 1:
			k.t.Errorf("event %d is stored %d times", it.Index, n)
		}
		delete(have, nameOf(it))
	}
	if lost > 0 || len(have) > 0 {
		k.t.Errorf("%d events are lost, %d are stored that did not happen", lost, len(have))
	}
}

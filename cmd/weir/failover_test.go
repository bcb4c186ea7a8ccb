package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/weir-project/weir/internal/bluesky"
	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/node"
	"github.com/weir-project/weir/internal/wikipedia"
)

var failoverCount = flag.Int("failover.rounds", 3, "how often TestApacheFailover kills a broker")

// failoverRate is the simulated Bluesky's events per second.
const failoverRate = 5000

// failoverRig is the real program on three real brokers, fed by servers of this
// process, so that the truth is known.
type failoverRig struct {
	t     *testing.T
	env   []string
	up    *child
	pages string
	world *node.Upstreams
	seeds []string
	redis *redis.Client
	f     *follower
}

func newFailoverRig(t *testing.T) *failoverRig {
	t.Helper()
	ports := freePorts(t, 4)
	env := apacheEnv(t, node.Live, "WEIR_SOURCE=auto", "WEIR_COLLECTIONS=*", "WEIR_LISTEN=127.0.0.1:0", "WEIR_PORTS="+portList(ports))
	world, err := node.OpenUpstreams(node.UpstreamConfig{Names: []string{bluesky.Name, wikipedia.Name}, Dir: t.TempDir(), Addr: "127.0.0.1:0",
		Streams: &node.Streams{Seed: 11, Rate: failoverRate, Collections: []string{"*"}, Log: slog.New(slog.DiscardHandler)}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = world.Close() })
	r := &failoverRig{t: t, env: append(env, "WEIR_BLUESKY_URL="+world.BlueskyURL(), "WEIR_WIKIPEDIA_URL="+world.WikipediaURL()), world: world}
	for _, p := range ports[:3] {
		r.seeds = append(r.seeds, "127.0.0.1:"+strconv.Itoa(p))
	}
	r.redis = redis.NewClient(&redis.Options{Addr: "127.0.0.1:" + strconv.Itoa(ports[3]), DB: 1})
	t.Cleanup(func() { _ = r.redis.Close() })
	r.up = spawn(t, r.env, "up")
	r.up.out.waitFor(t, "Ctrl-C stops", apachePatience)
	r.pages = link.FindString(r.up.out.String())
	r.f = follow(t, r.seeds, r.redis)
	return r
}

// TestApacheFailover kills -9 one broker of three after the other while 5,000
// events/s go through the whole pipeline, then two at once. Nothing may be lost or
// doubled, by weir verify and by a comparison with the simulated world of what a
// plain client and a plain Redis client read. What it measures it prints; time is
// not asserted.
//
//	WEIR_TEST_KAFKA=apache go test ./cmd/weir -run TestApacheFailover -v -failover.rounds 20 -timeout 30m
func TestApacheFailover(t *testing.T) {
	r := newFailoverRig(t)
	var rows []failoverRow
	for n := range *failoverCount {
		rows = append(rows, r.round(int32(n%3+1)))
		if t.Failed() {
			break
		}
	}
	t.Logf("kill -9 of one broker of three at %d events/s, in seconds:\n%s", failoverRate, failoverTable(rows))
	t.Run("two of three", func(*testing.T) { r.twoDown() })
	r.judge()
	if t.Failed() {
		text := r.up.out.String()
		t.Logf("up:\n%s", text[max(0, len(text)-20000):])
	}
	r.up.signal(t, syscall.SIGTERM)
	if code := r.up.exitWithin(t, apachePatience); code != cli.ExitOK {
		t.Errorf("exit code %d:\n%s", code, r.up.out)
	}
}

// failoverRow is what one death cost, in seconds.
type failoverRow struct {
	broker     int32
	controller bool    // it was the active controller, too
	moved      float64 // until it led nothing
	acked      float64 // the longest time between two acknowledged transactions, as weir itself measured
	cursors    float64 // the same, by what the cursors of Bluesky say of when they were written
	median     float64 // from socket to counted in Redis, over the whole round
	worst      float64
	back       float64 // until it answered after its restart
	inSync     float64 // until all replicas were in sync after its restart
}

func failoverTable(rows []failoverRow) string {
	var b strings.Builder
	line := func(name string, v [7]float64) {
		fmt.Fprintf(&b, "%-22s %7.1f %9.1f %12.1f %11.2f %8.1f %9.1f %8.1f\n", name, v[0], v[1], v[2], v[3], v[4], v[5], v[6])
	}
	values := func(r failoverRow) [7]float64 {
		return [7]float64{r.moved, r.acked, r.cursors, r.median, r.worst, r.back, r.inSync}
	}
	fmt.Fprintf(&b, "%-22s %7s %9s %12s %11s %8s %9s %8s\n", "round", "moved", "producer", "(by cursors)", "end-to-end", "worst", "restart", "in sync")
	for i, r := range rows {
		name := fmt.Sprintf("%2d: broker %d", i+1, r.broker)
		if r.controller {
			name += " controller"
		}
		line(name, values(r))
	}
	var least, median, most [7]float64
	for c := range least {
		var column []float64
		for _, r := range rows {
			column = append(column, values(r)[c])
		}
		slices.Sort(column)
		if n := len(column); n > 0 {
			least[c], median[c], most[c] = column[0], (column[(n-1)/2]+column[n/2])/2, column[n-1]
		}
	}
	line("min", least)
	line("median", median)
	line("max", most)
	return b.String()
}

// flows waits until every partition has delivered an event that happened after a
// moment: whatever waited is through, and the load is kept up with.
func (r *failoverRig) flows(after time.Time) {
	r.t.Helper()
	within(r.t, "events of now come through all partitions", func() bool { return r.f.freshSince(6, after) })
}

// recent waits until what comes through is at most ten seconds old.
func (r *failoverRig) recent() {
	r.t.Helper()
	within(r.t, "the pipeline keeps up", func() bool { return r.f.freshSince(6, time.Now().Add(-10*time.Second)) })
}

// round kills a broker, waits until events flow through all partitions, brings it
// back, and waits until everything is as before.
func (r *failoverRig) round(id int32) (row failoverRow) {
	t := r.t
	t.Helper()
	within(t, "all replicas are in sync", func() bool { return r.f.inSync(t) })
	r.recent()
	row.broker, row.controller = id, r.f.controller(t) == id
	pid := r.pid(id)
	if r.f.leads(t, id) == 0 {
		r.rebalanceLeaders()
	}
	r.f.begin()
	tip, begin := r.world.Bluesky.Tip(), time.Now()
	r.kill(id)
	if err := sendSignal(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("broker %d, process %d, was killed and is still there: %v", id, pid, err)
	}
	within(t, "the dead broker leads nothing", func() bool { return r.f.leads(t, id) == 0 })
	row.moved = time.Since(begin).Seconds()
	r.flows(begin.Add(time.Second))
	change := r.change(id)
	row.acked = float64(change.PauseMS) / 1000
	restart := time.Now()
	restartBroker(t, r.env, strconv.Itoa(int(id)))
	row.back = time.Since(restart).Seconds()
	within(t, "the broker is in sync again", func() bool { return r.f.inSync(t) })
	row.inSync = time.Since(restart).Seconds()
	r.recent()
	if offered := float64(r.world.Bluesky.Tip()-tip) / time.Since(begin).Seconds(); offered < 0.98*failoverRate {
		t.Errorf("the simulator offered %.0f events/s, and %d were to be", offered, failoverRate)
	}
	row.cursors, row.median, row.worst = r.f.end()
	// Not row.worst: where the session ends, its events come again from upstream, with a new time.
	if change.PauseMS <= change.UsualMS || row.cursors < 0.5 {
		t.Errorf("broker %d was killed, and nothing waited: %+v, cursors %.2f s apart", id, change, row.cursors)
	}
	t.Logf("round: broker %d: %+v", id, row)
	return row
}

// rebalanceLeaders asks for the preferred leaders, so that a broker's death costs
// the same in every round.
func (r *failoverRig) rebalanceLeaders() {
	r.t.Helper()
	if _, err := r.f.admin.ElectLeaders(r.t.Context(), kadm.ElectPreferredReplica, nil); err != nil {
		r.t.Fatalf("elect preferred leaders: %v", err)
	}
	within(r.t, "all brokers lead", func() bool { return r.f.leads(r.t, 1) > 0 && r.f.leads(r.t, 2) > 0 && r.f.leads(r.t, 3) > 0 })
	r.recent()
}

// pid is the process of a broker, by weir brokers.
func (r *failoverRig) pid(id int32) int {
	r.t.Helper()
	stdout, stderr, code := weir(r.t, r.env, "brokers", "-o", "json")
	var list []struct{ ID, PID int }
	if err := json.Unmarshal([]byte(stdout), &list); err != nil || code != cli.ExitOK {
		r.t.Fatalf("weir brokers: exit code %d, %v:\n%s%s", code, err, stdout, stderr)
	}
	for _, b := range list {
		if b.ID == int(id) && b.PID > 1 && sendSignal(b.PID, 0) == nil {
			return b.PID
		}
	}
	r.t.Fatalf("broker %d has no process: %s", id, stdout)
	return 0
}

// kill kills a broker hard by the pages' own operation, which measures the pause.
func (r *failoverRig) kill(id int32) {
	r.t.Helper()
	resp, err := http.Post(fmt.Sprintf("%s/api/v1/brokers/%d/kill", r.pages, id), "application/json", strings.NewReader(`{"hard":true}`))
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
		r.t.Fatalf("kill broker %d: status %d: %s", id, resp.StatusCode, b)
	}
}

// brokerChange is what the pages tell of a kill.
type brokerChange struct {
	Broker    int32  `json:"broker"`
	Measuring bool   `json:"measuring"`
	PauseMS   int64  `json:"pause_ms"`
	UsualMS   int64  `json:"usual_ms"`
	Stream    string `json:"stream"`
}

// change waits until the pause of the last kill is measured.
func (r *failoverRig) change(id int32) (c brokerChange) {
	r.t.Helper()
	within(r.t, "the pause is measured", func() bool {
		var list struct {
			Changes []brokerChange `json:"changes"`
		}
		r.get("/api/v1/brokers", http.StatusOK, &list)
		if len(list.Changes) == 0 {
			return false
		}
		c = list.Changes[0]
		return c.Broker == id && !c.Measuring
	})
	return c
}

// get asks the pages and returns the answer's text, decoded into v where that is not nil.
func (r *failoverRig) get(path string, status int, v any) string {
	r.t.Helper()
	code, text := r.ask(path)
	if code != status {
		r.t.Errorf("%s: status %d, want %d: %s", path, code, status, text)
	}
	if v != nil {
		if err := json.Unmarshal([]byte(text), v); err != nil {
			r.t.Errorf("%s: %v", path, err)
		}
	}
	return text
}

func (r *failoverRig) ask(path string) (status int, text string) {
	r.t.Helper()
	resp, err := http.Get(r.pages + path)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// tooFew is how what is said begins while two brokers of three are down.
const tooFew = "waiting for Kafka: not enough in-sync replicas: 2 must have a record (min.insync.replicas) and 1 can, because brokers 1 and 3 do not answer"

// twoDown kills two brokers: the pipeline stops and says why wherever one looks,
// in one line of the log that does not flood, and goes on by itself.
func (r *failoverRig) twoDown() {
	t := r.t
	t.Helper()
	within(t, "all replicas are in sync", func() bool { return r.f.inSync(t) })
	r.recent()
	told, killed := len(r.up.out.String()), time.Now()
	for _, id := range []string{"1", "3"} {
		if _, stderr, code := weir(t, r.env, "brokers", "kill", id, "--hard"); code != cli.ExitOK {
			t.Fatalf("kill: exit code %d: %s", code, stderr)
		}
	}
	since := func() string { return r.up.out.String()[told:] }
	within(t, "the status line says why", func() bool { return strings.Count(since(), "  ! "+tooFew) >= 4 })
	within(t, "/readyz says why", func() bool {
		status, text := r.ask("/readyz")
		return status == http.StatusServiceUnavailable && strings.Contains(text, tooFew)
	})
	// What is said comes from several parts, each of which asks again every few seconds.
	for _, name := range []string{bluesky.Name, wikipedia.Name} {
		within(t, "the live state of "+name+" says why", func() bool {
			var state struct {
				Streams map[string]struct {
					Trouble string `json:"trouble"`
					Since   int64  `json:"trouble_since"`
				} `json:"streams"`
			}
			r.get("/api/v1/state", http.StatusOK, &state)
			s := state.Streams[name]
			return strings.Contains(s.Trouble, tooFew) && strings.Contains(s.Trouble, "weir brokers restart 1") && s.Since > 0
		})
		within(t, "/metrics says that "+name+" waits", func() bool { return r.measures(name, 1) })
	}
	within(t, "the log of the pages says why", func() bool { return strings.Contains(r.get("/api/v1/log", http.StatusOK, nil), tooFew) })
	// Five parts of the program wait, each of which tries again all the time, and tells
	// of it at once and every ten seconds.
	lines, most := strings.Count(since(), "level=WARN"), 6*(1+int(time.Since(killed)/(10*time.Second)))
	if lines < 1 || lines > most {
		t.Errorf("%d lines of the log tell of it, and at most %d were to be:\n%s", lines, most, since())
	}
	for _, id := range []string{"1", "3"} {
		restartBroker(t, r.env, id)
	}
	restarted := time.Now()
	r.flows(restarted)
	within(t, "/readyz is content", func() bool { status, _ := r.ask("/readyz"); return status == http.StatusOK })
	within(t, "/metrics says that Bluesky goes on", func() bool { return r.measures(bluesky.Name, 0) })
	t.Logf("two of three down: events flow %.1f s after both were back", time.Since(restarted).Seconds())
}

// measures reports whether /metrics says whether a source waits for Kafka, 1 or 0.
func (r *failoverRig) measures(source string, waits int) bool {
	r.t.Helper()
	return strings.Contains(r.get("/metrics", http.StatusOK, nil), fmt.Sprintf("weir_source_waiting{source=%q} %d", source, waits))
}

package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/tally"
)

// redisProcess is a redis-server or a redis-sentinel of a test.
type redisProcess struct {
	*exec.Cmd
	port  int
	ended chan struct{}
}

func startRedisProcess(t *testing.T, port int, args ...string) *redisProcess {
	t.Helper()
	p := &redisProcess{exec.Command("redis-server", args...), port, make(chan struct{})}
	p.Dir = t.TempDir()
	var out bytes.Buffer
	p.Stdout, p.Stderr = &out, &out
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { defer close(p.ended); _ = p.Wait() }()
	t.Cleanup(func() { _ = p.Process.Kill(); <-p.ended })
	within(t, "redis-server listens", func() bool {
		select {
		case <-p.ended:
			t.Fatalf("redis-server %q ended: %v\n%s", args, p.ProcessState, out.String())
		default:
		}
		conn, err := net.Dial("tcp", p.addr())
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return p
}

func (p *redisProcess) addr() string { return "127.0.0.1:" + strconv.Itoa(p.port) }

// do runs a command, and sum reads the counts of database db that lie there.
func (p *redisProcess) do(t *testing.T, args ...any) string {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: p.addr(), Protocol: 2, DisableIdentity: true})
	defer c.Close()
	out, err := c.Do(t.Context(), args...).Text()
	if err != nil {
		out = err.Error()
	}
	return out
}

func (p *redisProcess) sum(t *testing.T) (n int64) {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: p.addr(), DB: tally.DefaultDB, Protocol: 2, DisableIdentity: true})
	defer c.Close()
	keys, err := c.Keys(t.Context(), "weir:tally:weir-bluesky-counter:bluesky-events:*").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		fields, err := c.HGetAll(t.Context(), k).Result()
		if err != nil {
			t.Fatal(err)
		}
		for f, v := range fields {
			if strings.HasPrefix(f, "k:") {
				i, err := strconv.ParseInt(v, 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				n += i
			}
		}
	}
	return n
}

func needRedis(t *testing.T) {
	t.Helper()
	if os.Getenv("WEIR_TEST_REDIS") != "local" {
		t.Skip("starts redis-server: WEIR_TEST_REDIS=local go test ./cmd/weir -run TestRedis")
	}
}

// TestRedisSentinel loses the primary under load, and with it what its replica had
// not got yet: Sentinels promote the replica, and what it lacks is counted again.
func TestRedisSentinel(t *testing.T) {
	needRedis(t)
	ports := freePorts(t, 5)
	server := func(port int, more ...string) *redisProcess {
		return startRedisProcess(t, port, append([]string{"--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"}, more...)...)
	}
	primary := server(ports[0])
	replica := server(ports[1], "--replicaof", fmt.Sprintf("%s %d", "127.0.0.1", ports[0]))
	within(t, "the replica follows", func() bool {
		return strings.Contains(replica.do(t, "INFO", "replication"), "master_link_status:up")
	})
	var sentinels []string
	for _, port := range ports[2:] {
		conf := filepath.Join(t.TempDir(), "sentinel.conf")
		text := fmt.Sprintf("port %d\nbind %s\nsentinel monitor main %s %d 2\nsentinel down-after-milliseconds main 3000\nsentinel failover-timeout main 10000\n", port, "127.0.0.1", "127.0.0.1", ports[0])
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s := startRedisProcess(t, port, conf, "--sentinel")
		sentinels = append(sentinels, s.addr())
		defer func() {
			if t.Failed() {
				t.Logf("sentinel %s: %s", s.addr(), s.do(t, "INFO", "sentinel"))
			}
		}()
	}
	one := &redisProcess{port: ports[2]}
	within(t, "the Sentinels know each other and the replica", func() bool {
		return strings.Contains(one.do(t, "INFO", "sentinel"), "slaves=1,sentinels=3")
	})

	env := testEnv(t, "WEIR_REDIS=redis-sentinel://"+strings.Join(sentinels, ",")+"/1?master=main", "WEIR_RATE=500", "WEIR_LISTEN=off")
	up := spawn(t, env, "up")
	up.out.waitFor(t, "Ctrl-C stops", apachePatience)
	within(t, "500 events are counted", func() bool { return primary.sum(t) >= 500 })

	// The replica stands still and its connection is cut, so that nothing on the way
	// reaches it any more: what the primary takes from now on dies with it.
	if err := replica.Process.Signal(sigStop); err != nil {
		t.Fatal(err)
	}
	primary.do(t, "CLIENT", "KILL", "TYPE", "replica")
	before := primary.sum(t)
	within(t, "the primary alone counts 500 more", func() bool { return primary.sum(t) >= before+500 })
	died := primary.sum(t)
	killed := time.Now()
	_ = primary.Process.Kill()
	if err := replica.Process.Signal(sigCont); err != nil {
		t.Fatal(err)
	}
	if kept := replica.sum(t); kept >= died-400 {
		t.Errorf("the replica has %d of %d counts: nothing was lost, and the test shows nothing", kept, died)
	} else {
		t.Logf("the primary died with %d counts, of which the replica has %d", died, kept)
	}
	within(t, "the replica is promoted", func() bool { return strings.Contains(replica.do(t, "INFO", "replication"), "role:master") })
	t.Logf("promoted after %v", time.Since(killed).Round(100*time.Millisecond))
	within(t, "it catches up and counts on", func() bool { return replica.sum(t) >= died+500 })
	t.Logf("caught up after %v", time.Since(killed).Round(100*time.Millisecond))
	// Until every counter has found its way back, verify says that Redis has lost counts.
	within(t, "nothing is lost, doubled or miscounted", func() bool {
		_, _, code := weir(t, env, "verify")
		return code == cli.ExitOK
	})
	verified(t, env)
	up.signal(t, syscall.SIGTERM)
	if code := up.exitWithin(t, apachePatience); code != cli.ExitOK {
		t.Errorf("exit code %d", code)
	}
	if t.Failed() {
		t.Logf("up:\n%s", up.out)
	}
}

// TestRedisCluster is the main job with counts on three nodes, and a user who is
// allowed what weir asks for and no more.
func TestRedisCluster(t *testing.T) {
	needRedis(t)
	var addrs []string
	var nodes []*redisProcess
	for len(nodes) < 3 {
		ports := freePorts(t, 2) // the cluster's own is 10,000 higher otherwise, where some connection may have it
		n := startRedisProcess(t, ports[0], "--port", strconv.Itoa(ports[0]), "--cluster-port", strconv.Itoa(ports[1]),
			"--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--cluster-enabled", "yes")
		nodes, addrs = append(nodes, n), append(addrs, n.addr())
	}
	ctx, cancel := context.WithTimeout(t.Context(), apachePatience)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "redis-cli", append(append([]string{"--cluster", "create"}, addrs...), "--cluster-yes")...).CombinedOutput(); err != nil {
		t.Fatalf("make the cluster: %v\n%s", err, out)
	}
	for _, n := range nodes {
		if got := n.do(t, "ACL", "SETUSER", "weir", "on", ">hidden-redis"); got != "OK" {
			t.Fatal(got)
		}
		within(t, "the cluster is one", func() bool { return strings.Contains(n.do(t, "CLUSTER", "INFO"), "cluster_state:ok") })
	}
	secret := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(secret, []byte("hidden-redis\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := testEnv(t, "WEIR_REDIS=redis-cluster://weir@"+strings.Join(addrs, ",")+"?password_file="+secret, "WEIR_RATE=500", "WEIR_LISTEN=off")
	rules := 0
	for {
		up := spawn(t, env, "up")
		within(t, "it runs, or says what is forbidden", func() bool {
			text := up.out.String()
			return strings.Contains(text, "Ctrl-C stops") || strings.Contains(text, "weir: ")
		})
		_, rule, denied := strings.Cut(up.out.String(), "redis-cli ACL SETUSER ")
		if !denied {
			defer func(up *child) {
				up.signal(t, syscall.SIGTERM)
				if code := up.exitWithin(t, apachePatience); code != cli.ExitOK || strings.Contains(up.out.String(), "hidden-redis") {
					t.Errorf("exit code %d:\n%s", code, up.out)
				}
			}(up)
			break
		}
		if code := up.exitWithin(t, apachePatience); code != cli.ExitRuntime || rules == 5 {
			t.Fatalf("exit code %d after %d rules:\n%s", code, rules, up.out)
		}
		rule, _, _ = strings.Cut(rule, "\n")
		t.Logf("ACL SETUSER %s", rule)
		for _, n := range nodes {
			line := fmt.Sprintf("redis-cli -p %d ACL SETUSER %s", n.port, rule)
			if out, err := exec.CommandContext(ctx, "sh", "-c", line).CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != "OK" {
				t.Fatalf("%s: %v %s", line, err, out)
			}
		}
		rules++
	}
	if rules == 0 {
		t.Error("a user without any permission was let in")
	}
	within(t, "both streams are counted", func() bool {
		now := counted(t, env)
		return sum(now["bluesky"]) >= 500 && sum(now["wikipedia"]) >= 20
	})
	verified(t, env)
	for _, n := range nodes {
		if got := n.do(t, "INFO", "keyspace"); !strings.Contains(got, "db0:keys=") {
			t.Errorf("nothing lies on %s: %s", n.addr(), got)
		}
	}
}

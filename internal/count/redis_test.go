package count

import (
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/weir-project/weir/internal/cluster/local"
)

// realRedis runs redis-server in dir, from where it takes the snapshot that is
// there. kill ends it as a crash does.
func realRedis(t *testing.T, addr, dir string) (kill func()) {
	t.Helper()
	_, port, _ := strings.Cut(addr, ":")
	cmd := exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	dead := false
	kill = func() {
		if !dead {
			dead = true
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}
	t.Cleanup(kill)
	for deadline := time.Now().Add(patience); ; {
		if c, err := net.Dial("tcp", addr); err == nil {
			_ = c.Close()
			return kill
		}
		if time.Now().After(deadline) {
			t.Fatal("redis-server does not come up")
		}
		<-time.After(10 * time.Millisecond)
	}
}

// A real Redis is killed and comes back with a snapshot from before: what was
// counted since is counted again, and only that.
func TestRealRedisKilledAndBackWithAnOldSnapshot(t *testing.T) {
	if os.Getenv("WEIR_TEST_REDIS") != "local" {
		t.Skip("starts redis-server: WEIR_TEST_REDIS=local go test -run RealRedis ./internal/count")
	}
	t.Parallel()
	addrs, err := local.Free("127.0.0.1", 1)
	if err != nil {
		t.Fatal(err)
	}
	addr, dir := addrs[0], t.TempDir()
	r := newRig(t)
	kill := realRedis(t, addr, dir)
	r.raw = redis.NewClient(&redis.Options{Addr: addr, DB: 1, Protocol: 2})
	t.Cleanup(func() { _ = r.raw.Close() })

	m := r.start(addr)
	r.produce(40)
	r.counted("first")
	for round := range 3 {
		if err := r.raw.Save(ctx).Err(); err != nil {
			t.Fatal(err)
		}
		r.produce(40)
		r.counted("after the snapshot")
		kill()
		if round == 1 {
			r.produce(40) // while it is away
		}
		kill = realRedis(t, addr, dir)
		r.counted("after the restart")
	}
	r.settled(m)
	if m.Stats().Refusals == 0 {
		t.Error("nothing was refused: the snapshots were not old, the fault did not fire")
	}
}

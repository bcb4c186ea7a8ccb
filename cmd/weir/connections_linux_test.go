package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/weir-project/weir/bench/proc"
	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/node"
)

// maxUnderAttack bounds the memory of the whole program while strangers hold every place on all its ports.
// SECURITY.md promises it.
const maxUnderAttack = 512 << 20

// Strangers open thousands of connections to all ports of a running weir. Each announces a large request,
// sends a part that is counted, and stalls. The streams and the counts go on, clients are served, and the
// memory of the process stays within its bound.
func TestManyConnections(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv("WEIR_TEST_CONNECTIONS"))
	if err != nil {
		t.Skip("a long check; run it with: WEIR_TEST_CONNECTIONS=10000 go test -run ManyConnections ./cmd/weir")
	}
	data := t.TempDir()
	env := testEnv(t, "WEIR_DATA="+data, "WEIR_RATE=200", "WEIR_LISTEN=127.0.0.1:0")
	up := spawn(t, env, "up")
	up.out.waitFor(t, "Ctrl-C stops", startPatience)
	waitCounted(t, env, 500)
	before := memory(t, up, "VmHWM")

	part := strings.Repeat("x", 20<<10)
	announced := map[string]string{ // by port: a request that is large, or that does not end
		"kafka": "\x06\x30\x00\x00\x00\x00\x00\x09\x00\x00\x00\x07\x00\x01x\x00\x00\x00" + part,
		"redis": "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$32000000\r\n" + part,
		"web":   "POST /api/v1/groups/g/reset HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\nX: " + part[:8<<10],
	}
	type target struct{ addr, what string }
	var targets []target
	runtime := runtimeOf(t, data)
	for _, addr := range runtime.Kafka {
		targets = append(targets, target{addr, "kafka"})
	}
	redis, err := url.Parse(runtime.Redis)
	if err != nil {
		t.Fatal(err)
	}
	link := linkLine.FindStringSubmatch(up.out.String())
	if link == nil {
		t.Fatalf("the banner has no link:\n%s", up.out)
	}
	targets = append(targets, target{redis.Host, "redis"}, target{strings.TrimPrefix(link[1], "http://"), "web"})
	for i := range n {
		to := targets[i%len(targets)]
		nc, err := net.Dial("tcp", to.addr)
		if err != nil {
			t.Fatalf("connection %d, to %s: %v", i, to.what, err)
		}
		defer nc.Close()
		_, _ = nc.Write([]byte(announced[to.what])) // a connection without a place is closed
	}
	waitCounted(t, env, 1000)
	if code := status(t, link[1]+"/api/v1/state", ""); code != http.StatusOK {
		t.Errorf("the web UI answers %d", code)
	}
	now, most := memory(t, up, "VmRSS"), memory(t, up, "VmHWM")
	t.Logf("%d connections: %d MiB, %d MiB at most, %d MiB before them", n, now>>20, most>>20, before>>20)
	if most > maxUnderAttack {
		t.Errorf("%d MiB, the bound is %d", most>>20, maxUnderAttack>>20)
	}
	verified(t, env)
	up.signal(t, os.Interrupt)
	if code := up.exit(t); code != cli.ExitOK {
		t.Errorf("exit code %d:\n%s", code, up.out)
	}
}

func memory(t *testing.T, c *child, line string) int64 {
	t.Helper()
	b, err := proc.Memory(c.Process.Pid, line)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// runtimeOf reads what a weir with simulated streams notes of itself.
func runtimeOf(t *testing.T, data string) (r node.Runtime) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(data, node.Simulated, "weir.json"))
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil || len(r.Kafka) == 0 {
		t.Fatal(fmt.Errorf("the runtime file: %w, %d brokers", err, len(r.Kafka)))
	}
	return r
}

package tally

import (
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/weir-project/weir/internal/redisd"
)

// eachServer runs a test against the embedded server, and against a real Redis
// where WEIR_TEST_REDIS names one (redis://host:port/db: its tallies are deleted)
// or is "local", which starts redis-server.
func eachServer(t *testing.T, test func(t *testing.T, url string)) {
	t.Run("embedded", func(t *testing.T) {
		s, err := redisd.Open(redisd.Config{Addr: "127.0.0.1:0"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		test(t, s.URL())
	})
	t.Run("redis", func(t *testing.T) {
		switch url := os.Getenv("WEIR_TEST_REDIS"); url {
		case "":
			t.Skip("needs a real Redis: WEIR_TEST_REDIS=local go test ./internal/tally (or redis://127.0.0.1:PORT/1)")
		case "local":
			test(t, startRedis(t))
		default:
			test(t, url)
		}
	})
}

// startRedis runs redis-server, on free ports in the place of each "free" of args. A port may
// be taken between the look and the start: then the server ends, and others are tried.
func startRedis(t *testing.T, args ...string) string {
	t.Helper()
	if !slices.Contains(args, "--tls-port") {
		args = append([]string{"--port", "free"}, args...)
	}
	args = append([]string{"--bind", "127.0.0.1", "--save", "", "--dir", t.TempDir()}, args...)
	for {
		addr, out := tryRedis(t, args)
		if addr != "" {
			return "redis://" + addr + "/1"
		}
		if !strings.Contains(out, "Address already in use") {
			t.Fatalf("redis-server %q ended:\n%s", args, out)
		}
		t.Log("a port was taken meanwhile")
	}
}

// tryRedis returns where the server listens, or what it said before it ended.
func tryRedis(t *testing.T, args []string) (addr, out string) {
	t.Helper()
	args = slices.Clone(args)
	for i := range args {
		if args[i] == "free" {
			args[i] = port(t)
		}
		if i > 0 && (args[i-1] == "--port" || args[i-1] == "--tls-port") && args[i] != "0" {
			addr = "127.0.0.1:" + args[i]
		}
	}
	var said bytes.Buffer
	cmd := exec.Command("redis-server", args...)
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-ended })
	for deadline := time.Now().Add(time.Minute); ; {
		select {
		case <-ended:
			return "", said.String()
		case <-time.After(10 * time.Millisecond):
		}
		if c, err := net.Dial("tcp", addr); err == nil {
			itself := c.LocalAddr().String() == addr // what dials a free port may meet itself there
			_ = c.Close()
			if !itself {
				return addr, ""
			}
		}
		if time.Now().After(deadline) {
			t.Fatal("redis-server does not come up")
		}
	}
}

func openStore(t *testing.T, url string) (*Store, redis.UniversalClient) {
	t.Helper()
	s, err := Open(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	for _, k := range s.client.Keys(ctx, prefix+"*").Val() {
		s.client.Del(ctx, k)
	}
	return s, s.client
}

func TestCannotConnect(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	_, err = Open(ctx, "redis://user:hunter2@"+addr+"/1")
	var ce *ConnectError
	if !errors.As(err, &ce) || ce.Addr != addr || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error is %v", err)
	}
}

func TestServerGoesAwayAndComesBack(t *testing.T) {
	dir := t.TempDir()
	srv, err := redisd.Open(redisd.Config{Addr: "127.0.0.1:0", Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	addr := srv.Addr()
	s, _ := openStore(t, srv.URL())
	begin(t, s, "g", "t", 0, "", 0)
	_ = srv.Close()
	b := Batch{Group: "g", Topic: "t", From: 0, Next: 1, Counts: map[string]int64{"e": 1}}
	_, err = s.Apply(ctx, []Batch{b})
	var ce *ConnectError
	if !errors.As(err, &ce) {
		t.Fatalf("error is %v", err)
	}
	if srv, err = redisd.Open(redisd.Config{Addr: addr, Dir: dir}); err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	if r := apply1(t, s, b); r.Err != nil {
		t.Fatalf("after the restart: %+v", r)
	}
}

// The embedded server's own settings must satisfy Open without a word.
func TestEmbeddedServerNeedsNoFinding(t *testing.T) {
	srv, err := redisd.Open(redisd.Config{Addr: "127.0.0.1:0", Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	s, _ := openStore(t, srv.URL())
	if f := s.Findings(); len(f) != 0 {
		t.Errorf("findings: %+v", f)
	}
}

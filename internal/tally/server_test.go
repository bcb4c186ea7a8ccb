package tally

import (
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
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

// startRedis runs redis-server on a free port, or on the one that args give.
func startRedis(t *testing.T, args ...string) string {
	t.Helper()
	at := port(t)
	for i, a := range args {
		if (a == "--port" || a == "--tls-port") && args[i+1] != "0" {
			at = args[i+1]
		}
	}
	addr := "127.0.0.1:" + at
	var said bytes.Buffer
	cmd := exec.Command("redis-server", append([]string{"--port", at, "--bind", "127.0.0.1", "--save", "", "--dir", t.TempDir()}, args...)...)
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-ended })
	for deadline := time.Now().Add(time.Minute); ; {
		if c, err := net.Dial("tcp", addr); err == nil {
			_ = c.Close()
			return "redis://" + addr + "/1"
		}
		if time.Now().After(deadline) {
			t.Fatal("redis-server does not come up")
		}
		select {
		case <-ended:
			t.Fatalf("redis-server %q ended:\n%s", args, said.String())
		case <-time.After(10 * time.Millisecond):
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

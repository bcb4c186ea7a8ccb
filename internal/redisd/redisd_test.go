package redisd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2/server"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("WEIR_REDISD_CHILD"); dir != "" {
		child(dir)
	}
	goleak.VerifyTestMain(m)
}

// open starts a server and runs it; stop ends it as Close does.
func open(t *testing.T, cfg Config) (s *Server, stop func()) {
	t.Helper()
	if cfg.Addr == "" {
		cfg.Addr = "127.0.0.1:0"
	}
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("run: %v", err)
			}
			if err := s.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
	t.Cleanup(stop)
	return s, stop
}

func dial(t *testing.T, s *Server, db, protocol int) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: s.Addr(), DB: db, Protocol: protocol, MaxRetries: -1,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

var ctx = context.Background()

func TestKeysExpireInTime(t *testing.T) {
	dir := t.TempDir()
	s, stop := open(t, Config{Dir: dir, SnapshotEvery: time.Hour})
	c := dial(t, s, 0, 2)
	must[string](t)(c.Set(ctx, "short", "v", 300*time.Millisecond).Result())
	must[string](t)(c.Set(ctx, "down", "v", time.Second).Result())
	must[string](t)(c.Set(ctx, "long", "v", time.Hour).Result())
	begun := time.Now()
	for must[int64](t)(c.Exists(ctx, "short").Result()) == 1 {
		if time.Since(begun) > 10*time.Second {
			t.Fatal("the key never expires")
		}
	}
	if took := time.Since(begun); took < 250*time.Millisecond {
		t.Errorf("expired after %v, want 300ms", took)
	}
	stop()
	for time.Since(begun) < 1100*time.Millisecond { // expires while the server is down
		<-time.After(10 * time.Millisecond)
	}
	s, _ = open(t, Config{Dir: dir})
	c = dial(t, s, 0, 2)
	if n := must[int64](t)(c.Exists(ctx, "down", "short").Result()); n != 0 {
		t.Error("a key that expired while the server was down is back")
	}
	if n := must[int64](t)(c.Exists(ctx, "long").Result()); n != 1 {
		t.Error("a key that had not expired is gone")
	}
}

// A TTL must not be charged for the time before it was set.
func TestExpiryCountsFromWhenItIsSet(t *testing.T) {
	s, err := Open(Config{Addr: "127.0.0.1:0"}) // without Run: time passes when this test says so
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c := dial(t, s, 0, 2)
	must[string](t)(c.Set(ctx, "first", "v", time.Minute).Result())
	<-time.After(300 * time.Millisecond)
	must[string](t)(c.Set(ctx, "second", "v", 250*time.Millisecond).Result())
	s.tick()
	if n := must[int64](t)(c.Exists(ctx, "second").Result()); n != 1 {
		t.Error("expired at once")
	}
	<-time.After(300 * time.Millisecond)
	s.tick()
	if n := must[int64](t)(c.Exists(ctx, "second", "first").Result()); n != 1 {
		t.Errorf("%d keys are left, want the first", n)
	}
}

func TestHostileBytesEndOneConnectionOnly(t *testing.T) {
	s, _ := open(t, Config{})
	keep := dial(t, s, 0, 2)
	must[string](t)(keep.Set(ctx, "k", "v", 0).Result())
	for name, send := range map[string]string{
		"http get":           "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"http post":          "POST / HTTP/1.1\r\nContent-Length: 20\r\n\r\nFLUSHALL\r\n",
		"tls hello":          "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
		"huge array":         "*2147483647\r\n",
		"huge bulk":          "*1\r\n$2147483647\r\n",
		"negative bulk":      "*1\r\n$-5\r\n",
		"bulk without end":   "*1\r\n$4\r\nPINGxx",
		"not a number":       "*x\r\n",
		"no dollar":          "*1\r\n:4\r\n",
		"endless line":       strings.Repeat("a", 20<<10),
		"endless array line": "*" + strings.Repeat("1", 20<<10),
	} {
		t.Run(name, func(t *testing.T) {
			conn := must[net.Conn](t)(net.Dial("tcp", s.Addr()))
			defer conn.Close()
			if _, err := conn.Write([]byte(send)); err != nil {
				t.Fatal(err)
			}
			_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
			line, _ := bufio.NewReader(conn).ReadString('\n')
			if line != "" && !strings.HasPrefix(line, "-ERR Protocol error") {
				t.Errorf("answered %q", line)
			}
			if _, err := conn.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("the connection stays open")
			}
		})
	}
	if v := must[string](t)(keep.Get(ctx, "k").Result()); v != "v" {
		t.Errorf("k is %q", v)
	}
}

func TestCommandsThatCannotBeServed(t *testing.T) {
	s, _ := open(t, Config{})
	c := dial(t, s, 0, 2)
	for _, tc := range []struct {
		args []any
		want string
	}{
		{[]any{"NOSUCHCOMMAND", strings.Repeat("x", 1<<20)}, "unknown command"},
		{[]any{strings.Repeat("y", 1<<20)}, "unknown command"},
		{[]any{"PFADD", "h", "1"}, "not served"},
		{[]any{"EVAL", "return redis.call('PFADD','h','1')", "0"}, "not served"},
		{[]any{"SELECT", "16"}, "out of range"},
		{[]any{"EVAL", "redis.call('SELECT','99') redis.call('SET','a','b')", "0"}, "out of range"},
		{[]any{"SWAPDB", "0", "16"}, "out of range"},
		{[]any{"CONFIG", "SET", "maxmemory-policy", "allkeys-lru"}, "not served"},
		{[]any{"SHUTDOWN"}, "not served"},
		{[]any{"EVAL", "return print", "0"}, "nonexistent global variable 'print'"},
		{[]any{"EVAL", "return {redis.call", "0"}, ""},
	} {
		err := c.Do(ctx, tc.args...).Err()
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%.40v: %v, want %q", tc.args, err, tc.want)
		}
	}
	if err := c.Set(ctx, "k", "v", 0).Err(); err != nil {
		t.Fatalf("the server does not go on: %v", err)
	}
	if v := must[string](t)(c.Get(ctx, "k").Result()); v != "v" {
		t.Errorf("k is %q", v)
	}
}

// A panic leaves miniredis' lock locked; other connections must go on.
func TestPanicInOneConnectionLeavesOthers(t *testing.T) {
	s, _ := open(t, Config{})
	a, b := dial(t, s, 0, 2), dial(t, s, 1, 2)
	var fired atomic.Int32
	_ = s.redis.Server().Register("PANIC", func(*server.Peer, string, []string) {
		fired.Add(1)
		s.redis.Lock()
		panic("injected")
	})
	go func() { _ = b.BLPop(ctx, time.Second, "never").Err() }()
	for i := range int32(3) {
		for fired.Load() <= i { // the first attempt may find the connection that was closed
			if err := a.Do(ctx, "PANIC").Err(); err == nil {
				t.Fatal("the command that panics answers")
			}
		}
		if err := b.Incr(ctx, "n").Err(); err != nil {
			t.Fatal(err)
		}
	}
	if n := must[int64](t)(b.Incr(ctx, "n").Result()); n != 4 {
		t.Errorf("n is %d", n)
	}
}

func TestInfoAndConfig(t *testing.T) {
	for _, protocol := range []int{2, 3} {
		s, _ := open(t, Config{Dir: t.TempDir()})
		c := dial(t, s, 0, protocol)
		must[string](t)(c.Set(ctx, "k", "v", 0).Result())
		if got := must[map[string]string](t)(c.ConfigGet(ctx, "maxmemory*").Result()); got["maxmemory-policy"] != "noeviction" || got["maxmemory"] != "268435456" {
			t.Errorf("RESP%d CONFIG GET: %v", protocol, got)
		}
		info := must[string](t)(c.Info(ctx).Result())
		for _, line := range []string{"redis_version:", "maxmemory_policy:noeviction", "role:master", "db0:keys=1", "rdb_last_bgsave_status:ok", "connected_clients:"} {
			if !strings.Contains(info, "\r\n"+line) {
				t.Errorf("INFO lacks %q:\n%s", line, info)
			}
		}
		if mem := must[string](t)(c.Info(ctx, "memory").Result()); strings.Contains(mem, "redis_version") || !strings.Contains(mem, "maxmemory:") {
			t.Errorf("INFO memory: %s", mem)
		}
	}
}

func TestInfoCountsKeysThatExpire(t *testing.T) {
	s, _ := open(t, Config{})
	c, other := dial(t, s, 0, 2), dial(t, s, 3, 2)
	must[string](t)(c.Set(ctx, "stays", "v", 0).Result())
	must[string](t)(c.Set(ctx, "one", "v", time.Hour).Result())
	must[string](t)(c.Set(ctx, "two", "v", 3*time.Hour).Result())
	must[string](t)(other.Set(ctx, "stays", "v", 0).Result())
	info := must[string](t)(c.Info(ctx, "keyspace").Result())
	var ttl int64
	_, line, _ := strings.Cut(info, "db0:")
	if _, err := fmt.Sscanf(line, "keys=3,expires=2,avg_ttl=%d\r\n", &ttl); err != nil {
		t.Fatalf("%v in %q", err, info)
	}
	if low, high := int64(7_100_000), int64(7_200_000); ttl < low || ttl > high {
		t.Errorf("avg_ttl is %d, want %d to %d", ttl, low, high)
	}
	if !strings.Contains(info, "db3:keys=1,expires=0,avg_ttl=0\r\n") {
		t.Errorf("keys that never expire: %q", info)
	}
}

func TestRefusalInsideMultiAbortsIt(t *testing.T) {
	s, _ := open(t, Config{})
	conn := must[net.Conn](t)(net.Dial("tcp", s.Addr()))
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	r := bufio.NewReader(conn)
	for _, step := range []struct{ send, want string }{
		{"MULTI", "+OK"}, {"SET k v", "+QUEUED"}, {"INFO", "-ERR INFO is not served inside MULTI"}, {"EXEC", "-EXECABORT"},
		{"GET k", "$-1"}, {"PING", "+PONG"},
	} {
		fmt.Fprintf(conn, "%s\r\n", step.send)
		if line := must[string](t)(r.ReadString('\n')); !strings.HasPrefix(line, step.want) {
			t.Errorf("%s answered %q, want %q", step.send, line, step.want)
		}
	}
}

func TestAddressInUse(t *testing.T) {
	l := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	defer l.Close()
	_, err := Open(Config{Addr: l.Addr().String()})
	var le *ListenError
	if !errors.As(err, &le) || le.Addr != l.Addr().String() || !strings.Contains(err.Error(), le.Addr) {
		t.Errorf("error is %v", err)
	}
}

func TestFullMemoryRefusesWhatAdds(t *testing.T) {
	s, _ := open(t, Config{Dir: t.TempDir(), SnapshotEvery: time.Hour, MaxMemory: 1 << 20})
	c := dial(t, s, 0, 2)
	must[string](t)(c.Set(ctx, "k", strings.Repeat("x", 2<<20), 0).Result())
	must[string](t)(c.Save(ctx).Result())
	if err := c.Set(ctx, "l", "v", 0).Err(); err == nil || !strings.HasPrefix(err.Error(), "OOM") {
		t.Errorf("error is %v", err)
	}
	must[string](t)(c.Get(ctx, "k").Result())
	must[int64](t)(c.Del(ctx, "k").Result())
	must[string](t)(c.Save(ctx).Result())
	must[string](t)(c.Set(ctx, "l", "v", 0).Result())
}

func TestSubscribers(t *testing.T) {
	s, _ := open(t, Config{})
	c := dial(t, s, 0, 2)
	sub := c.Subscribe(ctx, "ch")
	must[any](t)(sub.Receive(ctx))
	must[int64](t)(c.Publish(ctx, "ch", "hello").Result())
	if m := must[*redis.Message](t)(sub.ReceiveMessage(ctx)); m.Payload != "hello" {
		t.Errorf("got %q", m.Payload)
	}
	_ = sub.Close()
	for deadline := time.Now().Add(5 * time.Second); must[int64](t)(c.Publish(ctx, "ch", "x").Result()) != 0; {
		if time.Now().After(deadline) {
			t.Fatal("a subscriber that left is still counted")
		}
	}
}

// A client that asks for much and reads nothing must not stall others.
func TestSlowReaderStallsNobody(t *testing.T) {
	s, _ := open(t, Config{})
	c := dial(t, s, 0, 2)
	must[string](t)(c.Set(ctx, "big", strings.Repeat("x", 8<<20), 0).Result())
	conn := must[net.Conn](t)(net.Dial("tcp", s.Addr()))
	defer conn.Close()
	for range 8 {
		fmt.Fprintf(conn, "GET big\r\n")
	}
	for range 100 {
		dctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := c.Incr(dctx, "n").Err()
		cancel()
		if err != nil {
			t.Fatal(err)
		}
	}
}

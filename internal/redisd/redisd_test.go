package redisd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

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

// child is a server that is written to until it is killed.
func child(dir string) {
	s, err := Open(Config{Addr: "127.0.0.1:0", Dir: dir, SnapshotEvery: time.Millisecond})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	go func() { _ = s.Run(ctx) }()
	c := redis.NewClient(&redis.Options{Addr: s.Addr(), DB: 1})
	for {
		n, err := c.Eval(ctx, "redis.call('INCR', 'z') return redis.call('HINCRBY', 'a', 'n', 1)", nil).Int()
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(n)
	}
}

// Whatever the moment of a kill, what is opened next was whole, and is not older
// than what the process before it had read back.
func TestKilledAtAnyMoment(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	last, advanced := 0, 0
	for round := range 8 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "WEIR_REDISD_CHILD="+dir)
		out := must[io.ReadCloser](t)(cmd.StdoutPipe())
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 20 + rng.IntN(400); n > 0 && lines.Scan(); n-- {
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()

		s, err := Open(Config{Addr: "127.0.0.1:0", Dir: dir})
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		c := redis.NewClient(&redis.Options{Addr: s.Addr(), DB: 1})
		a, _ := c.HGet(ctx, "a", "n").Int()
		z, _ := c.Get(ctx, "z").Int()
		if a != z || a < last {
			t.Errorf("round %d: %d and %d after %d", round, a, z, last)
		}
		if a > last {
			advanced++
		}
		last = a
		_ = c.Close()
		s.closeUnsaved()
	}
	if advanced == 0 {
		t.Error("nothing was ever saved: the test tests nothing")
	}
}

// closeUnsaved ends a server as if it had never been.
func (s *Server) closeUnsaved() {
	s.disk = nil
	_ = s.Close()
}

func BenchmarkSnapshot(b *testing.B) {
	s, err := Open(Config{Addr: "127.0.0.1:0", Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	db := s.redis.DB(1)
	for i := range 40 { // as many as weir has, with a hundred kinds each
		for k := range 100 {
			db.HSet(fmt.Sprintf("weir:tally:group:topic:%d", i), fmt.Sprintf("k:kind-%d", k), "123456789")
		}
	}
	b.Run("capture", func(b *testing.B) {
		for b.Loop() {
			if _, _, err := s.capture(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("save", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			_ = db.Set("changed", fmt.Sprint(i))
			s.changes.Add(1)
			if err := s.save(true); err != nil {
				b.Fatal(err)
			}
		}
	})
	for i := range 100_000 {
		_ = db.Set(fmt.Sprintf("counter-%d", i), "123456789")
	}
	b.Run("capture-100000-keys", func(b *testing.B) {
		for b.Loop() {
			if _, _, err := s.capture(); err != nil {
				b.Fatal(err)
			}
		}
	})
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

// fill writes a value of every type into several databases.
func fill(t *testing.T, s *Server) {
	t.Helper()
	for db := range Databases {
		if err := dial(t, s, db, 2).Set(ctx, "counter", db*10, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	c := dial(t, s, 3, 2)
	for _, args := range [][]any{
		{"SET", "bin\x00\xff\r\n", "value\x00\xfe\r\n"},
		{"SET", "empty", ""},
		{"SET", "soon", "v", "PX", "7200000"},
		{"HSET", "hash", "a", "1", "b", "2", "gone", "x"},
		{"HEXPIRE", "hash", "3600", "FIELDS", "1", "b"},
		{"RPUSH", "list", "x", "", "y", "x"},
		{"SADD", "set", "m1", "m2"},
		{"ZADD", "zset", "1.5", "one", "-inf", "low", "1e300", "high"},
		{"XADD", "stream", "5-1", "f", "v"}, {"XADD", "stream", "6-1", "f", "w"}, {"XADD", "stream", "9-9", "f", "z"},
		{"XDEL", "stream", "9-9"},
		{"XGROUP", "CREATE", "stream", "g1", "0"}, {"XREADGROUP", "GROUP", "g1", "c1", "COUNT", "1", "STREAMS", "stream", ">"},
		{"XGROUP", "CREATECONSUMER", "stream", "g1", "idle"},
		{"XGROUP", "CREATE", "bare", "g", "$", "MKSTREAM"},
	} {
		if err := c.Do(ctx, args...).Err(); err != nil {
			t.Fatalf("%v: %v", args, err)
		}
	}
}

// dump reads back what fill wrote, through the wire.
func dump(t *testing.T, s *Server) map[string]any {
	t.Helper()
	out := map[string]any{}
	for db := range Databases {
		out[fmt.Sprintf("counter%d", db)] = must[string](t)(dial(t, s, db, 2).Get(ctx, "counter").Result())
	}
	c := dial(t, s, 3, 2)
	out["keys"] = len(must[[]string](t)(c.Keys(ctx, "*").Result()))
	for _, args := range [][]any{
		{"GET", "bin\x00\xff\r\n"}, {"GET", "empty"}, {"GET", "soon"}, {"LRANGE", "list", "0", "-1"}, {"SMEMBERS", "set"},
		{"HMGET", "hash", "a", "b", "gone", "none"},
		{"ZRANGE", "zset", "0", "-1", "WITHSCORES"}, {"XRANGE", "stream", "-", "+"}, {"XINFO", "STREAM", "stream"},
		{"XINFO", "GROUPS", "stream"}, {"XPENDING", "stream", "g1"}, {"TYPE", "bare"}, {"XINFO", "GROUPS", "bare"}, {"XLEN", "bare"},
	} {
		out[fmt.Sprint(args...)] = must[any](t)(c.Do(ctx, args...).Result())
	}
	return out
}

func TestEveryTypeSurvivesARestart(t *testing.T) {
	dir := t.TempDir()
	s, stop := open(t, Config{Dir: dir, SnapshotEvery: time.Hour})
	fill(t, s)
	want := dump(t, s)
	stop()

	s, _ = open(t, Config{Dir: dir, SnapshotEvery: time.Hour})
	if got := dump(t, s); !reflect.DeepEqual(got, want) {
		for k := range want {
			if !reflect.DeepEqual(got[k], want[k]) {
				t.Errorf("%q: %v, want %v", k, got[k], want[k])
			}
		}
	}
	// Independent of what the server said before: these are written down here.
	c := dial(t, s, 3, 2)
	if got := must[[]string](t)(c.LRange(ctx, "list", 0, -1).Result()); !reflect.DeepEqual(got, []string{"x", "", "y", "x"}) {
		t.Errorf("list is %q", got)
	}
	if got := must[string](t)(c.Get(ctx, "bin\x00\xff\r\n").Result()); got != "value\x00\xfe\r\n" {
		t.Errorf("binary value is %q", got)
	}
	if got := must[time.Duration](t)(c.PTTL(ctx, "soon").Result()); got < 119*time.Minute || got > 120*time.Minute {
		t.Errorf("ttl is %v", got)
	}
	if got := must[[]int64](t)(c.HTTL(ctx, "hash", "a", "b").Result()); got[0] != -1 || got[1] < 3500 || got[1] > 3600 {
		t.Errorf("field ttls are %v", got)
	}
	if _, err := c.Do(ctx, "XADD", "stream", "*", "f", "n").Result(); err != nil {
		t.Errorf("stream takes no more entries: %v", err)
	}
	pend := must[*redis.XPending](t)(c.XPending(ctx, "stream", "g1").Result())
	if pend.Count != 1 || pend.Consumers["c1"] != 1 {
		t.Errorf("pending is %+v", pend)
	}
}

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
		{[]any{"EVAL", "return print", "0"}, "internal error"}, // a panic in miniredis
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
	go func() { _ = b.BLPop(ctx, time.Second, "never").Err() }()
	for range 3 {
		if err := a.Eval(ctx, "return print", nil).Err(); err == nil {
			t.Fatal("the command that panics answers")
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

func TestTornSnapshotFallsBackToThePrevious(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, path string, b []byte){
		"cut":     func(t *testing.T, path string, b []byte) { write(t, path, b[:len(b)/2]) },
		"empty":   func(t *testing.T, path string, _ []byte) { write(t, path, nil) },
		"flipped": func(t *testing.T, path string, b []byte) { b[len(b)/2] ^= 1; write(t, path, b) },
		"longer":  func(t *testing.T, path string, b []byte) { write(t, path, append(b, 0)) },
		"gone":    func(t *testing.T, path string, _ []byte) { _ = os.Remove(path) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s, stop := open(t, Config{Dir: dir, SnapshotEvery: time.Hour})
			c := dial(t, s, 1, 2)
			for _, v := range []string{"first", "second"} {
				must[string](t)(c.Set(ctx, "k", v, 0).Result())
				must[string](t)(c.Save(ctx).Result())
			}
			stop()
			path := filepath.Join(dir, currentName)
			damage(t, path, must[[]byte](t)(os.ReadFile(path)))

			var log strings.Builder
			s, stop = open(t, Config{Dir: dir, Log: slog.New(slog.NewTextHandler(&log, nil))})
			if v := must[string](t)(dial(t, s, 1, 2).Get(ctx, "k").Result()); v != "first" {
				t.Errorf("k is %q, want the one before", v)
			}
			stop()
			if loud := strings.Contains(log.String(), "level=ERROR"); loud != (name != "gone") {
				t.Errorf("log says %q", log.String())
			}
		})
	}
}

func TestNoWholeSnapshotIsAnErrorNotAnEmptyServer(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, currentName), []byte("WEIRSNAP nonsense"))
	if _, err := Open(Config{Addr: "127.0.0.1:0", Dir: dir}); !errors.Is(err, errTorn) {
		t.Errorf("error is %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, currentName)); err != nil {
		t.Error("the evidence was removed")
	}
	newer := append([]byte(magic), 0, 0, 0, 99)
	write(t, filepath.Join(dir, currentName), append(newer, make([]byte, 60)...))
	_, err := Open(Config{Addr: "127.0.0.1:0", Dir: dir})
	var ne *NewerError
	if !errors.As(err, &ne) || ne.Version != 99 {
		t.Errorf("error is %v", err)
	}
	file := filepath.Join(dir, "file")
	write(t, file, nil)
	if _, err := Open(Config{Addr: "127.0.0.1:0", Dir: file}); err == nil {
		t.Error("a directory that is a file is accepted")
	}
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// What is on disk at any moment must be one moment of the data: two counters that
// a transaction moves together are equal in each snapshot.
func TestSnapshotsAreWholeWhileClientsWrite(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, Config{Dir: dir, SnapshotEvery: 2 * time.Millisecond})
	var wg sync.WaitGroup
	halt := make(chan struct{})
	c := dial(t, s, 1, 2)
	for i := range 3000 { // what lies between makes a reading take its time
		must[string](t)(c.Set(ctx, fmt.Sprintf("m%d", i), i, 0).Result())
	}
	wg.Go(func() {
		for {
			select {
			case <-halt:
				return
			default:
			}
			if _, err := c.TxPipelined(ctx, func(p redis.Pipeliner) error {
				p.HIncrBy(ctx, "a", "n", 1)
				p.Incr(ctx, "z")
				p.RPush(ctx, "aq", "x")
				return nil
			}); err != nil {
				t.Error(err)
				return
			}
		}
	})
	wg.Go(func() { // a client that blocks, outside the gate
		d := dial(t, s, 1, 2)
		for {
			select {
			case <-halt:
				return
			default:
				_ = d.BLMove(ctx, "aq", "zq", "LEFT", "RIGHT", time.Second).Err()
			}
		}
	})
	seen := map[string]bool{}
	for deadline := time.Now().Add(20 * time.Second); len(seen) < 20; {
		if time.Now().After(deadline) {
			t.Fatalf("only %d different snapshots", len(seen))
		}
		body, err := readSnapshot(filepath.Join(dir, currentName))
		if err != nil {
			if errors.Is(err, os.ErrNotExist) {
				continue
			}
			t.Fatal(err)
		}
		r, err := Open(Config{Addr: "127.0.0.1:0"})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.load(body); err != nil {
			t.Fatal(err)
		}
		rc := redis.NewClient(&redis.Options{Addr: r.Addr(), DB: 1})
		a, b := rc.HGet(ctx, "a", "n").Val(), rc.Get(ctx, "z").Val()
		queued := rc.LLen(ctx, "aq").Val() + rc.LLen(ctx, "zq").Val()
		if a != b || fmt.Sprint(queued) != b && b != "" {
			t.Fatalf("a snapshot has %s, %s and %d", a, b, queued)
		}
		seen[b] = true
		_ = rc.Close()
		_ = r.Close()
	}
	close(halt)
	wg.Wait()
}

func TestUnchangedDataAreNotWrittenAgain(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, Config{Dir: dir, SnapshotEvery: time.Hour})
	c := dial(t, s, 0, 2)
	must[string](t)(c.Set(ctx, "k", "v", time.Hour).Result())
	if err := s.save(false); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, currentName)
	before := must[os.FileInfo](t)(os.Stat(path))
	must[any](t)(c.Eval(ctx, "return 1", nil).Result()) // may have changed something, and did not
	if err := s.save(false); err != nil {
		t.Fatal(err)
	}
	if after := must[os.FileInfo](t)(os.Stat(path)); !os.SameFile(before, after) {
		t.Error("the same data were written twice")
	}
	must[int64](t)(c.Incr(ctx, "n").Result())
	if err := s.save(false); err != nil {
		t.Fatal(err)
	}
	if after := must[os.FileInfo](t)(os.Stat(path)); os.SameFile(before, after) {
		t.Error("a change was not written")
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

package redisd

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

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
	s.cfg.Dir = ""
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

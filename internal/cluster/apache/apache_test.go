package apache

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/cluster/local"
)

// onApache skips unless real brokers are asked for.
func onApache(t *testing.T) {
	t.Helper()
	if os.Getenv("WEIR_TEST_KAFKA") != "apache" {
		t.Skip("starts real brokers (Java 17, and Maven or KAFKA_HOME): WEIR_TEST_KAFKA=apache go test ./internal/cluster/apache")
	}
}

func freeAddrs(t *testing.T) []string {
	t.Helper()
	addrs, err := local.Free("127.0.0.1", nodes)
	if err != nil {
		t.Fatal(err)
	}
	return addrs
}

func testConfig(t *testing.T, dir string, addrs []string) Config {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	return Config{Dir: dir, Cache: filepath.Join(cache, "weir"), Addrs: addrs, Home: os.Getenv("KAFKA_HOME"),
		Progress: func(s string) { t.Log(s) }}
}

// TestChildHoldsCluster is the process that TestOrphans kills.
func TestChildHoldsCluster(t *testing.T) {
	dir := os.Getenv("WEIR_TEST_CHILD_DIR")
	if dir == "" {
		t.Skip("a helper process of TestOrphans")
	}
	c, err := Open(t.Context(), testConfig(t, dir, strings.Split(os.Getenv("WEIR_TEST_CHILD_ADDRS"), ",")))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("ready", c.states())
	select {}
}

// states returns the state of each broker.
func (c *Cluster) states() []local.Broker {
	all, _ := c.Brokers(context.Background()) // cannot fail
	return all
}

func TestKillAndRestart(t *testing.T) {
	onApache(t)
	cfg := testConfig(t, t.TempDir(), freeAddrs(t))
	cfg.Bound = true
	cfg.Cache = withoutArchive(t, cfg)
	c, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if !t.Failed() {
			startsFromArchive(t, cfg)
		}
	})
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.Addrs()...), kgo.DefaultProduceTopic("t"))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	if _, err := kadm.NewClient(cl).CreateTopic(ctx, 6, 3, nil, "t"); err != nil {
		t.Fatal(err)
	}
	produce := func(value string) {
		t.Helper()
		if err := cl.ProduceSync(ctx, kgo.StringRecord(value)).FirstErr(); err != nil {
			t.Fatalf("produce %s: %v", value, err)
		}
	}
	produce("before")
	for _, hard := range []bool{true, false} {
		if err := c.kill(ctx, 2, hard); err != nil {
			t.Fatal(err)
		}
		if b := c.states()[1]; b.Alive || b.PID != 0 || b.Reason == "" {
			t.Fatalf("after its death, broker 2 is shown as %+v", b)
		}
		produce("during")
		if err := c.Restart(ctx, 2); err != nil {
			t.Fatal(err)
		}
		if err := c.Restart(ctx, 2); err == nil {
			t.Fatal("a running broker was restarted")
		}
		produce("after")
	}
	if err := c.KillHard(ctx, 4); err == nil {
		t.Fatal("a broker that does not exist was killed")
	}
}

// withoutArchive returns a cache directory with the jars alone.
func withoutArchive(t *testing.T, cfg Config) string {
	t.Helper()
	if _, err := provide(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	cache := t.TempDir()
	if err := os.Symlink(filepath.Join(cfg.Cache, "apache-kafka-"+version), filepath.Join(cache, "apache-kafka-"+version)); err != nil {
		t.Fatal(err)
	}
	return cache
}

// startsFromArchive checks that a cluster that ended in order has left an archive of
// the brokers' classes, nothing else, and that the next one's brokers use it.
func startsFromArchive(t *testing.T, cfg Config) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(cfg.Cache, "*.jsa"))
	if err != nil || len(left) != 1 || strings.Contains(left[0], fetching) {
		t.Fatalf("the cluster left the archives %v, %v; want one", left, err)
	}
	c, err := Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, b := range c.states() {
		maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", b.PID))
		if errors.Is(err, os.ErrNotExist) {
			return // only Linux tells which files a process has in memory
		}
		if err != nil || !strings.Contains(string(maps), left[0]) {
			t.Errorf("broker %d does not start from %s (%v)", b.ID, left[0], err)
		}
	}
}

// TestPortTaken starts a second cluster where a first one listens already, as two that
// are started at once and choose the same ports would: it does not take the first
// one's brokers for its own.
func TestPortTaken(t *testing.T) {
	onApache(t)
	cfg := testConfig(t, t.TempDir(), freeAddrs(t))
	cfg.Bound = true
	first, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := first.Close(); err != nil {
			t.Error(err)
		}
	}()
	cfg.Dir = t.TempDir()
	cfg.Died = func(b local.Broker) { t.Errorf("broker %d that never was up is said to have died", b.ID) }
	second, err := Open(t.Context(), cfg)
	if err == nil {
		t.Fatal("the other cluster's brokers were taken for its own", second.Close())
	}
	var taken *PortError
	if !errors.As(err, &taken) || taken.Addr != cfg.Addrs[taken.ID-1] {
		t.Errorf("the port is not named: %v", err)
	}
}

func TestOrphans(t *testing.T) {
	onApache(t)
	dir, addrs := t.TempDir(), freeAddrs(t)
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChildHoldsCluster$", "-test.v")
	child.Env = append(os.Environ(), "WEIR_TEST_CHILD_DIR="+dir, "WEIR_TEST_CHILD_ADDRS="+strings.Join(addrs, ","))
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	buf, seen := make([]byte, 4096), ""
	for !strings.Contains(seen, "ready") {
		n, err := out.Read(buf)
		if err != nil {
			t.Fatalf("the child ended: %v\n%s", err, seen)
		}
		seen += string(buf[:n])
	}
	if err := child.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
	var orphans int
	for _, a := range addrs {
		if conn, err := net.Dial("tcp", a); err == nil {
			conn.Close()
			orphans++
		}
	}
	if orphans != nodes {
		t.Fatalf("%d brokers outlived their weir, so this test would prove nothing", orphans)
	}
	var told []string
	cfg := testConfig(t, dir, addrs)
	cfg.Progress = func(s string) { told = append(told, s) }
	cfg.Bound = true
	c, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(strings.Join(told, "\n"), "an earlier weir left running"); n != nodes {
		t.Errorf("%d orphans were told of, want %d: %q", n, nodes, told)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "broker-*", "process.json")); len(left) != 0 {
		t.Errorf("records of processes that are gone: %v", left)
	}
}

func TestStrangerIsNotKilled(t *testing.T) {
	stranger := exec.CommandContext(t.Context(), "sleep", "60")
	if err := stranger.Start(); err != nil {
		t.Skipf("no process to spare: %v", err)
	}
	defer func() { _ = stranger.Process.Kill(); _ = stranger.Wait() }()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "broker-1"), 0o700); err != nil {
		t.Fatal(err)
	}
	record := fmt.Sprintf(`{"pid":%d,"started":"another boot 123"}`, stranger.Process.Pid)
	file := filepath.Join(dir, "broker-1", "process.json")
	if err := os.WriteFile(file, []byte(record), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := StopOrphans(t.Context(), dir, func(s string) { t.Error(s) }); err != nil {
		t.Fatal(err)
	}
	if err := stranger.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("a process that only shares the id was stopped: %v", err)
	}
	if exists(file) {
		t.Error("the stale record is still there")
	}
}

func TestWhatIsMissingIsNamed(t *testing.T) {
	t.Run("java", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		t.Setenv("JAVA_HOME", "")
		_, _, err := findJava(t.Context())
		if err == nil || !strings.Contains(err.Error(), "Java 17") {
			t.Errorf("without Java: %v", err)
		}
	})
	t.Run("old java", func(t *testing.T) {
		dir := t.TempDir()
		script := "#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n"
		if err := os.WriteFile(filepath.Join(dir, "java"), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
		t.Setenv("PATH", dir+":/usr/bin:/bin")
		t.Setenv("JAVA_HOME", "")
		_, _, err := findJava(t.Context())
		if err == nil || !strings.Contains(err.Error(), "is Java 11") {
			t.Errorf("with Java 11: %v", err)
		}
	})
	t.Run("maven", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		_, _, err := haveJars(Config{Cache: t.TempDir()})
		if err == nil || !strings.Contains(err.Error(), "KAFKA_HOME") {
			t.Errorf("without Maven: %v", err)
		}
	})
	t.Run("java and maven", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		t.Setenv("JAVA_HOME", "")
		_, err := provide(t.Context(), Config{Cache: t.TempDir()})
		if err == nil || !strings.Contains(err.Error(), "Java 17") || !strings.Contains(err.Error(), "no Maven") || strings.Contains(err.Error(), "\n") {
			t.Errorf("without Java and Maven: %v", err)
		}
	})
	t.Run("KAFKA_HOME", func(t *testing.T) {
		_, _, err := haveJars(Config{Home: t.TempDir()})
		if err == nil || !strings.Contains(err.Error(), "holds no kafka_2.13 jar") {
			t.Errorf("with an empty KAFKA_HOME: %v", err)
		}
	})
}

// The lines are Maven 3.8's.
func TestMavenOutput(t *testing.T) {
	var m mavenOutput
	fmt.Fprint(&m, "[INFO] Scanning for projects...\n[INFO] Downloading from central: https://example.org/a.jar\n"+
		"[INFO] Downloaded from central: https://example.org/a.jar (1.2 MB at 3.4 MB/s)\n[INFO] Downloaded from central: https://example.org/b.pom (3")
	if files, size := m.downloaded(); files != 1 || size != 1.2e6 {
		t.Errorf("%d files of %v bytes, want 1 of 1.2 MB", files, size)
	}
	fmt.Fprint(&m, "8 kB at 462 kB/s)\n[INFO] Downloaded from central: https://example.org/c.pom (512 B at 1 kB/s)\n")
	if files, size := m.downloaded(); files != 3 || size != 1.2e6+38e3+512 {
		t.Errorf("%d files of %v bytes, want 3 of 1.238512 MB", files, size)
	}
	if got := m.errors(); !strings.Contains(got, "c.pom") {
		t.Errorf("an end without a word of an error is told as %q", got)
	}
	fmt.Fprint(&m, "[INFO] BUILD FAILURE\n[ERROR] Failed to execute goal: Could not transfer artifact\n[ERROR] \n[ERROR] Re-run Maven using the -X switch\n")
	if got := m.errors(); got != "Failed to execute goal: Could not transfer artifact" {
		t.Errorf("the error is told as %q", got)
	}
}

func TestClusterID(t *testing.T) {
	dir := t.TempDir()
	id, err := clusterID(dir)
	if err != nil || len(id) != 22 || strings.HasPrefix(id, "-") {
		t.Fatalf("clusterID = %q, %v", id, err)
	}
	if again, err := clusterID(dir); err != nil || again != id {
		t.Fatalf("the second time clusterID = %q, %v, want %q", again, err, id)
	}
	if err := os.WriteFile(filepath.Join(dir, "cluster-id"), []byte("torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := clusterID(dir); err == nil {
		t.Error("a torn cluster id was taken")
	}
}

func TestPropertiesEscape(t *testing.T) {
	n := &node{id: 1, addr: "127.0.0.1:1", dir: `C:\weir`}
	p := string(properties(n, "127.0.0.1:2", "1@127.0.0.1:2", time.Hour, map[string]string{"num.partitions": "1"}))
	if !strings.Contains(p, `C:\\weir`) {
		t.Error("a backslash is not escaped")
	}
	if !strings.Contains(p, "\nlog.retention.ms=3600000\n") {
		t.Error("the retention is missing")
	}
	if !strings.Contains(p, "\nnum.partitions=1\n") {
		t.Error("a given property does not win")
	}
}

// Kafka would take the directory for two, and its brokers would end when they start.
func TestADirectoryWithACommaIsRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "one, two")
	c, err := Open(t.Context(), Config{Dir: dir})
	if err == nil {
		t.Fatal(c.Close())
	}
	if !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "--data") {
		t.Errorf("error is %v", err)
	}
}

package tally

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"maps"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/weir-project/weir/internal/cluster/local"
)

func needRedis(t *testing.T) {
	t.Helper()
	if os.Getenv("WEIR_TEST_REDIS") != "local" {
		t.Skip("starts redis-server: WEIR_TEST_REDIS=local go test ./internal/tally")
	}
}

func TestSettingsOfARealRedis(t *testing.T) {
	needRedis(t)
	for _, tc := range []struct {
		name string
		args []string
		// cred is what follows redis:// and precedes the address
		cred, finding, fails string
		breaks               bool
	}{
		{name: "nothing on disk", finding: "keeps nothing on disk", breaks: true},
		{name: "append only", args: []string{"--appendonly", "yes"}},
		{name: "snapshots", args: []string{"--save", "60 1"}, finding: "keeps only snapshots"},
		{name: "evicts", args: []string{"--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"}, fails: "allkeys-lru"},
		{name: "password missing", args: []string{"--requirepass", "hunter2"}, fails: "credentials"},
		{name: "password wrong", args: []string{"--requirepass", "hunter2"}, cred: ":hunter3@", fails: "credentials"},
		{name: "password", args: []string{"--requirepass", "hunter2", "--appendonly", "yes"}, cred: ":hunter2@"},
		{name: "managed", args: []string{"--appendonly", "no", "--user", "weir", "on", ">hunter2", "~weir:tally:*", "+@all", "-config"}, cred: "weir:hunter2@", finding: "CONFIG is forbidden"},
		{name: "managed, no info", args: []string{"--user", "weir", "on", ">hunter2", "~weir:tally:*", "+@all", "-config", "-info"}, cred: "weir:hunter2@", finding: "cannot read the maxmemory-policy"},
		{name: "few databases", args: []string{"--databases", "1"}, fails: "no such database"},
		{name: "replica", args: []string{"--replicaof", "127.0.0.1 1"}, fails: "replica"},
		{name: "no memory", args: []string{"--maxmemory", "100kb"}, fails: "out of memory"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			url := startRedis(t, tc.args...)
			s, err := Open(ctx, strings.Replace(url, "redis://", "redis://"+tc.cred, 1))
			if err != nil {
				if tc.fails == "" || !strings.Contains(err.Error(), tc.fails) || strings.Contains(err.Error(), "hunter2") {
					t.Errorf("error is %v", err)
				}
				var pe *PolicyError
				if (tc.name == "evicts") != errors.As(err, &pe) {
					t.Errorf("error is a %T", err)
				}
				return
			}
			defer s.Close()
			if tc.fails != "" {
				t.Fatal("opened")
			}
			found := tc.finding == "" && len(s.Findings()) == 0
			for _, f := range s.Findings() {
				found = found || tc.finding != "" && strings.Contains(f.Cause, tc.finding) && f.Breaks == tc.breaks && f.Out != ""
			}
			if !found {
				t.Errorf("findings: %+v", s.Findings())
			}
			works(t, s)
		})
	}
}

// works counts, reads and resets on several partitions at once, and leaves nothing.
func works(t *testing.T, s *Store) {
	t.Helper()
	const parts = 20
	batches := make([]Batch, parts)
	for p := range int32(parts) {
		begin(t, s, "g", "t", p, "", 0)
		batches[p] = Batch{Group: "g", Topic: "t", Partition: p, From: 0, Next: 2, Counts: map[string]int64{"e": 2}}
	}
	results, err := s.Apply(ctx, batches)
	if err != nil {
		t.Fatal(err)
	}
	for p, r := range results {
		if r.Err != nil {
			t.Errorf("partition %d: %+v", p, r)
		}
	}
	if got, err := s.Totals(ctx, "g", "t"); err != nil || got["e"] != 2*parts {
		t.Errorf("counted %v (%v), want %d", got, err, 2*parts)
	}
	all, err := s.All(ctx)
	if err != nil || len(all) != parts {
		t.Errorf("%d tallies (%v), want %d: the probe may have left something", len(all), err, parts)
	}
	if err := s.Reset(ctx, "g", "t", 3, "", 7); err != nil {
		t.Error(err)
	}
	pos, err := s.Load(ctx, "g", "t", []int32{2, 3})
	if err != nil || pos[2].Next != 2 || pos[3].Next != 7 {
		t.Errorf("positions are %+v (%v)", pos, err)
	}
	if n := s.client.Exists(ctx, prefix+"probe").Val(); n != 0 {
		t.Error("the probe of permissions is still there")
	}
}

// A user who may do nothing is allowed what the error says, by the line that it
// says, until it is enough; and nothing of that is too much.
func TestPermissionsOfARealRedis(t *testing.T) {
	needRedis(t)
	url := startRedis(t, "--appendonly", "yes")
	addr := strings.TrimSuffix(strings.TrimPrefix(url, "redis://"), "/1")
	_, port, _ := net.SplitHostPort(addr)
	admin := redis.NewClient(&redis.Options{Addr: addr, Protocol: 2, DisableIdentity: true})
	defer admin.Close()
	if err := admin.Do(ctx, "ACL", "SETUSER", "weir", "on", ">hunter2").Err(); err != nil {
		t.Fatal(err)
	}
	url = strings.Replace(url, "redis://", "redis://weir:hunter2@", 1)
	var s *Store
	var rules []string
	for round := 0; ; round++ {
		var err error
		if s, err = Open(ctx, url); err == nil {
			break
		}
		var pe *PermissionError
		if !errors.As(err, &pe) || round == 4 || strings.Contains(err.Error(), "hunter2") {
			t.Fatalf("round %d: %v", round, err)
		}
		t.Logf("round %d: %v", round, err)
		line := strings.Replace(pe.Rule, "redis-cli ", "redis-cli -p "+port+" ", 1)
		if out, err := exec.Command("sh", "-c", line).CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != "OK" {
			t.Fatalf("%s: %v %s", line, err, out)
		}
		for _, word := range strings.Fields(pe.Rule) {
			if word = strings.Trim(word, "'"); strings.HasPrefix(word, "+") {
				rules = append(rules, word)
			}
		}
	}
	defer s.Close()
	works(t, s)
	slices.Sort(rules)
	if u := slices.Compact(slices.Clone(rules)); len(u) != len(rules) {
		t.Errorf("something was asked for twice: %v", rules)
	}
	// Each is needed: without it Open says so, and names that one.
	for _, rule := range rules {
		command := rule[1:]
		if err := admin.Do(ctx, "ACL", "SETUSER", "weir", "-"+command).Err(); err != nil {
			t.Fatal(err)
		}
		again, err := Open(ctx, url)
		var pe *PermissionError
		if !errors.As(err, &pe) || !slices.Contains(pe.Lacks, command) {
			t.Errorf("without %s: %v", command, err)
		}
		if err == nil {
			_ = again.Close()
		}
		if err := admin.Do(ctx, "ACL", "SETUSER", "weir", rule).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// authority signs certificates of a test.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.cert = &x509.Certificate{Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	a.cert, a.key = a.sign("ca", a.cert)
	return a
}

// sign writes NAME.pem and NAME.key.
func (a *authority) sign(name string, c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	if c.NotAfter.IsZero() {
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	parent, signer := a.cert, a.key
	if signer == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	for ext, block := range map[string]*pem.Block{".pem": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(a.dir, name+ext), pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	signed, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return signed, key
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

func TestTLSOfARealRedis(t *testing.T) {
	needRedis(t)
	a, stranger := newAuthority(t), newAuthority(t)
	loopback := []net.IP{net.IPv4(127, 0, 0, 1)}
	a.sign("server", &x509.Certificate{IPAddresses: loopback})
	a.sign("elsewhere", &x509.Certificate{DNSNames: []string{"redis.example.org"}})
	a.sign("old", &x509.Certificate{IPAddresses: loopback, NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-24 * time.Hour)})
	a.sign("client", &x509.Certificate{Subject: pkix.Name{CommonName: "weir"}})
	server := func(cert string, more ...string) string {
		url := startRedis(t, append([]string{"--appendonly", "yes", "--port", "0", "--tls-port", port(t), "--tls-cert-file", a.file(cert + ".pem"), "--tls-key-file", a.file(cert + ".key"), "--tls-ca-cert-file", a.file("ca.pem")}, more...)...)
		return strings.Replace(url, "redis://", "rediss://", 1)
	}
	both, oneSide := server("server"), server("server", "--tls-auth-clients", "no")
	ca, mine := "?ssl_ca_certs="+a.file("ca.pem"), "&ssl_certfile="+a.file("client.pem")+"&ssl_keyfile="+a.file("client.key")
	for _, tc := range []struct{ name, url, fails string }{
		{"both sides", both + ca + mine, ""},
		{"one side", oneSide + ca, ""},
		{"no certificate of the client's", both + ca, "ssl_certfile"},
		{"a stranger's authority", oneSide + "?ssl_ca_certs=" + stranger.file("ca.pem"), "ssl_ca_certs"},
		{"the system's authorities", oneSide, "ssl_ca_certs"},
		{"another name", server("elsewhere", "--tls-auth-clients", "no") + ca, "redis.example.org"},
		{"expired", server("old", "--tls-auth-clients", "no") + ca, "valid from"},
		{"TLS to a port without", strings.Replace(startRedis(t), "redis://", "rediss://", 1), "does not speak TLS"},
		{"no TLS to a port with", strings.Replace(oneSide, "rediss://", "redis://", 1), "rediss"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, err := Open(ctx, tc.url)
			if err != nil {
				if tc.fails == "" || !strings.Contains(err.Error(), tc.fails) {
					t.Errorf("error is %v, want %q", err, tc.fails)
				} else {
					t.Log(err)
				}
				return
			}
			defer s.Close()
			if tc.fails != "" {
				t.Fatal("opened")
			}
			works(t, s)
		})
	}
}

// port is a free one, which no connection of anybody gets meanwhile.
func port(t *testing.T) string {
	t.Helper()
	addrs, err := local.Free("127.0.0.1", 1)
	if err != nil {
		t.Fatal(err)
	}
	_, p, _ := net.SplitHostPort(addrs[0])
	return p
}

// A Redis Cluster of three: the partitions' hashes lie on all of them.
func TestRealRedisCluster(t *testing.T) {
	needRedis(t)
	var addrs []string
	for range 3 {
		url := startRedis(t, "--appendonly", "yes", "--cluster-enabled", "yes", "--cluster-port", port(t), "--cluster-node-timeout", "2000")
		addrs = append(addrs, strings.TrimSuffix(strings.TrimPrefix(url, "redis://"), "/1"))
	}
	out, err := exec.Command("redis-cli", append(append([]string{"--cluster", "create"}, addrs...), "--cluster-yes")...).CombinedOutput()
	if err != nil {
		t.Fatalf("make the cluster: %v\n%s", err, out)
	}
	if _, err := Open(ctx, "redis://"+addrs[0]+"/0"); err == nil || !strings.Contains(err.Error(), "redis-cluster://"+addrs[0]) {
		t.Errorf("one node by itself: %v", err)
	}
	if _, err := Open(ctx, strings.Replace(startRedis(t), "redis://", "redis-cluster://", 1)); err == nil {
		t.Error("a database in a cluster's URL is accepted")
	}
	if _, err := Open(ctx, strings.TrimSuffix(strings.Replace(startRedis(t), "redis://", "redis-cluster://", 1), "/1")); err == nil || !strings.Contains(err.Error(), "redis://") {
		t.Errorf("no cluster: %v", err)
	}
	var s *Store
	for deadline := time.Now().Add(time.Minute); ; { // the nodes agree a moment later
		if s, err = Open(ctx, "redis-cluster://"+addrs[1]+","+addrs[2]); err == nil {
			break
		}
		var ce *ConnectError
		if !errors.As(err, &ce) || time.Now().After(deadline) {
			t.Fatal(err)
		}
		<-time.After(50 * time.Millisecond)
	}
	defer s.Close()
	works(t, s)
	for _, addr := range addrs {
		c := redis.NewClient(&redis.Options{Addr: addr, Protocol: 2, DisableIdentity: true})
		if n := c.DBSize(ctx).Val(); n == 0 {
			t.Errorf("nothing lies on %s: keys are not spread, and the test shows little", addr)
		}
		_ = c.Close()
	}
	// A new primary knows no script.
	if err := s.eachPrimary(ctx, func(_ context.Context, c *redis.Client) error { return c.ScriptFlush(ctx).Err() }); err != nil {
		t.Fatal(err)
	}
	if r := apply1(t, s, Batch{Group: "g", Topic: "t", Partition: 0, From: 2, Next: 3, Counts: map[string]int64{"e": 1}}); r.Err != nil {
		t.Errorf("without scripts: %+v", r)
	}
}

// Sentinels and the server that they watch have passwords of their own.
func TestRealSentinel(t *testing.T) {
	needRedis(t)
	url := startRedis(t, "--appendonly", "yes", "--requirepass", "hunter2")
	_, server, _ := net.SplitHostPort(strings.TrimSuffix(strings.TrimPrefix(url, "redis://"), "/1"))
	conf := filepath.Join(t.TempDir(), "sentinel.conf")
	at := port(t)
	text := "requirepass hunter3\nsentinel monitor main 127.0.0.1 " + server + " 1\nsentinel auth-pass main hunter2\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("redis-server", conf, "--sentinel", "--port", at, "--bind", "127.0.0.1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for deadline := time.Now().Add(time.Minute); ; <-time.After(10 * time.Millisecond) {
		if c, err := net.Dial("tcp", "127.0.0.1:"+at); err == nil {
			_ = c.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the Sentinel does not come up")
		}
	}
	files := t.TempDir()
	for _, p := range []string{"hunter2", "hunter3"} {
		if err := os.WriteFile(filepath.Join(files, p), []byte(p+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	data, sentinel := "password_file="+filepath.Join(files, "hunter2"), "&sentinel_password_file="+filepath.Join(files, "hunter3")
	at = "redis-sentinel://127.0.0.1:" + at + "/1?"
	for url, want := range map[string]string{
		at + "master=main&" + data + sentinel: "",
		at + "master=main&" + data:            "sentinel_password_file",
		at + "master=main" + sentinel:         "WEIR_REDIS_PASSWORD",
		at + data + sentinel:                  "no primary called mymaster",
	} {
		s, err := Open(ctx, url)
		if err == nil {
			if want != "" {
				t.Errorf("%s: opened", url)
			}
			works(t, s)
			_ = s.Close()
			continue
		}
		if want == "" || !strings.Contains(err.Error(), want) || strings.Contains(strings.ReplaceAll(err.Error(), files, ""), "hunter") {
			t.Errorf("%s: %v, want %q", url, err, want)
		}
	}
}

// The end of Redis' log is torn, at each place once, and again after Redis has gone on. Counts and
// position stay together.
func TestRealRedisWithATornLog(t *testing.T) {
	needRedis(t)
	const cuts = 24
	for cut := range cuts {
		dir := t.TempDir()
		run := func(until int64) { // counts up to there, from where Redis is
			t.Helper()
			url := startRedis(t, "--appendonly", "yes", "--dir", dir)
			s, err := Open(ctx, url)
			for deadline := time.Now().Add(time.Minute); err != nil && strings.Contains(err.Error(), "LOADING"); s, err = Open(ctx, url) {
				if time.Now().After(deadline) {
					t.Fatal(err)
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			begin(t, s, "g", "t", 0, "", 0)
			pos, err := s.Load(ctx, "g", "t", []int32{0})
			if err != nil {
				t.Fatal(err)
			}
			for at := pos[0].Next; at < until; at += 6 {
				next := min(at+6, until)
				n := next - at
				counts := map[string]int64{"create": n - n/3 - n/6, "delete": n / 3, "update": n / 6}
				maps.DeleteFunc(counts, func(_ string, n int64) bool { return n == 0 })
				if r := apply1(t, s, Batch{Group: "g", Topic: "t", Partition: 0, From: at, Next: next, Counts: counts}); r.Err != nil {
					t.Fatal(r.Err)
				}
			}
			got, err := s.Totals(ctx, "g", "t")
			sum := int64(0)
			for _, n := range got {
				sum += n
			}
			if err != nil || sum != until {
				t.Fatalf("cut %d: counted %v (%v), that is %d of %d", cut, got, err, sum, until)
			}
			_ = s.client.(*redis.Client).ShutdownNoSave(ctx)
			for deadline := time.Now().Add(time.Minute); s.client.Ping(ctx).Err() == nil; {
				if time.Now().After(deadline) {
					t.Fatal("redis-server does not end")
				}
			}
		}
		tear := func() {
			t.Helper()
			logs, err := filepath.Glob(filepath.Join(dir, "appendonlydir", "*.incr.aof"))
			if err != nil || len(logs) != 1 {
				t.Fatalf("logs: %v, %v", logs, err)
			}
			info, err := os.Stat(logs[0])
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(logs[0], info.Size()-int64(1+cut*11)); err != nil {
				t.Fatal(err)
			}
		}
		run(60)
		tear()
		run(120)
		tear()
		run(180)
	}
}

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/redisd"
)

// TestSecure is the main job on brokers that ask who one is and allow nothing by
// themselves, in every way to log in: it begins with no permission, does what weir
// says, line by line, and ends with the proof. What is wrong with a login says so.
func TestSecure(t *testing.T) {
	c := openSecure(t)
	for _, l := range c.logins() {
		t.Run(l.name, func(t *testing.T) { c.job(t, l) })
	}
	t.Run("minimal", func(t *testing.T) { c.minimal(t, c.logins()[1]) })
	t.Run("refused", func(t *testing.T) { c.refused(t) })
	t.Run("settings", func(t *testing.T) { c.settings(t) })
}

// job runs produce, consume, verify and the pages as one login.
func (c *secureCluster) job(t *testing.T, l login) {
	c.deleteTopics()
	redis, err := redisd.Open(redisd.Config{Addr: "127.0.0.1:0", Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer redis.Close()
	env := c.environment(l, "WEIR_REDIS="+redis.URL(), "WEIR_RATE=500")
	var seen strings.Builder // everything that weir ever says

	// Without permissions: it ends, and says which.
	_, stderr, code := weir(t, env, "produce", "bluesky")
	if seen.WriteString(stderr); code != cli.ExitRuntime || !strings.Contains(stderr, "does not allow") || !strings.Contains(stderr, "--transactional-id weir-ingest-bluesky") {
		t.Fatalf("produce without permissions: exit code %d:\n%s", code, stderr)
	}
	// "What produces and counts one stream" needs less than all: the proof comes later.
	c.grant(t, l, env, &seen, "produce", "bluesky")
	produce := spawn(t, env, "produce", "bluesky", "--log-level", "debug")
	produce.out.waitFor(t, "Ctrl-C stops", apachePatience)
	c.grant(t, l, env, &seen, "consume", "bluesky")
	consume := spawn(t, env, "consume", "bluesky", "--log-level", "debug")
	within(t, "300 events are counted", func() bool { return sum(counted(t, env)["bluesky"]) >= 300 })
	for _, p := range []*child{produce, consume} {
		cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.Process.Pid))
		if err != nil || !strings.Contains(string(cmdline), "bluesky") {
			t.Errorf("arguments of the process: %q, %v", cmdline, err)
		}
		seen.Write(cmdline)
	}
	for _, p := range []*child{produce, consume} {
		p.signal(t, syscall.SIGTERM)
		if code := p.exitWithin(t, apachePatience); code != cli.ExitOK {
			t.Errorf("exit code %d", code)
		}
		seen.WriteString(p.out.String())
	}
	c.grant(t, l, env, &seen) // everything
	up := spawn(t, append(env, "WEIR_LISTEN=127.0.0.1:0"), "up", "--log-level", "debug")
	up.out.waitFor(t, "Ctrl-C stops", apachePatience)
	within(t, "both streams are counted", func() bool { return sum(counted(t, env)["wikipedia"]) >= 20 })
	c.pages(t, up.out.String(), &seen)
	up.signal(t, syscall.SIGTERM)
	if code := up.exitWithin(t, apachePatience); code != cli.ExitOK {
		t.Errorf("up: exit code %d:\n%s", code, up.out)
	}
	seen.WriteString(up.out.String())
	verified(t, env)
	for _, args := range [][]string{{"topics"}, {"topics", "bluesky-events"}, {"messages", "bluesky-events", "-n", "3"}, {"groups", "describe", "weir-bluesky-counter"}, {"verify"}, {"preflight"}} {
		stdout, stderr, code := weir(t, env, args...)
		if code != cli.ExitOK {
			t.Errorf("%s: exit code %d:\n%s%s", args, code, stdout, stderr)
		}
		seen.WriteString(stdout + stderr)
	}
	text := seen.String()
	for _, secret := range []string{l.secret, scramPassword, plainPassword} {
		if i := strings.Index(text, secret); i >= 0 {
			t.Errorf("a secret is shown: %q", text[max(0, i-200):min(len(text), i+40)])
		}
	}
}

// pages reads what the web pages know, and the metrics.
func (c *secureCluster) pages(t *testing.T, banner string, seen *strings.Builder) {
	t.Helper()
	m := regexp.MustCompile(`http://127\.0\.0\.1:\d+`).FindString(banner)
	if m == "" {
		t.Fatalf("the banner names no pages:\n%s", banner)
	}
	for _, path := range []string{"/metrics", "/api/v1/topics", "/api/v1/groups", "/api/v1/brokers", "/api/v1/overview", "/"} {
		resp, err := http.Get(m + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != http.StatusOK && path != "/api/v1/overview" {
			t.Errorf("%s: %s", path, resp.Status)
		}
		seen.Write(body)
	}
}

// grant does what preflight says until nothing is forbidden any more.
func (c *secureCluster) grant(t *testing.T, l login, env []string, seen *strings.Builder, args ...string) {
	t.Helper()
	for round := 1; ; round++ {
		stdout, stderr, code := weir(t, env, append([]string{"preflight", "-o", "json"}, args...)...)
		seen.WriteString(stdout + stderr)
		var all []kafka.Finding
		if err := json.Unmarshal([]byte(stdout), &all); err != nil {
			t.Fatalf("preflight printed %q: %v\n%s", stdout, err, stderr)
		}
		var lines []string
		for _, f := range all {
			if f.Severity == "promise-breaking" && strings.HasPrefix(f.Run, "kafka-acls.sh ") || strings.Contains(f.Run, "DescribeConfigs") {
				lines = append(lines, f.Run)
			} else if f.Severity == "promise-breaking" {
				t.Errorf("a finding about more than permissions: %+v", f)
			}
		}
		breaks := slices.ContainsFunc(all, func(f kafka.Finding) bool { return f.Severity == "promise-breaking" })
		if (code == cli.ExitFailed) != breaks || !breaks && code != cli.ExitOK {
			t.Errorf("exit code %d with %s", code, stdout)
		}
		if len(lines) == 0 {
			t.Logf("%s: allowed all that weir %s needs after %d rounds", l.name, strings.Join(args, " "), round-1)
			return
		}
		if round > 3 {
			t.Fatalf("after three rounds something is still missing: %s", stdout)
		}
		for _, line := range lines {
			t.Log(line)
			if l.admin != "" {
				c.runLine(t, l, line)
			} else {
				c.applyLine(t, line)
			}
		}
		within(t, "what was granted is known to the brokers", func() bool {
			stdout, _, _ := weir(t, env, append([]string{"preflight", "-o", "json"}, args...)...)
			return !strings.Contains(stdout, quoted(lines[len(lines)-1]))
		})
	}
}

// quoted is a line as it stands in JSON.
func quoted(line string) string {
	b, _ := json.Marshal(line)
	return string(b)
}

// runLine runs a line as it is, in a shell, with Kafka's own tool.
func (c *secureCluster) runLine(t *testing.T, l login, line string) {
	t.Helper()
	bin := c.file("bin")
	if err := os.MkdirAll(bin, 0o700); err != nil {
		t.Fatal(err)
	}
	libs := filepath.Join(c.cache, "apache-kafka-*")
	if home := os.Getenv("KAFKA_HOME"); home != "" {
		libs = filepath.Join(home, "libs")
	} else if found, _ := filepath.Glob(libs); len(found) > 0 {
		libs = found[len(found)-1]
	}
	tool := "#!/bin/sh\nexec java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -cp '" + libs + "/*' org.apache.kafka.tools.AclCommand \"$@\"\n"
	if err := os.WriteFile(filepath.Join(bin, "kafka-acls.sh"), []byte(tool), 0o700); err != nil {
		t.Fatal(err)
	}
	c.write("admin.properties", l.admin)
	cmd := exec.Command("sh", "-c", line)
	cmd.Dir = c.dir
	cmd.Env = []string{"PATH=" + bin + ":" + os.Getenv("PATH")}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "Adding ACLs") {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
}

// applyLine does what a line says, without Java.
func (c *secureCluster) applyLine(t *testing.T, line string) {
	t.Helper()
	words := strings.Fields(line)
	if strings.Contains(line, "'") {
		t.Fatalf("a line with quotes is for the shell: %s", line)
	}
	var ops []kadm.ACLOperation
	named := map[string][]string{}
	for i := 0; i+1 < len(words); i++ {
		if words[i] == "--operation" {
			op, err := kmsg.ParseACLOperation(words[i+1])
			if err != nil {
				t.Fatal(err)
			}
			ops = append(ops, op)
		} else if strings.HasPrefix(words[i], "--") {
			named[words[i]] = append(named[words[i]], words[i+1])
		}
	}
	b := kadm.NewACLs().AllowHosts("*").ResourcePatternType(kadm.ACLPatternLiteral).Allow(named["--allow-principal"]...)
	if n := named["--topic"]; n != nil {
		b.Topics(n...)
	}
	if n := named["--group"]; n != nil {
		b.Groups(n...)
	}
	if n := named["--transactional-id"]; n != nil {
		b.TransactionalIDs(n...)
	}
	if slices.Contains(words, "--cluster") {
		b.Clusters()
	}
	results, err := c.admin.CreateACLs(t.Context(), b.Operations(ops...))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Err != nil {
			t.Fatalf("%s: %v", line, r.Err)
		}
	}
}

// minimal takes away one permission after the other that a login was given for one
// stream: each has to be missed, by the brokers themselves and not by preflight.
func (c *secureCluster) minimal(t *testing.T, l login) {
	t.Helper()
	c.deleteTopics()
	redis, err := redisd.Open(redisd.Config{Addr: "127.0.0.1:0", Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer redis.Close()
	env := c.environment(l, "WEIR_REDIS="+redis.URL(), "WEIR_RATE=500", "WEIR_TEST_PREFLIGHT=off")
	// Malformed events and those of accounts make use of every topic.
	upstream := spawn(t, testEnv(t), "simulate", "--listen", "127.0.0.1:0", "--rate", "500", "--faults", "malformed/20")
	upstream.out.waitFor(t, "Ctrl-C stops", apachePatience)
	jobs := map[string][]string{
		"produce": {"produce", "bluesky", "--source", "live", "--bluesky-url", regexp.MustCompile(`ws://\S+`).FindString(upstream.out.String()), "--log-level", "info"},
		"consume": {"consume", "bluesky", "--log-level", "info"},
	}
	produce, consume := spawn(t, env, jobs["produce"]...), spawn(t, env, jobs["consume"]...)
	within(t, "every topic has something", func() bool {
		ends, err := c.admin.ListEndOffsets(t.Context(), "bluesky-events", "bluesky-accounts", "weir.dead-letters")
		all := map[string]int64{}
		ends.Each(func(o kadm.ListedOffset) { all[o.Topic] += o.Offset })
		return err == nil && all["bluesky-events"] > 300 && all["bluesky-accounts"] > 1 && all["weir.dead-letters"] > 1
	})
	within(t, "300 events are counted", func() bool { return sum(counted(t, env)["bluesky"]) >= 300 })
	for _, p := range []*child{produce, consume} {
		p.signal(t, syscall.SIGTERM)
		p.exitWithin(t, apachePatience)
	}
	filter := func() *kadm.ACLBuilder {
		return kadm.NewACLs().AnyResource().Allow("User:weir256").AllowHosts().Operations(kadm.OpAny).ResourcePatternType(kadm.ACLPatternAny)
	}
	described, err := c.admin.DescribeACLs(t.Context(), filter())
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for _, d := range described {
		for _, a := range d.Described {
			// Create has done its work, and what is seen of settings is said to be optional.
			if a.Operation == kadm.OpCreate || a.Operation == kadm.OpDescribeConfigs || strings.Contains(a.Name, "wikipedia") {
				continue
			}
			tried++
			one := kadm.NewACLs().Allow(a.Principal).AllowHosts(a.Host).Operations(a.Operation).ResourcePatternType(kadm.ACLPatternLiteral)
			job := "produce"
			switch a.Type {
			case kmsg.ACLResourceTypeTopic:
				one.Topics(a.Name)
			case kmsg.ACLResourceTypeGroup:
				one.Groups(a.Name)
				job = "consume"
			case kmsg.ACLResourceTypeTransactionalId:
				one.TransactionalIDs(a.Name)
			default:
				t.Errorf("a permission on %v %s", a.Type, a.Name)
				continue
			}
			if _, err := c.admin.DeleteACLs(t.Context(), one); err != nil {
				t.Fatal(err)
			}
			t.Logf("without %v on %v %s", a.Operation, a.Type, a.Name)
			missed := spawn(t, env, jobs[job]...)
			missed.out.waitFor(t, "AUTHORIZATION_FAILED", apachePatience)
			missed.signal(t, syscall.SIGKILL)
			missed.exit(t)
			if _, err := c.admin.CreateACLs(t.Context(), one); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("%d permissions, and each is missed when it is taken away", tried)
	if tried != 11 {
		t.Errorf("%d permissions for one stream: four topics to read and write, a transactional id, two groups are 11", tried)
	}
}

// refused: every usual mistake has one sentence that names it, and a way out.
func (c *secureCluster) refused(t *testing.T) {
	const ca = "ssl.ca.location=ca.pem\n"
	scram := "sasl.mechanism=SCRAM-SHA-512\nsasl.username=weir512\nsasl.password="
	c.write("late", c.token("weir-token", -time.Minute))
	for _, r := range []struct{ name, listener, settings, cause, out string }{
		{"a wrong password", "LOGIN", "security.protocol=SASL_SSL\n" + ca + scram + "hidden-wrong\n", "refuses the login of User:weir512", "password"},
		{"an unknown user", "LOGIN", "security.protocol=SASL_SSL\n" + ca + "sasl.mechanism=PLAIN\nsasl.username=nobody\nsasl.password=hidden-wrong\n", "refuses the login of User:nobody", "password"},
		{"a token that is over", "LOGIN", "security.protocol=SASL_SSL\n" + ca + "sasl.mechanism=OAUTHBEARER\nsasl.oauthbearer.token.endpoint.url=file:late\n", "refuses the login of User:weir-token", "token"},
		{"no token", "LOGIN", "security.protocol=SASL_SSL\n" + ca + "sasl.mechanism=OAUTHBEARER\nsasl.oauthbearer.token.endpoint.url=file:none\n", "no token", "sasl.oauthbearer.token.endpoint.url"},
		{"another mechanism", "OPEN", "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\nsasl.username=weir256\nsasl.password=hidden-wrong\n", "does not take logins by PLAIN", "sasl.mechanism"},
		{"no login", "OPEN", "security.protocol=PLAINTEXT\n", "who has not logged in", "security.protocol=SASL_PLAINTEXT"},
		{"no login, with TLS", "LOGIN", "security.protocol=SSL\n" + ca, "who has not logged in", "security.protocol=SASL_SSL"},
		{"a login where none is asked for", "TLS", "security.protocol=SASL_SSL\n" + ca + scram + "hidden-wrong\n", "asks for no login", "leave the sasl settings out"},
		{"an authority that is not known", "TLS", "security.protocol=SSL\nssl.ca.location=stranger.pem\n", `signed by "CN=the authority ca"`, "ssl.ca.location"},
		{"the system's authorities", "TLS", "security.protocol=SSL\n", `signed by "CN=the authority ca"`, "ssl.ca.location"},
		{"a certificate that is over", "OLD", "security.protocol=SSL\n" + ca, "certificate is valid from", "renew"},
		{"a certificate of another host", "ELSEWHERE", "security.protocol=SSL\n" + ca, "is for kafka.example.org, and not for 127.0.0.1", "advertised.listeners"},
		{"no certificate", "BOTH", "security.protocol=SSL\n" + ca, "asks for a client's certificate", "ssl.certificate.location"},
		{"a stranger's certificate", "BOTH", "security.protocol=SSL\n" + ca + "ssl.certificate.location=foreigner.pem\nssl.key.location=foreigner.key\n", "asks for a client's certificate", "ssl.certificate.location"},
		{"no TLS to a port with", "TLS", "security.protocol=PLAINTEXT\n", "speaks TLS at this port", "security.protocol=SSL"},
		{"no TLS to a login with", "LOGIN", "security.protocol=SASL_PLAINTEXT\n" + scram + "hidden-wrong\n", "speaks TLS at this port", "security.protocol=SASL_SSL"},
		{"TLS to a port without", "CLIENT", "security.protocol=SSL\n" + ca, "does not speak TLS at this port", "security.protocol=PLAINTEXT"},
	} {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(c.dir, strings.ReplaceAll(r.name, " ", "-")+".properties")
			if err := os.WriteFile(file, []byte(r.settings), 0o600); err != nil {
				t.Fatal(err)
			}
			env := testEnv(t, "WEIR_KAFKA="+strings.Join(c.addresses(r.listener), ","), "WEIR_KAFKA_CONFIG="+file)
			stdout, stderr, code := weir(t, env, "verify", "--log-level", "debug")
			i := strings.LastIndex("\n"+stderr, "\nweir: ")
			if i < 0 || code != cli.ExitConnect {
				t.Fatalf("exit code %d:\n%s%s", code, stdout, stderr)
			}
			cause, out, _ := strings.Cut(stderr[i:], "\n")
			t.Logf("%s\n%s", cause, strings.TrimSpace(out))
			if !strings.Contains(cause, r.cause) || !strings.Contains(out, r.out) {
				t.Errorf("want %q and %q in:\n%s\n%s", r.cause, r.out, cause, out)
			}
			if strings.Contains(stderr, "hidden-") || strings.Contains(stderr, tokenHead) {
				t.Errorf("a secret is shown:\n%s", stderr)
			}
		})
	}
}

package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestClients lets other people's programs work on both of weir's engines: what
// one writes every other one reads byte for byte, they share groups, and they
// count what weir ingests as weir counts what they write.
func TestClients(t *testing.T) {
	python := os.Getenv("WEIR_TEST_CLIENTS")
	if python == "" {
		t.Skip("needs Java, kcat, redis-cli and a Python that has interop/clients/requirements.txt: WEIR_TEST_CLIENTS=PYTHON go -C interop test -run Clients .")
	}
	bin := t.TempDir()
	build(t, "..", bin, "./cmd/weir")
	jars := kafkaJars(t)
	for _, engine := range kafkas {
		t.Run(engine, func(t *testing.T) {
			c := clients{weir: weir{t: t, bin: filepath.Join(bin, "weir"), data: t.TempDir()}, python: python, jars: jars}
			c.start(engine)
			t.Run("together", func(t *testing.T) {
				for name, test := range map[string]func(clients){
					"records":           clients.exchangeRecords,
					"classic group":     clients.classicGroup,
					"cooperative group": clients.cooperativeGroup,
					"consumer group":    clients.consumerGroup,
					"scripts":           clients.runScripts,
					"transactions":      clients.transact,
					"administration":    clients.administer,
					"share group":       clients.shareRecords,
					"states":            clients.countWords,
					"history":           clients.keepHistory,
				} {
					t.Run(name, func(t *testing.T) {
						t.Parallel()
						test(c.in(t))
					})
				}
			})
		})
	}
}

// kafkas are the clusters that clients are tried on: weir's engines, and the embedded one while it
// archives every record as soon as it can.
var kafkas = []string{"embedded", archiving, "apache"}

const archiving = "embedded, archiving"

// clients is a running cluster, and the programs that are tried on it.
type clients struct {
	weir
	kafka          string // one of kafkas
	python, jars   string
	brokers, redis string
}

// in returns the same for another test.
func (c clients) in(t *testing.T) clients {
	c.t = t
	return c
}

// kafkaJars returns the directory of Apache Kafka's command-line tools: where the
// engine has its own, or a new one.
func kafkaJars(t *testing.T) string {
	t.Helper()
	if home := os.Getenv("KAFKA_HOME"); home != "" {
		return filepath.Join(home, "libs")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	if have, _ := filepath.Glob(filepath.Join(cache, "weir", "apache-kafka-*")); len(have) > 0 {
		return have[len(have)-1]
	}
	jars := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "mvn", "-q", "-B", "-f", "../internal/cluster/apache/pom.xml",
		"dependency:copy-dependencies", "-DoutputDirectory="+jars, "-DincludeScope=runtime")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("fetch Apache Kafka's jars with Maven: %v\n%s", err, out)
	}
	return jars
}

// start runs weir cluster until the test's end.
func (c *clients) start(kafka string) {
	c.t.Helper()
	c.kafka = kafka
	engine, _, _ := strings.Cut(kafka, ",")
	if kafka == archiving {
		c.env = append(c.env, "WEIR_TEST_ARCHIVE=1")
	}
	var ports []string
	for range 4 {
		ports = append(ports, strconv.Itoa(freePort(c.t)))
	}
	cluster := start(c.t, "weir cluster", c.env, c.bin, "cluster", "--data", c.data, "--source", "simulated",
		"--engine", engine, "--ports", strings.Join(ports, ","), "--listen", "off")
	c.t.Cleanup(func() { cluster.stop(c.t, syscall.SIGTERM) }) // in order: Java's processes would outlive a weir that is killed
	waitFor(c.t, "the cluster", func() bool { return strings.Contains(cluster.out.tail(6000), "Ctrl-C stops") })
	out, err := os.ReadFile(filepath.Join(c.data, "simulated", "weir.json"))
	if err != nil {
		c.t.Fatal(err)
	}
	var running struct {
		Kafka  []string `json:"kafka"`
		Redis  string   `json:"redis"`
		Engine string   `json:"engine"`
	}
	if err := json.Unmarshal(out, &running); err != nil || running.Engine != engine || len(running.Kafka) != 3 {
		c.t.Fatalf("weir.json is %s: %v", out, err)
	}
	c.brokers, c.redis = strings.Join(running.Kafka, ","), running.Redis
}

// run runs a program to its end and returns what it printed.
func (c *clients) runs(stdin string, program string, args ...string) string {
	c.t.Helper()
	out, err := c.tries(stdin, program, args...)
	if err != nil {
		c.t.Fatalf("%s %s: %v", program, strings.Join(args, " "), err)
	}
	return out
}

// failure is a program's bad end, and what it said.
type failure struct {
	err    error
	stderr string
}

func (f *failure) Error() string { return f.err.Error() + ": " + f.stderr }

func (c *clients) tries(stdin string, program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return string(out), &failure{err: err, stderr: stderr.String()}
	}
	if strings.Contains(stderr.String(), "elemetry") { // librdkafka, about a service that is only half there
		c.t.Errorf("%s complains about telemetry: %s", program, stderr.String())
	}
	return string(out), nil
}

// records runs clients/records.py.
func (c *clients) records(stdin, client, what, topic string, more ...string) string {
	c.t.Helper()
	return c.runs(stdin, c.python, append([]string{"clients/records.py", client, what, "--brokers", c.brokers, "--topic", topic}, more...)...)
}

// java returns the command line of one of Apache Kafka's tools.
func (c *clients) java(tool string, args ...string) []string {
	return append([]string{"-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
		"-cp", filepath.Join(c.jars, "*"), "org.apache.kafka.tools." + tool, "--bootstrap-server", c.brokers}, args...)
}

// tool runs one of Apache Kafka's tools.
func (c *clients) tool(stdin, tool string, args ...string) string {
	c.t.Helper()
	return c.runs(stdin, "java", c.java(tool, args...)...)
}

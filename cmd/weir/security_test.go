package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/weir-project/weir/internal/cli"
)

// TestKafkaConfig: a cluster that asks who one is, with the password in the file or
// in the environment, and in no message.
func TestKafkaConfig(t *testing.T) {
	t.Parallel()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "mine"), kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-512", "weir", "hidden"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	file := filepath.Join(t.TempDir(), "client.properties")
	settings := "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=SCRAM-SHA-512\nsasl.username=weir\n"
	if err := os.WriteFile(file, []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	at := []string{"WEIR_KAFKA=" + strings.Join(cluster.ListenAddrs(), ",")}
	for _, c := range []struct {
		name   string
		more   []string
		code   int
		stdout string
	}{
		{"no settings", at, cli.ExitConnect, ""},
		{"no password", append(at, "WEIR_KAFKA_CONFIG="+file), cli.ExitUsage, ""},
		{"wrong password", append(at, "WEIR_KAFKA_CONFIG="+file, "WEIR_KAFKA_PASSWORD=hiddem"), cli.ExitConnect, ""},
		{"password", append(at, "WEIR_KAFKA_CONFIG="+file, "WEIR_KAFKA_PASSWORD=hidden"), cli.ExitOK, "mine"},
		{"no cluster", []string{"WEIR_KAFKA_CONFIG=" + file, "WEIR_KAFKA_PASSWORD=hidden"}, cli.ExitUsage, ""},
	} {
		stdout, stderr, code := weir(t, testEnv(t, c.more...), "topics")
		if code != c.code || !strings.Contains(stdout, c.stdout) || strings.Contains(stdout+stderr, "hidde") {
			t.Errorf("%s: exit code %d, want %d:\n%s%s", c.name, code, c.code, stdout, stderr)
		}
	}

	// Others find a running weir's cluster, and log in as it does.
	env := testEnv(t, "WEIR_KAFKA_PASSWORD=hidden", "WEIR_LISTEN=off", "WEIR_RATE=300")
	up := start(t, env, "", "up", "--kafka", strings.Join(cluster.ListenAddrs(), ","), "--kafka-config", file)
	up.stderr.waitFor(t, "Ctrl-C stops", startPatience)
	waitCounted(t, env, 100)
	if stdout, stderr, code := weir(t, env, "topics"); code != cli.ExitOK || !strings.Contains(stdout, "bluesky-events") {
		t.Errorf("topics of the running weir: exit code %d:\n%s%s", code, stdout, stderr)
	}
	if code := up.stop(t); code != cli.ExitOK || strings.Contains(up.stderr.String(), "hidden") {
		t.Errorf("exit code %d:\n%s", code, up.stderr)
	}
}

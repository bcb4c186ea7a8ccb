package apache

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// addressed are the settings that name addresses and directories: containers have others.
var addressed = []string{"node.id", "controller.quorum.voters", "listeners", "advertised.listeners", "listener.security.protocol.map", "log.dirs"}

var (
	setting = regexp.MustCompile(`^ +KAFKA_([A-Z0-9_]+): "([^"]*)"$`)
	// jvmSettings are the image's own variables, which are no server properties.
	jvmSettings = []string{"HEAP_OPTS", "JVM_PERFORMANCE_OPTS"}
)

// block returns the lines of compose.yaml below a key, until one that is not deeper.
func block(t *testing.T, lines []string, key string) []string {
	t.Helper()
	i := slices.IndexFunc(lines, func(l string) bool { return l == key || strings.HasPrefix(l, key+" &") })
	if i < 0 {
		t.Fatalf("compose.yaml has no %q", key)
	}
	deep := len(key) - len(strings.TrimLeft(key, " "))
	var out []string
	for _, l := range lines[i+1:] {
		if trimmed := strings.TrimLeft(l, " "); trimmed != "" && len(l)-len(trimmed) <= deep {
			break
		}
		out = append(out, l)
	}
	return out
}

// settings returns the KAFKA_ variables of a block under the names that the image
// gives them in server.properties; those of the JVM stay as they are.
func settings(t *testing.T, lines []string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, l := range lines {
		m := setting.FindStringSubmatch(l)
		if m == nil {
			if strings.Contains(l, "KAFKA_") && !strings.HasPrefix(strings.TrimSpace(l), "#") {
				t.Errorf("a setting in another form than NAME: \"VALUE\": %s", l)
			}
			continue
		}
		name := m[1]
		if !slices.Contains(jvmSettings, name) {
			name = strings.ReplaceAll(strings.ToLower(name), "_", ".")
		}
		if _, twice := all[name]; twice {
			t.Errorf("%s is set twice", name)
		}
		all[name] = m[2]
	}
	return all
}

// TestComposeSettings: the containers' brokers are set as the local ones are.
func TestComposeSettings(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "..", "..", "compose.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(raw), "\n")
	if image := "  image: apache/kafka:" + version; !slices.Contains(block(t, lines, "x-broker:"), image) {
		t.Errorf("compose.yaml lacks the version of the local brokers: %s", image)
	}
	shared := settings(t, block(t, lines, "x-broker-settings:"))
	want := map[string]string{}
	for _, l := range strings.Split(string(properties(&node{id: 1, addr: "a:1", dir: "d"}, "a:2", "1@a:2", 0, nil)), "\n") {
		if k, v, ok := strings.Cut(l, "="); ok {
			want[k] = v
		}
	}
	if len(want) < 20 {
		t.Fatalf("only %d properties were read", len(want))
	}
	for i := 1; i <= nodes; i++ {
		name := fmt.Sprintf("kafka%d", i)
		service := block(t, lines, "  "+name+":")
		if !slices.Contains(service, "      <<: *broker-settings") {
			t.Errorf("%s does not take over the shared settings", name)
		}
		own := settings(t, service)
		if got := slices.Sorted(maps.Keys(own)); !slices.Equal(got, []string{"advertised.listeners", "listeners", "node.id"}) {
			t.Errorf("%s has settings of its own: %v", name, got)
		}
		if own["node.id"] != fmt.Sprint(i) || !strings.Contains(own["advertised.listeners"], "CLIENT://"+name+":9092,") {
			t.Errorf("%s says that it is %s at %s", name, own["node.id"], own["advertised.listeners"])
		}
		if voter := fmt.Sprintf("%d@%s:9093", i, name); !strings.Contains(shared["controller.quorum.voters"], voter) {
			t.Errorf("%s does not vote", voter)
		}
		got := maps.Clone(shared)
		maps.Copy(got, own)
		checkJVM(t, got)
		for _, k := range slices.Sorted(maps.Keys(want)) {
			if v, ok := got[k]; !ok {
				t.Errorf("%s lacks %s=%s", name, k, want[k])
			} else if v != want[k] && !slices.Contains(addressed, k) {
				t.Errorf("%s has %s=%s, and the local brokers %s", name, k, v, want[k])
			}
			delete(got, k)
		}
		for _, k := range slices.Sorted(maps.Keys(got)) {
			t.Errorf("%s has %s=%s, which the local brokers have not", name, k, got[k])
		}
	}
}

// checkJVM takes the JVM's flags out of got: those of the local brokers, but for
// the -D ones, since the image logs in its own way.
func checkJVM(t *testing.T, got map[string]string) {
	t.Helper()
	flags := strings.Fields(got["HEAP_OPTS"] + " " + got["JVM_PERFORMANCE_OPTS"])
	want := slices.DeleteFunc(slices.Clone(jvm), func(f string) bool { return strings.HasPrefix(f, "-D") })
	if !slices.Equal(flags, want) {
		t.Errorf("the JVM has %v, the local one %v", flags, want)
	}
	delete(got, "HEAP_OPTS")
	delete(got, "JVM_PERFORMANCE_OPTS")
}

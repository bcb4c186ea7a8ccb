package interop

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// copyFile lets Kafka Connect copy a file through a topic into another file: while lines
// are appended, and after its worker was stopped and another one took its place.
func (c clients) copyFile() {
	t := c.t
	k := connect{clients: c, url: "http://127.0.0.1:" + strconv.Itoa(freePort(t)), dir: t.TempDir()}
	source, sink := filepath.Join(k.dir, "source.txt"), filepath.Join(k.dir, "sink.txt")
	var want strings.Builder
	grow := func(lines int) {
		t.Helper()
		f, err := os.OpenFile(source, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for range lines {
			line := fmt.Sprintf("line %d at %d\n", strings.Count(want.String(), "\n"), want.Len())
			want.WriteString(line)
			if _, err := f.WriteString(line); err != nil {
				t.Fatal(err)
			}
		}
	}
	copied := func(when string) {
		t.Helper()
		var got []byte
		waitFor(t, "the sink file to have all lines "+when, func() bool {
			got, _ = os.ReadFile(sink) // there is none yet at the beginning
			return len(got) >= want.Len()
		})
		if string(got) != want.String() {
			t.Fatalf("%s, the sink file has %d lines and is not the source file, which has %d:\n%.2000s", when,
				bytes.Count(got, []byte("\n")), strings.Count(want.String(), "\n"), got)
		}
	}

	worker := k.work()
	grow(1000)
	k.create("source", map[string]string{"connector.class": "FileStreamSource", "file": source, "topic": "copied-lines",
		"topic.creation.default.partitions": "1", "topic.creation.default.replication.factor": "3"})
	k.create("sink", map[string]string{"connector.class": "FileStreamSink", "file": sink, "topics": "copied-lines"})
	copied("at first")
	grow(1000)
	copied("as they were appended")
	grow(500)
	worker.stop(t, syscall.SIGTERM)
	grow(500)
	k.work()
	copied("after a restart")
	k.running("source")
	k.running("sink")
	stored := c.runs("", "kcat", "-C", "-b", c.brokers, "-t", "copied-lines", "-o", "beginning", "-e", "-q", "-X", "isolation.level=read_committed", "-f", "%s\n")
	if stored != want.String() {
		t.Errorf("the topic has %d lines and is not the source file, which has %d", strings.Count(stored, "\n"), strings.Count(want.String(), "\n"))
	}
}

// connect is a cluster of Kafka Connect with one worker.
type connect struct {
	clients
	url, dir string
}

// work starts a worker, and waits until it serves the connectors that exist.
func (k connect) work() *process {
	k.t.Helper()
	config := filepath.Join(k.dir, "worker.properties")
	text := strings.Join([]string{
		"bootstrap.servers=" + k.brokers, "listeners=" + k.url, "group.id=connect",
		"config.storage.topic=connect-configs", "offset.storage.topic=connect-offsets", "status.storage.topic=connect-status",
		"exactly.once.source.support=enabled", "offset.flush.interval.ms=1000",
		"scheduled.rebalance.max.delay.ms=0", // a worker that left does not come back
		"key.converter=org.apache.kafka.connect.storage.StringConverter",
		"value.converter=org.apache.kafka.connect.storage.StringConverter",
		"plugin.discovery=service_load", "plugin.path=" + k.jars,
	}, "\n")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		k.t.Fatal(err)
	}
	p := k.startJava("Kafka Connect", "org.apache.kafka.connect.cli.ConnectDistributed", config)
	waitFor(k.t, "Kafka Connect", func() bool {
		select {
		case err := <-p.done:
			p.done <- err
			k.t.Fatalf("Kafka Connect has ended: %v", err)
		default:
		}
		code, _ := k.ask(http.MethodGet, "/connectors", nil)
		return code == http.StatusOK
	})
	return p
}

// create makes a connector.
func (k connect) create(name string, config map[string]string) {
	k.t.Helper()
	code, out := k.ask(http.MethodPut, "/connectors/"+name+"/config", config)
	if code != http.StatusCreated {
		k.t.Fatalf("create the connector %s: %d %s", name, code, out)
	}
}

// running waits until a connector and its task run.
func (k connect) running(name string) {
	k.t.Helper()
	type state struct{ State string }
	waitFor(k.t, "the connector "+name, func() bool {
		var status struct {
			Connector state
			Tasks     []state
		}
		code, out := k.ask(http.MethodGet, "/connectors/"+name+"/status", nil)
		if err := json.Unmarshal(out, &status); code == http.StatusOK && err != nil {
			k.t.Fatalf("%s: %v", out, err)
		}
		return status.Connector.State == "RUNNING" && len(status.Tasks) == 1 && status.Tasks[0].State == "RUNNING"
	})
}

// ask sends a request to the worker; code 0 where it does not answer.
func (k connect) ask(method, path string, body any) (code int, answer []byte) {
	k.t.Helper()
	in, err := json.Marshal(body)
	if err != nil {
		k.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(k.t.Context(), method, k.url+path, bytes.NewReader(in))
	if err != nil {
		k.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil
	}
	defer resp.Body.Close()
	if answer, err = io.ReadAll(resp.Body); err != nil {
		return 0, nil
	}
	return resp.StatusCode, answer
}

package apache

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/weir-project/weir/internal/atomicfile"
)

// votersOf returns the controllers' addresses as controller.quorum.voters wants them.
func votersOf(controllers []string) string {
	var all []string
	for i, addr := range controllers {
		all = append(all, fmt.Sprintf("%d@%s", i+1, addr))
	}
	return strings.Join(all, ",")
}

// properties returns the server.properties of one node.
func properties(n *node, controller, voters string, more map[string]string) []byte {
	p := map[string]string{
		"process.roles":                  "broker,controller",
		"node.id":                        fmt.Sprint(n.id),
		"controller.quorum.voters":       voters,
		"controller.listener.names":      "CONTROLLER",
		"inter.broker.listener.name":     "CLIENT",
		"listeners":                      "CLIENT://" + n.addr + ",CONTROLLER://" + controller,
		"advertised.listeners":           "CLIENT://" + n.addr,
		"listener.security.protocol.map": "CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"log.dirs":                       n.data(),

		// One broker may die and nothing acknowledged is lost.
		"default.replication.factor":                       "3",
		"min.insync.replicas":                              "2",
		"offsets.topic.replication.factor":                 "3",
		"transaction.state.log.replication.factor":         "3",
		"transaction.state.log.min.isr":                    "2",
		"share.coordinator.state.topic.replication.factor": "3",
		"share.coordinator.state.topic.min.isr":            "2",
		// Fifty partitions each, the default, are slow to make on one machine.
		"offsets.topic.num.partitions":                 "8",
		"transaction.state.log.num.partitions":         "8",
		"share.coordinator.state.topic.num.partitions": "8",

		"num.partitions":                   "6",
		"auto.create.topics.enable":        "false",
		"group.initial.rebalance.delay.ms": "0",
		// A broker that died is noticed after 3 s instead of 9 s, and one that is only
		// slow may miss five heartbeats.
		"broker.session.timeout.ms":    "3000",
		"broker.heartbeat.interval.ms": "500",
		"log.segment.bytes":            "67108864",
		// A laptop's disk: the log of the two streams is a matter of gigabytes.
		"log.retention.bytes": "1073741824",
		// A producer that begins a transaction waits for the markers of the one before:
		// looked for every 2 ms and for up to a second, where the default is every 20 ms,
		// and after 100 ms an error that costs the client a round of metadata.
		"add.partitions.to.txn.retry.backoff.ms":     "2",
		"add.partitions.to.txn.retry.backoff.max.ms": "1000",

		"message.max.bytes":              "8388608",
		"replica.fetch.max.bytes":        "8388608",
		"num.network.threads":            "2",
		"num.io.threads":                 "4",
		"log.cleaner.dedupe.buffer.size": "16777216",
	}
	maps.Copy(p, more)
	if n.edit != nil {
		n.edit(n.id, p)
	}
	var b bytes.Buffer
	b.WriteString("# Written at every start: changes in this file do not stay.\n")
	for _, k := range slices.Sorted(maps.Keys(p)) {
		// A backslash begins an escape in a properties file.
		fmt.Fprintf(&b, "%s=%s\n", k, strings.ReplaceAll(p[k], `\`, `\\`))
	}
	return b.Bytes()
}

// clusterID returns the id that the nodes are formatted with, drawn once.
func clusterID(dir string) (string, error) {
	file := filepath.Join(dir, "cluster-id")
	b, err := os.ReadFile(file)
	if err == nil {
		id := strings.TrimSpace(string(b))
		if raw, err := base64.RawURLEncoding.DecodeString(id); err != nil || len(raw) != 16 {
			return "", fmt.Errorf("%s holds no cluster id: restore it from a broker's meta.properties, or begin anew in another directory", file)
		}
		return id, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read the cluster id: %w", err)
	}
	raw := make([]byte, 16)
	for raw[0] = 0xff; raw[0] >= 0xf8; { // an id that begins with a dash is taken for a flag
		if _, err := rand.Read(raw); err != nil {
			return "", fmt.Errorf("draw a cluster id: %w", err)
		}
	}
	id := base64.RawURLEncoding.EncodeToString(raw)
	if err := atomicfile.Write(file, []byte(id+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("write the cluster id: %w", err)
	}
	return id, nil
}

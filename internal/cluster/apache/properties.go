package apache

import (
	"bytes"
	"crypto/rand"
	_ "embed" // the properties
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weir-project/weir/internal/atomicfile"
)

//go:embed broker.properties
var shared string

// properties returns the server.properties of one node. keep is how long topics keep
// records that do not say, 0 for Kafka's own. more is added, and wins.
func properties(n *node, controller, voters string, keep time.Duration, more map[string]string) []byte {
	p := map[string]string{
		"node.id":                  fmt.Sprint(n.id),
		"controller.quorum.voters": voters,
		"listeners":                "CLIENT://" + n.addr + ",CONTROLLER://" + controller,
		"advertised.listeners":     "CLIENT://" + n.addr,
		"log.dirs":                 n.data(),
	}
	for line := range strings.Lines(shared) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(k, "#") {
			p[k] = v
		}
	}
	if keep > 0 {
		p["log.retention.ms"] = strconv.FormatInt(keep.Milliseconds(), 10)
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

// clusterID returns the ID that the nodes are formatted with. It is generated once.
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
	for raw[0] = 0xff; raw[0] >= 0xf8; { // Java takes an ID that begins with a dash for a flag
		_, _ = rand.Read(raw) // never fails
	}
	id := base64.RawURLEncoding.EncodeToString(raw)
	if err := atomicfile.Write(file, []byte(id+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("write the cluster id: %w", err)
	}
	return id, nil
}

package embedded

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kfake"
)

// spareFiles are the module's files without which the log can be served. The
// module does not start on one that it cannot parse. Repair rebuilds the first;
// the others hold settings.
var spareFiles = []string{"seq_windows.json", "acls.json", "sasl.json", "quotas.json", "broker_configs.json"}

// startModule starts the module. Files that it cannot parse and that it can do
// without are renamed and reported.
func (c *Cluster) startModule() (*kfake.Cluster, error) {
	for {
		k, err := kfake.NewCluster(c.options()...)
		if err == nil {
			return k, nil
		}
		i := slices.IndexFunc(spareFiles, func(name string) bool { return strings.Contains(err.Error(), "parsing "+name+":") })
		if c.dir == nil || i < 0 {
			if isFull(err) {
				return nil, &DiskError{Dir: c.cfg.Dir, Free: -1, Err: err}
			}
			return nil, err
		}
		if e := c.setAside(spareFiles[i]); e != nil {
			return nil, errors.Join(err, e)
		}
	}
}

func (c *Cluster) setAside(name string) error {
	file := filepath.Join(logName, name)
	path := c.dir.file(file)
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if err := os.Rename(path, path+".damaged"); err != nil {
		return err
	}
	t := truncation{File: file, KeptAs: file + ".damaged", Bytes: info.Size(), From: -1, To: -1}
	c.mlog.add(t)
	c.log.Warn("state file damaged", "file", t.File, "kept_as", t.KeptAs)
	return nil
}

// repairState prepares the module's other files for a start after a death. The
// module appends to groups.log and pids.log behind whatever is there, and reads
// neither beyond an entry that is not whole, so such an end is cut off.
// session_state.json holds transactions that were open at a close; repair has
// aborted them.
func (c *Cluster) repairState(log string) error {
	if err := c.files().remove(filepath.Join(log, "session_state.json")); err != nil {
		return err
	}
	for _, name := range []string{"groups.log", "pids.log"} {
		path := filepath.Join(log, name)
		raw, err := readIfAny(path)
		if err != nil {
			return err
		}
		whole, torn := wholeEntries(raw)
		if whole == len(raw) {
			continue
		}
		if err := c.files().truncate(path, int64(whole)); err != nil {
			return fmt.Errorf("cut %s: %w", name, err)
		}
		n := len(raw) - whole
		if torn {
			c.log.Info("unfinished write cut off", "file", name, "bytes", n)
			continue
		}
		c.mlog.add(truncation{File: logName + "/" + name, Bytes: int64(n), From: -1, To: -1})
		c.log.Warn("state file damaged", "file", name, "bytes", n)
	}
	return nil
}

// wholeEntries returns how many bytes of a log of the module can be read, and
// whether the rest is one entry that was not written to its end. An entry is its
// length, a checksum, and length bytes that the checksum covers.
func wholeEntries(raw []byte) (n int, torn bool) {
	const head = 8
	for {
		rest := raw[n:]
		if len(rest) < head {
			return n, true
		}
		length := int(binary.LittleEndian.Uint32(rest))
		if length < 2 {
			return n, false
		}
		if length > len(rest)-head {
			return n, true
		}
		if crc32.Checksum(rest[head:head+length], castagnoli) != binary.LittleEndian.Uint32(rest[4:]) {
			return n, false
		}
		n += head + length
	}
}

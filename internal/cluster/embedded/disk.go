package embedded

import (
	"cmp"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-project/weir/internal/disk"
)

// The layout of the module's directory, as of the pinned version: a directory
// partitions/TOPIC-N with BASE.dat, record batches as they are on the wire, and
// BASE.idx, indexEntry bytes for each batch.
const indexEntry = 15

// LogSize is what a partition takes on the disk.
type LogSize struct {
	Topic     string
	Partition int32
	Bytes     int64 // log and index files
	Segments  int
	Batches   int64
}

// LogSizes returns the size of every partition that has one, sorted by topic and
// partition, read from the disk. A cluster in memory has none.
func (c *Cluster) LogSizes() ([]LogSize, error) {
	if c.dir == nil {
		return nil, nil
	}
	sizes, err := scanSizes(c.dir.file(logName))
	if err != nil {
		return nil, err
	}
	out := make([]LogSize, 0, len(sizes))
	for _, p := range sizes {
		s := LogSize{Topic: p.topic, Partition: p.id, Segments: len(p.segments)}
		for _, seg := range p.segments {
			s.Bytes += seg.bytes
			s.Batches += seg.batches
		}
		out = append(out, s)
	}
	return out, nil
}

// segment is one file of a partition, with its index.
type segment struct {
	base     int64 // offset of its first record
	bytes    int64 // of both files
	data     int64 // of the log file alone
	batches  int64
	modified time.Time // of the log file
}

// partitionFiles are the segments of a partition, oldest first. The last one is
// being written.
type partitionFiles struct {
	partition
	dir      string
	segments []segment
}

type logFiles []partitionFiles

func (l logFiles) total() (bytes int64) {
	for _, p := range l {
		for _, s := range p.segments {
			bytes += s.bytes
		}
	}
	return bytes
}

// scanSizes lists what is in the module's directory; a missing one is empty.
func scanSizes(log string) (logFiles, error) {
	root := filepath.Join(log, "partitions")
	dirs, err := os.ReadDir(root)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return nil, err
	}
	var out logFiles
	for _, d := range dirs {
		p, ok := parsePartitionDir(d.Name())
		if !ok || !d.IsDir() {
			continue
		}
		files := partitionFiles{partition: p, dir: filepath.Join(root, d.Name())}
		if files.segments, err = scanSegments(files.dir); err != nil {
			return nil, err
		}
		out = append(out, files)
	}
	slices.SortFunc(out, func(a, b partitionFiles) int {
		return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.id, b.id))
	})
	return out, nil
}

func scanSegments(dir string) ([]segment, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil // the topic was deleted meanwhile
		}
		return nil, err
	}
	var segs []segment
	for _, e := range entries {
		name, isData := strings.CutSuffix(e.Name(), ".dat")
		base, err := strconv.ParseInt(name, 10, 64)
		if !isData || err != nil {
			continue
		}
		info, err := e.Info()
		if err != nil {
			continue // deleted by retention meanwhile
		}
		s := segment{base: base, bytes: info.Size(), data: info.Size(), modified: info.ModTime()}
		if idx, err := os.Stat(filepath.Join(dir, name+".idx")); err == nil {
			s.bytes += idx.Size()
			s.batches = idx.Size() / indexEntry
		}
		segs = append(segs, s)
	}
	slices.SortFunc(segs, func(a, b segment) int { return cmp.Compare(a.base, b.base) })
	return segs, nil
}

// parsePartitionDir reads TOPIC-N, the topic URL-escaped.
func parsePartitionDir(name string) (partition, bool) {
	i := strings.LastIndexByte(name, '-')
	if i <= 0 {
		return partition{}, false
	}
	topic, err := url.PathUnescape(name[:i])
	if err != nil {
		return partition{}, false
	}
	id, err := strconv.ParseInt(name[i+1:], 10, 32)
	if err != nil || id < 0 {
		return partition{}, false
	}
	return partition{topic, int32(id)}, true
}

// segmentPath is where the module keeps a segment, relative to the data directory.
func segmentPath(topic string, id int32, base int64) string {
	return filepath.Join(logName, "partitions",
		url.PathEscape(topic)+"-"+strconv.Itoa(int(id)), strconv.FormatInt(base, 10)+".dat")
}

// answerLogDirs puts the sizes of the files in place of the module's own
// bookkeeping, and the real disk in place of an invented one.
func (c *Cluster) answerLogDirs(r *kmsg.DescribeLogDirsResponse) {
	if c.dir == nil {
		return
	}
	sizes, err := scanSizes(c.dir.file(logName))
	if err != nil {
		c.log.Warn("read log sizes", "error", err)
		return
	}
	bytes := make(map[partition]int64, len(sizes))
	for _, p := range sizes {
		for _, s := range p.segments {
			bytes[p.partition] += s.bytes
		}
	}
	total, free, err := disk.Space(c.dir.path)
	if err != nil {
		total, free = -1, -1
	}
	for i := range r.Dirs {
		d := &r.Dirs[i]
		d.Dir = c.dir.file(logName)
		d.TotalBytes, d.UsableBytes = total, free
		for j := range d.Topics {
			t := &d.Topics[j]
			for k := range t.Partitions {
				p := &t.Partitions[k]
				p.Size = bytes[partition{t.Topic, p.Partition}]
			}
		}
	}
}

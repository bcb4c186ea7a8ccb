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
)

// The layout of the module's directory, as of the pinned version: a directory
// partitions/TOPIC-N with BASE.dat, record batches as they are on the wire, and
// BASE.idx, indexEntry bytes for each batch.
const indexEntry = 15

// segment is one file of a partition, with its index.
type segment struct {
	base     int64 // offset of its first record
	next     int64 // base of the following segment; -1 for the last
	bytes    int64 // of both files
	data     int64 // of the log file alone
	batches  int64
	modified time.Time // of the log file
	archived bool      // it is one of the archive's
	latest   int64     // only of such: the greatest time stamp, milliseconds
}

// partitionFiles are the segments of a partition, oldest first. The last one is
// being written.
type partitionFiles struct {
	partition
	dir      string
	segments []segment
}

// bytes is what the partition takes on the disk.
func (p partitionFiles) bytes() (n int64) {
	for _, s := range p.segments {
		n += s.bytes
	}
	return n
}

// path returns the path of a segment's files, without extension.
func (p partitionFiles) path(base int64) string {
	return filepath.Join(p.dir, strconv.FormatInt(base, 10))
}

// scanLog lists what is in the module's directory, sorted by topic and partition; a
// missing one is empty.
func scanLog(log string) ([]partitionFiles, error) {
	root := filepath.Join(log, "partitions")
	dirs, err := os.ReadDir(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []partitionFiles
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
	slices.SortFunc(out, func(a, b partitionFiles) int { return a.compare(b.partition) })
	return out, nil
}

func scanSegments(dir string) ([]segment, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // the topic was deleted meanwhile
	}
	if err != nil {
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
		s := segment{base: base, next: -1, bytes: info.Size(), data: info.Size(), modified: info.ModTime()}
		if idx, err := os.Stat(filepath.Join(dir, name+".idx")); err == nil {
			s.bytes += idx.Size()
			s.batches = idx.Size() / indexEntry
		}
		segs = append(segs, s)
	}
	slices.SortFunc(segs, func(a, b segment) int { return cmp.Compare(a.base, b.base) })
	for i := range len(segs) - 1 {
		segs[i].next = segs[i+1].base
	}
	return segs, nil
}

// parsePartitionDir reads TOPIC-N, the topic URL-escaped.
func parsePartitionDir(name string) (partition, bool) {
	i := max(strings.LastIndexByte(name, '-'), 0)
	topic, err := url.PathUnescape(name[:i])
	id, idErr := strconv.ParseUint(strings.TrimPrefix(name[i:], "-"), 10, 31)
	return partition{topic, int32(id)}, i > 0 && err == nil && idErr == nil
}

// segmentPath is where the module keeps a segment, relative to the data directory.
func segmentPath(topic string, id int32, base int64) string {
	return filepath.Join(logName, "partitions",
		url.PathEscape(topic)+"-"+strconv.Itoa(int(id)), strconv.FormatInt(base, 10)+".dat")
}

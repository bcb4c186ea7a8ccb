package embedded

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

// openArchive reads where the batches are. Files that cannot be read to their end, or not at
// all, are reported as damage and used as far as they are sound.
func openArchive(f files, dir string, fileSize int64, log *slog.Logger, damaged func(truncation)) (*archive, error) {
	a := &archive{
		files: f, dir: dir, fileSize: fileSize, log: log, damaged: damaged,
		parts: make(map[partition]*archived), begun: make(map[partition]int64), touched: make(map[string]bool),
	}
	var err error
	if a.compressor, err = kgo.DefaultCompressor(kgo.ZstdCompression()); err != nil {
		return nil, err
	}
	dirs, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return a, nil
	}
	if err != nil {
		return nil, err
	}
	for _, d := range dirs {
		p, ok := parsePartitionDir(d.Name())
		if !ok || !d.IsDir() {
			continue
		}
		part, err := a.openPartition(p)
		if err != nil {
			return nil, fmt.Errorf("archive of %s/%d: %w", p.topic, p.id, err)
		}
		if part != nil {
			a.parts[p] = part
		}
	}
	return a, nil
}

// missing reports what is in neither part of the log: hot returns the first offset that the module
// has of a partition, and is false where there is none.
func (a *archive) missing(hot func(partition) (int64, bool)) {
	ends := maps.Clone(a.begun)
	for p, part := range a.parts {
		ends[p] = part.end()
	}
	for p, end := range ends {
		if first, ok := hot(p); ok && first > end {
			a.damaged(truncation{File: a.name(p, end), Topic: p.topic, Partition: p.id, From: end, To: first})
		}
	}
}

// openPartition returns nil where there is nothing.
func (a *archive) openPartition(p partition) (*archived, error) {
	dir := a.partitionDir(p)
	raw, err := readIfAny(filepath.Join(dir, archiveMeta))
	if err != nil {
		return nil, err
	}
	if raw == nil { // never begun, or half deleted
		return nil, a.removeDir(dir)
	}
	var meta metaFile
	part := new(archived)
	if err := json.Unmarshal(raw, &meta); err != nil {
		return nil, fmt.Errorf("%s is damaged (%w); restore the directory from a copy, or delete %s, with which the older records are lost", archiveMeta, err, dir)
	}
	id, err := hex.DecodeString(meta.TopicID)
	if err != nil || len(id) != len(part.id) || meta.Start < 0 {
		return nil, fmt.Errorf("%s has no topic ID or start; restore the directory from a copy, or delete %s, with which the older records are lost", archiveMeta, dir)
	}
	copy(part.id[:], id)
	part.start = meta.Start
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var bases []int64
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), archiveExt)
		if base, err := strconv.ParseInt(name, 10, 64); ok && err == nil {
			bases = append(bases, base)
		}
	}
	slices.Sort(bases)
	whole := part.start // up to here nothing is missing
	for i, base := range bases {
		f, err := a.openFile(p, base, i+1 == len(bases))
		if err != nil {
			return nil, err
		}
		if len(f.batches) > 0 {
			if base > whole {
				a.damaged(truncation{File: a.name(p, base), Topic: p.topic, Partition: p.id, From: whole, To: base})
			}
			whole = f.end()
		}
		switch {
		case len(f.batches) > 0 && f.end() > part.start:
			part.files = append(part.files, f)
		default: // deleted before, or nothing of it is sound
			if err := a.remove(a.path(p, base)); err != nil {
				return nil, err
			}
		}
	}
	if len(part.files) == 0 {
		a.begun[p] = part.start
		return nil, a.removeDir(dir)
	}
	return part, nil
}

// openFile lists the batches of a file, up to the first that is not sound. The last file of a
// partition is read whole: a death leaves an unfinished end there, which was copied and not yet
// deleted from the module.
func (a *archive) openFile(p partition, base int64, last bool) (*archiveFile, error) {
	path := a.path(p, base)
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	f := &archiveFile{base: base, latest: math.MinInt64, modified: info.ModTime(), full: !last}
	var head [batchHeader]byte
	for at := base; f.size+batchHeader <= info.Size(); at = f.end() {
		if _, err := file.ReadAt(head[:], f.size); err != nil {
			return nil, err
		}
		b := parseHeader(head[:])
		if b.FirstOffset != at || b.Magic != magic || b.size() < batchHeader || b.end() <= at || f.size+int64(b.size()) > info.Size() {
			break
		}
		if last {
			raw := make([]byte, b.size())
			if _, err := file.ReadAt(raw, f.size); err != nil {
				return nil, err
			}
			if _, sound := parseBatch(raw); !sound {
				break
			}
		}
		f.add(archivedBatch{first: at, end: b.end(), pos: f.size, size: b.size(), latest: b.MaxTimestamp, epoch: b.PartitionLeaderEpoch})
	}
	if lost := info.Size() - f.size; lost > 0 {
		a.log.Warn("unsound end of a file of the archive", "file", a.name(p, base), "bytes", lost)
	}
	return f, nil
}

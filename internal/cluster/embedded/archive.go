package embedded

import (
	"cmp"
	"encoding/hex"
	"errors"
	"log/slog"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/crash"
)

// The archive is the older part of the partitions' logs. The module keeps an entry in memory
// for each batch, and a stream that commits many times a second makes many small ones. So
// Enforce copies what is committed and old into large batches (merge.go), and deletes it from
// the module. A Fetch or a ListOffsets for what the module does not have any more is answered
// from here (archive_serve.go). Kafka calls the same division tiered storage (KIP-405).
//
// Invariants: what is deleted from the module because it was archived is on the disk before.
// Files only grow at their end. Every batch begins at the offset after the one before it in the
// same file, so no damage to an offset, which is under no checksum, passes for good.

const (
	archiveName = "archive" // inside the data directory; below it TOPIC-N, as the module names them
	archiveMeta = "archive.json"
	archiveExt  = ".batches"
	// archiveFileSize is the size at which a file of the archive is full. Retention
	// deletes whole files.
	archiveFileSize = 32 << 20
)

// uuid is a topic ID: it tells a topic from another one of the same name.
type uuid [16]byte

// archive is all that is archived. It is safe for concurrent use.
type archive struct {
	files
	dir      string
	fileSize int64
	log      *slog.Logger
	damaged  func(truncation)
	// compressor and trouble are of the goroutine that archives.
	compressor kgo.Compressor
	trouble    trouble

	// writing is held while files change. touched are the topics, by name and by ID, that
	// clients deleted, or deleted records of, since the pass began: what the pass has read of them
	// is not archived.
	writing sync.Mutex
	touched map[string]bool

	// begun are the first offsets of partitions of which nothing was found: a death came before
	// the first batch, or it is lost.
	begun map[partition]int64

	mu    sync.RWMutex
	parts map[partition]*archived
}

// archived is what is archived of one partition. It has at least one batch.
type archived struct {
	id    uuid
	start int64 // the first offset that is not deleted
	files []*archiveFile
	first *firstRecord // nil until it was asked for
}

// firstRecord is the first record from an offset on.
type firstRecord struct {
	start, offset, at int64
	epoch             int32
}

// archiveFile is one file, of which the bytes up to size are sound.
type archiveFile struct {
	base     int64
	size     int64
	full     bool
	latest   int64 // greatest time stamp, milliseconds
	modified time.Time
	batches  []archivedBatch
}

// archivedBatch is where a batch is.
type archivedBatch struct {
	first, end int64 // its first offset, and the one after the last that it covers
	pos        int64
	size       int
	latest     int64 // greatest time stamp, milliseconds
	epoch      int32
}

// end is the offset after the last that is archived.
func (a *archived) end() int64 { return a.files[len(a.files)-1].end() }

func (f *archiveFile) end() int64 { return f.batches[len(f.batches)-1].end }

func (f *archiveFile) add(b archivedBatch) {
	f.batches = append(f.batches, b)
	f.size += int64(b.size)
	f.latest = max(f.latest, b.latest)
}

// metaFile says to which topic a directory of the archive belongs, and what was deleted of it.
type metaFile struct {
	TopicID string `json:"topic_id"`
	Start   int64  `json:"start"`
}

func (a *archive) partitionDir(p partition) string {
	return filepath.Join(a.dir, filepath.Base(filepath.Dir(segmentPath(p.topic, p.id, 0))))
}

func (a *archive) path(p partition, base int64) string {
	return filepath.Join(a.partitionDir(p), strconv.FormatInt(base, 10)+archiveExt)
}

// name is how reports of damage call a file: its path inside the data directory.
func (a *archive) name(p partition, base int64) string {
	path := a.path(p, base)
	return filepath.Join(archiveName, filepath.Base(filepath.Dir(path)), filepath.Base(path))
}

// bounds returns the first archived offset and the one after the last; false where nothing is.
func (a *archive) bounds(p partition) (start, end int64, ok bool) {
	if a == nil {
		return 0, 0, false
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	part := a.parts[p]
	if part == nil {
		return 0, 0, false
	}
	return part.start, part.end(), true
}

// idOf returns the ID of the topic that a partition is archived of.
func (a *archive) idOf(p partition) (id uuid) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if part := a.parts[p]; part != nil {
		id = part.id
	}
	return id
}

// empty reports whether nothing is archived at all.
func (a *archive) empty() bool {
	if a == nil {
		return true
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	return len(a.parts) == 0
}

// topic returns the name of the topic with an ID, or "".
func (a *archive) topic(id uuid) string {
	a.mu.RLock()
	defer a.mu.RUnlock()
	for p, part := range a.parts {
		if part.id == id {
			return p.topic
		}
	}
	return ""
}

// errTouched says that a client has deleted from a topic while a pass was reading it.
var errTouched = errors.New("a client deleted records meanwhile")

// touch notes that a client has deleted a topic or some of its records. No pass that began
// before archives records of it from now on.
func (a *archive) touch(topic string, id uuid) {
	a.writing.Lock()
	defer a.writing.Unlock()
	a.touched[topic], a.touched[string(id[:])] = true, true
}

// untouched begins a pass.
func (a *archive) untouched() {
	if a == nil {
		return
	}
	a.writing.Lock()
	defer a.writing.Unlock()
	clear(a.touched)
}

// isTouched reports whether a client has deleted from a topic since the pass began.
func (a *archive) isTouched(topic string, id uuid) bool {
	if a == nil {
		return false
	}
	a.writing.Lock()
	defer a.writing.Unlock()
	return a.wasTouched(topic, id)
}

// wasTouched is isTouched for who holds writing.
func (a *archive) wasTouched(topic string, id uuid) bool {
	return a.touched[topic] || a.touched[string(id[:])]
}

// append adds batches, as they are on the wire, to a partition of which start is the first
// offset that can be read. On return they are on the disk, and readers see them. The caller holds
// writing.
func (a *archive) append(p partition, id uuid, start int64, batches [][]byte) error {
	if a.wasTouched(p.topic, id) {
		return errTouched
	}
	first := parseHeader(batches[0]).FirstOffset
	var f *archiveFile
	a.mu.RLock()
	part := a.parts[p]
	if part != nil && part.end() == first { // else there is a gap, and a new file
		if f = part.files[len(part.files)-1]; f.full || f.size >= a.fileSize {
			f = nil
		}
	}
	a.mu.RUnlock()
	if part == nil {
		if err := a.begin(p, metaFile{TopicID: hex.EncodeToString(id[:]), Start: start}); err != nil {
			return err
		}
		part = &archived{id: id, start: start}
		crash.Here("archive: begun")
	}
	var have int64
	fresh := f == nil
	if fresh {
		f = &archiveFile{base: first, latest: math.MinInt64}
	} else {
		have = f.size
	}
	if err := a.writeAt(a.path(p, f.base), have, batches); err != nil {
		return err
	}
	if fresh {
		if err := a.syncDir(a.partitionDir(p)); err != nil {
			return err
		}
	}
	crash.Here("archive: written")
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, raw := range batches {
		b := parseHeader(raw)
		f.add(archivedBatch{first: b.FirstOffset, end: b.end(), pos: f.size, size: len(raw), latest: b.MaxTimestamp, epoch: b.PartitionLeaderEpoch})
	}
	f.modified = time.Now()
	if !slices.Contains(part.files, f) { // new, or all that it held was lost meanwhile
		part.files = append(part.files, f)
	}
	a.parts[p] = part
	return nil
}

// begin makes the directory of a partition, empty.
func (a *archive) begin(p partition, meta metaFile) error {
	dir := a.partitionDir(p)
	for _, do := range []func() error{
		func() error { return a.removeDir(dir) },
		func() error { return a.makeDir(a.dir) },
		func() error { return a.makeDir(dir) },
		func() error { return a.writeJSON(filepath.Join(dir, archiveMeta), meta) },
	} {
		if err := do(); err != nil {
			return err
		}
	}
	return nil
}

// settle makes what is archived of a partition last: after a death it may be in memory only. The
// caller holds writing.
func (a *archive) settle(p partition) error {
	a.mu.RLock()
	part := a.parts[p]
	a.mu.RUnlock()
	if part == nil {
		return nil
	}
	return a.sync(a.path(p, part.files[len(part.files)-1].base))
}

// read returns batches from the one on that holds an offset, or the next one: at least one,
// and not more than limit bytes else. A batch that is damaged is left out. It returns nil where there
// is none. An error is the disk's, or one of too many open files: the batches may be sound.
func (a *archive) read(p partition, offset int64, limit int) ([]byte, error) {
	a.mu.RLock()
	part := a.parts[p]
	if part == nil || offset < part.start || offset >= part.end() {
		a.mu.RUnlock()
		return nil, nil
	}
	i, _ := slices.BinarySearchFunc(part.files, offset, func(f *archiveFile, o int64) int { return cmp.Compare(f.end(), o+1) })
	f := part.files[i]
	j, _ := slices.BinarySearchFunc(f.batches, offset, func(b archivedBatch, o int64) int { return cmp.Compare(b.end, o+1) })
	batches := slices.Clone(f.batches[j:min(j+1000, len(f.batches))])
	base := f.base
	a.mu.RUnlock()
	n, size := 0, 0
	for n < len(batches) && (n == 0 || size+batches[n].size <= limit) {
		size += batches[n].size
		n++
	}
	raw := make([]byte, size)
	if err := a.readAt(a.path(p, base), raw, batches[0].pos); err != nil {
		if start, _, ok := a.bounds(p); !ok || offset < start {
			return nil, nil // deleted meanwhile
		}
		a.unread(p, err)
		return nil, err
	}
	out := raw[:0]
	for _, b := range batches[:n] {
		one := raw[b.pos-batches[0].pos:][:b.size]
		if _, sound := parseBatch(one); sound {
			out = append(out, one...)
			continue
		}
		a.lose(p, base, b)
	}
	if len(out) == 0 {
		return a.read(p, batches[n-1].end, limit)
	}
	return out, nil
}

// lose takes a damaged batch out, once.
func (a *archive) lose(p partition, base int64, b archivedBatch) {
	a.mu.Lock()
	defer a.mu.Unlock()
	part := a.parts[p]
	if part == nil {
		return
	}
	for _, f := range part.files {
		if i := slices.Index(f.batches, b); f.base == base && i >= 0 {
			a.log.Error("archive damaged", "topic", p.topic, "partition", p.id, "from", b.first, "to", b.end)
			a.damaged(truncation{File: a.name(p, base), Topic: p.topic, Partition: p.id, Bytes: int64(b.size), From: b.first, To: b.end})
			f.full, f.batches = true, slices.Delete(slices.Clone(f.batches), i, i+1)
		}
	}
	part.files = slices.DeleteFunc(part.files, func(f *archiveFile) bool { return len(f.batches) == 0 })
	if len(part.files) == 0 {
		delete(a.parts, p)
	}
}

// deleteTo deletes what is below an offset: whole files from the disk, the rest from what is read.
func (a *archive) deleteTo(p partition, offset int64) error {
	if a == nil {
		return nil
	}
	a.writing.Lock()
	defer a.writing.Unlock()
	start, end, ok := a.bounds(p)
	if !ok || offset <= start {
		return nil
	}
	if offset >= end {
		return a.forget(p)
	}
	id := a.idOf(p)
	meta := metaFile{TopicID: hex.EncodeToString(id[:]), Start: offset}
	if err := a.writeJSON(filepath.Join(a.partitionDir(p), archiveMeta), meta); err != nil {
		return err
	}
	var over []*archiveFile
	a.mu.Lock()
	if part := a.parts[p]; part != nil {
		part.start = offset
		part.files = slices.DeleteFunc(slices.Clone(part.files), func(f *archiveFile) bool {
			if f.end() <= offset {
				over = append(over, f)
			}
			return f.end() <= offset
		})
		if len(part.files) == 0 { // the rest was lost meanwhile
			delete(a.parts, p)
		}
	}
	a.mu.Unlock()
	var errs []error
	for _, f := range over {
		errs = append(errs, a.remove(a.path(p, f.base)))
	}
	return errors.Join(errs...)
}

// forget deletes what is archived of a partition. The caller holds writing.
func (a *archive) forget(p partition) error {
	dir := a.partitionDir(p)
	if err := a.remove(filepath.Join(dir, archiveMeta)); err != nil {
		return err // all of it is there still
	}
	a.mu.Lock()
	delete(a.parts, p)
	a.mu.Unlock()
	return a.removeDir(dir)
}

// keep deletes what belongs to topics that are not there any more.
func (a *archive) keep(ids map[string]uuid) error {
	if a == nil {
		return nil
	}
	return a.drop(func(topic string, id uuid) bool { return ids[topic] != id })
}

// drop deletes the partitions of topics that are chosen by name and ID.
func (a *archive) drop(gone func(topic string, id uuid) bool) error {
	a.writing.Lock()
	defer a.writing.Unlock()
	a.mu.RLock()
	var over []partition
	for p, part := range a.parts {
		if gone(p.topic, part.id) {
			over = append(over, p)
		}
	}
	a.mu.RUnlock()
	var errs []error
	for _, p := range over {
		errs = append(errs, a.forget(p))
	}
	return errors.Join(errs...)
}

// segments lists the files of a partition as retention looks at them.
func (a *archive) segments(p partition) (segs []segment) {
	if a == nil {
		return nil
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	part := a.parts[p]
	if part == nil {
		return nil
	}
	for _, f := range part.files {
		segs = append(segs, segment{base: f.base, next: f.end(), bytes: f.size, data: f.size, modified: f.modified, archived: true, latest: f.latest})
	}
	return segs
}

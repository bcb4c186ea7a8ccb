package embedded

import (
	"encoding/json"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// What the module writes when it is closed, and would have liked to find after a
// death. Repair has read everything anyway, so it leaves both files: with the
// first the module reads one segment at a time, instead of holding the whole log
// in memory; with the second an idempotent producer that outlives the brokers may
// send again what it got no answer to, without it being written twice. Both are
// hints: a module that does not understand them falls back to its own ways.

// snapshotVersion is the module's, of the pinned version.
const snapshotVersion = 1

// snapshot is a partition's snapshot.json.
type snapshot struct {
	Version   int               `json:"version"`
	End       int64             `json:"high_watermark"`
	Stable    int64             `json:"last_stable_offset"`
	Start     int64             `json:"log_start_offset"`
	Epoch     int32             `json:"epoch"`
	Leader    int32             `json:"leader_node,omitempty"`
	CreatedAt time.Time         `json:"created_at"`
	Aborted   []snapshotAborted `json:"aborted_txns,omitempty"`
	Segments  []snapshotSegment `json:"segments"`
}

type snapshotAborted struct {
	Producer int64 `json:"producer_id"`
	First    int64 `json:"first_offset"`
	Last     int64 `json:"last_offset"`
}

type snapshotSegment struct {
	BaseOffset int64 `json:"base_offset"`
	Size       int64 `json:"size"`
}

func (r *repairer) writeSnapshot() error {
	if r.lastSeg == "" {
		return nil // nothing in it
	}
	path := filepath.Join(r.p.dir, "snapshot.json")
	var old snapshot
	if raw, err := os.ReadFile(path); err == nil {
		_ = json.Unmarshal(raw, &old) // one that cannot be read says nothing
	}
	s := &r.left
	s.Version, s.Stable, s.Epoch = snapshotVersion, s.End, max(s.Epoch, old.Epoch)
	// The start only ever moves up: records that were deleted before the last
	// close stay deleted.
	s.Start = max(r.p.segments[0].base, min(old.Start, s.End-1))
	// The module takes files of deleted records for a part of the log when it looks for a time, finds
	// nothing in them, and looks no further. Retention would then delete all that is left.
	for _, seg := range r.p.segments {
		if seg.next < 0 || seg.next > s.Start {
			break
		}
		if err := r.remove(seg); err != nil {
			return err
		}
		s.Segments = s.Segments[1:]
	}
	s.Leader, s.CreatedAt = old.Leader, old.CreatedAt
	if s.CreatedAt.IsZero() {
		s.CreatedAt = r.p.segments[0].modified
	}
	return r.c.files().writeJSON(path, s)
}

func (r *repairer) remove(s segment) error {
	for _, ext := range []string{".dat", ".idx"} {
		if err := r.c.files().remove(r.p.path(s.base) + ext); err != nil {
			return err
		}
	}
	return nil
}

// saveStart notes where a partition in a directory of the module begins from now on: the module
// does so only when it is closed.
func (a *archive) saveStart(dir string, start int64) error {
	a.writing.Lock()
	defer a.writing.Unlock()
	path := filepath.Join(dir, "snapshot.json")
	var s snapshot
	if raw, err := os.ReadFile(path); err == nil {
		_ = json.Unmarshal(raw, &s)
	}
	s.Start = start
	return a.writeJSON(path, s)
}

// seqWindow is what is remembered of an idempotent producer in a partition: its last
// batches, by which a repeated one is recognized. It is an entry of the module's
// seq_windows.json.
type seqWindow struct {
	Producer  int64          `json:"pid"`
	Topic     string         `json:"topic"`
	Partition int32          `json:"partition"`
	Entries   [5]windowEntry `json:"entries"`
	Count     uint8          `json:"count"`
	At        uint8          `json:"at"` // where the next one goes
	Epoch     int16          `json:"epoch"`
	Seen      bool           `json:"seen"`
	Next      int32          `json:"next_seq"` // sequence number that is expected
}

type windowEntry struct {
	First  int32 `json:"first_seq"`
	Next   int32 `json:"next_seq"`
	Offset int64 `json:"offset"`
}

func (w *seqWindow) add(b *batch) {
	w.Next = int32((int64(b.FirstSequence) + b.end() - b.FirstOffset) % math.MaxInt32)
	w.Entries[w.At] = windowEntry{b.FirstSequence, w.Next, b.FirstOffset}
	w.At = (w.At + 1) % uint8(len(w.Entries))
	w.Count = min(w.Count+1, uint8(len(w.Entries)))
}

// writeWindows replaces what the last close left, by which a producer that has gone on
// since would be rejected.
func (c *Cluster) writeWindows(log string, parts []*repairer) error {
	if len(parts) == 0 {
		return nil
	}
	var windows []*seqWindow
	for _, r := range parts {
		windows = slices.AppendSeq(windows, maps.Values(r.windows))
	}
	return c.files().writeJSON(filepath.Join(log, "seq_windows.json"), map[string]any{"version": snapshotVersion, "windows": windows})
}

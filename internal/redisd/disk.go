package redisd

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/weir-project/weir/internal/atomicfile"
)

// Names of the files. A snapshot is written under the third name, the one before
// is renamed to the second, and the new one to the first: at each moment one of
// the first two is whole.
const (
	currentName  = "redis.snapshot"
	previousName = "redis.snapshot.previous"
	partialName  = "redis.snapshot.partial"
)

// A file is magic, format version, length of the body, body, and the SHA-256 of
// everything before it.
const (
	magic         = "WEIRSNAP"
	formatVersion = 1
	headerSize    = len(magic) + 4 + 8
	maxFile       = 4 << 30
)

// errTorn is in the chain where a file is not what was written.
var errTorn = errors.New("the snapshot is damaged")

// NewerError says that a snapshot was written by a later version of weir.
type NewerError struct {
	Path    string
	Version uint32
}

func (e *NewerError) Error() string {
	return fmt.Sprintf("%s has format %d, and this weir knows formats up to %d: use the newer weir, or another --data directory", e.Path, e.Version, formatVersion)
}

// disk is where snapshots are.
type disk struct {
	dir    string
	writer atomicfile.Writer
}

func newDisk(dir string) *disk {
	return &disk{dir: dir, writer: atomicfile.Writer{Partial: filepath.Join(dir, partialName), Previous: filepath.Join(dir, previousName)}}
}

// explain says what failed on which disk, and what to do.
func (d *disk) explain(err error) error {
	if errors.Is(err, errUnsteady) {
		return err
	}
	return atomicfile.Explain(d.dir, err)
}

// savedState is what the newest file on disk holds.
type savedState struct {
	changes int64
	sum     [sha256.Size]byte
	any     bool
}

// diskStatus is what INFO reports.
type diskStatus struct {
	last time.Time // of the last snapshot that was written, or of the start
	err  error     // of the last attempt
}

func (s *Server) diskStatus() diskStatus {
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	return s.status
}

// unsaved is how many commands may have changed something since the last snapshot.
func (s *Server) unsaved() int64 {
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	return s.changes.Load() - s.saved.changes
}

// restore fills the server from the newest whole snapshot. Where one of the two
// files is damaged the other one is taken, loudly; where none is whole it is an
// error: going on from nothing is for a person to decide.
func (s *Server) restore() error {
	if err := os.MkdirAll(s.cfg.Dir, 0o750); err != nil {
		return fmt.Errorf("make the directory of the Redis snapshots: %w", err)
	}
	s.disk = newDisk(s.cfg.Dir)
	probe := s.disk.writer.Partial
	if err := errors.Join(os.WriteFile(probe, nil, 0o600), os.Remove(probe)); err != nil {
		return fmt.Errorf("the directory of the Redis snapshots cannot be written: %w", s.disk.explain(err))
	}

	var damage error
	for _, name := range []string{currentName, previousName} {
		path := filepath.Join(s.cfg.Dir, name)
		body, err := readSnapshot(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			if err = s.load(body); err == nil {
				s.size.Store(int64(len(body)))
				if name == previousName && damage != nil {
					s.log.Error("redis: the newest snapshot is damaged; using the one before it, what came later is counted again from Kafka", "path", path, "error", damage)
				}
				return nil
			}
			err = fmt.Errorf("%s: %w: %w", path, errTorn, err)
			s.redis.FlushAll()
		}
		if !errors.Is(err, errTorn) {
			return fmt.Errorf("read the Redis snapshot: %w", err)
		}
		damage = errors.Join(damage, err)
	}
	if damage != nil {
		return fmt.Errorf("%w; no whole snapshot is left: restore one from a backup, or remove the files to begin empty (weir then counts again what Kafka keeps)", damage)
	}
	return nil
}

// readSnapshot returns the body of a file, an error that is errTorn, *NewerError,
// or one of the file system.
func readSnapshot(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	torn := func(format string, args ...any) error {
		return fmt.Errorf("%s: %w: %s", path, errTorn, fmt.Sprintf(format, args...))
	}
	if st.Size() > maxFile {
		return nil, torn("it is larger than any snapshot")
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return nil, err
	}
	if len(b) < headerSize || string(b[:len(magic)]) != magic {
		return nil, torn("it does not begin as one")
	}
	if v := binary.BigEndian.Uint32(b[len(magic):]); v > formatVersion {
		return nil, &NewerError{Path: path, Version: v}
	}
	n := binary.BigEndian.Uint64(b[len(magic)+4:])
	if uint64(len(b)) != uint64(headerSize)+n+sha256.Size {
		return nil, torn("it has %d bytes", len(b))
	}
	end := len(b) - sha256.Size
	if sum := sha256.Sum256(b[:end]); !bytes.Equal(sum[:], b[end:]) {
		return nil, torn("the checksum differs")
	}
	return b[headerSize:end], nil
}

// write makes body the current snapshot. After an error the snapshots are those from before.
func (d *disk) write(body []byte) error {
	header := make([]byte, 0, headerSize)
	header = append(header, magic...)
	header = binary.BigEndian.AppendUint32(header, formatVersion)
	header = binary.BigEndian.AppendUint64(header, uint64(len(body)))
	sum := sha256.New()
	sum.Write(header)
	sum.Write(body)

	return d.writer.Write(filepath.Join(d.dir, currentName), header, body, sum.Sum(nil))
}

// save writes a snapshot where something changed; always also when asked to.
func (s *Server) save(always bool) error {
	if s.disk == nil {
		if always || s.unsaved() != 0 {
			return s.measure()
		}
		return nil
	}
	s.saving.Lock()
	defer s.saving.Unlock()
	if !always && s.unsaved() == 0 {
		return nil
	}
	body, changes, err := s.capture()
	if err == nil {
		sum := sha256.Sum256(body)
		if !s.saved.any || sum != s.saved.sum {
			if err = s.disk.write(body); err == nil {
				s.saved.any, s.saved.sum = true, sum
			}
		}
	}
	err = s.disk.explain(err)
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	failed := s.status.err
	s.status.err = err
	switch {
	case err == nil && failed != nil:
		s.log.Warn("redis: snapshots are written again", "dir", s.disk.dir) // at the level of the failure
	case err != nil && failed == nil:
		s.log.Error("redis: a snapshot could not be written; everything goes on in memory, and weir tries again. A crash now goes back to the last snapshot",
			"error", err, "last", s.status.last.Format(time.RFC3339))
	}
	if err != nil {
		return err
	}
	s.status.last, s.saved.changes = time.Now(), changes
	return nil
}

// measure is save for a server without a disk: the size is still limited.
func (s *Server) measure() error {
	_, changes, err := s.capture()
	s.stateMu.Lock()
	s.saved.changes = changes
	s.stateMu.Unlock()
	return err
}

// errUnsteady says that commands that block kept changing data.
var errUnsteady = errors.New("the data did not hold still")

// capture returns the data as they were at one moment. Commands that can block
// wait outside the gate: where some do, each may act once while the data are
// read, and only two equal readings count.
func (s *Server) capture() (body []byte, changes int64, err error) {
	s.gate.Lock()
	defer s.gate.Unlock()
	changes = s.changes.Load()
	waiting := s.blocking.Load() > 0
	body, expiring, err := s.encode()
	if err != nil {
		return nil, 0, err
	}
	for try := 0; waiting; try++ {
		again, exp, err := s.encode()
		if err != nil {
			return nil, 0, err
		}
		if bytes.Equal(body, again) {
			break
		}
		if try == 3 {
			return nil, 0, errUnsteady
		}
		body, expiring = again, exp
	}
	s.expiring.Store(expiring)
	s.size.Store(int64(len(body)))
	return body, changes, nil
}

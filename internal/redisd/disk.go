package redisd

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
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

// diskStatus is what is on disk, and how the last attempt to write it ended.
type diskStatus struct {
	changes int64             // Server.changes of the newest snapshot
	sum     [sha256.Size]byte // of its body; zero where this process has not written one
	last    time.Time         // when it was written, or when the server started
	err     error             // of the last attempt
}

func (s *Server) diskStatus() diskStatus {
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	return s.status
}

// unsaved is how many commands may have changed something since the last snapshot.
func (s *Server) unsaved() int64 { return s.changes.Load() - s.diskStatus().changes }

// restore fills the server from the newest whole snapshot. Where one of the two
// files is damaged the other one is taken, loudly; where none is whole it is an
// error: going on from nothing is for a person to decide.
func (s *Server) restore() error {
	if err := os.MkdirAll(s.cfg.Dir, 0o700); err != nil {
		return fmt.Errorf("make the directory of the Redis snapshots: %w", err)
	}
	probe := filepath.Join(s.cfg.Dir, partialName)
	s.writer = atomicfile.Writer{Partial: probe, Previous: filepath.Join(s.cfg.Dir, previousName)}
	if err := errors.Join(os.WriteFile(probe, nil, 0o600), os.Remove(probe)); err != nil {
		return fmt.Errorf("the directory of the Redis snapshots cannot be written: %w", atomicfile.Explain(s.cfg.Dir, err))
	}

	var damage error
	for _, name := range []string{currentName, previousName} {
		path := filepath.Join(s.cfg.Dir, name)
		body, err := readSnapshot(path)
		if err == nil {
			if err = s.load(body); err != nil {
				err = fmt.Errorf("%s: %w: %w", path, errTorn, err)
				s.redis.FlushAll()
			}
		}
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case errors.Is(err, errTorn):
			damage = errors.Join(damage, err)
		case err != nil:
			return fmt.Errorf("read the Redis snapshot: %w", err)
		default:
			s.size.Store(int64(len(body)))
			if damage != nil {
				s.log.Error("redis: the newest snapshot is damaged; using the one before it, what came later is counted again from Kafka", "path", path, "error", damage)
			}
			return nil
		}
	}
	if damage != nil {
		return fmt.Errorf("%w; no whole snapshot is left: restore one from a backup, or remove the files to begin empty (weir then counts again what Kafka keeps)", damage)
	}
	return nil
}

// readSnapshot returns the body of a file, an error that is errTorn, *NewerError,
// or one of the file system.
func readSnapshot(path string) ([]byte, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	torn := func(format string, args ...any) error {
		return fmt.Errorf("%s: %w: %s", path, errTorn, fmt.Sprintf(format, args...))
	}
	if st.Size() > maxFile {
		return nil, torn("it is larger than any snapshot")
	}
	b, err := os.ReadFile(path)
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
func (s *Server) write(body []byte) error {
	header := binary.BigEndian.AppendUint32([]byte(magic), formatVersion)
	header = binary.BigEndian.AppendUint64(header, uint64(len(body)))
	sum := sha256.New()
	sum.Write(header)
	sum.Write(body)
	return s.writer.Write(filepath.Join(s.cfg.Dir, currentName), header, body, sum.Sum(nil))
}

// save writes a snapshot where something changed; always also when asked to. A server without
// a disk only measures its data, for their size is limited all the same.
func (s *Server) save(always bool) error {
	s.saving.Lock()
	defer s.saving.Unlock()
	if !always && s.unsaved() == 0 {
		return nil
	}
	before := s.diskStatus()
	now := before
	body, changes, err := s.capture()
	if err == nil && s.cfg.Dir != "" {
		if now.sum = sha256.Sum256(body); now.sum != before.sum {
			err = atomicfile.Explain(s.cfg.Dir, s.write(body))
		}
	}
	switch {
	case s.cfg.Dir == "":
	case err == nil && before.err != nil:
		s.log.Warn("redis: snapshots are written again", "dir", s.cfg.Dir) // at the level of the failure
	case err != nil && before.err == nil:
		s.log.Error("redis: a snapshot could not be written; everything goes on in memory, and weir tries again. A crash now goes back to the last snapshot",
			"error", err, "last", before.last.Format(time.RFC3339))
	}
	if err != nil {
		now = before
	} else {
		now.changes, now.last = changes, time.Now()
	}
	now.err = err
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	s.status = now
	return err
}

// errUnsteady says that commands that block kept changing data.
var errUnsteady = errors.New("the data kept changing while they were read")

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

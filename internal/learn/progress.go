package learn

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/weir-project/weir/internal/atomicfile"
	"github.com/weir-project/weir/internal/disk"
)

// saved is the file with the progress. Times are in Unix milliseconds.
type saved struct {
	Version  int                   `json:"version"`
	Stations map[int]*savedStation `json:"stations"`
	// Before are the topics that an existing cluster had when weir first looked at it, by the
	// cluster's ID.
	Before map[string][]string `json:"before,omitempty"`
}

type savedStation struct {
	DoneAt int64        `json:"done_at,omitempty"`
	Seen   []string     `json:"seen,omitempty"`
	Answer *savedAnswer `json:"answer,omitempty"`
	// Evidence is by cluster what the check needs and the cluster does not keep.
	Evidence map[string]json.RawMessage `json:"evidence,omitempty"`
}

type savedAnswer struct {
	Given       string `json:"given"`
	Right       bool   `json:"right"`
	Explanation string `json:"explanation"`
	At          int64  `json:"at"`
}

// station returns what is kept of a station, which is made where there is nothing yet.
func (s *saved) station(number int) *savedStation {
	if s.Stations == nil {
		s.Stations = map[int]*savedStation{}
	}
	if s.Stations[number] == nil {
		s.Stations[number] = &savedStation{}
	}
	return s.Stations[number]
}

const (
	savedVersion = 1
	// maxSaved bounds the file in bytes: a larger one is not weir's.
	maxSaved = 16 << 20
)

// progress reads and changes the file. Several processes may use one file: weir up, weir ui and
// a command without either.
type progress struct {
	path string // empty for a progress in memory

	mu     sync.Mutex
	memory []byte
}

func (p *progress) load() (*saved, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.read()
}

// dropNull deletes what is null, which only a damaged file has.
func dropNull[K comparable, V any](m map[K]*V) {
	maps.DeleteFunc(m, func(_ K, v *V) bool { return v == nil })
}

// read reads the file. p.mu is held.
func (p *progress) read() (*saved, error) {
	data := p.memory
	if p.path != "" {
		var err error
		if data, err = readBounded(p.path); err != nil {
			return nil, fmt.Errorf("read the progress: %w", err)
		}
	}
	s := &saved{Version: savedVersion}
	if len(data) == 0 {
		return s, nil
	}
	if err := json.Unmarshal(data, s); err != nil {
		return nil, fmt.Errorf("read the progress: %s is damaged (%w); start over with: weir learn reset", p.path, err)
	}
	dropNull(s.Stations)
	if s.Version != savedVersion {
		return nil, fmt.Errorf("read the progress: %s has version %d, and this weir knows version %d; use the weir that wrote it, "+
			"or start over with: weir learn reset",
			p.path, s.Version, savedVersion)
	}
	return s, nil
}

func readBounded(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case info.Size() > maxSaved:
		return nil, fmt.Errorf("%s has %d bytes, which is too much for a progress; start over with: weir learn reset", path, info.Size())
	}
	return os.ReadFile(path)
}

// change changes the file where change changes anything.
func (p *progress) change(change func(*saved)) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	unlock, err := p.lock()
	if err != nil {
		return err
	}
	defer unlock()
	s, err := p.read()
	if err != nil {
		return err
	}
	before, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("keep the progress: %w", err)
	}
	change(s)
	maps.DeleteFunc(s.Stations, func(_ int, st *savedStation) bool {
		return st.DoneAt == 0 && st.Answer == nil && len(st.Evidence) == 0
	})
	after, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("keep the progress: %w", err)
	}
	if string(before) == string(after) {
		return nil
	}
	return p.write(after)
}

// clear starts over, whatever the file holds.
func (p *progress) clear() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	unlock, err := p.lock()
	if err != nil {
		return err
	}
	defer unlock()
	before := map[string][]string(nil)
	if s, err := p.read(); err == nil {
		before = s.Before // topics that existed before are not the learner's after a reset either
	}
	data, err := json.Marshal(saved{Version: savedVersion, Before: before})
	if err != nil {
		return fmt.Errorf("keep the progress: %w", err)
	}
	return p.write(data)
}

// write replaces the file. p.mu is held.
func (p *progress) write(data []byte) error {
	if p.path == "" {
		p.memory = data
		return nil
	}
	if err := atomicfile.Write(p.path, append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("keep the progress: %w", atomicfile.Explain(filepath.Dir(p.path), err))
	}
	return nil
}

// lockPatience is how long another process may hold the file: it needs milliseconds.
const lockPatience = 2 * time.Second

// lock keeps other processes from changing the file until unlock.
func (p *progress) lock() (unlock func(), err error) {
	if p.path == "" {
		return func() {}, nil
	}
	if err := os.MkdirAll(filepath.Dir(p.path), 0o700); err != nil {
		return nil, fmt.Errorf("keep the progress: %w", err)
	}
	f, err := os.OpenFile(p.path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("keep the progress: %w", err)
	}
	for end := time.Now().Add(lockPatience); ; <-time.After(10 * time.Millisecond) {
		held, err := disk.Lock(f)
		if err == nil && held && time.Now().After(end) {
			err = errors.New("another process holds it")
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("keep the progress: lock %s: %w", f.Name(), err), f.Close())
		}
		if !held {
			return func() { _ = f.Close() }, nil // closing releases the lock; nothing was written
		}
	}
}

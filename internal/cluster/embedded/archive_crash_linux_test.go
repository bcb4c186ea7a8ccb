package embedded

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/weir-project/weir/internal/atomicfile"
)

// synced is what is certain to be there after a loss of power: of each file what it had when it was
// synced, of each directory the names that it had.
type synced struct {
	root    string // the data directory
	pinned  string // links to files that were synced, so that no inode number is used again
	content map[uint64][]byte
	names   map[string]map[string]uint64
	op      string // the operation before, which has been done
	path    string
	fresh   bool // it made a new file
}

func newSynced(t *testing.T, root string) *synced {
	s := &synced{root: root, pinned: t.TempDir(), content: make(map[uint64][]byte), names: make(map[string]map[string]uint64)}
	s.names[root] = inodes(root)
	archive := filepath.Join(root, archiveName)
	for _, dir := range append([]string{archive}, glob(archive, "*")...) {
		s.names[dir] = inodes(dir)
	}
	for _, file := range glob(archive, "*", "*") {
		s.keep(file)
	}
	return s
}

func glob(parts ...string) []string {
	found, _ := filepath.Glob(filepath.Join(parts...)) // fails only for a bad pattern
	return found
}

func inodes(dir string) map[string]uint64 {
	out := make(map[string]uint64)
	for _, path := range glob(dir, "*") {
		out[filepath.Base(path)] = inode(path)
	}
	return out
}

func inode(path string) uint64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Sys().(*syscall.Stat_t).Ino
}

func (s *synced) keep(path string) {
	if raw, err := os.ReadFile(path); err == nil {
		s.content[inode(path)] = raw
		_ = os.Link(path, filepath.Join(s.pinned, strconv.FormatUint(inode(path), 10))) // there already
	}
}

// before notes that an operation is about to begin.
func (s *synced) before(op, path string) {
	switch {
	case s.op == "sync":
		s.keep(s.path)
	case s.op == "sync directory":
		s.names[s.path] = inodes(s.path)
	case s.fresh:
		delete(s.content, inode(s.path))
		delete(s.names, s.path)
	}
	_, err := os.Stat(path)
	s.op, s.path, s.fresh = op, path, err != nil && (op == "open" || op == "create" || op == "make directory")
}

// loose returns what is certain of files of which more is there, by their path.
func (s *synced) loose() map[string][]byte {
	out := make(map[string][]byte)
	for _, path := range glob(s.root, archiveName, "*", "*") {
		if raw, err := os.ReadFile(path); err == nil && !bytes.Equal(raw, s.content[inode(path)]) {
			out[strings.TrimPrefix(path, s.root)] = s.content[inode(path)]
		}
	}
	return out
}

// lose takes from a copy of the archive what is not certain, as far as luck does not keep it.
func (s *synced) lose(t *testing.T, image string, luck func() bool) {
	if err := os.RemoveAll(filepath.Join(image, archiveName)); err != nil {
		t.Error(err)
	}
	certain, now := s.names[s.root][archiveName], inode(filepath.Join(s.root, archiveName))
	if now != 0 && (certain == now || luck()) {
		s.rebuild(t, filepath.Join(s.root, archiveName), filepath.Join(image, archiveName), luck)
	}
}

func (s *synced) rebuild(t *testing.T, from, to string, luck func() bool) {
	if err := os.Mkdir(to, 0o755); err != nil {
		t.Error(err)
	}
	certain, now := s.names[from], inodes(from)
	all := maps.Clone(certain)
	if all == nil {
		all = make(map[string]uint64)
	}
	maps.Copy(all, now)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		n := certain[name]
		if n != now[name] && luck() {
			n = now[name]
		}
		path := filepath.Join(from, name)
		info, err := os.Stat(path)
		_, dir := s.names[path]
		switch {
		case n == 0:
		case dir || err == nil && info.IsDir():
			s.rebuild(t, path, filepath.Join(to, name), luck)
		default:
			raw := s.content[n]
			if n == now[name] && luck() {
				if more, err := os.ReadFile(path); err == nil && bytes.HasPrefix(more, raw) {
					raw = more[:len(more)-(len(more)-len(raw))/2]
				}
			}
			if err := os.WriteFile(filepath.Join(to, name), raw, 0o644); err != nil {
				t.Error(err)
			}
		}
	}
}

// moment is the data directory as a death at a moment leaves it, and what must be in it.
type moment struct {
	what     string
	dir      string
	truth    []told
	from, to int64             // the log begins somewhere here
	loose    map[string][]byte // of files that were not synced: what was
}

// moments are taken before every operation on a file.
type moments struct {
	t    *testing.T // outlives the bubble
	r    *rand.Rand
	cfg  config
	rate float64 // how much is taken

	mu     sync.Mutex
	disk   *synced
	now    moment
	all    []moment
	record bool
}

func newMoments(t *testing.T, r *rand.Rand, cfg config, rate float64, loose map[string][]byte) *moments {
	m := &moments{t: t, r: r, cfg: cfg, rate: rate, disk: newSynced(t, cfg.Dir)}
	for name, raw := range loose {
		m.disk.content[inode(filepath.Join(cfg.Dir, name))] = raw
	}
	m.cfg.faults = &atomicfile.Faults{Step: m.step}
	return m
}

func (m *moments) step(op, path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.disk.before(op, path)
	if !m.record {
		return nil
	}
	for _, kind := range []string{"killed", "power lost", "power lost in part"} {
		if m.r.Float64() > m.rate {
			continue
		}
		one := m.now
		one.dir = copyDir(m.t, m.cfg.Dir)
		one.what = fmt.Sprintf("%s, %s before %s %s", m.now.what, kind, op, filepath.Base(path))
		switch kind {
		case "killed":
			one.loose = m.disk.loose()
		case "power lost":
			m.disk.lose(m.t, one.dir, func() bool { return false })
		default:
			m.disk.lose(m.t, one.dir, func() bool { return m.r.IntN(2) == 0 })
		}
		m.all = append(m.all, one)
	}
	return nil
}

// during records the moments of what do does, while the log begins somewhere from an offset to another.
func (m *moments) during(what string, truth []told, from, to int64, do func()) {
	m.set(moment{what: m.now.what + what, truth: truth, from: from, to: to}, true)
	do()
	m.set(moment{}, false)
}

func (m *moments) set(now moment, record bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now, m.record = now, record
}

// life records the moments of an archive that begins, grows, is cut, deleted and begins again.
func (m *moments) life(t *testing.T, seed uint64) {
	c := virtual(t, m.cfg)
	createTopic(t, c.Addrs(), "t", 1, nil)
	adm := kadm.NewClient(client(t, c.Addrs()))
	cut := func(at int64) {
		answer, err := adm.DeleteRecords(t.Context(), kadm.Offsets{"t": {0: {Topic: "t", At: at}}})
		if low, _ := answer.Lookup("t", 0); err != nil || low.Err != nil || low.LowWatermark != at {
			t.Errorf("deleted to %+v (%v), want %d", low, err, at)
		}
	}
	truth := written(t, c.Addrs(), 110, seed, hourAgo())
	m.during("the archive begins", truth, 0, 0, func() { enforce(t, c) })
	for i := range uint64(2) {
		truth = append(truth, written(t, c.Addrs(), 60, seed+1+i, hourAgo())...)
		m.during("the archive grows", truth, 0, 0, func() { enforce(t, c) })
	}
	end := archivedTo(t, c)
	middle, late := truth[len(truth)/2].offset, truth[len(truth)-1].offset-10
	if middle >= end || late <= end {
		t.Errorf("archived up to %d, cut at %d and %d", end, middle, late)
	}
	m.during("the archive is cut", truth, 0, middle, func() { cut(middle) })
	m.during("the archive is deleted", truth, middle, late, func() { cut(late) })
	truth = append(truth, written(t, c.Addrs(), 60, seed+3, hourAgo())...)
	m.during("the archive begins again", truth, late, late, func() { enforce(t, c) })
	archivedTo(t, c)
	reads(t, c.Addrs(), "at the end", late, truth)
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// recover starts brokers on what a death left, and compares what they have with the truth.
func (one moment) recover(t *testing.T, cfg config) {
	t.Helper()
	c := virtual(t, cfg)
	check := func(when string) {
		t.Helper()
		start, _ := window(t, c, "t", 0)
		if start < one.from || start > one.to {
			t.Errorf("%s, %s: the log begins at %d, not from %d to %d", one.what, when, start, one.from, one.to)
		}
		reads(t, c.Addrs(), one.what+", "+when, start, one.truth)
		if d := c.Damage(); len(d) > 0 {
			t.Errorf("%s, %s: reported %q", one.what, when, d)
		}
	}
	check("after a start")
	enforce(t, c)
	check("after more was archived")
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// A death, or a loss of power, before any operation on a file, and another one before any
// operation of the start after it: what was committed is there, once, where it was; what was aborted
// or deleted is not. Where power is lost, the archive keeps what was synced and some of the rest:
// the brokers' own log does not promise that.
func TestTheArchiveSurvivesEveryDeath(t *testing.T) {
	rate, again := 0.1, 0.005 // as much as takes few seconds
	if os.Getenv("WEIR_TEST_LAB") != "" {
		rate, again = 1, 0.02
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 4))
	cfg := config{Config: Config{Dir: t.TempDir(), HotBatches: 50}}
	cfg.archiveFile, cfg.segmentBytes = 20_000, 16<<10 // segments that are moved are deleted
	m := newMoments(t, r, cfg, rate, nil)
	synctest.Test(t, func(t *testing.T) { m.life(t, seed) })
	var second []moment
	for _, one := range m.all {
		synctest.Test(t, func(t *testing.T) {
			cfg.Dir = one.dir
			n := newMoments(m.t, r, cfg, again, one.loose)
			n.during(one.what+"; then", one.truth, one.from, one.to, func() { one.recover(t, n.cfg) })
			second = append(second, n.all...)
		})
	}
	for _, one := range second {
		synctest.Test(t, func(t *testing.T) {
			cfg.Dir, cfg.faults = one.dir, nil
			one.recover(t, cfg)
		})
	}
	t.Logf("%d deaths, and %d second ones", len(m.all), len(second))
	if len(m.all) == 0 || rate == 1 && (len(m.all) < 100 || len(second) < 100) {
		t.Error("operations were not recorded")
	}
}

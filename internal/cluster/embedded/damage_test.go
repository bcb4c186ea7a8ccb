package embedded

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A write that was cut short is not damage, and a bit that flipped is.
func TestDamageIsReported(t *testing.T) {
	const n = 40
	setup := func(t *testing.T, clean bool) string {
		dir := t.TempDir()
		c := tuned(t, config{Config: Config{Dir: dir}, segmentBytes: 4096})
		createTopic(t, c.Addrs(), "t", 1, nil)
		cl := client(t, c.Addrs(), manual(), kgo.ProducerBatchCompression(kgo.NoCompression()))
		for i := range n {
			produce(t, cl, "t", 0, fmt.Sprintf("%d-%s", i, strings.Repeat("x", 300)))
		}
		cl.Close()
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if !clean {
			if err := os.WriteFile(filepath.Join(dir, uncleanName), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	flip := func(t *testing.T, path string, at int64) {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		b := make([]byte, 1)
		if _, err := f.ReadAt(b, at); err != nil {
			t.Fatal(err)
		}
		b[0] ^= 4
		if _, err := f.WriteAt(b, at); err != nil {
			t.Fatal(err)
		}
	}
	for n0 := range 8 {
		clean := n0%2 == 0
		// In the third batch: the checksum covers only the last of these.
		where := []struct {
			name string
			at   int64
		}{{"offset", 6}, {"leader epoch", 12}, {"version", 16}, {"records", 100}}[n0/2]
		t.Run(fmt.Sprintf("%s, closed %v", where.name, clean), func(t *testing.T) {
			dir := setup(t, clean)
			sizes := logOf(t, dir)
			if len(sizes) != 1 || len(sizes[0].segments) < 3 {
				t.Fatalf("the log has the files %+v", sizes)
			}
			segs := sizes[0].segments
			first, second := filepath.Join(dir, segmentPath("t", 0, segs[0].base)), segs[1].base
			raw, err := os.ReadFile(first)
			if err != nil {
				t.Fatal(err)
			}
			b, _ := parseBatch(raw)
			flip(t, first, int64(2*b.size())+where.at)
			c := open(t, Config{Dir: dir})
			tr := c.mlog.list()
			if where.at < 17 { // the rest of the batch proves what must stand there
				if got := consume(t, c.Addrs(), "t", 0); len(got) != n || len(tr) != 0 {
					t.Errorf("%d records are there, of %d; reported: %+v", len(got), n, tr)
				}
				if mended, err := os.ReadFile(first); err != nil || !bytes.Equal(mended, raw) {
					t.Errorf("the file is not what it was (%v)", err)
				}
				return
			}
			if len(tr) != 1 || tr[0].Topic != "t" || tr[0].To != second || tr[0].From < 1 || tr[0].From >= second || tr[0].Bytes < segs[0].data/3 {
				t.Fatalf("damage in the middle of a file with the offsets 0 to %d: %+v", second, tr)
			}
			got := consume(t, c.Addrs(), "t", 0)
			if lost := int(tr[0].To - tr[0].From); len(got) != n-lost {
				t.Errorf("%d records are there and %d said to be lost, of %d", len(got), lost, n)
			}
		})
	}
	t.Run("length in the last batch", func(t *testing.T) {
		dir := setup(t, false)
		sizes := logOf(t, dir)
		last := sizes[0].segments[len(sizes[0].segments)-1]
		path := filepath.Join(dir, segmentPath("t", 0, last.base))
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		at := 0
		for b, ok := parseBatch(raw); ok && b.size() < len(raw); b, ok = parseBatch(raw) {
			at, raw = at+b.size(), raw[b.size():]
		}
		flip(t, path, int64(at)+10)
		c := open(t, Config{Dir: dir})
		if tr := c.mlog.list(); len(tr) != 1 || tr[0].From != n-1 || tr[0].To != -1 {
			t.Errorf("an acknowledged batch is gone from the end: %+v", tr)
		}
	})
	t.Run("unfinished write", func(t *testing.T) {
		dir := setup(t, false)
		sizes := logOf(t, dir)
		last := sizes[0].segments[len(sizes[0].segments)-1]
		path := filepath.Join(dir, segmentPath("t", 0, last.base))
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := parseBatch(raw)
		if err := (files{}).appendTo(path, raw[:b.size()-7]); err != nil {
			t.Fatal(err)
		}
		c := open(t, Config{Dir: dir})
		if tr := c.mlog.list(); len(tr) != 0 {
			t.Errorf("what nobody was told of is reported as lost: %+v", tr)
		}
		if got := consume(t, c.Addrs(), "t", 0); len(got) != n {
			t.Errorf("%d of %d records are there", len(got), n)
		}
	})
	for name, by := range map[string]int64{"batch without index entry": indexEntry, "batch with half an index entry": indexEntry + 4} {
		t.Run(name, func(t *testing.T) {
			dir := setup(t, false)
			sizes := logOf(t, dir)
			last := sizes[0].segments[len(sizes[0].segments)-1]
			idx := strings.TrimSuffix(filepath.Join(dir, segmentPath("t", 0, last.base)), ".dat") + ".idx"
			before, err := os.ReadFile(idx)
			if err != nil {
				t.Fatal(err)
			}
			shorten(t, idx, by)
			c := open(t, Config{Dir: dir})
			after, err := os.ReadFile(idx)
			if err != nil {
				t.Fatal(err)
			}
			if len(after) != len(before) || !slices.Equal(after[len(after)-13:][:4], before[len(before)-13:][:4]) {
				t.Errorf("the index ends with %x, not with %x", after[max(len(after)-15, 0):], before[len(before)-15:])
			}
			if got := consume(t, c.Addrs(), "t", 0); len(got) != n || len(c.mlog.list()) != 0 {
				t.Errorf("%d of %d records are there, damage %v", len(got), n, c.mlog.list())
			}
		})
	}
	t.Run("state file", func(t *testing.T) {
		dir := setup(t, true)
		if err := (files{}).appendTo(filepath.Join(dir, logName, "groups.log"), []byte("12345")); err != nil {
			t.Fatal(err)
		}
		c := open(t, Config{Dir: dir})
		if tr := c.mlog.list(); len(tr) != 1 || tr[0].File != "log/groups.log" || tr[0].Bytes != 5 || !strings.Contains(tr[0].String(), "groups.log") {
			t.Errorf("damage in groups.log: %+v", tr)
		}
	})
	t.Run("middle file cut, and its index", func(t *testing.T) {
		dir := setup(t, false)
		segs := logOf(t, dir)[0].segments
		path := strings.TrimSuffix(filepath.Join(dir, segmentPath("t", 0, segs[1].base)), ".dat")
		shorten(t, path+".dat", 7)
		shorten(t, path+".idx", indexEntry)
		c := open(t, Config{Dir: dir})
		if tr := c.mlog.list(); len(tr) != 1 || tr[0].From != segs[2].base-1 || tr[0].To != segs[2].base {
			t.Errorf("the last record before %d is gone: %+v", segs[2].base, tr)
		}
	})
}

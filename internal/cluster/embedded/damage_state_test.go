package embedded

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A byte of the newest segment that flips after a clean close: what lies before it is
// served, the damage is reported, and what is written afterwards can be read, in this
// run and in the next.
func TestWritingGoesOnBehindDamage(t *testing.T) {
	dir := t.TempDir()
	c := open(t, Config{Dir: dir})
	createTopic(t, c.Addrs(), "t", 1, nil)
	cl := client(t, c.Addrs(), manual(), kgo.ProducerBatchCompression(kgo.NoCompression()))
	want := []string{"a" + strings.Repeat("x", 300), "b" + strings.Repeat("x", 300), "c" + strings.Repeat("x", 300)}
	for _, v := range want {
		produce(t, cl, "t", 0, v)
	}
	cl.Close()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, segmentPath("t", 0, 0))
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	first, _ := parseBatch(raw)
	raw[first.size()+first.size()/2] ^= 4 // in the second of three
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	c = open(t, Config{Dir: dir})
	if tr := c.mlog.list(); len(tr) != 1 || tr[0].Topic != "t" || tr[0].From != 1 {
		t.Errorf("reported: %+v", tr)
	}
	produce(t, client(t, c.Addrs(), manual()), "t", 0, "new")
	want = []string{want[0], "new"}
	if got := consume(t, c.Addrs(), "t", 0); !slices.Equal(got, want) {
		t.Errorf("after the damage: %.80q", got)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = open(t, Config{Dir: dir})
	if got := consume(t, c.Addrs(), "t", 0); !slices.Equal(got, want) || len(c.mlog.list()) != 0 {
		t.Errorf("after another start: %.80q, %+v", got, c.mlog.list())
	}
}

// State files of the module that the log can be served without are set aside when they
// do not parse, and reported.
func TestDamagedStateFilesAreSetAside(t *testing.T) {
	for _, name := range spareFiles {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			c := open(t, Config{Dir: dir})
			createTopic(t, c.Addrs(), "t", 1, nil)
			produce(t, client(t, c.Addrs(), manual()), "t", 0, "a")
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(logName, name)
			const half = `{"half`
			if err := os.WriteFile(filepath.Join(dir, file), []byte(half), 0o600); err != nil {
				t.Fatal(err)
			}
			c = open(t, Config{Dir: dir})
			tr := c.mlog.list()
			if len(tr) != 1 || tr[0].File != file || !strings.Contains(tr[0].String(), name) {
				t.Errorf("reported: %+v", tr)
			}
			if kept, err := os.ReadFile(filepath.Join(dir, file+".damaged")); err != nil || string(kept) != half {
				t.Errorf("kept %q, %v", kept, err)
			}
			produce(t, client(t, c.Addrs(), manual()), "t", 0, "b")
			if got := consume(t, c.Addrs(), "t", 0); !slices.Equal(got, []string{"a", "b"}) {
				t.Errorf("the log shows %q", got)
			}
		})
	}
}

package embedded

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzStateFiles reads a format, leader epochs and the file beside an archive of any bytes. What is taken is
// what encoding/json finds; what is refused says what to do, and nothing is deleted then.
func FuzzStateFiles(f *testing.F) {
	id := strings.Repeat("01", 16)
	for _, s := range []string{`{"format":2,"wrote":"weir"}`, `{"format":1}`, `{"format":999}`, `{"format":0}`, `{"format":-1}`, `{"form`, `null`, ``,
		`{"epochs":{"t":[0,5,2147483647],"":null}}`, `{"epochs":{"t":[-1,2147483648]}}`,
		`{"topic_id":"` + id + `","start":0}`, `{"topic_id":"` + id + `","start":-5}`, `{"topic_id":"` + id + `","start":9223372036854775807}`, `{"topic_id":"01","start":0}`, `{"topic_id":"` + id + `00"}`} {
		f.Add([]byte(s))
	}
	dir := f.TempDir()
	archiveDir := filepath.Join(dir, "archive")
	part := filepath.Join(archiveDir, "t-0")
	file := archivedFile(f, 5)
	d := &dataDir{path: dir}
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, path := range []string{d.file(formatName), d.file(epochsName), filepath.Join(part, archiveMeta), filepath.Join(part, "5"+archiveExt)} {
			content := raw
			if strings.HasSuffix(path, archiveExt) {
				content = file
			}
			if err := os.MkdirAll(part, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		var format struct{ Format int }
		known := json.Unmarshal(raw, &format) == nil && format.Format >= 1 && format.Format <= formatVersion
		if err := d.checkFormat(); known != (err == nil) || err != nil && !strings.Contains(err.Error(), "choose another --data directory") {
			t.Errorf("the format %q: %v", raw, err)
		}

		c := &Cluster{dir: d, log: slog.New(slog.DiscardHandler), epochs: map[partition]int32{}}
		var epochs struct{ Epochs map[string][]int32 }
		sound := json.Unmarshal(raw, &epochs) == nil
		c.readEpochs()
		for topic, list := range epochs.Epochs {
			for i, e := range list {
				if sound && c.epochs[partition{topic, int32(i)}] != e {
					t.Errorf("the epochs %q are %v", raw, c.epochs)
				}
			}
		}

		var meta struct {
			TopicID string `json:"topic_id"`
			Start   int64  `json:"start"`
		}
		bad := json.Unmarshal(raw, &meta) != nil
		if topic, err := hex.DecodeString(meta.TopicID); err != nil || len(topic) != 16 || meta.Start < 0 {
			bad = true
		}
		a, err := openArchive(files{}, archiveDir, 1<<20, slog.New(slog.DiscardHandler), func(truncation) {})
		if bad != (err != nil) || err != nil && !strings.Contains(err.Error(), "restore the directory from a copy") {
			t.Fatalf("the archive's %q: %v", raw, err)
		}
		if err != nil {
			if kept, _ := os.ReadFile(filepath.Join(part, "5"+archiveExt)); !bytes.Equal(kept, file) {
				t.Errorf("the archive's %q is refused, and the records are gone", raw)
			}
			return
		}
		if begin, end, ok := a.bounds(partition{"t", 0}); ok != (meta.Start < 11) || ok && (begin != meta.Start || end != 11) {
			t.Errorf("the archive's %q: from %d to %d, %v", raw, begin, end, ok)
		}
	})
}

// FuzzIntents reads a journal of commits with any bytes in it. A whole line counts, whatever is before it, and
// an unfinished one at the end changes nothing.
func FuzzIntents(f *testing.F) {
	f.Add(int64(7), int16(1), "g", "garbage", `{"pid":7,"epoch":1,"done":true}`)
	f.Add(int64(math.MaxInt64), int16(-1), "\n", "{", "\x00")
	f.Add(int64(0), int16(0), "\u2028", "null\n[]\n\n", "{}")
	path := filepath.Join(f.TempDir(), journalName)
	f.Fuzz(func(t *testing.T, id int64, epoch int16, group, before, end string) {
		group = strings.ToValidUTF8(group, "")
		file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		j := newCommitJournal(path)
		j.file = file
		in := intent{ID: id, Epoch: epoch, Offsets: []stagedOffset{{Group: group, Topic: "t", Offset: id}}}
		if err := j.write(in); err != nil {
			t.Fatal(err)
		}
		line, err := os.ReadFile(path)
		if err != nil || j.size != int64(len(line)) || bytes.Count(line, []byte("\n")) != 1 {
			t.Fatalf("%q, %d, %v", line, j.size, err)
		}
		p := producer{id, epoch}
		got := readIntents(append([]byte(before+"\n"), line...))[p]
		if len(got.Offsets) != 1 || got.Offsets[0].Group != group || got.Offsets[0].Offset != id || got.Done {
			t.Errorf("%q behind %q is read as %+v", line, before, got)
		}
		if end = strings.ReplaceAll(end, "\n", ""); !maps.EqualFunc(readIntents(line), readIntents(append(bytes.Clone(line), end...)), func(a, b intent) bool { return a.ID == b.ID && a.Epoch == b.Epoch }) {
			t.Errorf("%q with the end %q is read as another", line, end)
		}
		in.Done = true
		if err := j.write(in); err != nil {
			t.Fatal(err)
		}
		if _, err := file.Seek(0, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		if whole, err := io.ReadAll(file); err != nil || len(readIntents(whole)) != 0 {
			t.Errorf("%q is crossed out, and read as %v", whole, readIntents(whole))
		}
	})
}

// TestTheFileBesideAnArchive: a file that is damaged is an error with the way out, and no record is deleted.
func TestTheFileBesideAnArchive(t *testing.T) {
	id := strings.Repeat("01", 16)
	for name, content := range map[string]string{
		"not JSON":                    `{"topic_id":"` + id + `"`,
		"no topic ID":                 `{"start":0}`,
		"a topic ID that is too long": `{"topic_id":"` + id + `00","start":0}`,
		"a start below 0":             `{"topic_id":"` + id + `","start":-5}`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			part := filepath.Join(dir, "t-0")
			records := filepath.Join(part, "5"+archiveExt)
			for path, text := range map[string]string{filepath.Join(part, archiveMeta): content, records: "records"} {
				if err := os.MkdirAll(part, 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			_, err := openArchive(files{}, dir, 1<<20, slog.New(slog.DiscardHandler), func(truncation) {})
			if err == nil || !strings.Contains(err.Error(), "t/0") || !strings.Contains(err.Error(), "restore the directory from a copy") {
				t.Errorf("%v", err)
			}
			if kept, err := os.ReadFile(records); err != nil || string(kept) != "records" {
				t.Errorf("the records are %q, %v", kept, err)
			}
		})
	}
}

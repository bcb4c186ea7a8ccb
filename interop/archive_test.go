package interop

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestArchive takes the whole program, which archives all the time, through its own death and an
// update from the version that had no archive. What it has stored and counted is read by other
// people's clients.
func TestArchive(t *testing.T) {
	python := os.Getenv("WEIR_TEST_CLIENTS")
	if python == "" {
		t.Skip("needs what TestClients needs, and the repository's history: WEIR_TEST_CLIENTS=PYTHON go -C interop test -run Archive .")
	}
	bin := t.TempDir()
	build(t, "..", bin, "./cmd/weir")
	for name, test := range map[string]func(clients){"killed": clients.archiveIsKilled, "version before": clients.updateToArchive} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(clients{weir: weir{t: t, bin: filepath.Join(bin, "weir"), data: t.TempDir()}, python: python})
		})
	}
}

// up starts the whole program with simulated streams.
func (c clients) up(env ...string) *process {
	c.t.Helper()
	p := start(c.t, "weir up", env, c.bin, "up", "--data", c.data, "--source", "simulated", "--rate", "300", "--ports", "0", "--listen", "off")
	waitFor(c.t, "weir up", func() bool { return strings.Contains(p.out.tail(6000), "Ctrl-C stops") })
	return p
}

const archiveAll = "WEIR_TEST_ARCHIVE=1"

// archivedEvents are the offsets of the stream of Bluesky that are in the archive.
func (c clients) archivedEvents() (sum int64) {
	for p := range 6 {
		sum += c.archiveEnd("bluesky-events", p)
	}
	return sum
}

// archiveIsKilled kills the program while it archives, again and again.
func (c clients) archiveIsKilled() {
	for range 4 {
		p := c.up(archiveAll)
		before := c.archivedEvents()
		waitFor(c.t, "more to be archived", func() bool { return c.archivedEvents() > before+500 })
		p.stop(c.t, syscall.SIGKILL)
	}
	p := c.up(archiveAll)
	c.grows(500)
	c.verify()
	p.stop(c.t, syscall.SIGINT)
	c.t.Run("recount", func(t *testing.T) { c := c.in(t); c.recount(archiving) })
}

// stored is what another client reads of both streams.
func (c clients) stored() map[string][]kafkaRecord {
	return map[string][]kafkaRecord{
		"bluesky":   c.readPython("confluent", "bluesky-events"),
		"wikipedia": c.readPython("kafka-python", "wikipedia-edits"),
	}
}

// recount starts the brokers and Redis alone, counts what other clients read, and compares that
// with the counts that are in Redis.
func (c clients) recount(kafka string) map[string][]kafkaRecord {
	t := c.t
	t.Helper()
	c.start(kafka)
	c.verify()
	stored, counted := c.stored(), c.redisPython()
	for stream, records := range stored {
		recounted := map[string]int64{}
		for _, r := range records {
			var event struct {
				Type   string `json:"type"`
				Commit struct {
					Operation string `json:"operation"`
				} `json:"commit"`
			}
			if err := json.Unmarshal([]byte(*r.value), &event); err != nil {
				t.Fatal(err)
			}
			recounted[event.Type+event.Commit.Operation]++
		}
		if got := counted["weir-"+stream+"-counter"]; len(records) == 0 || !maps.Equal(got, recounted) {
			t.Errorf("%s: Redis has the counts %v, and stored are %v", stream, got, recounted)
		}
		t.Logf("%s: %v", stream, recounted)
	}
	if n := c.archivedEvents(); kafka == archiving && n < int64(len(stored["bluesky"]))/2 {
		t.Errorf("only %d offsets are archived, of %d events", n, len(stored["bluesky"]))
	}
	return stored
}

// updateToArchive lets the version that had no archive write a data directory. This one goes on
// with it, and from then on the other refuses it.
func (c clients) updateToArchive() {
	t := c.t
	now, before := c, c
	before.bin = filepath.Join(buildBefore(t), "weir")
	run := func(c clients) *process {
		p := c.up(archiveAll) // which the version before does not know
		c.grows(500)
		return p
	}
	run(before).stop(t, syscall.SIGINT)
	var old map[string][]kafkaRecord
	t.Run("by the version before", func(t *testing.T) { c := before.in(t); old = c.recount("embedded") })
	run(before).stop(t, syscall.SIGKILL)
	if _, err := os.Stat(filepath.Join(c.data, "simulated", "kafka", "archive")); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("the version before has archived: %v", err)
	}

	p := run(now)
	now.verify()
	waitFor(t, "what is old to be archived", func() bool { return now.archivedEvents() > int64(len(old["bluesky"])) })
	p.stop(t, syscall.SIGKILL)
	run(now).stop(t, syscall.SIGINT)
	same := func(t *testing.T) {
		c := now.in(t)
		stored := c.recount(archiving)
		for stream, records := range old {
			var kept []kafkaRecord
			have := map[string]bool{}
			for _, r := range records {
				have[fmt.Sprint(r.partition, "@", r.offset)] = true
			}
			for _, r := range stored[stream] {
				if have[fmt.Sprint(r.partition, "@", r.offset)] {
					kept = append(kept, r)
				}
			}
			compareRecords(t, stream+" after the update", records, kept, false)
		}
	}
	t.Run("by this version", same)

	for _, command := range []string{"up", "cluster"} {
		out, err := before.tries("", before.bin, command, "--data", c.data, "--source", "simulated", "--ports", "0", "--listen", "off")
		const want = "format 2 is from a newer version of weir (this one reads up to 1); update weir"
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), c.data) {
			t.Errorf("the version before, weir %s: %v, want %q\n%s", command, err, want, out)
		}
	}
	t.Run("after it was refused", same)
}

// buildBefore builds the last version that had no archive, from the repository's history.
func buildBefore(t *testing.T) (bin string) {
	t.Helper()
	git := func(args ...string) []byte {
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-C", ".."}, args...)...)
		out, err := cmd.Output()
		if err != nil {
			t.Skipf("git %s: %v; an older weir is built from the repository's history: clone it whole", strings.Join(args, " "), err)
		}
		return out
	}
	commits := strings.Fields(string(git("log", "--format=%H", "-S", "formatVersion = 2", "--", "internal/cluster/embedded/data_dir.go")))
	if len(commits) == 0 {
		t.Skip("the repository's history does not have the commit that brought format 2: clone it whole")
	}
	source := t.TempDir()
	tree := filepath.Join(t.TempDir(), "source.tar")
	git("archive", "--output", tree, commits[len(commits)-1]+"^")
	if out, err := exec.CommandContext(t.Context(), "tar", "-xf", tree, "-C", source).CombinedOutput(); err != nil {
		t.Fatalf("tar: %v\n%s", err, out)
	}
	bin = t.TempDir()
	build(t, source, bin, "./cmd/weir")
	return bin
}

// archived waits until partitions of a topic are in the archive nearly up to offsets, where weir archives.
func (c clients) archived(topic string, ends [historyPartitions]int64) {
	c.t.Helper()
	if c.kafka != archiving {
		return
	}
	for p, end := range ends {
		waitFor(c.t, fmt.Sprintf("%s/%d to be archived up to about %d", topic, p, end), func() bool {
			return c.archiveEnd(topic, p) > end-10
		})
	}
}

// archiveEnd reads from the files of the archive up to which offset a partition is in it.
func (w *weir) archiveEnd(topic string, partition int) (end int64) {
	w.t.Helper()
	files, err := filepath.Glob(filepath.Join(w.data, "simulated", "kafka", "archive", fmt.Sprintf("%s-%d", topic, partition), "*.batches"))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			w.t.Fatal(err)
		}
		// A batch begins with its first offset and its length; the offset of its last record is at byte 23.
		for len(raw) >= 61 {
			size := 12 + int(binary.BigEndian.Uint32(raw[8:]))
			if size > len(raw) {
				break
			}
			end = max(end, int64(binary.BigEndian.Uint64(raw))+int64(binary.BigEndian.Uint32(raw[23:]))+1)
			raw = raw[size:]
		}
	}
	return end
}

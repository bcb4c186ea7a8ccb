//go:build unix

package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/weir-project/weir/internal/bluesky"
	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/simulate"
	"github.com/weir-project/weir/internal/wikipedia"
)

const (
	seed     = 1
	sourceBS = bluesky.Name
	sourceWP = wikipedia.Name
)

// spacing is how many microseconds lie between events: 1,500 a second are the most that
// Bluesky sends, and some 40 what Wikipedia does.
var spacing = map[string]int64{sourceBS: 667, sourceWP: 25_000}

// at is the time of an event in Unix microseconds. The end, a last event's, is about now:
// the broker deletes what is older than the topics' retention, and refuses what is far
// ahead.
func (s settings) at(stream string, i int64) int64 {
	return s.end - (int64(s.events)-i)*spacing[stream]
}

// generate writes n events of each stream, one a line, as the simulated world
// has them: the texts differ, and so do identities, keys and sizes.
func generate(s settings) error {
	world := simulate.NewWorld(seed)
	posts, err := world.Bluesky("app.bsky.feed.post")
	if err != nil {
		return err
	}
	err = write(s.file(sourceBS), s.events, func(dst []byte, i int64) []byte {
		return posts.AppendFrame(dst, i, s.at(sourceBS, i), i+1)
	})
	if err != nil || s.engine == apache { // which measures Bluesky alone
		return err
	}
	edits := world.Wikipedia(0)
	return write(s.file(sourceWP), s.events, func(dst []byte, i int64) []byte {
		return edits.AppendEvent(dst, i, s.at(sourceWP, i)/1000, simulate.Eqiad)
	})
}

func write(name string, n int, next func(dst []byte, i int64) []byte) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	var line []byte
	for i := range n {
		line = append(next(line[:0], int64(i)), '\n')
		if bytes.IndexByte(line, '\n') != len(line)-1 {
			return fmt.Errorf("event %d is not one line", i)
		}
		if _, err := w.Write(line); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Close()
}

// load maps a file's lines into memory, where they are nothing to the garbage
// collector, and touches each page.
func load(name string) ([][]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	all, err := syscall.Mmap(int(f.Fd()), 0, int(info.Size()), syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %s: %w", name, err)
	}
	var lines [][]byte
	for rest := all; len(rest) > 0; {
		end := bytes.IndexByte(rest, '\n')
		lines = append(lines, rest[:end:end])
		rest = rest[end+1:]
	}
	return lines, nil
}

// isData reports whether a line becomes a record of the data topic.
func isData(stream string, line []byte) bool {
	return stream == sourceWP || bytes.Contains(line, []byte(`"kind":"commit"`))
}

// memory is a source that decodes events from memory as fast as they are taken.
type memory struct {
	settings
	name  string
	lines [][]byte
}

// decoder returns the stream's decoder, as a function.
func decoder(stream string) func(*event.Batch, []byte) error {
	if stream == sourceWP {
		d := wikipedia.NewDecoder()
		return func(b *event.Batch, line []byte) error { _, err := d.Decode(b, line); return err }
	}
	d := bluesky.NewDecoder()
	return func(b *event.Batch, line []byte) error { _, err := d.Decode(b, line); return err }
}

// windows are what the real sources say.
var windows = map[string]time.Duration{sourceBS: (&bluesky.Source{}).Window(), sourceWP: (&wikipedia.Source{}).Window()}

func (m *memory) Name() string               { return m.name }
func (m *memory) Window() time.Duration      { return windows[m.name] }
func (m *memory) Status() event.SourceStatus { return event.SourceStatus{Connected: true} }

// Stream begins at the first event, whatever the position: each measurement has
// topics of its own.
func (m *memory) Stream(ctx context.Context, _ event.Cursor, emit func(*event.Batch) error) error {
	decode := decoder(m.name)
	for i := 0; i < len(m.lines); {
		b := event.NewBatch()
		b.Received = time.Now()
		for i < len(m.lines) && len(b.Events) < 256 && b.Bytes() < 64<<10 {
			if err := decode(b, b.Copy(m.lines[i])); err != nil {
				return &event.StreamError{Err: err, Permanent: true}
			}
			i++
		}
		b.Cursor = event.Cursor{Host: "bench:443", Seq: int64(i), TimeUS: m.at(m.name, int64(i)), Origin: event.OriginLive}
		if err := emit(b); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return ctx.Err()
}

// Identify is for the filter, which is rebuilt from topics that are empty here.
func (m *memory) Identify([]byte, *event.Batch) ([]byte, int64, bool) { return nil, 0, false }

package overflow_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/lab/overflow"
)

// spilling has a queue of ten events, a hundred that were put into it, and the disk.
func spilling(t *testing.T, disk int64) (*overflow.Queue, string) {
	t.Helper()
	dir := t.TempDir()
	q := overflow.New(overflow.Config{Events: 10, Bytes: 1 << 30, Dir: dir, DiskBytes: disk, Policy: overflow.Spill})
	for i := 0; i < 100; i += 5 {
		mustPut(t, q, batch(i, 5, 10))
	}
	return q, dir
}

func TestASpillKeepsOrderAndIsGoneAfterwards(t *testing.T) {
	q, dir := spilling(t, 1<<20)
	s := q.Stats()
	if s.Events != 10 || s.Spilled.Events != 90 || s.Spilled.Total != 90 || s.Spilled.Bytes == 0 || s.Dropped.Total() != 0 {
		t.Errorf("stats = %+v", s)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("a kill would leave %v", entries)
	}
	q.Close()
	got, cursor := drain(q)
	increasing(t, got)
	if len(got) != 100 || cursor.Seq != 100 {
		t.Errorf("%d events come out, position %d", len(got), cursor.Seq)
	}
	if s := q.Stats(); s.Spilled.Events != 0 || s.Spilled.Bytes != 0 {
		t.Errorf("the disk holds %+v", s.Spilled)
	}
}

func TestNothingOvertakesWhatIsOnDisk(t *testing.T) {
	for _, p := range []overflow.Policy{overflow.DropNewest, overflow.DropOldest, overflow.Sample, overflow.Spill} {
		q, _ := spilling(t, 1<<20)
		q.SetPolicy(p)
		mustPut(t, q, batch(100, 5, 10))
		s := q.Stats()
		got, cursor := drain(q)
		increasing(t, got)
		if int64(len(got))+s.Dropped[p] != 105 || cursor.Seq != 105 {
			t.Errorf("%v: %d come out, %v dropped, position %d", p, len(got), s.Dropped, cursor.Seq)
		}
		newest := got[len(got)-1]
		if keeps := p == overflow.DropOldest || p == overflow.Spill; keeps != (newest == 104) || p == overflow.DropOldest && got[0] != 5 {
			t.Errorf("%v: from %d to %d come out", p, got[0], newest)
		}
	}
	// Block waits until the disk is empty.
	q, _ := spilling(t, 1<<20)
	q.SetPolicy(overflow.Block)
	put := make(chan error)
	go func() { put <- q.Put(t.Context(), batch(100, 5, 10)) }()
	var got []int64
	for len(got) < 105 {
		for _, e := range mustGet(t, q).Events {
			got = append(got, e.TimeUS)
		}
	}
	increasing(t, got)
	if err := <-put; err != nil {
		t.Error(err)
	}
}

func TestBeyondItsShareOfTheDiskASpillDropsAndCounts(t *testing.T) {
	q, _ := spilling(t, 6000)
	s := q.Stats()
	got, cursor := drain(q)
	increasing(t, got)
	lost := int64(100 - len(got))
	if lost < 10 || lost > 80 || s.Dropped[overflow.Spill] != lost || s.Dropped.Total() != lost || cursor.Seq != 100 {
		t.Errorf("%d are missing, counted %v, position %d", lost, s.Dropped, cursor.Seq)
	}
	if s.Spilled.Bytes > 6000 {
		t.Errorf("%d bytes are on disk, bound 6000", s.Spilled.Bytes)
	}
}

func TestADiskThatRefusesIsSeen(t *testing.T) {
	q := overflow.New(overflow.Config{Events: 5, Bytes: 1 << 30, Dir: filepath.Join(t.TempDir(), "missing"), DiskBytes: 1 << 20, Policy: overflow.Spill})
	mustPut(t, q, batch(0, 5, 10))
	mustPut(t, q, batch(5, 5, 10))
	s := q.Stats()
	if s.Dropped[overflow.Spill] != 5 || s.Spilled.Err == "" {
		t.Errorf("stats = %+v", s)
	}
	if got, cursor := drain(q); len(got) != 5 || cursor.Seq != 10 {
		t.Errorf("%d come out, position %d", len(got), cursor.Seq)
	}
}

// What was spilled and cannot be read back is an error, and not an end: upstream has to send it again.
func TestWhatCannotBeReadBackIsAnError(t *testing.T) {
	q, dir := spilling(t, 1<<20)
	q.Close()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("needs /proc")
	}
	broken := 0
	for _, fd := range fds {
		path := "/proc/self/fd/" + fd.Name()
		if to, err := os.Readlink(path); err != nil || !strings.HasPrefix(to, dir) {
			continue
		}
		if err := os.Truncate(path, 0); err != nil {
			t.Fatal(err)
		}
		broken++
	}
	if broken == 0 {
		t.Fatal("no file of the spill is open")
	}
	var got []int64
	for {
		b, err := q.Get(t.Context())
		if err != nil {
			if !errors.Is(err, overflow.ErrSpill) {
				t.Errorf("after %d events: %v", len(got), err)
			}
			break
		}
		for _, e := range b.Events {
			got = append(got, e.TimeUS)
		}
	}
	if increasing(t, got); len(got) > 10 {
		t.Errorf("%d events come out, and 10 were in memory", len(got))
	}
}

func TestSpillWithoutADiskIsBlock(t *testing.T) {
	q := overflow.New(overflow.Config{Events: 5, Bytes: 1 << 30, Policy: overflow.Spill})
	if p := q.Stats().Policy; p != overflow.Block {
		t.Errorf("the policy is %v", p)
	}
}

// TestASpilledEventIsTheSame has every field of a batch set.
func TestASpilledEventIsTheSame(t *testing.T) {
	q := overflow.New(overflow.Config{Events: 1, Bytes: 1 << 30, Dir: t.TempDir(), DiskBytes: 1 << 20, Policy: overflow.Spill})
	mustPut(t, q, batch(0, 1, 10))
	want := event.Event{Route: event.Reject, Kind: "malformed", Key: []byte("k"), Value: bytes.Repeat([]byte{0, 0xff}, 200_000), ID: []byte{}, TimeUS: -7, Size: 1 << 40, Detail: "why"}
	cursor := event.Cursor{Host: "h:1", Seq: 9, TimeUS: 8, Partitions: []event.Partition{{Topic: "t", Partition: 3, TimestampMS: 4}}, Last: "id", Scope: "s", Origin: "live"}
	b := event.NewBatch()
	e := want
	e.Key, e.Value = b.Copy(e.Key), b.Copy(e.Value)
	*b.Add() = e
	*b.Add() = event.Event{Route: event.Gap}
	b.Cursor, b.Received = cursor, time.Unix(5, 6)
	mustPut(t, q, b)
	mustGet(t, q)
	got := mustGet(t, q)
	if len(got.Events) != 2 || !reflect.DeepEqual(got.Events[0], want) || !reflect.DeepEqual(got.Events[1], event.Event{Route: event.Gap}) {
		t.Errorf("events differ: %.300v", got.Events)
	}
	if !reflect.DeepEqual(got.Cursor, cursor) || !got.Received.Equal(time.Unix(5, 6)) {
		t.Errorf("cursor %+v, received %v", got.Cursor, got.Received)
	}
}

func TestDiscardGivesTheDiskBack(t *testing.T) {
	q, _ := spilling(t, 1<<20)
	q.Discard()
	if s := q.Stats(); s.Events != 0 || s.Spilled.Events != 0 {
		t.Errorf("stats = %+v", s)
	}
	if _, err := q.Get(context.Background()); err != overflow.ErrClosed {
		t.Errorf("err = %v", err)
	}
	q.Discard()
}

// TestWhatWasSpilledComesBackInLargeBatches spills events one by one: workers share a batch, so
// batches of one event would keep one of them busy.
func TestWhatWasSpilledComesBackInLargeBatches(t *testing.T) {
	const events, memory = 400, 100
	q := overflow.New(overflow.Config{Events: memory, Bytes: 1 << 20, Dir: t.TempDir(), DiskBytes: 1 << 20, Policy: overflow.Spill})
	for i := range events {
		mustPut(t, q, batch(i, 1, 10))
	}
	if s := q.Stats(); s.Spilled.Events != events-memory {
		t.Fatalf("%d events are on disk, want %d", s.Spilled.Events, events-memory)
	}
	var numbers []int64
	gets := 0
	for ; len(numbers) < events; gets++ {
		b := mustGet(t, q)
		for _, e := range b.Events {
			numbers = append(numbers, e.TimeUS)
		}
		if want := int64(len(numbers)); b.Cursor.Seq != want {
			t.Errorf("the cursor of batch %d is %d, want %d", gets, b.Cursor.Seq, want)
		}
		b.Release()
	}
	increasing(t, numbers)
	if gets > 2*events/memory {
		t.Errorf("%d events came in %d batches", events, gets)
	}
}

package send

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// blockSize is how much is read at once: large blocks make few allocations, and a block
	// stays in memory until its last record is written.
	blockSize = 256 << 10
	// blockRest is the room that is worth reading into; records before it stay where they are.
	blockRest = 32 << 10
	// MaxLine bounds a line in bytes: the largest record as JSON with escapes.
	MaxLine = 64 << 20
)

// Lines is an input whose records are lines.
type Lines struct {
	in    io.Reader
	parse func(line []byte, r *kgo.Record) (skip bool, err error)

	block []byte // block[:used] are read; block[start:used] are in no record yet
	start int
	used  int
	line  int64 // lines so far
	end   error // what comes after the lines that were read
}

// NewLines reads records from lines. parse makes a record of a line without its end; what it
// keeps of the line stays as it is. It may skip a line that holds no record.
func NewLines(in io.Reader, parse func(line []byte, r *kgo.Record) (skip bool, err error)) *Lines {
	return &Lines{in: in, parse: parse}
}

// Unit implements Input.
func (l *Lines) Unit() string { return "line" }

// Next implements Input. It returns the lines of one read, so that what a person types or
// a program writes is sent at once.
func (l *Lines) Next(ctx context.Context) (*Batch, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if b := l.lines(); b != nil {
			return b, nil
		}
		if l.end != nil {
			return nil, l.end
		}
		if err := l.read(); err != nil {
			return nil, err
		}
	}
}

// read reads one more piece. At the end of the input, what is left is the last line.
func (l *Lines) read() error {
	if len(l.block)-l.used < blockRest {
		size := blockSize
		if rest := l.used - l.start; rest > blockSize/2 { // a line that is longer than that
			size = min(2*rest, MaxLine+blockRest)
		}
		block := make([]byte, size)
		l.used = copy(block, l.block[l.start:l.used])
		l.block, l.start = block, 0
	}
	n, err := l.in.Read(l.block[l.used:])
	if l.used += n; l.used-l.start > MaxLine && bytes.IndexByte(l.block[l.start:l.used], '\n') < 0 {
		return fmt.Errorf("line %d is longer than %d MiB", l.line+1, MaxLine>>20)
	}
	switch {
	case errors.Is(err, io.EOF):
		l.end = io.EOF
	case err != nil:
		l.end = fmt.Errorf("read line %d: %w", l.line+1, err)
	}
	return nil
}

// lines makes records of the whole lines that were read; nil where there is none. A line that
// is skipped or wrong ends the batch, because lines in a batch have numbers without gaps.
func (l *Lines) lines() *Batch {
	text := l.block[l.start:l.used]
	n := bytes.Count(text, []byte{'\n'})
	last := errors.Is(l.end, io.EOF) && len(text) > 0 && text[len(text)-1] != '\n'
	if last {
		n++
	}
	if n == 0 {
		return nil
	}
	b := &Batch{Records: make([]kgo.Record, 0, n), First: l.line + 1}
	for range n {
		at := bytes.IndexByte(text, '\n')
		line, next := text, len(text)
		if at >= 0 {
			line, next = text[:at], at+1
		}
		text, l.start, l.line = text[next:], l.start+next, l.line+1
		line = bytes.TrimSuffix(line, []byte{'\r'})
		b.Records = b.Records[:len(b.Records)+1]
		skip, err := l.parse(slices.Clip(line), &b.Records[len(b.Records)-1])
		if err == nil && !skip {
			continue
		}
		b.Records = b.Records[:len(b.Records)-1]
		if err != nil {
			l.end, l.start = fmt.Errorf("line %d: %w", l.line, err), l.used
			break
		}
		if len(b.Records) > 0 {
			break
		}
		b.First = l.line + 1
	}
	if len(b.Records) == 0 {
		return nil
	}
	return b
}

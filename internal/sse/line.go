package sse

import (
	"bytes"
	"crypto/sha256"
	"hash"
)

// line returns the next line without its end (CRLF, LF or CR), a view that is
// valid until the next call. whole is false for a line that was too long to be
// held: its data, if it is a data line, has been taken care of.
func (r *Reader) line() (line []byte, whole bool, err error) {
	r.spill, r.skipped, r.inData = r.spill[:0], 0, false
	for {
		buf, err := r.window()
		if err != nil {
			return nil, false, err
		}
		n, end := lineEnd(buf)
		piece := buf[:n]
		if end {
			r.afterCR = buf[n] == '\r'
			n++
		}
		held := r.skipped == 0
		switch {
		case end && held && len(r.spill) == 0:
			line = piece // the usual case: nothing is copied
		case held && len(r.spill)+len(piece) <= r.limits.Data+len("data: "):
			r.settle() // the data may be a view into the line that was spilled before
			r.spill = append(r.spill, piece...)
			line = r.spill
		default:
			if err := r.skip(piece); err != nil {
				return nil, false, err
			}
		}
		_, _ = r.br.Discard(n) // that much is buffered
		if end {
			return line, r.skipped == 0, nil
		}
	}
}

// window returns what is buffered, at least one byte, after reading more only
// when nothing is.
func (r *Reader) window() ([]byte, error) {
	for {
		if r.br.Buffered() == 0 {
			r.settle()
		}
		if !r.started {
			if err := r.skipMark(); err != nil {
				return nil, err
			}
		}
		if _, err := r.br.Peek(1); err != nil {
			return nil, err
		}
		buf, _ := r.br.Peek(r.br.Buffered())
		if !r.afterCR {
			return buf, nil
		}
		r.afterCR = false
		if buf[0] != '\n' {
			return buf, nil
		}
		_, _ = r.br.Discard(1)
	}
}

// skipMark drops one byte order mark at the start of the stream. It reads a
// second and third byte only where those before were of a mark: a stream that
// begins with one short line must not wait for more.
func (r *Reader) skipMark() error {
	for n := 1; n <= len(byteOrderMark); n++ {
		p, err := r.br.Peek(n)
		if len(p) < n {
			if n > 1 { // the stream ends inside what may have been a mark
				break
			}
			return err
		}
		if !bytes.Equal(p, byteOrderMark[:n]) {
			break
		}
		if n == len(byteOrderMark) {
			_, _ = r.br.Discard(n)
		}
	}
	r.started = true
	return nil
}

// lineEnd returns how many bytes come before the first line end, and whether
// there is one.
func lineEnd(buf []byte) (n int, found bool) {
	n = bytes.IndexByte(buf, '\n')
	found = n >= 0
	if !found {
		n = len(buf)
	}
	if cr := bytes.IndexByte(buf[:n], '\r'); cr >= 0 {
		return cr, true
	}
	return n, found
}

// skip takes a piece of a line that is too long to be held. Of data it keeps
// the head and the digest; anything else is dropped.
func (r *Reader) skip(piece []byte) error {
	if r.skipped == 0 {
		r.settle()
		r.spill = append(r.spill, piece...)
		piece = r.spill
		if value, ok := bytes.CutPrefix(piece, []byte("data:")); ok {
			r.inData = true
			r.lines++
			if r.lines > 1 {
				r.push(newline)
			}
			r.push(bytes.TrimPrefix(value, []byte(" ")))
		} else if piece[0] == ':' {
			r.signs++
		}
	} else if r.inData {
		r.push(piece)
	}
	r.skipped += int64(len(piece))
	if r.skipped > maxSkip {
		return ErrEndless
	}
	return nil
}

// digest is the SHA-256 and size of data that is not held.
type digest struct {
	hash hash.Hash
	size int64
	on   bool
}

// start begins with what was held so far.
func (d *digest) start(held []byte) {
	if d.hash == nil {
		d.hash = sha256.New()
	}
	d.hash.Reset()
	d.size, d.on = 0, true
	d.write(held)
}

func (d *digest) write(p []byte) {
	d.hash.Write(p)
	d.size += int64(len(p))
}

func (d *digest) reset() { d.size, d.on = 0, false }

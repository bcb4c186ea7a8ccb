package bluesky

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/weir-project/weir/internal/event"
)

// maxMessage is how long, in bytes, a message may be before the connection
// counts as broken: one that never ends would deliver nothing for ever.
const maxMessage = 256 << 20

var errEndless = fmt.Errorf("message of over %d MiB", maxMessage>>20)

// reader reads whole messages into memory of its own. They are copied into a
// batch from there, because the batch may be handed on while half a message has
// arrived.
type reader struct {
	buf  []byte
	hash hash.Hash
}

// message is one message. If it was larger than event.MaxValue, data is its
// head, and size and sum describe the whole.
type message struct {
	data     []byte
	tooLarge bool
	size     int64
	sum      [sha256.Size]byte
}

// read reads the message that src holds, to its end.
func (r *reader) read(src io.Reader) (message, error) {
	if cap(r.buf) != readBuffer { // a large message does not keep its memory
		r.buf = make([]byte, 0, readBuffer)
	}
	buf := r.buf[:0]
	for {
		n, err := src.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case errors.Is(err, io.EOF):
			r.buf = buf
			return message{data: buf, size: int64(len(buf))}, nil
		case err != nil:
			return message{}, err
		case len(buf) > event.MaxValue:
			return r.rest(src, buf)
		case len(buf) == cap(buf):
			// One byte more than the limit, so that reaching the limit is no overrun.
			grown := make([]byte, len(buf), min(4*cap(buf), event.MaxValue+1))
			copy(grown, buf)
			buf = grown
		}
	}
}

// rest reads what remains of a message over the limit, of which start was read.
func (r *reader) rest(src io.Reader, start []byte) (message, error) {
	if r.hash == nil {
		r.hash = sha256.New()
	}
	r.hash.Reset()
	r.hash.Write(start)
	m := message{data: append(r.buf[:0], start[:event.MaxHead]...), tooLarge: true}
	scratch := start[event.MaxHead:]
	n, err := io.CopyBuffer(r.hash, onlyReader{io.LimitReader(src, maxMessage)}, scratch)
	if err != nil {
		return message{}, err
	}
	m.size = int64(len(start)) + n
	if n == maxMessage {
		return message{}, errEndless
	}
	r.hash.Sum(m.sum[:0])
	return m, nil
}

// onlyReader hides a reader's other methods from io.CopyBuffer.
type onlyReader struct{ io.Reader }

package event

import "testing"

// TestALargeFrameIsNotKept: batches come from a pool, where the memory of one large frame would
// stay for good.
func TestALargeFrameIsNotKept(t *testing.T) {
	b := NewBatch()
	b.Copy(make([]byte, 3<<20))
	if n := b.Bytes(); n != 3<<20 {
		t.Errorf("%d bytes are counted", n)
	}
	b.Release()
	if n := cap(b.buf); n > chunk {
		t.Errorf("a released batch keeps %d bytes", n)
	}
	if len(b.Events) != 0 || b.Bytes() != 0 || !b.Cursor.IsZero() {
		t.Errorf("a released batch holds %+v", b)
	}
}

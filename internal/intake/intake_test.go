package intake

import (
	"errors"
	"testing"
)

// Eight clients fill the budget and stall. A ninth that goes on sending is
// admitted, and so is every small request.
func TestTheOldestRequestIsClosed(t *testing.T) {
	b := NewBudget(8 << 20)
	closed := make(chan int, 16)
	var stalled []*Request
	for i := range 8 {
		r := b.Request(func() { closed <- i })
		if err := r.Add(1<<20 + Free); err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
		stalled = append(stalled, r)
	}
	own := b.Request(func() { closed <- -1 })
	if err := own.Add(Free); err != nil || b.Closed() != 0 {
		t.Fatalf("a small request: %v, %d connections closed", err, b.Closed())
	}
	if err := own.Add(1 << 20); err != nil {
		t.Fatalf("a request that goes on: %v", err)
	}
	if i := <-closed; i != 0 {
		t.Errorf("connection %d closed, not the one that began first", i)
	}
	if err := stalled[0].Add(1); !errors.Is(err, ErrClosed) {
		t.Errorf("the closed connection goes on: %v", err)
	}
	own.Done()
	for _, r := range stalled {
		r.Done()
	}
	if n := b.Held(); n != 0 {
		t.Errorf("%d bytes are counted after every request has ended", n)
	}
}

func TestARequestLargerThanTheBudgetClosesItself(t *testing.T) {
	b := NewBudget(1 << 20)
	closed := make(chan struct{})
	r := b.Request(func() { close(closed) })
	if err := r.Add(2 << 20); !errors.Is(err, ErrClosed) {
		t.Errorf("admitted: %v", err)
	}
	<-closed
	if n := b.Held(); n != 0 {
		t.Errorf("%d bytes counted", n)
	}
}

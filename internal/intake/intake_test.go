package intake

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// desk makes requests and notes which connections a budget closed.
type desk struct {
	*Budget
	gone chan string
}

func newDesk(limit int64) *desk { return &desk{NewBudget(limit), make(chan string, 100)} }

// request returns a request of which bytes have arrived beyond those that are free.
func (d *desk) request(t *testing.T, name string, bytes int) *Request {
	t.Helper()
	r := d.Request(func() { d.gone <- name })
	if err := r.Add(Free + bytes); err != nil {
		t.Errorf("%s: %v", name, err)
	}
	return r
}

func (d *desk) end(t *testing.T, requests ...*Request) {
	t.Helper()
	for _, r := range requests {
		r.Done()
	}
	if d.held != 0 || d.working != 0 || len(d.open) != 0 {
		t.Errorf("%d bytes held, %d in work, %d requests open at the end", d.held, d.working, len(d.open))
	}
}

// Eight clients fill the budget and stall. A ninth that goes on sending is
// admitted, and so is every small request.
func TestTheOldestStalledRequestIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(8 << 20)
		var all []*Request
		for i := range 8 {
			all = append(all, d.request(t, fmt.Sprint(i), 1<<20))
		}
		r := d.request(t, "own", 0)
		if d.Closed() != 0 || d.Waits() != 0 {
			t.Fatal("a small request is not free")
		}
		begun := time.Now()
		if err := r.Add(1 << 20); err != nil {
			t.Fatalf("a request that goes on: %v", err)
		}
		if took := time.Since(begun); took > stalled || d.Closed() != 1 {
			t.Errorf("it waited for %v, %d connections closed", took, d.Closed())
		}
		if name := <-d.gone; name != "0" {
			t.Errorf("connection %s is closed, not the one that began first", name)
		}
		if err := all[0].Add(1); !errors.Is(err, errClosed) {
			t.Errorf("the closed connection goes on: %v", err)
		}
		d.end(t, append(all, r)...)
	})
}

// Clients that send at the same time all finish, however many there are, and the
// bytes stay within the bound.
func TestClientsThatSendWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size, piece, clients = 1 << 20, 32 << 10, 50
		d := newDesk(4 << 20)
		ended := make(chan error, clients)
		for i := range clients {
			go func() {
				r := d.Request(func() { d.gone <- fmt.Sprint(i) })
				for range size / piece {
					if err := r.Add(piece); err != nil {
						ended <- err
						return
					}
					if n := d.Held(); n > 5<<20 {
						t.Errorf("%d bytes held", n)
					}
					time.Sleep(time.Millisecond) // until more arrives
				}
				r.Arrived()
				r.Work()
				time.Sleep(300 * time.Millisecond)
				r.Done()
				ended <- nil
			}()
		}
		for range clients {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
		if d.Waits() == 0 || d.Closed() != 0 {
			t.Errorf("%d requests waited, %d connections closed", d.Waits(), d.Closed())
		}
		d.end(t)
	})
}

// Nothing is closed while the server works, but what waits for other clients, or
// sends a byte now and then, gives way in the end.
func TestRequestsThatTakeLongGiveWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(4 << 20)
		parked := d.request(t, "parked", 2<<20)
		parked.Arrived()
		trickling := d.request(t, "trickling", 2<<20)
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			for trickling.Add(0) == nil {
				trickling.budget.mu.Lock()
				trickling.last = time.Now()
				trickling.budget.mu.Unlock()
				select {
				case <-stop:
					return
				case <-time.After(stalled / 2):
				}
			}
		}()
		begun := time.Now()
		r := d.request(t, "new", 3<<20)
		if took := time.Since(begun); took < slow || took > slow+stalled || d.Closed() != 2 {
			t.Errorf("waited for %v, %d closed", took, d.Closed())
		}
		if a, b := <-d.gone, <-d.gone; a == b || a == "new" || b == "new" {
			t.Errorf("%s and %s are closed", a, b)
		}
		close(stop)
		<-stopped
		r.Work()
		if err := new(Request).Add(100 << 20); err != nil {
			t.Errorf("a request of this process: %v", err)
		}
		d.end(t, r, parked, trickling)
	})
}

// A request that is larger than the budget is received alone.
func TestTheOldestRequestMayExceedTheBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(1 << 20)
		small := d.request(t, "small", 1<<19)
		small.Work()
		added := make(chan *Request)
		go func() { added <- d.request(t, "large", 2<<20) }()
		synctest.Wait()
		if len(added) != 0 || d.Held() != 1<<19 {
			t.Errorf("%d bytes held: it does not wait", d.Held())
		}
		small.Done()
		large := <-added
		if d.Held() != 2<<20 || d.Closed() != 0 {
			t.Errorf("%d bytes held, %d connections closed", d.Held(), d.Closed())
		}
		d.end(t, large)
	})
}

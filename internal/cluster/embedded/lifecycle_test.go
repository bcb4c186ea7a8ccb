package embedded

import (
	"errors"
	"net"
	"sync"
	"testing"
	"time"
)

// Kills and restarts at once with a Close leave no port bound, and after it no broker
// starts.
func TestChangesAtOnceWithClose(t *testing.T) {
	for range 5 {
		c, err := Open(testCtx(t), Config{})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		stop := make(chan struct{})
		for i := range int32(4) {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					if i%2 == 0 {
						_ = c.Restart(testCtx(t), 1) // or it is running
					} else {
						_ = c.Kill(testCtx(t), 1) // or it is not
					}
				}
			})
		}
		time.Sleep(20 * time.Millisecond)
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if err := c.Restart(testCtx(t), 1); !errors.Is(err, errClosed) {
			t.Errorf("a restart after Close: %v", err)
		}
		close(stop)
		wg.Wait()
		for _, addr := range c.Addrs() {
			l, err := net.Listen("tcp", addr)
			if err != nil {
				t.Errorf("after Close: %v", err)
				continue
			}
			_ = l.Close()
		}
	}
}

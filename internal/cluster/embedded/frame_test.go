package embedded

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/intake"
)

// stall opens a connection that announces a Produce request of 99 MiB and sends
// only the first bytes of it.
func stall(t *testing.T, addr string, sent int) {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	b := make([]byte, sent)
	copy(b, frame(99<<20, 0, 9, 0, 1, 'x', 0, 0, 0))
	if _, err := nc.Write(b); err != nil {
		t.Fatal(err)
	}
}

// bare returns a broker with nothing behind it.
func bare() *broker {
	log := slog.New(slog.DiscardHandler)
	return &broker{c: &Cluster{log: log, budget: intake.NewBudget(maxHeld)}, places: intake.NewPlaces("broker 0", 100, log)}
}

// allocated returns the bytes allocated since the process began.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(40 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// Memory grows with the bytes that arrived, never with the size that a frame announces.
func TestAnnouncedBytesTakeNoMemory(t *testing.T) {
	c := open(t, Config{})
	createTopic(t, c.Addrs(), "t", 1, nil)
	const clients, sent = 60, 70 << 10 // three chunks each
	before := allocated()
	for i := range clients {
		stall(t, c.Addrs()[i%Size], sent)
	}
	until(t, "all bytes have arrived", func() bool {
		return c.budget.Held() == clients*(3*chunkBytes-intake.Free)
	})
	if n := allocated() - before; n > 64<<20 {
		t.Errorf("%d clients sent %d KiB each, and %d MiB were allocated", clients, sent>>10, n>>20)
	}
	large := string(make([]byte, 900<<10))
	produce(t, client(t, c.Addrs(), manual(), kgo.ProducerBatchCompression(kgo.NoCompression())), "t", 0, large)
	if got := consume(t, c.Addrs(), "t", 0); len(got) != 1 || got[0] != large {
		t.Errorf("read %d records back", len(got))
	}
}

// Clients that really send much and then stall are closed, oldest first, and
// keep nobody else out.
func TestHalfRequestsHaveABound(t *testing.T) {
	c := open(t, Config{})
	createTopic(t, c.Addrs(), "t", 1, nil)
	const sent = 40 << 20
	for range 5 {
		stall(t, c.Addrs()[0], sent)
	}
	until(t, "a connection is closed", func() bool { return c.budget.Closed() > 0 })
	if n := c.budget.Held(); n > maxHeld {
		t.Errorf("%d bytes held, the bound is %d", n, maxHeld)
	}
	produce(t, client(t, c.Addrs(), manual()), "t", 0, string(make([]byte, 900<<10)))
}

func TestARequestHasADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bare()
		outside, inside := net.Pipe()
		defer outside.Close()
		c := newConn(b, inside)
		go func() {
			_, _ = outside.Write(frame(1000, 3, 1))
		}()
		begun := time.Now()
		_, err := c.Read(make([]byte, 4))
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begun) != intake.Deadline {
			t.Errorf("ended after %v with %v", time.Since(begun), err)
		}
	})
}

// Frames of every size around the buffer and the chunks pass unchanged.
func TestFramesPassUnchanged(t *testing.T) {
	for _, n := range []int{100, 4 << 10, 4<<10 + 1, chunkBytes - 1, chunkBytes, chunkBytes + 1, 3*chunkBytes + 7} {
		sent := make([]byte, n)
		for i := range sent {
			sent[i] = byte(i * 7)
		}
		copy(sent, frame(uint32(n-4), 0, 9, 0, 1, 'x', 0, 0, 0xff, 0xff))
		b := bare()
		outside, inside := net.Pipe()
		c := newConn(b, inside)
		go func() { _, _ = outside.Write(append(sent, sent...)) }()
		go func() { _, _ = io.Copy(io.Discard, outside) }()
		for range 2 {
			got := make([]byte, n)
			for at := 0; at < n; {
				m, err := c.Read(got[at:min(n, at+5000)])
				if err != nil {
					t.Fatal(err)
				}
				at += m
			}
			if string(got) != string(sent) {
				t.Errorf("a frame of %d bytes arrived changed", n)
			}
			if n > chunkBytes && b.c.budget.Held() == 0 {
				t.Errorf("a frame of %d bytes is not counted while the broker works on it", n)
			}
			if _, err := c.Write(append([]byte{0, 0, 0, 4}, sent[8:12]...)); err != nil {
				t.Fatal(err)
			}
		}
		if held := b.c.budget.Held(); held != 0 {
			t.Errorf("%d bytes counted after the response to a frame of %d", held, n)
		}
		_ = outside.Close()
	}
}

// Connections that send nothing complete do not keep others out.
func TestManyConnections(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv("WEIR_TEST_CONNECTIONS"))
	if err != nil {
		t.Skip("a long check; run it with: WEIR_TEST_CONNECTIONS=10000 go test -run ManyConnections ./internal/...")
	}
	c := open(t, Config{})
	createTopic(t, c.Addrs(), "t", 1, nil)
	before := allocated()
	for range n {
		nc, err := net.Dial("tcp", c.Addrs()[0])
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		_, _ = nc.Write(frame(99<<20, 0, 9, 0, 1, 'x', 0, 0, 0))
	}
	until(t, "the broker is full", func() bool { return int(c.brokers[0].places.Displaced()) >= n-c.cfg.conns })
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	t.Logf("%d connections: %d MiB allocated, %d MiB of the system's memory", n, (allocated()-before)>>20, m.Sys>>20)
	if m.Sys > 512<<20 {
		t.Errorf("%d MiB of the system's memory", m.Sys>>20)
	}
	produce(t, client(t, c.Addrs(), manual()), "t", 0, string(make([]byte, 900<<10)))
}

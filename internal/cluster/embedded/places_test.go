package embedded

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-project/weir/internal/intake"
	"github.com/weir-project/weir/internal/kafka"
)

// send1 opens a connection and sends one request on it. A broker without a place
// resets it, at any time from the handshake on.
func send1(t *testing.T, addr string, req kmsg.Request) (net.Conn, error) {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(40 * time.Second))
	_, err = nc.Write(kmsg.NewRequestFormatter().AppendRequest(nil, req, 1))
	return nc, err
}

func response(nc net.Conn) error {
	size := make([]byte, 4)
	if _, err := io.ReadFull(nc, size); err != nil {
		return err
	}
	_, err := io.CopyN(io.Discard, nc, int64(binary.BigEndian.Uint32(size)))
	return err
}

// longFetch waits for records of an empty partition for ten minutes.
func longFetch(topic string) kmsg.Request {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.MaxWaitMillis, req.MinBytes, req.MaxBytes = 11, 600_000, 1, 1<<20
	p := kmsg.NewFetchRequestTopicPartition()
	p.PartitionMaxBytes = 1 << 20
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic, rt.Partitions = topic, append(rt.Partitions, p)
	req.Topics = append(req.Topics, rt)
	return req
}

// Clients that send one request and then nothing lose their connection to others.
// Clients that wait for a response do not. weir's own connections are admitted
// even if every place is taken by clients that wait.
func TestPlacesOfABroker(t *testing.T) {
	const conns = 6
	c := tuned(t, config{conns: conns})
	createTopic(t, c.Addrs(), "empty", 1, nil)
	createTopic(t, c.Addrs(), "t", 1, nil)
	l := c.leader(t, "empty", 0)
	addr, places := c.Addrs()[l], c.brokers[l].places
	var silent []net.Conn
	for range conns {
		nc, err := send1(t, addr, kmsg.NewPtrApiVersionsRequest())
		if err == nil {
			err = response(nc)
		}
		if err != nil {
			t.Fatal(err)
		}
		silent = append(silent, nc)
	}
	until(t, "every place is taken by a client that waits", func() bool {
		_, _ = send1(t, addr, longFetch("empty"))
		return places.Refused() > 0
	})
	for i, nc := range silent {
		if err := response(nc); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("silent connection %d: %v", i, err)
		}
	}
	for b := range c.brokers {
		for range 2 * conns {
			_, _ = send1(t, c.Addrs()[b], longFetch("empty"))
		}
	}
	cl, err := kafka.Config{Brokers: []string{addr}}.NewClient(manual())
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	produce(t, cl, "t", 0, "a", "b")
}

// pipe returns a connection of b, and its client's side, on which everything that
// is written to the client is dropped.
func pipe(b *broker) (*conn, net.Conn) {
	outside, inside := net.Pipe()
	go func() { _, _ = io.Copy(io.Discard, outside) }()
	b.wg.Add(1)
	return newConn(b, inside), outside
}

// Requests that the module works on keep others waiting, and close no connection.
// A request of a connection on which the module waits is none of them.
func TestRequestsInWorkHaveABound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 4 * chunkBytes
		b := bare()
		b.c.budget = intake.NewBudget(2 * n)
		request := frame(n-4, 0, 9, 0, 1, 'x', 0, 0, 0xff, 0xff)
		request = append(request, make([]byte, n-len(request))...)
		arrive := func(c *conn, outside net.Conn, sent []byte) chan error {
			arrived := make(chan error, 1)
			go func() { _, _ = outside.Write(sent) }()
			go func() {
				_, err := io.ReadFull(c, make([]byte, len(sent)))
				arrived <- err
			}()
			synctest.Wait()
			return arrived
		}
		var conns []*conn
		var arrived []chan error
		for range 3 {
			c, outside := pipe(b)
			defer outside.Close()
			conns, arrived = append(conns, c), append(arrived, arrive(c, outside, request))
		}
		if len(arrived[0]) != 1 || len(arrived[1]) != 1 || len(arrived[2]) != 0 || b.c.budget.Held() > 2*n {
			t.Fatalf("%d bytes held; arrived: %d, %d, %d", b.c.budget.Held(), len(arrived[0]), len(arrived[1]), len(arrived[2]))
		}
		respond := func(c *conn) {
			if _, err := c.Write([]byte{0, 0, 0, 4, 0, 0, 0, 7}); err != nil {
				t.Error(err)
			}
		}
		respond(conns[0])
		synctest.Wait()
		if len(arrived[2]) != 1 || b.c.budget.Waits() == 0 || b.c.budget.Closed() != 0 {
			t.Errorf("%d closed: the third request still waits", b.c.budget.Closed())
		}
		respond(conns[1])
		respond(conns[2])
		if held := b.c.budget.Held(); held != 0 {
			t.Errorf("%d bytes held after every response", held)
		}
		// The module waits for other members of a group, and so does what follows.
		for range 2 {
			c, outside := pipe(b)
			defer outside.Close()
			c.take(flight{key: int16(kmsg.JoinGroup), corr: 1}, true)
			<-arrive(c, outside, request)
		}
		c, outside := pipe(b)
		defer outside.Close()
		<-arrive(c, outside, request)
		if n := b.c.budget.Closed(); n != 1 {
			t.Errorf("%d connections closed: requests that wait for a group keep others out", n)
		}
	})
}

// A client that does not read its response loses its connection.
func TestAResponseHasADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outside, inside := net.Pipe()
		defer outside.Close()
		c := newConn(bare(), inside)
		begun := time.Now()
		if err := c.send(make([]byte, 3*sendBytes)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begun) != intake.Deadline+sendSlack {
			t.Errorf("ended after %v with %v", time.Since(begun), err)
		}
	})
}

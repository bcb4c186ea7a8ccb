package embedded

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// frame builds a request frame that claims size bytes.
func frame(size uint32, key, version int16, rest ...byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, size)
	b = binary.BigEndian.AppendUint16(b, uint16(key))
	b = binary.BigEndian.AppendUint16(b, uint16(version))
	b = binary.BigEndian.AppendUint32(b, 7)
	return append(b, rest...)
}

func TestWhatIsNotKafkaIsTurnedAway(t *testing.T) {
	c := open(t, Config{})
	for name, bytes := range map[string][]byte{
		"http":              []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"tls":               []byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03aaaaaaaaa"),
		"redis":             []byte("*1\r\n$4\r\nPING\r\n"),
		"unknown key":       frame(12, 9999, 0, 0, 0, 0, 0),
		"negative key":      frame(12, -1, 0, 0, 0, 0, 0),
		"empty":             frame(0, 3, 1),
		"negative size":     frame(1<<31+8, 3, 1, 0, 0),
		"huge produce":      frame(100<<20+1, 0, 9, 0, 0),
		"huge metadata":     frame(3<<20, 3, 1, 0, 0),
		"inspected garbage": frame(20, 19, 7, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
	} {
		t.Run(name, func(t *testing.T) {
			before := c.refused.Load()
			nc, err := net.Dial("tcp", c.Addrs()[1])
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			if _, err := nc.Write(bytes); err != nil {
				t.Fatal(err)
			}
			_ = nc.SetReadDeadline(time.Now().Add(10 * time.Second))
			n, err := io.Copy(io.Discard, nc)
			var timeout net.Error
			if n != 0 || errors.As(err, &timeout) && timeout.Timeout() {
				t.Errorf("answered %d bytes, then %v: the connection was to be closed", n, err)
			}
			if c.refused.Load() == before {
				t.Error("not counted as refused")
			}
		})
	}
	createTopic(t, c.Addrs(), "still-there", 1, nil)
}

// A response must not overtake the ones before it: the module reads one request
// ahead, and some are answered in front of it.
func TestAnswersKeepTheirOrder(t *testing.T) {
	c := open(t, Config{})
	createTopic(t, c.Addrs(), "t", 1, nil)
	nc, err := net.Dial("tcp", c.Addrs()[c.leader(t, "t", 0)])
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
	f := kmsg.NewRequestFormatter(kmsg.FormatterClientID("order"))
	wait := kmsg.NewPtrFetchRequest() // parks for 300 ms
	wait.Version, wait.MaxWaitMillis, wait.MinBytes, wait.SessionEpoch = 4, 300, 1, -1
	ft := kmsg.NewFetchRequestTopic()
	ft.Topic = "t"
	fp := kmsg.NewFetchRequestTopicPartition()
	fp.PartitionMaxBytes, fp.CurrentLeaderEpoch = 1000, -1
	ft.Partitions = append(ft.Partitions, fp)
	wait.Topics = append(wait.Topics, ft)
	refused := kmsg.NewPtrCreateTopicsRequest() // answered in front of the module
	refused.Version = 5
	rt := kmsg.NewCreateTopicsRequestTopic()
	rt.Topic, rt.NumPartitions, rt.ReplicationFactor = "many", maxPartitions+1, 1
	refused.Topics = append(refused.Topics, rt)
	silent := kmsg.NewPtrProduceRequest() // acks 0: no answer at all
	silent.Version, silent.Acks = 9, 0
	versions := kmsg.NewPtrApiVersionsRequest()
	var out []byte
	for i, req := range []kmsg.Request{versions, silent, wait, refused, versions, silent, refused} {
		out = append(out, f.AppendRequest(nil, req, int32(i))...)
	}
	if _, err := nc.Write(out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int32{0, 2, 3, 4, 6} {
		var head [8]byte
		if _, err := io.ReadFull(nc, head[:]); err != nil {
			t.Fatalf("waiting for the answer to %d: %v", want, err)
		}
		body := make([]byte, binary.BigEndian.Uint32(head[:])-4)
		if _, err := io.ReadFull(nc, body); err != nil {
			t.Fatal(err)
		}
		if got := int32(binary.BigEndian.Uint32(head[4:])); got != want {
			t.Fatalf("answer to %d came when %d was due", got, want)
		}
		if want == 3 {
			resp := refused.ResponseKind().(*kmsg.CreateTopicsResponse)
			if err := decodeResponse(append(head[:], body...), resp); err != nil {
				t.Fatal(err)
			}
			if resp.Topics[0].ErrorCode != kerr.InvalidPartitions.Code {
				t.Errorf("%d partitions: error code %d", maxPartitions+1, resp.Topics[0].ErrorCode)
			}
		}
	}
}

// leader asks the module, not the wire.
func (c *Cluster) leader(t *testing.T, topic string, part int32) int32 {
	t.Helper()
	all, err := c.topology(testCtx(t))
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(p placed) bool { return p.partition == partition{topic, part} })
	if i < 0 {
		t.Fatalf("no partition %s/%d", topic, part)
	}
	return all[i].leader
}

func TestPartitionsHaveALimit(t *testing.T) {
	c := open(t, Config{})
	createTopic(t, c.Addrs(), "t", 1, nil)
	adm := kadm.NewClient(client(t, c.Addrs()))
	if _, err := adm.CreateTopic(testCtx(t), maxPartitions+1, 1, nil, "huge"); !errors.Is(err, kerr.InvalidPartitions) {
		t.Errorf("a topic of %d partitions: %v", maxPartitions+1, err)
	}
	r, err := adm.UpdatePartitions(testCtx(t), 1<<30, "t")
	if err != nil || !errors.Is(r["t"].Err, kerr.InvalidPartitions) {
		t.Errorf("2^30 partitions for a topic: %v, %v", err, r["t"].Err)
	}
}

// Every kind of request, cut short and filled with noise, in every version: the
// process must live and go on answering.
func FuzzFrames(f *testing.F) {
	f.Add([]byte{0, 3, 0, 1, 0, 0, 0, 0})
	c, err := Open(f.Context(), Config{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = c.Close() })
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) < 8 || len(body) > 4096 {
			return
		}
		nc, err := net.Dial("tcp", c.Addrs()[2])
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		out := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
		_, _ = nc.Write(append(out, body...))
		_ = nc.(*net.TCPConn).CloseWrite()
		_ = nc.SetReadDeadline(time.Now().Add(time.Second))
		_, _ = io.Copy(io.Discard, nc)
	})
}

func TestReplaceBodyKeepsTheHeader(t *testing.T) {
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.Version = 2
	rt := kmsg.NewDeleteRecordsRequestTopic()
	rt.Topic = "t"
	rt.Partitions = append(rt.Partitions, kmsg.DeleteRecordsRequestTopicPartition{Partition: 1, Offset: -1})
	req.Topics = append(req.Topics, rt)
	f := kmsg.NewRequestFormatter(kmsg.FormatterClientID("me"))
	old := f.AppendRequest(nil, req, 9)
	req.Topics[0].Partitions[0].Offset = 5
	if got, want := replaceBody(old, req), f.AppendRequest(nil, req, 9); !bytes.Equal(got, want) {
		t.Errorf("got  %x\nwant %x", got, want)
	}
}

// Topics deleted under a producer: told by id, the module would end the process.
func TestProduceToDeletedTopicsIsSurvived(t *testing.T) {
	c := open(t, Config{})
	cl := client(t, c.Addrs())
	versions, err := kmsg.NewPtrApiVersionsRequest().RequestWith(testCtx(t), cl)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range versions.ApiKeys {
		if k.ApiKey == 0 && k.MaxVersion != maxProduceVersion {
			t.Errorf("Produce is offered up to version %d", k.MaxVersion)
		}
	}
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks = 13, -1
	for i := range byte(2) {
		rt := kmsg.NewProduceRequestTopic()
		rt.TopicID = [16]byte{1 + i}
		rt.Partitions = append(rt.Partitions, kmsg.NewProduceRequestTopicPartition())
		req.Topics = append(req.Topics, rt)
	}
	nc, err := net.Dial("tcp", c.Addrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	f := kmsg.NewRequestFormatter(kmsg.FormatterClientID("x"))
	if _, err := nc.Write(f.AppendRequest(nil, req, 1)); err != nil {
		t.Fatal(err)
	}
	_ = nc.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := nc.Read(make([]byte, 1)); err == nil {
		t.Error("a version that is not offered was answered")
	}
	createTopic(t, c.Addrs(), "still-there", 1, nil)
}

// A client from the future asks in a version that nobody knows and must be able
// to read the answer.
func TestVersionsOfTheFuture(t *testing.T) {
	c := open(t, Config{})
	nc, err := net.Dial("tcp", c.Addrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(10 * time.Second))
	req := kmsg.NewPtrApiVersionsRequest()
	req.Version = 100
	req.ClientSoftwareName, req.ClientSoftwareVersion = "x", "1"
	if _, err := nc.Write(kmsg.NewRequestFormatter(kmsg.FormatterClientID("x")).AppendRequest(nil, req, 1)); err != nil {
		t.Fatal(err)
	}
	var head [10]byte
	if _, err := io.ReadFull(nc, head[:]); err != nil {
		t.Fatal(err)
	}
	if code := int16(binary.BigEndian.Uint16(head[8:])); code != kerr.UnsupportedVersion.Code {
		t.Errorf("error code %d", code)
	}
}

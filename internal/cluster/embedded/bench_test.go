package embedded

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// resident returns VmRSS and VmHWM in megabytes, 0 where there is no /proc.
func resident(b *testing.B) (now, peak float64) {
	raw, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(raw)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		kb, _ := strconv.ParseFloat(f[1], 64)
		switch f[0] {
		case "VmRSS:":
			now = kb / 1024
		case "VmHWM:":
			peak = kb / 1024
		}
	}
	return now, peak
}

// writeLog fills dir with about size bytes in batches of about batchBytes.
func writeLog(b *testing.B, dir string, size, batchBytes int) {
	b.Helper()
	c, err := Open(b.Context(), Config{Dir: dir})
	if err != nil {
		b.Fatal(err)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.Addrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerBatchMaxBytes(int32(batchBytes+200)))
	if err != nil {
		b.Fatal(err)
	}
	if _, err := kadm.NewClient(cl).CreateTopic(b.Context(), 6, -1, nil, "t"); err != nil {
		b.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 1))
	value := noise(r, min(600, batchBytes-100))
	for i := range size / len(value) {
		cl.Produce(b.Context(), &kgo.Record{Topic: "t", Partition: int32(i % 6), Value: value}, nil)
	}
	if err := cl.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	cl.Close()
	if err := c.Close(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkOpen starts on a log of a gigabyte, as it was closed and as a death
// leaves it. Ratios to one reading of the files in the same run are reported.
func BenchmarkOpen(b *testing.B) {
	for _, batch := range []int{64 << 10, 4 << 10} {
		dir := b.TempDir()
		writeLog(b, dir, 1<<30, batch)
		for _, clean := range []bool{true, false} {
			b.Run(fmt.Sprintf("batch=%dk/clean=%v", batch>>10, clean), func(b *testing.B) {
				var read time.Duration
				for b.Loop() {
					b.StopTimer()
					began := time.Now()
					_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
						if err == nil && !d.IsDir() {
							_, err = os.ReadFile(path)
						}
						return err
					})
					read += time.Since(began)
					if !clean {
						if err := os.WriteFile(filepath.Join(dir, uncleanName), nil, 0o644); err != nil {
							b.Fatal(err)
						}
						m, _ := filepath.Glob(filepath.Join(dir, logName, "partitions", "*", "snapshot.json"))
						for _, f := range m {
							_ = os.Remove(f)
						}
					}
					runtime.GC()
					b.StartTimer()
					c, err := Open(b.Context(), Config{Dir: dir})
					if err != nil {
						b.Fatal(err)
					}
					b.StopTimer()
					now, peak := resident(b)
					b.ReportMetric(now, "MB-after")
					b.ReportMetric(peak, "MB-peak")
					if err := c.Close(); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
				}
				b.ReportMetric(b.Elapsed().Seconds()/read.Seconds(), "x-reading")
			})
		}
	}
}

// BenchmarkProduce measures what the checks in front of the module cost: the peer
// is the module alone.
func BenchmarkProduce(b *testing.B) {
	value := noise(rand.New(rand.NewPCG(1, 1)), 600)
	run := func(b *testing.B, addrs []string) {
		cl, err := kgo.NewClient(kgo.SeedBrokers(addrs...), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()),
			kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.MaxBufferedRecords(50_000))
		if err != nil {
			b.Fatal(err)
		}
		defer cl.Close()
		if _, err := kadm.NewClient(cl).CreateTopic(b.Context(), 6, -1, nil, "t"); err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			cl.Produce(b.Context(), &kgo.Record{Topic: "t", Value: value}, nil)
		}
		if err := cl.Flush(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("cluster", func(b *testing.B) {
		c, err := Open(b.Context(), Config{Dir: b.TempDir()})
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		run(b, c.Addrs())
	})
	b.Run("module", func(b *testing.B) {
		addrs, stop := moduleAlone(b)
		defer stop()
		run(b, addrs)
	})
}

func moduleAlone(b *testing.B) ([]string, func()) {
	b.Helper()
	k, err := kfake.NewCluster(kfake.NumBrokers(Size), kfake.DataDir(b.TempDir()), kfake.BrokerConfigs(map[string]string{"log.segment.bytes": "8388608"}))
	if err != nil {
		b.Fatal(err)
	}
	return k.ListenAddrs(), k.Close
}

// BenchmarkRequest is one small request and its response, through the broker's
// listener.
func BenchmarkRequest(b *testing.B) {
	c, err := Open(b.Context(), Config{})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	nc, err := net.Dial("tcp", c.Addrs()[0])
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	req := kmsg.NewPtrListGroupsRequest()
	frame, answer := kmsg.NewRequestFormatter().AppendRequest(nil, req, 1), make([]byte, 4<<10)
	for b.Loop() {
		if _, err := nc.Write(frame); err != nil {
			b.Fatal(err)
		}
		if _, err := nc.Read(answer); err != nil {
			b.Fatal(err)
		}
	}
}

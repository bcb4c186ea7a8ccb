package node

import (
	"errors"
	"testing"
	"time"

	"github.com/weir-project/weir/internal/cluster"
)

// TestTheStatusNamesTheFault: while the disk is full, clients find out only that no
// broker answers. The status names the disk and the way out.
func TestTheStatusNamesTheFault(t *testing.T) {
	t.Parallel()
	n := testNode("127.0.0.1:1")
	if err := n.produce(Sources[0]); err != nil {
		t.Fatal(err)
	}
	var fault error
	n.lines[0].fault = func() error { return fault }
	status := func() (Status, string) {
		return n.lines[0].status(time.Now()), n.local()[Sources[0].Name].Trouble
	}
	if s, trouble := status(); s.Trouble || trouble != "" {
		t.Errorf("without a fault the status is %+v and %q", s, trouble)
	}
	const want = "waiting for Kafka: the disk of /data is full (12 kB free): free some space, or enlarge the disk (no space left on device)"
	fault = &cluster.DiskError{Dir: "/data", Free: 12 << 10, Err: errors.New("no space left on device")}
	if s, trouble := status(); s.State != want || !s.Trouble || trouble != want {
		t.Errorf("the status is %+v and %q, want %q", s, trouble, want)
	}
	if err := n.fault(); err != nil {
		t.Errorf("brokers of another process: %v", err)
	}
}

// faulty are brokers with a fault.
type faulty struct {
	cluster.Engine
	fault error
}

func (f faulty) Fault() error { return f.fault }

// Where only the archive fails, the brokers take records, and the streams do not wait.
func TestAFaultOfTheArchiveAlone(t *testing.T) {
	full := &cluster.DiskError{Dir: "/data", Err: errors.New("no space left on device")}
	archive := *full
	archive.Archive = "write to"
	for _, tc := range []struct{ has, want error }{{full, full}, {&archive, nil}, {nil, nil}} {
		if got := (&Node{brokers: faulty{fault: tc.has}}).fault(); got != tc.want {
			t.Errorf("brokers that report %v keep the streams waiting: %v", tc.has, got)
		}
	}
}

func TestRateMeter(t *testing.T) {
	var r rateMeter
	at := time.Unix(1_000_000, 0)
	if got := r.observe(at, 1000); got != 0 {
		t.Errorf("a first sample says %v/s", got)
	}
	for range 20 { // 100 a second, seen every half second
		at = at.Add(500 * time.Millisecond)
		r.observe(at, 1000+int64(at.Sub(time.Unix(1_000_000, 0)).Seconds()*100))
	}
	if got := r.observe(at.Add(500*time.Millisecond), 2050); got < 99 || got > 101 {
		t.Errorf("a steady 100/s shows as %v/s", got)
	}
	for i := 1; i <= 12; i++ { // silence
		at = at.Add(500 * time.Millisecond)
		if got := r.observe(at.Add(500*time.Millisecond), 2050); i == 12 && got != 0 {
			t.Errorf("after six seconds of silence: %v/s", got)
		}
	}
	if len(r.at) > 16 {
		t.Errorf("%d samples are kept", len(r.at))
	}
}

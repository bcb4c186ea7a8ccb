//go:build unix

package apache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/cluster/local"
)

// fakeBrokers is a cluster whose Java is a script that notes its process and sleeps, and
// for which a test's Kafka answers. None of its brokers runs yet.
type fakeBrokers struct {
	*Cluster
	pids string // a file with the process of each start
}

func newFakeBrokers(t *testing.T) *fakeBrokers {
	t.Helper()
	dir := t.TempDir()
	f := &fakeBrokers{pids: filepath.Join(dir, "pids")}
	java := filepath.Join(dir, "java")
	script := fmt.Sprintf("#!/bin/sh\necho $$ >> %s\nexec sleep 600\n", f.pids)
	if err := os.WriteFile(java, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	answers, err := kfake.NewCluster(kfake.NumBrokers(nodes)) // 0 to 2: broker 2 answers
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(answers.Close)
	f.Cluster = &Cluster{cfg: Config{Log: slog.New(slog.DiscardHandler)}}
	if f.client, err = kgo.NewClient(kgo.SeedBrokers(answers.ListenAddrs()...)); err != nil {
		t.Fatal(err)
	}
	for i := range f.nodes {
		d := filepath.Join(dir, fmt.Sprintf("broker-%d", i+1))
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
		f.nodes[i] = &node{id: int32(i + 1), dir: d, program: program{java: java, archive: filepath.Join(dir, "classes.jsa")}, log: f.cfg.Log, died: f.died}
	}
	t.Cleanup(func() { f.end(t) })
	return f
}

// started returns the processes that were ever started.
func (f *fakeBrokers) started(t *testing.T) (pids []int) {
	t.Helper()
	b, err := os.ReadFile(f.pids)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for line := range strings.FieldsSeq(string(b)) {
		pid, err := strconv.Atoi(line)
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

// end closes the cluster and checks that no process and no record is left.
func (f *fakeBrokers) end(t *testing.T) {
	t.Helper()
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	for _, pid := range f.started(t) {
		if at, err := startTime(pid); err == nil {
			t.Errorf("process %d outlives the cluster", pid)
			_ = end(context.Background(), processRecord{PID: pid, Started: at})
		}
	}
	for _, n := range f.nodes {
		if _, err := os.Stat(n.record()); err == nil {
			t.Errorf("the record of broker %d is left", n.id)
		}
	}
}

// Several restarts at once, from a page and a terminal, start one process, and the
// cluster knows it.
func TestRestartsAtOnce(t *testing.T) {
	f := newFakeBrokers(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	var succeeded atomic.Int32
	// All look at the broker before one of them starts it: a mutex whose waiters were
	// passed over serves them in their order.
	f.nodes[1].mu.Lock()
	for range 8 {
		wg.Go(func() {
			if err := f.Restart(ctx, 2); err == nil {
				succeeded.Add(1)
			} else if err.Error() != "it is running" {
				t.Error(err)
			}
		})
	}
	for range 3 {
		time.Sleep(50 * time.Millisecond)
		f.nodes[1].mu.Unlock()
		f.nodes[1].mu.Lock()
	}
	f.nodes[1].mu.Unlock()
	wg.Wait()
	if n := succeeded.Load(); n != 1 {
		t.Errorf("%d of the restarts succeeded, want 1", n)
	}
	if b := f.states()[1]; !b.Alive || b.PID == 0 {
		t.Errorf("after the restarts broker 2 is %+v", b)
	}
	for range 100 { // the script notes its process a moment after the start
		if len(f.started(t)) > 0 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if pids := f.started(t); len(pids) != 1 || pids[0] != f.states()[1].PID {
		t.Errorf("processes %v were started, the cluster knows %d", pids, f.states()[1].PID)
	}
}

// Kills and restarts at once with a Close leave nothing running, and after it no broker
// starts.
func TestChangesAtOnceWithClose(t *testing.T) {
	for range 3 {
		f := newFakeBrokers(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		var wg sync.WaitGroup
		stop := make(chan struct{})
		for i := range 4 {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					if i%2 == 0 {
						_ = f.Restart(ctx, 2) // or it is running
					} else {
						_ = f.kill(ctx, 2, i == 1) // or it is not
					}
				}
			})
		}
		time.Sleep(100 * time.Millisecond)
		f.end(t)
		if err := f.Restart(ctx, 2); err == nil {
			t.Error("a broker was restarted after Close")
		}
		close(stop)
		cancel()
		wg.Wait()
		f.end(t)
	}
}

// The classes of a broker become the archive when it ended as it was asked to, and not when
// it failed: it had not used all of them.
func TestAnArchiveIsOfABrokerThatEndedInOrder(t *testing.T) {
	for end, kept := range map[string]bool{"exit 0": true, "exit 143": true, "exit 1": false, "kill -9 $$": false} {
		t.Run(end, func(t *testing.T) {
			f := newFakeBrokers(t)
			died := make(chan local.Broker, 1)
			n := f.nodes[nodes-1]
			n.died = func(b local.Broker) { died <- b }
			// It runs until its record is written, as a broker does.
			script := "#!/bin/sh\nuntil [ -s '" + n.record() + "' ]; do sleep 0.01; done\nfor a; do case $a in -XX:ArchiveClassesAtExit=*) echo classes >\"${a#*=}\";; esac; done\n" + end + "\n"
			if err := os.WriteFile(n.program.java, []byte(script), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := n.start(true); err != nil {
				t.Fatal(err)
			}
			if b := <-died; b.Alive {
				t.Errorf("it is said to run: %+v", b)
			}
			b, err := os.ReadFile(n.program.archive)
			if kept != (err == nil) || kept && string(b) != "classes\n" {
				t.Errorf("want an archive: %v, got %q, %v", kept, b, err)
			}
			if left, err := filepath.Glob(filepath.Join(filepath.Dir(n.program.archive), fetching+"*")); len(left) > 0 || err != nil {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

// A broker has other ports than the one that clients know: its controller's, and those of
// listeners that its configuration adds.
func TestATakenPortIsNamed(t *testing.T) {
	f := newFakeBrokers(t)
	n := f.nodes[0]
	n.addr = "127.0.0.1:20001"
	says := "ERROR Exiting Kafka due to fatal exception\norg.apache.kafka.common.KafkaException: Socket server failed to bind to 127.0.0.1:20002: Address already in use.\n"
	if err := os.WriteFile(n.logFile(), []byte(says), 0o600); err != nil {
		t.Fatal(err)
	}
	var taken *PortError
	if err := n.startError("ended: exit status 1"); !errors.As(err, &taken) || taken.Addr != "127.0.0.1:20002" || taken.ID != 1 {
		t.Errorf("the port is not named: %v", err)
	}
}

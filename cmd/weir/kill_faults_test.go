package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Rows of the table in which no process is killed, but the machine fails them: its disk, its clock, its
// limits. Each time the fault has to show, and no process may end.

// mountDisk mounts a file system, by a script that does it at $point. It is in a mount namespace of a process
// that waits, and gone with that process; others reach it through /proc.
func (k *killTable) mountDisk(flags, script string) (dir string) {
	k.t.Helper()
	point := k.t.TempDir()
	holder := exec.Command("unshare", flags, "sh", "-ec", script+"; echo mounted; exec cat")
	holder.Env = append(os.Environ(), "point="+point)
	out := newOutput()
	holder.Stdout, holder.Stderr = out, out
	until, err := holder.StdinPipe() // closed also when this process is killed
	if err == nil {
		err = holder.Start()
	}
	if err != nil {
		k.t.Fatalf("a disk of its own cannot be had: %v", err)
	}
	ended := make(chan struct{})
	go func() { _ = holder.Wait(); close(ended) }()
	k.t.Cleanup(func() {
		k.end()
		_ = until.Close()
		<-ended
	})
	eventually(k.t, "a disk is mounted", func() bool {
		select {
		case <-ended:
			k.t.Fatalf("a disk of its own cannot be mounted here, by unshare %s and %s: %s", flags, script, out)
		default:
		}
		return strings.Contains(out.String(), "mounted")
	})
	return fmt.Sprintf("/proc/%d/root%s", holder.Process.Pid, point)
}

// smallDisk needs no root where users may have namespaces.
func (k *killTable) smallDisk(size string) (dir string) {
	flags := "-Urm"
	if os.Geteuid() == 0 {
		flags = "-m"
	}
	return k.mountDisk(flags, "mount -t tmpfs -o size="+size+" tmpfs $point")
}

func (k *killTable) startOnSmallDisk() {
	k.dir = k.smallDisk("96m")
	k.disk = k.dir
	k.startAll()
}

// startBrokerOnSmallDisk gives broker 2 of Apache Kafka a disk of its own.
func (k *killTable) startBrokerOnSmallDisk() {
	k.t.Helper()
	k.disk = k.smallDisk("160m")
	data := filepath.Join(k.dir, "simulated", "apache", "broker-2", "data")
	if err := errors.Join(os.MkdirAll(filepath.Dir(data), 0o700), os.Symlink(k.disk, data)); err != nil {
		k.t.Fatal(err)
	}
	k.startAll()
}

// fillDisk fills the disk to the last byte, for a while.
func (k *killTable) fillDisk() {
	k.t.Helper()
	k.pause(100*time.Millisecond, time.Second)
	name := filepath.Join(k.disk, "filler")
	f, err := os.Create(name)
	for size := 1 << 20; err == nil || size > 1; {
		if err != nil { // less than this fits
			size /= 2
		}
		_, err = f.Write(make([]byte, size))
	}
	if _ = f.Close(); !errors.Is(err, syscall.ENOSPC) {
		k.t.Fatalf("the disk is not full: %v", err)
	}
	if k.engine == "apache" {
		within(k.t, "weir brokers says that broker 2 ended because its disk is full", func() bool {
			stdout, _, _ := weir(k.t, k.env(), "brokers", "--data", k.dir)
			return strings.Contains(stdout, "because its disk is full")
		})
	} else {
		k.says("the disk of " + k.dir)
	}
	k.pause(10*time.Millisecond, 2*time.Second)
	if err := os.Remove(name); err != nil {
		k.t.Fatal(err)
	}
	if k.engine == "apache" {
		succeeds(k.t, k.env(), "brokers", "restart", "2", "--data", k.dir)
	} else {
		k.recovers()
	}
	k.neverEnded()
}

// startOnSlowDisk uses a file system, in memory, that can be frozen: what writes to it waits. Only root can mount one.
func (k *killTable) startOnSlowDisk() {
	k.dir = k.mountDisk("-m", "mount -t tmpfs tmpfs $point; truncate -s 256M $point/image; "+
		"mkfs.ext4 -q $point/image; mount -o loop $point/image $point")
	k.startAll()
}

// slowScript freezes the disk again and again. However it ends, the disk is not frozen then.
const slowScript = `trap 'fsfreeze -u "$0" 2>/dev/null; exit 1' TERM INT
for i in $(seq "$1"); do fsfreeze -f "$0"; sleep "$2"; fsfreeze -u "$0"; sleep 0.01; done`

// slowDisk lets each write to the disk take up to a third of a second, for some seconds.
func (k *killTable) slowDisk() {
	k.t.Helper()
	k.pause(100*time.Millisecond, time.Second)
	before := min(k.probeDisk(), k.probeDisk(), k.probeDisk())
	frozen := 100*time.Millisecond + time.Duration(k.random.Int64N(int64(200*time.Millisecond)))
	rounds := int(3*time.Second/frozen) + 1
	slow := exec.Command("sh", "-c", slowScript, k.dir, strconv.Itoa(rounds), fmt.Sprint(frozen.Seconds()))
	var out bytes.Buffer
	slow.Stdout, slow.Stderr = &out, &out
	if err := slow.Start(); err != nil {
		k.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- slow.Wait() }()
	var slowest time.Duration
	for {
		slowest = max(slowest, k.probeDisk())
		select {
		case err := <-done:
			if err != nil {
				k.t.Fatalf("the disk cannot be frozen: %v: %s", err, out.String())
			}
			k.proofs = append(k.proofs, fmt.Sprintf("fsync %v, then %v", before.Round(time.Microsecond), slowest.Round(time.Millisecond)))
			if slowest < 5*before {
				k.t.Errorf("the disk is not slow: an fsync took %v before, and at most %v", before, slowest)
			}
			k.neverEnded()
			return
		default:
		}
	}
}

// probeDisk returns how long it takes to write to the disk and to see it there.
func (k *killTable) probeDisk() time.Duration {
	k.t.Helper()
	begin := time.Now()
	f, err := os.Create(filepath.Join(k.dir, "probe"))
	if err == nil {
		_, err = f.WriteString("probe")
		err = errors.Join(err, f.Sync(), f.Close())
	}
	if err != nil {
		k.t.Fatal(err)
	}
	return time.Since(begin)
}

// startSkewed starts weir up, whose clock can step.
func (k *killTable) startSkewed() {
	k.clock = &skewedClock{}
	k.t.Cleanup(func() {
		k.end()
		k.clock.close()
	})
	k.startUp()
}

// stepClock lets the clock of weir step ahead or back. Its HTTP server says what time it is.
func (k *killTable) stepClock() {
	k.t.Helper()
	k.pause(time.Second, 3*time.Second)
	ahead := time.Duration(k.random.Int64N(int64(4*time.Hour)) - int64(2*time.Hour)).Round(time.Second)
	if err := k.clock.set(ahead); err != nil {
		k.t.Fatal(err)
	}
	within(k.t, fmt.Sprintf("the clock of weir is %v ahead", ahead), func() bool {
		resp, err := http.Get("http://" + k.listen + "/readyz")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		says, err := http.ParseTime(resp.Header.Get("Date"))
		return err == nil && (time.Until(says)-ahead).Abs() < time.Minute
	})
	k.proofs = append(k.proofs, ahead.String())
	k.neverEnded()
}

// startWithBrokerClock starts Apache Kafka's brokers with a clock that can step.
func (k *killTable) startWithBrokerClock() {
	k.t.Helper()
	clock, preload := newBrokerClock(k.t)
	if clock.none != "" {
		k.t.Fatal(clock.none)
	}
	k.more = append(k.more, preload...)
	k.startAll()
	cl, err := kgo.NewClient(kgo.SeedBrokers(fmt.Sprintf("127.0.0.1:%d", k.ports[0])))
	if err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(cl.Close)
	k.brokers = &unusualRig{t: k.t, kafka: cl, admin: kadm.NewClient(cl), clock: clock}
	k.brokers.createClock()
}

// stepBrokerClock lets the brokers' clock step ahead. The times that they write say so. It never steps back:
// see clockSteps.
func (k *killTable) stepBrokerClock() {
	k.t.Helper()
	k.pause(time.Second, 3*time.Second)
	k.ahead += time.Minute + time.Duration(k.random.Int64N(int64(30*time.Minute))).Round(time.Second)
	k.brokers.clock.set(fmt.Sprintf("+%d", int(k.ahead.Seconds())))
	within(k.t, fmt.Sprintf("the brokers' clock is %v ahead", k.ahead), func() bool {
		return (time.Until(k.brokers.appended()) - k.ahead).Abs() < 30*time.Second
	})
	k.proofs = append(k.proofs, k.ahead.String())
	k.neverEnded()
}

// startWithSmallSegments makes brokers open new files all the time.
func (k *killTable) startWithSmallSegments() {
	k.startAll()
	k.waitStored(k.addresses)
	for _, topic := range []string{"bluesky-events", "bluesky-accounts"} {
		succeeds(k.t, k.env(), "topics", "alter", topic, "--config", "segment.bytes=1048576", "--data", k.dir)
	}
}

// takeDescriptors lets one of the processes open nothing more, for a while. Brokers are killed, one after the
// other, so that all connections to them are reset.
func (k *killTable) takeDescriptors() {
	k.t.Helper()
	k.pause(100*time.Millisecond, time.Second)
	p := k.processes[0] // the brokers
	if k.random.IntN(2) == 0 {
		p = k.processes[1+k.random.IntN(len(k.processes)-1)]
	}
	const says = "too many open files"
	before := strings.Count(p.out.String(), says)
	k.limitDescriptors(p, "3:")
	for id := 0; id < 3 && p.name != "cluster"; id++ {
		succeeds(k.t, k.env(), "brokers", "kill", strconv.Itoa(id), "--hard", "--data", k.dir)
		succeeds(k.t, k.env(), "brokers", "restart", strconv.Itoa(id), "--data", k.dir)
	}
	within(k.t, p.name+" says that it has no descriptors", func() bool { return strings.Count(p.out.String(), says) > before })
	k.pause(10*time.Millisecond, 6*time.Second) // brokers begin new files meanwhile
	k.limitDescriptors(p, "4096:")
	k.recovers()
	text := p.out.String()
	text = text[:strings.LastIndex(text, says)+len(says)]
	failed := strings.Count(p.out.String(), "a write to the disk failed")
	k.proofs = append(k.proofs, fmt.Sprintf("%s, which could not write %d times: %s", p.name, failed, text[strings.LastIndexByte(text, '\n')+1:]))
	k.neverEnded()
}

// limitDescriptors changes how many files a running process may have open.
func (k *killTable) limitDescriptors(p *process, limit string) {
	k.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		k.t.Fatalf("%s does not run", p.name)
	}
	cmd := exec.Command("prlimit", "--pid", strconv.Itoa(p.cmd.Process.Pid), "--nofile="+limit)
	if out, err := cmd.CombinedOutput(); err != nil {
		k.t.Fatalf("the descriptors of %s cannot be limited: %v: %s", p.name, err, out)
	}
}

// readyz is what the pages of the cluster say about it.
func (k *killTable) readyz() (status int, text string) {
	resp, err := http.Get("http://" + k.listen + "/readyz")
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

func (k *killTable) says(text string) {
	k.t.Helper()
	within(k.t, "/readyz says "+text, func() bool {
		status, got := k.readyz()
		if status != http.StatusServiceUnavailable || !strings.Contains(got, text) {
			return false
		}
		k.proofs = append(k.proofs, got)
		return true
	})
}

func (k *killTable) recovers() {
	k.t.Helper()
	within(k.t, "/readyz is content", func() bool { status, _ := k.readyz(); return status == http.StatusOK })
}

// neverEnded: a fault of the machine ends no process.
func (k *killTable) neverEnded() {
	k.t.Helper()
	for _, p := range k.processes {
		if strings.Contains(p.out.String(), "--- "+p.name+" ended") {
			k.t.Errorf("%s ended", p.name)
		}
	}
}

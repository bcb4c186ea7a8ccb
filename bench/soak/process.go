//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/weir-project/weir/bench/proc"
)

// patience is how long a start, a stop or the draining of the streams may take.
const patience = 2 * time.Minute

// process is a running weir.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has ended
	err   error
	log   bytes.Buffer
	start time.Duration // until it was ready
	peak  int64         // most resident bytes until then
}

// launch starts weir up and waits until it is ready: /readyz answers 200 when the brokers and Redis
// answer and all streams are stored and counted.
func (k *soak) launch(ctx context.Context, pace time.Duration) error {
	p := &process{ended: make(chan struct{})}
	args := []string{"up", "--data", k.data(), "--bluesky-url", "ws://" + k.upstream.addr + "/subscribe",
		"--wikipedia-url", "http://" + k.upstream.addr + "/v2/stream/recentchange", "--ports", k.ports, "--listen", k.web}
	if pace > 0 {
		args = append(args, "--pace", pace.String())
	}
	p.cmd = exec.Command(k.Weir, args...)
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	begun := time.Now()
	if err := p.cmd.Start(); err != nil {
		return err
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	k.process = p
	err := k.until(ctx, 10*time.Millisecond, func() bool {
		_, err := k.get("/readyz")
		return err == nil
	})
	if err != nil {
		return fmt.Errorf("weir is not ready: %w\n%s", err, &p.log)
	}
	p.start = time.Since(begun)
	if p.peak, err = p.memory("VmHWM"); err != nil {
		return err
	}
	return p.resetPeak()
}

// until waits for a condition while weir runs.
func (k *soak) until(ctx context.Context, every time.Duration, done func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-k.process.ended:
			return errors.Join(errors.New("weir has ended"), k.process.err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// finish ends weir with a signal and says how long that took.
func (k *soak) finish(sig syscall.Signal) (time.Duration, error) {
	begun := time.Now()
	if err := k.process.cmd.Process.Signal(sig); err != nil {
		return 0, err
	}
	select {
	case <-k.process.ended:
	case <-time.After(patience):
		return 0, fmt.Errorf("weir does not end after %v", sig)
	}
	took := time.Since(begun)
	if err := k.process.err; sig == syscall.SIGINT && err != nil {
		return took, fmt.Errorf("weir up: %w\n%s", err, &k.process.log)
	}
	return took, nil
}

func (k *soak) data() string { return filepath.Join(k.Out, "data") }

// get reads a page of weir.
func (k *soak) get(path string) ([]byte, error) {
	client := http.Client{Timeout: time.Minute}
	resp, err := client.Get("http://" + k.web + path)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", path, resp.Status)
	}
	return body, err
}

// memory returns a line of its /proc/PID/status, in bytes.
func (p *process) memory(name string) (int64, error) { return proc.Memory(p.cmd.Process.Pid, name) }

// resetPeak makes VmHWM begin again at the present VmRSS.
func (p *process) resetPeak() error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.cmd.Process.Pid), []byte("5"), 0)
}

// freeAddrs returns addresses that nobody listens on. They stay the same over the restarts.
func freeAddrs(n int) ([]string, error) {
	var addrs []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		addrs = append(addrs, l.Addr().String())
	}
	return addrs, nil
}

package apache

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// startTime returns when a process began, in a form that is only compared: with
// the process id it names a process for good.
func startTime(pid int) (string, error) {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err == nil {
		// The command's name, in parentheses, may hold anything; field 22 counts from after it.
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(fields) < 20 {
			return "", fmt.Errorf("read the start time of process %d: unknown form of its stat file", pid)
		}
		// The first thread of a process that was killed is a zombie while others still
		// hold its sockets and files.
		tasks, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(pid), "task"))
		if fields[0][0] == 'Z' && (err != nil || len(tasks) <= 1) {
			return "", fmt.Errorf("find process %d: it has ended: %w", pid, fs.ErrNotExist)
		}
		boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
		if err != nil {
			return "", fmt.Errorf("read the boot id: %w", err)
		}
		return string(bytes.TrimSpace(boot)) + " " + string(fields[19]), nil
	}
	out, psErr := exec.Command("ps", "-o", "lstart=", "-p", strconv.Itoa(pid)).Output()
	if psErr != nil || len(bytes.TrimSpace(out)) == 0 {
		return "", fmt.Errorf("find process %d: %w", pid, fs.ErrNotExist)
	}
	return string(bytes.TrimSpace(out)), nil
}

// StopOrphans stops the brokers that a killed weir left running on the data in
// dir: known by process id and start time, never by name. Open does it; a caller
// that chooses free ports does it before, because orphans hold theirs. progress
// may be nil.
func StopOrphans(ctx context.Context, dir string, progress func(string)) error {
	if progress == nil {
		progress = func(string) {}
	}
	for id := range nodes {
		file := filepath.Join(dir, fmt.Sprintf("broker-%d", id+1), "process.json")
		b, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read the record of a broker's process: %w", err)
		}
		var r processRecord
		// A record that does not parse was never completed, and its writer kills the process in that case.
		if json.Unmarshal(b, &r) == nil && r.PID > 1 {
			if started, err := startTime(r.PID); err == nil && started == r.Started {
				progress(fmt.Sprintf("broker %d, process %d, that an earlier weir left running is stopped", id+1, r.PID))
				if err := end(ctx, r); err != nil {
					return fmt.Errorf("stop broker %d, process %d, of an earlier weir: %w", id+1, r.PID, err)
				}
			}
		}
		if err := os.Remove(file); err != nil {
			return fmt.Errorf("remove the record of a broker's process: %w", err)
		}
	}
	return nil
}

// end kills a process and waits until it is gone. SIGKILL: an orderly stop of the
// last brokers of a quorum waits for the others, and what they acknowledged is
// on disk already.
func end(ctx context.Context, r processRecord) error {
	if err := syscall.Kill(r.PID, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if started, err := startTime(r.PID); err != nil || started != r.Started {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

package apache

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

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
	p, err := os.FindProcess(r.PID)
	if err == nil {
		err = p.Kill()
	}
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
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

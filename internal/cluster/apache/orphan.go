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

	"github.com/weir-project/weir/internal/atomicfile"
)

// recordName is the file that holds a processRecord in a broker's directory.
const recordName = "process.json"

// processRecord is what a later weir needs to recognize this process: by then a process
// ID alone may belong to another program.
type processRecord struct {
	PID     int    `json:"pid"`
	Started string `json:"started"`
}

func writeRecord(file string, pid int) error {
	started, err := startTime(pid)
	if err != nil {
		return err
	}
	b, err := json.Marshal(processRecord{PID: pid, Started: started})
	if err != nil {
		return err
	}
	return atomicfile.Write(file, b, 0o600)
}

// runs reports whether the process of the record still runs.
func (r processRecord) runs() bool {
	started, err := startTime(r.PID)
	return err == nil && started == r.Started
}

// StopOrphans stops the brokers that a killed weir left running on the data in dir:
// recognized by process ID and start time, never by name. Open does it; a caller that
// chooses free ports does it before, because orphans hold theirs. progress may be nil.
func StopOrphans(ctx context.Context, dir string, progress func(string)) error {
	for id := range nodes {
		file := filepath.Join(dir, fmt.Sprintf("broker-%d", id+1), recordName)
		b, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read the record of a broker's process: %w", err)
		}
		var r processRecord
		// A record that does not parse was never completed, and its writer kills the process in that case.
		if json.Unmarshal(b, &r) == nil && r.PID > 1 && r.runs() {
			if progress != nil {
				progress(fmt.Sprintf("broker %d, process %d, that an earlier weir left running is stopped", id+1, r.PID))
			}
			if err := end(ctx, r); err != nil {
				return fmt.Errorf("stop broker %d, process %d, of an earlier weir: %w", id+1, r.PID, err)
			}
		}
		if err := os.Remove(file); err != nil {
			return fmt.Errorf("remove the record of a broker's process: %w", err)
		}
	}
	return nil
}

// end kills a process and waits until it is gone. SIGKILL, because an orderly stop of the
// last brokers of a quorum waits for the others, and what they acknowledged is on disk.
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
	return until(ctx, 20*time.Millisecond, func() (bool, error) { return !r.runs(), nil })
}

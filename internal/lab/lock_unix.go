//go:build unix

package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/weir-project/weir/internal/disk"
)

// lock makes this process the one that experiments. The lock is the kernel's: it
// goes with the process however that dies.
func lock(dir, name string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if held, err := disk.Lock(f); held || err != nil {
		defer f.Close()
		if err != nil {
			return nil, fmt.Errorf("lock labs directory: %w", err)
		}
		who, _ := os.ReadFile(f.Name()) // only for the message
		return nil, &BusyError{Dir: dir, Who: strings.TrimSpace(string(who))}
	}
	text := fmt.Sprintf("%s, process %d, since %s\n", name, os.Getpid(), time.Now().Format(time.TimeOnly))
	if err := errors.Join(f.Truncate(0), writeNote(f, text)); err != nil {
		return nil, errors.Join(fmt.Errorf("write lock: %w", err), f.Close())
	}
	return func() {
		_ = f.Truncate(0) // a note for people
		_ = f.Close()     // releases the lock; nothing else was written
	}, nil
}

func writeNote(f *os.File, text string) error {
	_, err := f.WriteAt([]byte(text), 0)
	return err
}

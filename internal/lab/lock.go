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

// lock makes this process the one that runs labs in a directory. The operating system frees
// the lock when the process ends, however it ends.
func lock(dir, name string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	held, err := disk.Lock(f)
	switch {
	case err != nil:
		return nil, errors.Join(fmt.Errorf("lock labs directory: %w", err), f.Close())
	case held:
		who, _ := os.ReadFile(f.Name()) // only for the message
		return nil, errors.Join(&BusyError{Dir: dir, Who: strings.TrimSpace(string(who))}, f.Close())
	}
	note := fmt.Sprintf("%s, process %d, since %s\n", name, os.Getpid(), time.Now().Format(time.TimeOnly))
	if _, err = f.WriteAt([]byte(note), 0); err == nil {
		err = f.Truncate(int64(len(note))) // an older note may be longer
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("write lock: %w", err), f.Close())
	}
	return func() {
		_ = f.Truncate(0) // a note for people
		_ = f.Close()     // releases the lock; nothing else was written
	}, nil
}

package embedded

import (
	"errors"
	"strings"
	"syscall"
	"testing"
)

// A disk is not blamed for files that this process may not open. The module's errors are texts.
func TestDescriptorsAreNotTheDisk(t *testing.T) {
	for _, err := range []error{syscall.EMFILE, errors.New("persist batch open t-0: open 0.dat: " + syscall.EMFILE.Error())} {
		text := (&DiskError{Dir: "/data", Free: 1 << 30, Err: err}).Error()
		if !strings.Contains(text, "ulimit -n") || strings.Contains(text, "check the disk") {
			t.Errorf("%v is reported as: %s", err, text)
		}
	}
}

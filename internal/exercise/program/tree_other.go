//go:build unix && !linux

package program

import (
	"os/exec"
	"strconv"
	"strings"
)

// Memory returns the resident memory of the program's process group in bytes, as ps reports it.
func (p *Process) Memory() (n int64) {
	out, err := exec.Command("ps", "-axo", "pgid=,rss=").Output()
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == strconv.Itoa(p.pid) {
			kib, _ := strconv.ParseInt(f[1], 10, 64)
			n += kib << 10
		}
	}
	return n
}

package program

import (
	"bytes"
	"os"
	"strconv"
	"strings"
)

// member is a process of a tree.
type member struct {
	pid   int
	bytes int64 // resident
}

// tree returns the processes that descend from one, without itself.
func tree(root int) []member {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	type process struct {
		member
		parent int
	}
	var all []process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue // it has ended
		}
		// pid (name) state ppid ...; the name may hold anything.
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(fields) < 22 {
			continue
		}
		parent, _ := strconv.Atoi(fields[1])
		pages, _ := strconv.ParseInt(fields[21], 10, 64)
		all = append(all, process{member{pid, pages * int64(os.Getpagesize())}, parent})
	}
	in := map[int]bool{root: true}
	var out []member
	for grown := true; grown; {
		grown = false
		for _, p := range all {
			if in[p.parent] && !in[p.pid] {
				in[p.pid], grown = true, true
				out = append(out, p.member)
			}
		}
	}
	return out
}

// Memory returns the resident memory of the program and all its descendants in bytes.
func (p *Process) Memory() (n int64) {
	for _, m := range tree(p.guard.Process.Pid) {
		n += m.bytes
	}
	return n
}

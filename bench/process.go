//go:build unix

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/weir-project/weir/bench/proc"
)

// brokersCPU is the CPU time, user and system, that the brokers have used: weir cluster itself,
// or its children where the brokers are processes. It is 0 where the kernel does not tell.
func (s settings) brokersCPU() (sum time.Duration) {
	if s.engine != apache {
		return cpuOf(s.cluster)
	}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is correct
	for _, name := range stats {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		if parent, used := times(text); s.cluster != 0 && parent == fmt.Sprint(s.cluster) {
			sum += used
		}
	}
	return sum
}

// cpuOf is the CPU time, user and system, that a process has used.
func cpuOf(pid int) time.Duration {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)) // none where the kernel does not tell
	_, used := times(text)
	return used
}

// times reads a stat file of the kernel: the parent's process ID, and the CPU time.
func times(text []byte) (parent string, used time.Duration) {
	// Behind the name in brackets: state, parent, ..., and as 12th and 13th the times.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 13 {
		return "", 0
	}
	for _, ticks := range fields[11:13] {
		n, _ := strconv.Atoi(ticks)
		used += time.Duration(n) * 10 * time.Millisecond // USER_HZ is 100 everywhere
	}
	return fields[1], used
}

// peakOf is the most resident memory that a process has had, in bytes; 0 where it has ended, or
// the kernel does not tell.
func peakOf(pid int) int64 {
	n, _ := proc.Memory(pid, "VmHWM")
	return n
}

// sizeOf adds up the files below a directory.
func sizeOf(dir string) (sum int64, err error) {
	err = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) { // deleted meanwhile, or not made yet
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err == nil {
			sum += info.Size()
		}
		return err
	})
	return sum, err
}

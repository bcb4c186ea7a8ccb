package main

import (
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/weir-project/weir/internal/crash"
)

// setCrash arms WEIR_TEST_CRASH=point[:n]: the process kills itself with SIGKILL,
// which nothing can catch, when it passes the crash point for the nth time. A
// test switch: it is how a test makes the real program die at one place.
func setCrash(env map[string]string) {
	spec := env[testPrefix+"CRASH"]
	if spec == "" {
		return
	}
	point, n := spec, int64(1)
	if i := strings.LastIndexByte(spec, ':'); i >= 0 {
		if v, err := strconv.ParseInt(spec[i+1:], 10, 64); err == nil && v > 0 {
			point, n = spec[:i], v
		}
	}
	var passed atomic.Int64
	crash.SetHook(func(at string) {
		if at == point && passed.Add(1) == n {
			_ = unix.Kill(unix.Getpid(), unix.SIGKILL)
			select {} // the signal may arrive a moment later; nothing may happen until then
		}
	})
}

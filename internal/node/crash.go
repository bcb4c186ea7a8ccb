package node

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/weir-project/weir/internal/crash"
)

// SetCrash arms a crash point, given as point[:n]: the process kills itself with
// SIGKILL, which nothing can catch, when it passes that point for the nth time. It is
// how a test ends the real program at one place. An empty text arms nothing.
func SetCrash(spec string) {
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
			if p, err := os.FindProcess(os.Getpid()); err == nil {
				_ = p.Kill()
			}
			select {} // the signal may arrive a moment later; nothing may happen until then
		}
	})
}

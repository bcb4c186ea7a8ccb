package main

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// skewedClock is the clock that processes of a test read, which can step; the machine's does not change.
// A program in Go gets the time from a function of the kernel that lies in the memory of each process (the
// vDSO). It is replaced there by one that asks the kernel and adds a number, which the test writes.
// The monotonic clock stays as it is, as it does on a machine whose clock steps.
type skewedClock struct {
	mu      sync.Mutex
	ahead   time.Duration
	memory  *os.File // of the process that was started last
	address int64    // of the number in it
}

// skewedSymbol is the name of the kernel's function, and skewedCode is
//
//	func clock_gettime(clock, *timespec) { syscall; if clock == CLOCK_REALTIME { timespec.sec += number } }
//
// behind which the number follows, of 8 bytes.
const skewedSymbol = "__vdso_clock_gettime"

var skewedCode = []byte{
	0xb8, 228, 0, 0, 0, // mov eax, SYS_clock_gettime
	0x0f, 0x05, // syscall
	0x85, 0xff, // test edi, edi
	0x75, 10, // jnz to ret
	0x48, 0x8b, 0x0d, 6, 0, 0, 0, // mov rcx, [the number]
	0x48, 0x01, 0x0e, // add [rsi], rcx
	0xc3,       // ret
	0x90, 0x90, // so that the number can be written at once
}

// start starts a process that reads this clock from its first instruction on.
func (c *skewedClock) start(cmd *exec.Cmd) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	runtime.LockOSThread() // the thread that starts a process is the one that it stops for
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	pid := cmd.Process.Pid
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil || !status.Stopped() {
		return fmt.Errorf("the new process has not stopped: status %#x, %v", status, err)
	}
	return errors.Join(c.replace(pid), syscall.PtraceDetach(pid))
}

// replace puts the code and the number into a process that has not begun to run.
func (c *skewedClock) replace(pid int) error {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return err
	}
	var from, to int64
	for line := range strings.Lines(string(maps)) {
		if strings.HasSuffix(line, "[vdso]\n") {
			if _, err := fmt.Sscanf(line, "%x-%x", &from, &to); err != nil {
				return err
			}
		}
	}
	memory, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	image := make([]byte, to-from)
	if _, err := memory.ReadAt(image, from); err != nil {
		return err
	}
	file, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return err
	}
	symbols, err := file.DynamicSymbols()
	if err != nil {
		return err
	}
	for _, s := range symbols {
		if s.Name == skewedSymbol && s.Value%8 == 0 && s.Size >= uint64(len(skewedCode)+8) {
			if c.memory != nil {
				_ = c.memory.Close() // of a process that has ended
			}
			c.memory, c.address = memory, from+int64(s.Value)+int64(len(skewedCode))
			_, err := memory.WriteAt(skewedCode, from+int64(s.Value))
			return errors.Join(err, c.write())
		}
	}
	return fmt.Errorf("this kernel has no function %s that is large enough", skewedSymbol)
}

func (c *skewedClock) write() error {
	_, err := c.memory.WriteAt(binary.LittleEndian.AppendUint64(nil, uint64(int64(c.ahead/time.Second))), c.address)
	return err
}

// set makes the clock step to so far ahead of the machine's, in whole seconds.
func (c *skewedClock) set(ahead time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead = ahead
	return c.write()
}

func (c *skewedClock) close() {
	if c.memory != nil {
		_ = c.memory.Close()
	}
}

// TestSkewedClock: a process reads another clock than the machine's, and no other process does.
func TestSkewedClock(t *testing.T) {
	if os.Getenv("WEIR_TEST_KILLS") == "" {
		t.Skip("needs a kernel that lets a process be changed: WEIR_TEST_KILLS=10 go test ./cmd/weir -run TestSkewedClock")
	}
	c := &skewedClock{ahead: 3 * time.Hour}
	t.Cleanup(c.close)
	cmd := exec.Command("date", "+%s")
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := c.start(cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	s, err := strconv.ParseInt(strings.TrimSpace(out.String()), 10, 64)
	if d := time.Until(time.Unix(s, 0)) - 3*time.Hour; err != nil || d.Abs() > time.Minute {
		t.Errorf("%v off, %v", d, err)
	}
}

package program

import (
	"unsafe"

	"golang.org/x/sys/windows"
)

// Memory returns the memory of the program and all its descendants in bytes: the most that they
// had committed so far, which is what a job knows.
func (p *Process) Memory() int64 {
	info := windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION{}
	err := windows.QueryInformationJobObject(p.cage.job, windows.JobObjectExtendedLimitInformation,
		uintptr(unsafe.Pointer(&info)), uint32(unsafe.Sizeof(info)), nil) //nolint:gosec // the only way to pass it
	if err != nil {
		return 0
	}
	return int64(info.PeakJobMemoryUsed) //nolint:gosec // less than the machine's memory
}

package cli

import (
	"os"

	"golang.org/x/sys/windows"
)

// understands reports whether a terminal knows escape sequences. The console of Windows has to be
// asked to, and that before Windows 10 does not.
func understands(f *os.File) bool {
	h := windows.Handle(f.Fd())
	var mode uint32
	if err := windows.GetConsoleMode(h, &mode); err != nil {
		return false
	}
	return windows.SetConsoleMode(h, mode|windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING) == nil
}

package program

import (
	"fmt"
	"os"
)

// Guard is the main function of a guard: os.Args has GuardArgument, the path of the program, and
// its arguments. It returns the exit code.
func Guard() int {
	b := make([]byte, 1)
	if n, _ := os.Stdin.Read(b); n == 0 || b[0] != beginNow {
		return 1
	}
	if len(os.Args) < 4 {
		fmt.Fprintln(os.Stdout, "error", "no program given")
		return 1
	}
	return guard(os.Args[2], os.Args[3:])
}

// obey calls terminate when the commands say so, until the program is to be killed.
func obey(terminate func()) {
	b := make([]byte, 1)
	for {
		if n, err := os.Stdin.Read(b); n == 0 || err != nil || b[0] == killNow {
			return
		}
		terminate()
	}
}

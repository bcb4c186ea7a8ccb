//go:build !windows

package cli

import "os"

// understands reports whether a terminal knows escape sequences: all of these systems do, but for
// what TERM says.
func understands(*os.File) bool { return true }

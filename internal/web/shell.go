package web

import "github.com/weir-project/weir/internal/visible"

// ShellWord is a word of a command line for a shell.
func ShellWord(s string) string { return visible.ShellWord(s) }

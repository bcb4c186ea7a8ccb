// Package labs holds the texts of the labs, one page each, so that the program can
// show them beside the experiment.
package labs

import "embed"

// Files has NAME.md for each lab.
//
//go:embed *.md
var Files embed.FS

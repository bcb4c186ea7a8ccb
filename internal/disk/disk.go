// Package disk asks the operating system about the disk: locks of files and the room
// that is left.
package disk

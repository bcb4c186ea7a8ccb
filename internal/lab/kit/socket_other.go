//go:build !linux

package kit

import "net"

func unsent(*net.TCPConn) int64 { return 0 }
func unread(*net.TCPConn) int64 { return 0 }

//go:build !unix

package intake

import (
	"errors"
	"net/netip"
	"syscall"
)

func descriptors() (uint64, error) { return 0, errors.ErrUnsupported }

func control(func(netip.AddrPort)) func(network, address string, c syscall.RawConn) error { return nil }

package apache

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// The ports that FreeAddrs chooses from: below those that operating systems give to
// outgoing connections (from 32768 on Linux, from 49152 elsewhere).
const (
	lowestPort  = 20000
	highestPort = 29999
)

// FreeAddrs returns n different addresses of a host that no program listens on. A broker
// binds its port seconds after it was chosen, since it is written into the
// configuration: one that the operating system chooses could by then belong to some
// client's connection, or to a client that, trying to reach the broker, met itself.
func FreeAddrs(host string, n int) ([]string, error) {
	var addrs []string
	for tries := 0; len(addrs) < n; tries++ {
		addr := net.JoinHostPort(host, strconv.Itoa(lowestPort+rand.IntN(highestPort-lowestPort+1)))
		l, err := net.Listen("tcp", addr)
		if err == nil {
			defer l.Close() // after the loop, so that no port is found twice
			addrs = append(addrs, addr)
		} else if !errors.Is(err, syscall.EADDRINUSE) || tries > highestPort-lowestPort {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
	}
	return addrs, nil
}

// FillAddrs gives every address with port 0 a free port, and nil three of
// 127.0.0.1. No other program gets a port of these while its broker is down for a restart.
func FillAddrs(addrs []string) ([]string, error) {
	if addrs == nil {
		return FreeAddrs("127.0.0.1", nodes)
	}
	if len(addrs) != nodes {
		return nil, fmt.Errorf("%d addresses given, want %d", len(addrs), nodes)
	}
	addrs = slices.Clone(addrs)
	for i, addr := range addrs {
		if host, ok := strings.CutSuffix(addr, ":0"); ok {
			free, err := FreeAddrs(strings.Trim(host, "[]"), nodes)
			if err != nil {
				return nil, err
			}
			// One of as many as there are brokers is in no other's address.
			addrs[i] = free[slices.IndexFunc(free, func(f string) bool { return !slices.Contains(addrs, f) })]
		}
	}
	return addrs, nil
}

// Package local has what the brokers of both engines have in common on this machine: their
// state, and ports that no client's connection gets.
package local

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
)

// Broker is the state of one broker. PID and LogFile are empty for an embedded one.
type Broker struct {
	ID      int32
	Addr    string // host:port that clients connect to
	Alive   bool
	PID     int    // of the Java process, 0 when it is not running
	LogFile string // what the process printed
	// Reason says why it is not running, empty while it is: "stopped", "killed",
	// "ended: signal: killed".
	Reason string
}

// The ports that Free chooses from: below those that operating systems give to
// outgoing connections (from 32768 on Linux, from 49152 elsewhere).
const (
	lowestPort  = 20000
	highestPort = 29999
)

// Free returns n different addresses of a host that no program listens on. A broker
// binds its port seconds after it was chosen, since it is written into the
// configuration: one that the operating system chooses could by then belong to some
// client's connection, or to a client that, trying to reach the broker, met itself.
func Free(host string, n int) ([]string, error) {
	var addrs []string
	for tries := 0; len(addrs) < n; tries++ {
		addr := net.JoinHostPort(host, strconv.Itoa(lowestPort+rand.IntN(highestPort-lowestPort+1)))
		l, err := net.Listen("tcp", addr)
		if err == nil {
			defer l.Close() // after the loop, so that no port is found twice
			addrs = append(addrs, addr)
		} else if unknown := (*net.DNSError)(nil); errors.As(err, &unknown) || tries > 1000 { // Windows reserves some ports
			return nil, fmt.Errorf("find a free port: %w", err)
		}
	}
	return addrs, nil
}

// Fill gives every address with port 0 a free port, and nil stands for n free ports of
// 127.0.0.1. A port that the operating system chooses could belong to a client's connection
// when the broker that had it starts again.
func Fill(addrs []string, n int) ([]string, error) {
	if addrs == nil {
		return Free("127.0.0.1", n)
	}
	if len(addrs) != n {
		return nil, fmt.Errorf("%d broker addresses given, %d needed", len(addrs), n)
	}
	addrs = slices.Clone(addrs)
	for i, addr := range addrs {
		if host, ok := strings.CutSuffix(addr, ":0"); ok {
			free, err := Free(strings.Trim(host, "[]"), n)
			if err != nil {
				return nil, err
			}
			// One of as many as there are brokers is in no other's address.
			addrs[i] = free[slices.IndexFunc(free, func(f string) bool { return !slices.Contains(addrs, f) })]
		}
	}
	return addrs, nil
}

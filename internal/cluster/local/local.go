// Package local has what the brokers of both engines have in common on this machine: their
// configuration, their state, and ports that no client's connection gets.
package local

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
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

// DefaultLogSize is Config.LogSize where none is given, in bytes: more than a day of the live streams.
const DefaultLogSize = 4 << 30

// Config says where brokers keep their data and what they may use. The zero value is
// three embedded brokers in memory, on free ports of 127.0.0.1.
type Config struct {
	// Dir holds the brokers' data, logs and process records. Empty keeps the data of
	// embedded brokers in memory.
	Dir string
	// Addrs are the three brokers' client addresses, host:port. Port 0 is a free port, and nil
	// three free ports of 127.0.0.1.
	Addrs []string
	// Progress gets lines that say what is going on; it may be nil.
	Progress func(string)
	// Log reports what cannot be returned; nil discards.
	Log *slog.Logger

	// Retention is the brokers' log.retention.ms, which rules topics without a retention.ms of
	// their own; 0 means Kafka's 7 days.
	Retention time.Duration
	// LogSize is the most bytes that the log of embedded brokers takes, all partitions together;
	// 0 means 4 GiB. The oldest records go first, except those of compacted topics.
	LogSize int64
	// CheckEvery is how often embedded brokers apply retention; 0 means every 10 s.
	CheckEvery time.Duration
	// HotBatches is how many batches of each partition embedded brokers keep outside of the
	// archive; 0 means as many as their memory is for, at least 50.
	HotBatches int64

	// What follows is for Apache Kafka only.

	// Cache holds the jars that Maven fetches and an archive of the brokers' classes,
	// shared by all data directories.
	Cache string
	// Home is an unpacked official distribution, whose jars are used instead of
	// fetching any. Usually the environment's KAFKA_HOME; empty means none.
	Home string
	// Properties are added to every broker's configuration, and win.
	Properties map[string]string
	// Edit changes what one broker, 1 to 3, is configured with, at last; may be nil.
	Edit func(id int32, properties map[string]string)
	// Bound makes the brokers end with this process, on Linux. Otherwise they outlive
	// one that is killed, as the brokers of a real cluster do, until the next start on
	// the same directory.
	Bound bool
	// Died is called, from its own goroutine, with a broker that ended although
	// nobody stopped it; it may be nil.
	Died func(Broker)
}

// The ports that Free chooses from: below those that operating systems give to
// outgoing connections (from 32768 on Linux, from 49152 elsewhere).
const (
	lowestPort  = 12000
	highestPort = 31999
)

// given are the ports that Free has returned: a broker binds its port seconds later, so
// until then only this tells that a port is taken.
var given = struct {
	sync.Mutex
	ports map[int]bool
}{ports: map[int]bool{}}

// Free returns n addresses of a host that no program listens on, with ports that it has
// not returned before. A broker binds its port seconds after it was chosen, since it is
// written into the configuration: one that the operating system chooses could by then belong
// to some client's connection, or to a client that, trying to reach the broker, met itself.
func Free(host string, n int) ([]string, error) {
	given.Lock()
	defer given.Unlock()
	if len(given.ports) > (highestPort-lowestPort)/2 { // most of them are long free again
		clear(given.ports)
	}
	var addrs []string
	for tries := 0; len(addrs) < n; tries++ {
		port := lowestPort + rand.IntN(highestPort-lowestPort+1)
		if given.ports[port] {
			continue
		}
		addr := net.JoinHostPort(host, strconv.Itoa(port))
		l, err := net.Listen("tcp", addr)
		if err == nil {
			defer l.Close() // after the loop, so that no port is found twice
			addrs, given.ports[port] = append(addrs, addr), true
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

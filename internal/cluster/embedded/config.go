package embedded

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/weir-project/weir/internal/cluster/ports"
	"github.com/weir-project/weir/internal/disk"
	"github.com/weir-project/weir/internal/intake"
)

// Size is the number of brokers in a cluster, with ids 0 to Size-1.
const Size = 3

// Defaults of Config.
const (
	defaultLogCap       = int64(1) << 30
	defaultSegmentBytes = int64(8) << 20
	defaultMaxBatches   = 300_000
	defaultCheckEvery   = 10 * time.Second
)

// Config says where a cluster lives and what it may use. The zero value is a
// cluster in memory on three free ports of 127.0.0.1.
type Config struct {
	// Dir is the data directory, created when missing. Empty keeps everything in
	// memory: for tests, and gone after Close.
	Dir string
	// Addrs are the host:port to listen on, one for each broker; port 0 is any
	// free port. nil means three free ports of 127.0.0.1. The brokers return to
	// clients the address that they are bound to, 127.0.0.1 where that is every interface.
	Addrs []string
	// Log receives what an operator should know. nil discards it.
	Log *slog.Logger
	// Progress is called with one line about every half second while Open takes
	// longer than a second. It may be called from another goroutine, but not
	// after Open has returned. nil is allowed.
	Progress func(line string)
	// LogCap is the most bytes that the partitions may hold on disk together,
	// beyond which Run deletes the oldest segments; 0 is 1 GiB.
	// Compacted topics count, and lose nothing for it.
	LogCap int64
	// SegmentBytes is the size at which a partition starts a new file, for topics
	// that do not say; 0 is 8 MiB. Retention deletes whole files.
	SegmentBytes int64
	// MaxBatches bounds the record batches of all partitions together, because
	// the broker keeps about 88 bytes of heap for each; 0 is 300,000.
	MaxBatches int64
	// CheckEvery is how often Run applies retention; 0 is 10 s.
	CheckEvery time.Duration
	// SyncWrites makes every produce wait for the disk. An fsync that fails is not
	// noticed, because the module ignores its result. Without it an acknowledged
	// record survives the death of the process at any moment, but not the loss of
	// power: that is also how Apache Kafka is usually run, which then relies on
	// replicas. Measured, it costs far more than anything else here.
	SyncWrites bool
	// Listen makes the sockets; nil is net.Listen.
	Listen func(network, address string) (net.Listener, error)

	// space is disk.Space outside tests.
	space func(dir string) (total, free int64, err error)
	// conns is how many connections a broker admits; 0 is the share of maxConns
	// that the process's descriptors permit.
	conns int
}

func (c Config) withDefaults() (Config, error) {
	seen := make(map[string]bool)
	for _, a := range c.Addrs {
		_, port, err := net.SplitHostPort(a)
		if err != nil {
			return c, &AddrError{Addr: a, Err: fmt.Errorf("want host:port: %w", err)}
		}
		if port != "0" && seen[a] {
			return c, &AddrError{Addr: a, Err: errors.New("given for two brokers")}
		}
		seen[a] = true
	}
	var err error
	if c.Addrs, err = ports.Fill(c.Addrs, Size); err != nil {
		return c, err
	}
	if c.LogCap < 0 || c.SegmentBytes < 0 || c.MaxBatches < 0 || c.CheckEvery < 0 {
		return c, errors.New("a limit of the cluster is negative")
	}
	c.Log = cmp.Or(c.Log, slog.New(slog.DiscardHandler))
	c.LogCap = cmp.Or(c.LogCap, defaultLogCap)
	c.SegmentBytes = cmp.Or(c.SegmentBytes, defaultSegmentBytes)
	c.MaxBatches = cmp.Or(c.MaxBatches, defaultMaxBatches)
	c.CheckEvery = cmp.Or(c.CheckEvery, defaultCheckEvery)
	if c.Progress == nil {
		c.Progress = func(string) {}
	}
	if c.Listen == nil {
		c.Listen = net.Listen
	}
	if c.space == nil {
		c.space = disk.Space
	}
	if c.conns == 0 {
		c.conns = intake.Share(maxConns)
	}
	return c, nil
}

// AddrError says which address could not be listened on.
type AddrError struct {
	Addr string // as configured
	Err  error
}

func (e *AddrError) Error() string {
	if e.InUse() {
		return fmt.Sprintf("listen on %s: another program uses this port; stop it, or choose another one", e.Addr)
	}
	return fmt.Sprintf("listen on %s: %v", e.Addr, e.Err)
}

func (e *AddrError) Unwrap() error { return e.Err }

// InUse reports whether another socket holds the address: a free port then
// replaces a default one.
func (e *AddrError) InUse() bool { return errors.Is(e.Err, syscall.EADDRINUSE) }

// LockedError says that a running process uses the data directory.
type LockedError struct {
	Dir string
	PID int // 0 when the holder did not leave it
}

func (e *LockedError) Error() string {
	who := "another weir"
	if e.PID > 0 {
		who = fmt.Sprintf("another weir (process %d)", e.PID)
	}
	return fmt.Sprintf("data directory %s is in use by %s; stop it, or choose another --data directory", e.Dir, who)
}

// FormatError says why a data directory cannot be opened.
type FormatError struct {
	Dir    string
	Reason string // what is wrong, and the way out
	Newer  bool   // whether a newer version wrote it
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("data directory %s: %s", e.Dir, e.Reason)
}

// dirError adds the directory, and the way out, to an error of the file system.
func dirError(dir string, err error) error {
	var locked *LockedError
	var format *FormatError
	switch {
	case errors.As(err, &locked), errors.As(err, &format):
		return err
	case errors.Is(err, os.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("data directory %s is not writable: %w; change its owner, or choose another --data directory", dir, err)
	case isFull(err):
		return &DiskError{Dir: dir, Free: -1, Err: err}
	}
	return fmt.Errorf("data directory %s: %w", dir, err)
}

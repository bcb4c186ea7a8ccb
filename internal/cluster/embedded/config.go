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

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/weir-project/weir/internal/atomicfile"
	"github.com/weir-project/weir/internal/cluster/local"
	"github.com/weir-project/weir/internal/disk"
	"github.com/weir-project/weir/internal/intake"
)

// Size is the number of brokers in a cluster, with ids 0 to Size-1.
const Size = 3

// week is Kafka's default retention.
const week = 7 * 24 * time.Hour

// Config says where a cluster lives and what it may use.
type Config = local.Config

// config is Config with what only tests set.
type config struct {
	Config
	// segmentBytes is the size at which a partition starts a new file, for topics
	// that do not say. Retention deletes whole files.
	segmentBytes int64
	// maxBatches bounds the record batches of all partitions together, because
	// the broker keeps about 88 bytes of heap for each.
	maxBatches int64
	// archiveFile is the size at which the archive begins a new file.
	archiveFile int64
	// maxFetched bounds the response to a Fetch in which every partition returns its fair share.
	maxFetched int32
	// options are further ones of the module.
	options []kfake.Opt
	listen  func(network, address string) (net.Listener, error)
	space   func(dir string) (total, free int64, err error) // of the disk
	conns   int                                             // that a broker admits
	faults  *atomicfile.Faults                              // of the archive's files, and of those that repair changes
}

func (c config) withDefaults() (config, error) {
	seen := make(map[string]bool)
	for _, a := range c.Addrs {
		_, port, err := net.SplitHostPort(a)
		if err != nil {
			return c, listenError(a, fmt.Errorf("want host:port: %w", err))
		}
		if port != "0" && seen[a] {
			return c, listenError(a, errors.New("given for two brokers"))
		}
		seen[a] = true
	}
	var err error
	if c.Addrs, err = local.Fill(c.Addrs, Size); err != nil {
		return c, err
	}
	c.Log = cmp.Or(c.Log, slog.New(slog.DiscardHandler))
	c.LogSize = cmp.Or(c.LogSize, local.DefaultLogSize)
	c.segmentBytes = cmp.Or(c.segmentBytes, 8<<20)
	c.archiveFile = cmp.Or(c.archiveFile, archiveFileSize)
	c.maxBatches = cmp.Or(c.maxBatches, 300_000)
	c.maxFetched = cmp.Or(c.maxFetched, maxFetched)
	c.CheckEvery = cmp.Or(c.CheckEvery, 10*time.Second)
	if c.Progress == nil {
		c.Progress = func(string) {}
	}
	if c.listen == nil {
		c.listen = net.Listen
	}
	if c.space == nil {
		c.space = disk.Space
	}
	c.conns = cmp.Or(c.conns, intake.Share(maxConns))
	return c, nil
}

// listenError says which address, as it was configured, cannot be listened on, and why.
func listenError(addr string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("listen on %s: another program uses this port; stop it, or choose another one: %w", addr, err)
	}
	return fmt.Errorf("listen on %s: %w", addr, err)
}

// dirError adds the directory, and the way out, to an error of the file system.
func dirError(dir string, err error) error {
	switch {
	case errors.Is(err, os.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("data directory %s is not writable: %w; change its owner, or choose another --data directory", dir, err)
	case isFull(err):
		return &DiskError{Dir: dir, Free: -1, Err: err}
	}
	return fmt.Errorf("data directory %s: %w", dir, err)
}

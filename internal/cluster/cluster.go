// Package cluster runs three Kafka brokers on this machine, on either of two engines:
// embedded (brokers inside this process) and apache (Apache Kafka, as Java processes).
// It owns what the two have in common, so that the commands, the labs and the tests use
// one interface. Nothing that only talks to a cluster needs this package: to it, every
// engine is a list of addresses.
package cluster

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/weir-project/weir/internal/cluster/apache"
	"github.com/weir-project/weir/internal/cluster/embedded"
	"github.com/weir-project/weir/internal/cluster/local"
)

// The engines, as --engine names them.
const (
	Embedded = "embedded"
	Apache   = "apache"
)

// DefaultLogSize is the most bytes of log that embedded brokers keep unless --log-size says another.
const DefaultLogSize = local.DefaultLogSize

// Size is the number of brokers of every engine.
const Size = embedded.Size

// Engines lists the names of the engines.
func Engines() []string { return []string{Embedded, Apache} }

// Engine is three brokers that this process started.
type Engine interface {
	// Name is Embedded or Apache.
	Name() string
	// Addrs are where clients connect, host:port, in the order of the brokers' ids.
	Addrs() []string
	// Brokers describes the brokers, in the order of their ids.
	Brokers(ctx context.Context) ([]Broker, error)

	// Kill stops a broker cleanly: its partitions move to other brokers first. KillHard
	// ends it without warning, as when a machine fails. Embedded brokers know only that.
	Kill(ctx context.Context, id int32) error
	KillHard(ctx context.Context, id int32) error
	// Restart starts a broker that is not running, on the same address.
	Restart(ctx context.Context, id int32) error
	// Pause stops a broker's process from running, and Resume lets it go on. They are
	// errors for embedded brokers.
	Pause(id int32) error
	Resume(id int32) error

	// Run does the brokers' background work until ctx ends. A failed pass is logged.
	Run(ctx context.Context) error
	// Fault returns why the brokers accept no records now, or what fails of the archive
	// alone (DiskError.Archive), and what to do; or nil.
	Fault() error
	// Damage lists what the last start found damaged on the disk and cut off.
	Damage() []string
	Close() error
}

// Broker is the state of one broker. PID and LogFile are empty for an embedded one.
type Broker = local.Broker

// Config says where brokers keep their data and what they may use. Its Dir holds the data
// of both engines, each in a directory of its own.
type Config = local.Config

// Open starts three brokers of an engine (empty means Embedded) and returns when they answer. The error is
// a *PortError where another program uses an address of Apache Kafka's brokers.
func Open(ctx context.Context, engine string, cfg Config) (Engine, error) {
	switch engine {
	case Embedded, "":
		if cfg.Dir != "" {
			cfg.Dir = Dir(cfg.Dir, Embedded)
		}
		k, err := embedded.Open(ctx, cfg)
		if err != nil {
			return nil, fmt.Errorf("open brokers: %w", err)
		}
		return k, nil
	case Apache:
		cfg.Dir = Dir(cfg.Dir, Apache)
		k, err := apache.Open(ctx, cfg)
		if err != nil {
			return nil, err
		}
		return k, nil
	}
	return nil, fmt.Errorf("unknown engine %q: choose %s or %s", engine, Embedded, Apache)
}

// PortError is the error of Apache Kafka's brokers when another program took a port
// after it had been chosen.
type PortError = apache.PortError

// Dir is where an engine keeps its data below dir.
func Dir(dir, engine string) string {
	if engine == Apache {
		return filepath.Join(dir, "apache")
	}
	return filepath.Join(dir, "kafka")
}

// FreeAddrs returns n different addresses of a host that no program listens on, with
// ports that operating systems give to nobody who asks for any port.
func FreeAddrs(host string, n int) ([]string, error) { return local.Free(host, n) }

// StopOrphans ends the brokers that a killed process left running on the data below dir.
// A caller that chooses ports calls it first, because orphans hold theirs. progress may
// be nil.
func StopOrphans(ctx context.Context, dir string, progress func(string)) error {
	return apache.StopOrphans(ctx, Dir(dir, Apache), progress)
}

// DiskError is the fault of embedded brokers whose disk is full or fails.
type DiskError = embedded.DiskError

package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/cluster"
	"github.com/weir-project/weir/internal/inspect"
)

// Keep says how much of the log the brokers keep. Zero values are the brokers' own.
type Keep struct {
	Time time.Duration // retention of topics that have none of their own
	Size Bytes         // of the whole log, embedded brokers only
}

// size is how many bytes of log the embedded brokers keep.
func (k Keep) size() int64 { return int64(cmp.Or(k.Size, cluster.DefaultLogSize)) }

// The least that is kept: an ingester that starts again looks back at its last minutes.
const (
	leastTime = 10 * time.Minute
	leastSize = 64 << 20
)

// Keeps says how much of the log the brokers of this process keep; empty with an existing cluster.
func (n *Node) Keeps() string {
	keep := cli.DurationText(cmp.Or(n.cfg.Keep.Time, 7*24*time.Hour))
	switch n.BrokerEngine() {
	case cluster.Embedded:
		return fmt.Sprintf("keeps %s of records, at most %s in all (--retention, --log-size)", keep, cli.SizeText(n.cfg.Keep.size()))
	case cluster.Apache:
		return fmt.Sprintf("keeps %s of records (--retention)", keep)
	}
	return ""
}

// Reach is how far back a topic reaches.
type Reach struct {
	Topic string
	inspect.Reach
}

// Reach returns how far back the topics of the streams reach that have records. It leaves
// out what does not answer within seconds.
func (n *Node) Reach(ctx context.Context) (all []Reach) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	insp, cl, err := n.OpenInspector(ctx, impatient()...)
	if err != nil {
		return nil
	}
	defer cl.Close()
	for _, s := range Sources {
		if r, err := insp.Reach(ctx, s.Topic, time.Now()); err == nil && !r.First.IsZero() {
			all = append(all, Reach{s.Topic, r})
		}
	}
	return all
}

// Check refuses what the brokers cannot do. kafkaFrom names an existing cluster, and timeFrom
// and sizeFrom what was given, each empty for none.
func (k Keep) Check(engine, kafkaFrom, timeFrom, sizeFrom string) error {
	for _, from := range []string{timeFrom, sizeFrom} {
		if from != "" && kafkaFrom != "" {
			return cli.UsageError("leave out one of them; weir topics alter changes what a topic of that cluster keeps",
				"%s is for brokers that weir starts, and %s names others", from, kafkaFrom)
		}
	}
	switch {
	case timeFrom != "" && k.Time < leastTime:
		return cli.UsageError("give 24h, for example", "%s %v is less than %v, which an ingester that starts again looks back", timeFrom, k.Time, leastTime)
	case sizeFrom != "" && engine == cluster.Apache:
		return cli.UsageError("use --retention, or set retention.bytes of a topic, which holds for each of its partitions",
			"%s is for the embedded brokers: Apache Kafka has no limit for the whole log", sizeFrom)
	case sizeFrom != "" && k.Size < leastSize:
		return cli.UsageError("give 4GiB, for example", "%s %s is less than %s", sizeFrom, k.Size, Bytes(leastSize))
	}
	return nil
}

// Bytes is a number of bytes. It implements pflag.Value.
type Bytes int64

// units are the suffixes of Bytes, the longest of each kind first.
var units = []struct {
	name  string
	bytes int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1}, {"", 1}}

func (b Bytes) String() string {
	for _, u := range units {
		if n := int64(b); n != 0 && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	return ""
}

// Set takes a whole number with a unit (B, kB, MB, GB, KiB, MiB, GiB) or without one.
func (b *Bytes) Set(s string) error {
	for _, u := range units {
		number, ok := strings.CutSuffix(s, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
		switch {
		case err != nil || n < 0:
			return errors.New("want a whole number with a unit, such as 4GiB or 500MB")
		case n > math.MaxInt64/u.bytes:
			return fmt.Errorf("%s is too large", s)
		}
		*b = Bytes(n * u.bytes)
		return nil
	}
	return nil
}

// Type names the value in the help.
func (*Bytes) Type() string { return "bytes" }

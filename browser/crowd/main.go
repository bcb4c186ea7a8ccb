// Command crowd is a cluster with as much in it as the pages have to bear: weir's
// own embedded brokers with thousands of topics, hundreds of groups of three
// kinds, and records that keep coming. It prints the brokers' addresses when all
// is there, and ends with its standard input. Tests look at it with weir ui.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/cluster/embedded"
)

type crowd struct {
	topics, partitions, groups, members, rate int
	addrs                                     []string
	admin                                     *kadm.Client
	client                                    *kgo.Client
}

func main() {
	var c crowd
	flag.IntVar(&c.topics, "topics", 2000, "how many topics")
	flag.IntVar(&c.partitions, "partitions", 10, "partitions of each topic")
	flag.IntVar(&c.groups, "groups", 500, "how many groups")
	flag.IntVar(&c.members, "members", 30, "how many of the groups have a member that reads")
	flag.IntVar(&c.rate, "rate", 500, "records per second, over a tenth of the topics")
	flag.Parse()
	ctx, stop := context.WithCancel(context.Background())
	go func() { _, _ = io.Copy(io.Discard, os.Stdin); stop() }()
	if err := c.run(ctx); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "crowd:", err)
		os.Exit(1)
	}
}

func (c *crowd) run(ctx context.Context) error {
	brokers, err := embedded.Open(ctx, embedded.Config{})
	if err != nil {
		return err
	}
	defer brokers.Close()
	c.addrs = brokers.Addrs()
	if c.client, err = kgo.NewClient(kgo.SeedBrokers(c.addrs...), kgo.RecordPartitioner(kgo.ManualPartitioner())); err != nil {
		return err
	}
	defer c.client.Close()
	c.admin = kadm.NewClient(c.client)
	if err := c.makeTopics(ctx); err != nil {
		return err
	}
	if err := c.makeGroups(ctx); err != nil {
		return err
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	for i := range c.members {
		wg.Go(func() { c.read(ctx, i) })
	}
	wg.Go(func() { c.write(ctx) })
	fmt.Fprintln(os.Stdout, strings.Join(c.addrs, ","))
	<-ctx.Done()
	return nil
}

// wide is how many partitions a topic has that has many.
const wide = 300

func topic(i int) string { return fmt.Sprintf("crowd.%04d", i) }

// group names one of the three kinds in turn.
func group(i int) string {
	return fmt.Sprintf("%s-%03d", [...]string{"classic", "consumer", "share"}[i%3], i)
}

func (c *crowd) makeTopics(ctx context.Context) error {
	const together = 100
	for from := 0; from < c.topics; from += together {
		var names []string
		for i := from; i < min(c.topics, from+together); i++ {
			names = append(names, topic(i))
		}
		made, err := c.admin.CreateTopics(ctx, int32(c.partitions), 3, nil, names...)
		if err = errors.Join(err, made.Error()); err != nil {
			return fmt.Errorf("create topics: %w", err)
		}
	}
	made, err := c.admin.CreateTopics(ctx, wide, 3, nil, "crowd.wide")
	if err = errors.Join(err, made.Error()); err != nil {
		return fmt.Errorf("create a wide topic: %w", err)
	}
	// Something to read in every other topic.
	for i := range c.topics {
		for p := range c.partitions {
			c.client.Produce(ctx, &kgo.Record{Topic: topic(i), Partition: int32(p), Value: []byte(`{"n":` + strconv.Itoa(p) + `}`)}, nil)
		}
	}
	return c.client.Flush(ctx)
}

// makeGroups commits positions for groups that nobody is a member of.
func (c *crowd) makeGroups(ctx context.Context) error {
	for i := c.members; i < c.groups; i++ {
		offsets := kadm.Offsets{}
		for p := range c.partitions {
			offsets.AddOffset(topic(i%c.topics), int32(p), int64(i%2), -1)
		}
		if err := c.admin.CommitAllOffsets(ctx, fmt.Sprintf("idle-%03d", i), offsets); err != nil {
			return fmt.Errorf("commit offsets: %w", err)
		}
	}
	return nil
}

// read is the member of a group.
func (c *crowd) read(ctx context.Context, i int) {
	opts := []kgo.Opt{kgo.SeedBrokers(c.addrs...), kgo.ClientID("crowd-" + strconv.Itoa(i))}
	if i%3 == 2 {
		opts = append(opts, kgo.ShareGroup(group(i)), kgo.ConsumeTopics(topic(i)))
	} else {
		opts = append(opts, kgo.ConsumerGroup(group(i)), kgo.ConsumeTopics(topic(i)))
	}
	if i%3 == 1 {
		opts = append(opts, kgo.ServerSideBalancer())
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		fmt.Fprintf(os.Stderr, "crowd: group %s: %v\n", group(i), err)
		return
	}
	defer cl.Close()
	for {
		if f := cl.PollFetches(ctx); f.IsClientClosed() || ctx.Err() != nil {
			return
		}
	}
}

func (c *crowd) write(ctx context.Context) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	random := rand.New(rand.NewPCG(1, 2))
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for range c.rate / 10 {
			c.client.Produce(ctx, &kgo.Record{Topic: topic(random.IntN(max(1, c.topics/10))), Partition: int32(random.IntN(c.partitions)), Value: []byte(`{"n":1}`)}, nil)
		}
	}
}

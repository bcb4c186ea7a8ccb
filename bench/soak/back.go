//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// topics are those that events of the two streams are in.
var topics = []string{"bluesky-events", "bluesky-accounts", "wikipedia-edits"}

// readBack is what was read of the whole log.
type readBack struct {
	stored   int64 // events, by weir's count
	first    int64 // sum of the first offsets of all partitions
	offsets  int64 // between first and end of all partitions, those of markers included
	kcat     int64 // records that kcat read
	kcatTook time.Duration
	ok       bool // weir verify says that nothing is lost, duplicated or miscounted
	took     time.Duration
}

// readBack reads everything with kcat and with weir verify, from first offsets on.
func (k *soak) readBack(ctx context.Context) error {
	err := k.until(ctx, time.Second, func() bool {
		before := k.last
		r, err := k.read()
		return err == nil && before != nil && r.plain[storedEvents] == before.plain[storedEvents] && r.plain["weir_group_lag"] == 0
	})
	if err != nil {
		return fmt.Errorf("the streams do not come to rest: %w", err)
	}
	b := &readBack{stored: int64(k.last.plain[storedEvents])}
	if err := k.offsets(ctx, b); err != nil {
		return err
	}
	begun := time.Now()
	err = k.sampling(ctx, func() error {
		for _, topic := range topics {
			out := new(counter)
			cmd := exec.CommandContext(ctx, "kcat", "-C", "-b", k.brokers, "-t", topic, "-o", "beginning", "-e", "-q", "-f", ".")
			var said bytes.Buffer
			cmd.Stdout, cmd.Stderr = out, &said
			if err := cmd.Run(); err != nil {
				return fmt.Errorf("kcat of %s: %w\n%s", topic, err, &said)
			}
			b.kcat += int64(*out)
		}
		return nil
	})
	if err != nil {
		return err
	}
	b.kcatTook = time.Since(begun)
	k.note("kcat has read everything")
	begun = time.Now()
	if err := k.sampling(ctx, func() error { return k.verify(ctx, b) }); err != nil {
		return err
	}
	b.took = time.Since(begun)
	k.note("weir verify has read everything")
	k.back = b
	took, err := k.finish(syscall.SIGINT)
	if err == nil {
		k.note(fmt.Sprintf("clean stop in %.1f s", took.Seconds()))
	}
	return err
}

func (k *soak) verify(ctx context.Context, b *readBack) error {
	cmd := exec.CommandContext(ctx, k.Weir, "verify", "--data", k.data(), "-o", "json")
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if e := os.WriteFile(filepath.Join(k.Out, "verify.json"), out, 0o600); e != nil {
		return e
	}
	var report struct {
		OK bool `json:"ok"`
	}
	if e := json.Unmarshal(out, &report); e != nil {
		return fmt.Errorf("weir verify: %w %w\n%s", err, e, &said)
	}
	b.ok = report.OK && err == nil
	return nil
}

// offsets asks for the first offsets and the ends.
func (k *soak) offsets(ctx context.Context, b *readBack) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(k.brokers, ",")...))
	if err != nil {
		return err
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	first, err := adm.ListStartOffsets(ctx, topics...)
	if err == nil {
		err = first.Error()
	}
	if err != nil {
		return err
	}
	ends, err := adm.ListEndOffsets(ctx, topics...)
	if err == nil {
		err = ends.Error()
	}
	first.Each(func(o kadm.ListedOffset) { b.first += o.Offset })
	ends.Each(func(o kadm.ListedOffset) { b.offsets += o.Offset })
	b.offsets -= b.first
	return err
}

// counter counts bytes.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// sampling samples while do runs.
func (k *soak) sampling(ctx context.Context, do func() error) error {
	done := make(chan error, 1)
	go func() { done <- do() }()
	for {
		select {
		case err := <-done:
			return err
		default:
			wait := make(chan struct{})
			time.AfterFunc(k.Every, func() { close(wait) })
			select {
			case err := <-done:
				return err
			case <-wait:
				if err := k.take(); err != nil {
					return err
				}
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}

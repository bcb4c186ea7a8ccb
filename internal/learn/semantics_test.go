package learn_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/learn/crashcount"
	"github.com/weir-project/weir/internal/learn/crashnote"
	"github.com/weir-project/weir/internal/tally"
)

// counterEnv tells a process of the test binary to be a counter: addresses, Redis, directory, semantics.
const counterEnv = "WEIR_LEARN_TEST_COUNTER"

// TestCounterProcess is the counter that TestSemantics kills.
func TestCounterProcess(t *testing.T) {
	args := strings.Split(os.Getenv(counterEnv), "|")
	if len(args) != 4 {
		t.Skip("it is run by TestSemantics, as a process of its own")
	}
	store, err := tally.Open(t.Context(), args[1])
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	err = crashcount.Run(t.Context(), crashcount.Config{Kafka: kafka.Config{Brokers: strings.Split(args[0], ",")}, Store: store,
		Topic: payments, Semantics: args[3], Dir: args[2], Every: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
}

// until waits until ok, with a limit for what hangs.
func (h *house) until(what string, ok func() bool) {
	h.Helper()
	ctx, cancel := context.WithTimeout(h.Context(), time.Minute)
	defer cancel()
	for !ok() {
		select {
		case <-ctx.Done():
			h.Fatalf("%s: not within a minute", what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func TestSemantics(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	store, url := h.redis()
	h.create(payments, 2)
	h.write(payments, 0, "a", "b", "c")
	h.write(payments, 1, "d", "e")
	h.answers("semantics", "0", false, "exactly once")
	h.answers("semantics", "450", true, "500") // no stream runs here: 100 a second
	h.stays("semantics", "start it: weir learn counter at-least-once")
	dir := filepath.Dir(h.cfg.Path)
	counted := func(semantics string) (n int64) {
		all, err := store.Partitions(t.Context(), crashnote.Group(semantics), payments)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range all {
			n += c.Sum()
		}
		return n
	}
	// end runs a counter until it has counted so many events, and stops it in order.
	end := func(semantics string, n int64) {
		t.Helper()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- crashcount.Run(ctx, crashcount.Config{Kafka: kafka.Config{Brokers: h.kafka.Addrs}, Store: store, Topic: payments,
				Semantics: semantics, Dir: dir, Every: time.Hour})
		}()
		h.until("counted by "+semantics, func() bool { return counted(semantics) >= n })
		stop()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	}
	// crash runs a counter as a process until it has counted so many events, and kills it.
	crash := func(semantics string, n int64) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestCounterProcess$")
		cmd.Env = append(os.Environ(), counterEnv+"="+strings.Join([]string{strings.Join(h.kafka.Addrs, ","), url, dir, semantics}, "|"))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		h.until("counted by the process "+semantics, func() bool { return counted(semantics) >= n })
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed
	}
	end(crashnote.AtLeastOnce, 5)
	h.stays("semantics", "the counter at-least-once always ended cleanly")
	h.write(payments, 0, "f", "g")
	crash(crashnote.AtLeastOnce, 7)
	h.stays("semantics", "at-least-once has not been killed and started again")
	end(crashnote.AtLeastOnce, 9)
	if n := counted(crashnote.AtLeastOnce); n != 9 {
		t.Fatalf("at least once: 7 records and 2 of them again are %d", n)
	}
	h.stays("semantics", "start it: weir learn counter exactly-once")

	crash(crashnote.ExactlyOnce, 7)
	h.write(payments, 1, "h")
	end(crashnote.ExactlyOnce, 8)
	if n := counted(crashnote.ExactlyOnce); n != 8 {
		t.Fatalf("exactly once: 8 records are %d", n)
	}
	h.passes("semantics", "at-least-once: 1 run that did not end cleanly; 9 events counted, 7 records in the log: 2 too many",
		"exactly-once: 1 run that did not end cleanly; 8 events counted, 8 records in the log")
}

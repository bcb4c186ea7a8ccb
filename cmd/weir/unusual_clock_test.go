package main

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// brokerClock is the clock that the brokers of a test read, and nobody else:
// libfaketime, loaded into the Java processes, adds what a file says to the time.
// Go asks the kernel for the time, so that weir itself keeps the right one.
type brokerClock struct {
	t    *testing.T
	file string
	none string // why there is none
}

// fakeTime is where distributions have the library.
const fakeTime = "/usr/lib/*/faketime/libfaketimeMT.so.1"

// newBrokerClock returns a clock that is right, and the environment that makes
// processes read it.
func newBrokerClock(t *testing.T) (*brokerClock, []string) {
	t.Helper()
	c := &brokerClock{t: t, file: filepath.Join(t.TempDir(), "clock")}
	found, err := filepath.Glob(fakeTime)
	if err != nil || len(found) == 0 {
		c.none = "no " + fakeTime + " here: install the package faketime"
		return c, nil
	}
	c.set("+0")
	t.Cleanup(forgetClocks)
	return c, []string{"LD_PRELOAD=" + found[0], "FAKETIME_TIMESTAMP_FILE=" + c.file, "FAKETIME_CACHE_DURATION=1",
		// What processes wait for goes by the monotonic clock, which does not step.
		"FAKETIME_DONT_FAKE_MONOTONIC=1", "FAKETIME_FORCE_MONOTONIC_FIX=0"}
}

// forgetClocks removes what the library keeps in memory for processes that were killed: they cannot do
// it themselves.
func forgetClocks() {
	kept, _ := filepath.Glob("/dev/shm/*faketime_*")
	for _, path := range kept {
		pid := path[strings.LastIndexByte(path, '_')+1:]
		if _, err := os.Stat("/proc/" + pid); errors.Is(err, os.ErrNotExist) {
			_ = os.Remove(path)
		}
	}
}

// set makes the clock step to a distance from the right time, such as -2h.
func (c *brokerClock) set(distance string) {
	c.t.Helper()
	// At once, as a whole: processes read it at any time.
	if err := os.WriteFile(c.file+".tmp", []byte(distance+"\n"), 0o600); err != nil {
		c.t.Fatal(err)
	}
	if err := os.Rename(c.file+".tmp", c.file); err != nil {
		c.t.Fatal(err)
	}
}

// clockTopic holds the times that brokers write.
const clockTopic = "clock"

// clockSteps has the brokers' clock step ahead by two hours, where it stays. Nothing is
// noticed, until a topic takes no records as old as the events now look: the stream waits
// and says so, and goes on when the limit is gone. That it did step, the times say that
// the brokers themselves write. It does not step back: Kafka's own timers then wait for
// the old time (brokers were fenced for good), which is not weir's to mend.
func (r *unusualRig) clockSteps() {
	if r.clock.none != "" {
		r.t.Errorf("a wrong clock was not tried: %s", r.clock.none)
		return
	}
	r.createClock()
	r.clock.set("+2h")
	within(r.t, "the brokers' clock is ahead", func() bool { return r.appended().After(time.Now().Add(time.Hour)) })
	r.goesOn("bluesky")
	r.limitAge(kadm.SetConfig, "3600000")
	r.says("because of their time: one of ")
	r.limitAge(kadm.DeleteConfig, "")
	r.goesOn("bluesky")
	r.goesOn("wikipedia")
	verified(r.t, r.env)
}

// markersRefused gives a topic a limit of nothing on the age of records, which refuses
// the markers that end a transaction, too: Kafka never ends it, also when the limit is
// gone. The stream says who hangs, and goes on once that broker is started again.
func (r *unusualRig) markersRefused() {
	r.limitAge(kadm.SetConfig, "0")
	const says = "does not end the last transaction of weir-ingest-bluesky: it is in state Prepare"
	r.says(says)
	r.limitAge(kadm.DeleteConfig, "")
	_, text := r.readyz()
	hangs := regexp.MustCompile(`broker (\d) ` + says).FindStringSubmatch(text)
	if hangs == nil {
		r.t.Fatalf("/readyz does not say which broker hangs: %s", text)
	}
	r.must("brokers", "kill", hangs[1])
	restartBroker(r.t, r.env, hangs[1])
	r.inSync()
	r.goesOn("bluesky")
	r.goesOn("wikipedia")
	verified(r.t, r.env)
}

// limitAge changes how old a record of the topic may be by the brokers' clock, in
// milliseconds.
func (r *unusualRig) limitAge(op kadm.IncrementalOp, ms string) {
	r.t.Helper()
	rs, err := r.admin.AlterTopicConfigs(r.t.Context(), []kadm.AlterConfig{{Op: op, Name: "message.timestamp.before.max.ms", Value: &ms}}, unusualTopic)
	if err == nil {
		err = rs[0].Err
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// createClock creates the topic that appended uses.
func (r *unusualRig) createClock() {
	r.t.Helper()
	stamped := "LogAppendTime"
	if _, err := r.admin.CreateTopic(r.t.Context(), 1, 3, map[string]*string{"message.timestamp.type": &stamped}, clockTopic); err != nil {
		r.t.Fatal(err)
	}
}

// appended is the time that a broker writes now: of a record that it stamps itself.
func (r *unusualRig) appended() time.Time {
	r.t.Helper()
	if err := r.kafka.ProduceSync(r.t.Context(), &kgo.Record{Topic: clockTopic}).FirstErr(); err != nil {
		r.t.Fatal(err)
	}
	latest, err := r.admin.ListMaxTimestampOffsets(r.t.Context(), clockTopic)
	if err = errors.Join(err, latest.Error()); err != nil {
		r.t.Fatal(err)
	}
	return time.UnixMilli(latest[clockTopic][0].Timestamp)
}

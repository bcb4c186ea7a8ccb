package main

import (
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/kafka"
)

// The addresses of the project whose scripts run unchanged against weir.
var defaultPorts = []int{19092, 29092, 39092, 6379}

// redisDB is the Redis database of weir's own keys. Database 0 is left to
// programs that count there and expect nothing but plain counters.
const redisDB = 1

func redisURL(addr string) string { return fmt.Sprintf("redis://%s/%d", addr, redisDB) }

// target is what a command talks to, and how it was found.
type target struct {
	kafka []string
	redis string
	// mode is live or simulated; empty where nobody knows.
	mode string
	// running is the weir that was found; nil without one.
	running *runtimeFile
	// kafkaFrom and redisFrom say where the addresses come from, for errors.
	kafkaFrom, redisFrom string
	dir                  string
}

// find decides what to talk to: what was given explicitly, else the weir that
// runs on the data directory, else the default addresses. It connects to nothing
// but the control socket.
func (a *app) find() (*target, error) {
	dir, err := a.data()
	if err != nil {
		return nil, err
	}
	t := &target{dir: dir}
	t.running = a.runningWeir(dir)
	const none = "the default address; no weir runs on "
	t.kafkaFrom, t.redisFrom = none+dir, none+dir
	for _, p := range defaultPorts[:3] {
		t.kafka = append(t.kafka, net.JoinHostPort("127.0.0.1", strconv.Itoa(p)))
	}
	t.redis = redisURL(net.JoinHostPort("127.0.0.1", strconv.Itoa(defaultPorts[3])))
	if r := t.running; r != nil {
		from := fmt.Sprintf("weir %s, process %d", r.Command, r.PID)
		t.kafka, t.redis, t.mode = r.Kafka, r.Redis, r.Mode
		t.kafkaFrom, t.redisFrom = from, from
	}
	if from := a.given["kafka"]; from != "" {
		t.kafka, t.kafkaFrom = a.kafka, from
		if t.running != nil && !sameAddresses(t.kafka, t.running.Kafka) {
			t.running, t.mode = nil, "" // another cluster: what the running weir says is not about it
		}
	}
	if r := t.running; r != nil && r.KafkaConfig != "" && a.security == nil { // log in as it does
		if a.security, err = kafka.ReadSecurity(r.KafkaConfig, a.env[passwordVariable]); err != nil {
			return nil, cli.UsageError("give the same --kafka and --kafka-config as weir "+r.Command, "%w", err)
		}
	}
	if from := a.given["redis"]; from != "" {
		t.redis, t.redisFrom = a.redis, from
	}
	return t, nil
}

// runningWeir is the weir that runs on the data directory, nil if none does.
func (a *app) runningWeir(dir string) *runtimeFile {
	var found []*runtimeFile
	for _, mode := range []string{modeLive, modeSimulated} {
		r, err := readRuntime(filepath.Join(dir, mode))
		if err == nil && r.alive() && controlAnswers(r.Control) {
			found = append(found, r)
		}
	}
	switch len(found) {
	case 0:
		return nil
	case 1:
		return found[0]
	}
	if a.given["kafka"] == "" {
		a.stderr.Linef("two weirs run on %s; this is about the live one. For the simulated one: --kafka %s --redis %s",
			dir, strings.Join(found[1].Kafka, ","), found[1].Redis)
	}
	return found[0]
}

func sameAddresses(a, b []string) bool {
	have := make(map[string]bool, len(a))
	for _, x := range a {
		have[x] = true
	}
	for _, x := range b {
		if have[x] {
			return true
		}
	}
	return false
}

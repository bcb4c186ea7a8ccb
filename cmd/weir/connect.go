package main

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/node"
)

// find decides what to talk to: what was given explicitly, else the weir that
// runs on the data directory, else the default addresses. It connects to nothing
// but the control socket.
func (a *app) find() (*node.Target, error) {
	dir, err := a.data()
	if err != nil {
		return nil, err
	}
	t := a.newTarget()
	t.Running = a.runningWeir(dir)
	for _, p := range node.DefaultPorts[:3] {
		t.Kafka = append(t.Kafka, net.JoinHostPort("127.0.0.1", strconv.Itoa(p)))
	}
	t.Redis = node.RedisURL(net.JoinHostPort("127.0.0.1", strconv.Itoa(node.DefaultPorts[3])))
	from := "the default address; no weir runs on " + dir
	if r := t.Running; r != nil {
		t.Kafka, t.Redis, t.Mode = r.Kafka, r.Redis, r.Mode
		from = fmt.Sprintf("weir %s, process %d", r.Command, r.PID)
	}
	t.KafkaFrom, t.RedisFrom = from, from
	if from := a.given["kafka"]; from != "" {
		t.Kafka, t.KafkaFrom = a.kafka, from
		shared := func(addr string) bool { return slices.Contains(t.Kafka, addr) }
		if t.Running != nil && !slices.ContainsFunc(t.Running.Kafka, shared) {
			t.Running, t.Mode = nil, "" // another cluster: what the running weir says is not about it
		}
	}
	if r := t.Running; r != nil && r.KafkaConfig != "" && t.Security == nil { // log in as it does
		t.SecurityFile = r.KafkaConfig
		if t.Security, err = kafka.ReadSecurity(r.KafkaConfig, a.env[passwordVariable]); err != nil {
			return nil, cli.UsageError("give the same --kafka and --kafka-config as weir "+r.Command, "%w", err)
		}
	}
	if from := a.given["redis"]; from != "" {
		t.Redis, t.RedisFrom = a.redis, from
	}
	return t, nil
}

// runningWeir is the weir that runs on the data directory, nil if none does.
func (a *app) runningWeir(dir string) *node.Runtime {
	found := node.Running(dir)
	if len(found) == 0 {
		return nil
	}
	if len(found) > 1 && a.given["kafka"] == "" {
		a.stderr.Linef("two weirs run on %s; this is about the live one. For the simulated one: --kafka %s --redis %s",
			dir, strings.Join(found[1].Kafka, ","), found[1].Redis)
	}
	return found[0]
}

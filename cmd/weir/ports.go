package main

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/weir-project/weir/internal/cli"
)

// host is where everything listens: loopback, because neither Kafka nor Redis
// asks anybody who they are.
const host = "127.0.0.1"

// ports are where the three brokers and Redis listen. Zero is any free port.
type ports struct {
	brokers [3]int
	redis   int
	// given: chosen by the user, so that a taken one is an error and no other is used.
	given bool
}

func defaultPortSet() ports {
	return ports{brokers: [3]int{defaultPorts[0], defaultPorts[1], defaultPorts[2]}, redis: defaultPorts[3]}
}

func (p *ports) String() string {
	if p.given || p.brokers != [3]int{} {
		return fmt.Sprintf("%d,%d,%d,%d", p.brokers[0], p.brokers[1], p.brokers[2], p.redis)
	}
	return "0"
}

// Set implements pflag.Value: four numbers, or a single 0 for any free ports.
func (p *ports) Set(s string) error {
	if strings.TrimSpace(s) == "0" {
		*p = ports{given: true}
		return nil
	}
	parts := strings.Split(s, ",")
	if len(parts) != 4 {
		return errors.New("want four ports, of three brokers and of Redis, or 0 for any free ones")
	}
	var n [4]int
	for i, part := range parts {
		v, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil || v < 0 || v > 65535 {
			return fmt.Errorf("%q is not a port (0 to 65535)", part)
		}
		for _, other := range n[:i] {
			if other == v && v != 0 {
				return fmt.Errorf("port %d is given twice", v)
			}
		}
		n[i] = v
	}
	*p = ports{brokers: [3]int(n[:3]), redis: n[3], given: true}
	return nil
}

// Type implements pflag.Value.
func (p *ports) Type() string { return "ports" }

func portsFlag(flags *pflag.FlagSet) *ports {
	p := defaultPortSet()
	flags.Var(&p, "ports", "`PORTS` of the three brokers and of Redis, or 0 for any free ones")
	return &p
}

// address is where to listen for a port that was given or is a default. A default
// port that is taken gives way to a free one, with a note for the banner.
func (p *ports) address(port int, what string) (addr, note string, err error) {
	addr = net.JoinHostPort(host, strconv.Itoa(port))
	if port == 0 {
		return addr, "", nil
	}
	l, err := net.Listen("tcp", addr)
	if err == nil {
		return addr, "", l.Close()
	}
	if !errors.Is(err, syscall.EADDRINUSE) && !errors.Is(err, syscall.EACCES) {
		return "", "", fmt.Errorf("listen for %s: %w", what, err)
	}
	cause := "is taken by another program"
	if errors.Is(err, syscall.EACCES) {
		cause = "needs privileges"
	}
	if p.given {
		return "", "", cli.RuntimeError("stop what uses it, or give other --ports (0 for any free ones)",
			"port %d for %s %s", port, what, cause)
	}
	return net.JoinHostPort(host, "0"), fmt.Sprintf("port %d %s, so %s took a free one", port, cause, what), nil
}

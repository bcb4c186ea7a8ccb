package node

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/weir-project/weir/internal/cli"
)

// host is where everything listens: loopback, because neither Kafka nor Redis
// asks clients for a password here.
const host = "127.0.0.1"

// DefaultPorts are those of the three brokers and of Redis.
var DefaultPorts = [4]int{19092, 29092, 39092, 6379}

// Ports are where the three brokers and Redis listen, in that order. Zero is any free
// port. It implements pflag.Value.
type Ports struct {
	All [4]int
	// Given: chosen by the user, so that a taken one is an error and no other is used.
	Given bool
}

func (p *Ports) String() string {
	if p.Given || p.All != [4]int{} {
		return strings.Trim(strings.Join(strings.Fields(fmt.Sprint(p.All)), ","), "[]")
	}
	return "0"
}

// Set takes four numbers, or a single 0 for any free ports.
func (p *Ports) Set(s string) error {
	n := Ports{Given: true}
	if strings.TrimSpace(s) == "0" {
		*p = n
		return nil
	}
	parts := strings.Split(s, ",")
	if len(parts) != len(n.All) {
		return errors.New("want four ports, of three brokers and of Redis, or 0 for any free ones")
	}
	for i, part := range parts {
		v, err := strconv.ParseUint(strings.TrimSpace(part), 10, 16)
		if err != nil {
			return fmt.Errorf("%q is not a port (0 to 65535)", part)
		}
		if v != 0 && slices.Contains(n.All[:i], int(v)) {
			return fmt.Errorf("port %d is given twice", v)
		}
		n.All[i] = int(v)
	}
	*p = n
	return nil
}

// Type names the values in help.
func (p *Ports) Type() string { return "ports" }

// address is where to listen for a port that was given or is a default. In place of a
// default port that is taken it is a free one, with a note for the user.
func (p *Ports) address(port int, what string) (addr, note string, err error) {
	addr = net.JoinHostPort(host, strconv.Itoa(port))
	if port == 0 {
		return addr, "", nil
	}
	l, err := net.Listen("tcp", addr)
	cause := "is taken by another program"
	switch {
	case err == nil:
		return addr, "", l.Close()
	case errors.Is(err, errAddressForbidden):
		cause = "needs privileges"
	case !errors.Is(err, errAddressTaken):
		return "", "", fmt.Errorf("listen for %s: %w", what, err)
	}
	if p.Given {
		return "", "", cli.RuntimeError("stop what uses it, or give other --ports (0 for any free ones)", "port %d for %s %s", port, what, cause)
	}
	return net.JoinHostPort(host, "0"), fmt.Sprintf("port %d %s, so %s took a free one", port, cause, what), nil
}

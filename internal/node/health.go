package node

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/weir-project/weir/internal/cli"
)

// healthPatience is how long a weir that works may take to answer.
const healthPatience = 2 * time.Second

// Health asks the web UI at an address whether a weir answers there. An address that stands for
// all of this machine's is asked by the loopback one.
func Health(ctx context.Context, addr string) error {
	unusable := func(err error) error {
		return cli.UsageError("give --listen as host:port, such as "+DefaultListen, "%q is not the address of a web UI: %w", addr, err)
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return unusable(err)
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	addr = net.JoinHostPort(host, port)
	ctx, cancel := context.WithTimeout(ctx, healthPatience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/healthz", nil)
	if err != nil {
		return unusable(err)
	}
	// A proxy of the environment knows nothing of this machine's own addresses.
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return cli.ConnectError("start it with weir up", "no weir answers at %s: %w", addr, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64))
	if err != nil || resp.StatusCode != http.StatusOK || string(body) != "ok\n" {
		return cli.ConnectError("something else listens there: give --listen where weir is",
			"the server at %s answers with status %d and is not a weir", addr, resp.StatusCode)
	}
	return nil
}

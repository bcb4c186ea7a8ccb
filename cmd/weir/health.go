package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/node"
)

// healthPatience is how long a weir that is well may take to say so.
const healthPatience = 2 * time.Second

func newHealth(a *app) *cobra.Command {
	var addr string
	return a.command("health", 0, func(cmd *cobra.Command) { listenFlag(cmd.Flags(), &addr) },
		func(ctx context.Context, _ []string) error { return askHealth(ctx, addr) })
}

// askHealth asks what listens on addr, by the loopback address where that is any.
func askHealth(ctx context.Context, addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return unusable(addr, err)
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	addr = net.JoinHostPort(host, port)
	ctx, cancel := context.WithTimeout(ctx, healthPatience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/healthz", nil)
	if err != nil {
		return unusable(addr, err)
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
		return cli.ConnectError("something else listens there: give --listen where weir is", "the server at %s answers with status %d and is not a weir", addr, resp.StatusCode)
	}
	return nil
}

func unusable(addr string, err error) error {
	return cli.UsageError("give --listen as host:port, such as "+node.DefaultListen, "nobody can be asked at %q: %w", addr, err)
}

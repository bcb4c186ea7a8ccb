package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/weir-project/weir/internal/cli"
)

// probeTime bounds how long `--source auto` waits for an answer.
const probeTime = time.Second

// probe asks whether a server answers at all at a stream's URL. Any answer is
// one: what it says about the stream is the source's business. Proxies of the
// environment are used, as the sources do.
func probe(ctx context.Context, rawURL string) error {
	u, err := url.Parse(rawURL)
	if err != nil {
		return err
	}
	u.Scheme = strings.Replace(u.Scheme, "ws", "http", 1) // wss, too
	u.Path, u.RawQuery = "/", ""                          // not the stream itself: servers limit connections per address
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, u.String(), nil)
	if err != nil {
		return err
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, DisableKeepAlives: true}
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: no answer within %v", u.Host, probeTime)
	case err != nil:
		return fmt.Errorf("%s: %w", u.Host, cli.Brief(err))
	}
	return res.Body.Close()
}

// reachable probes the URLs at the same time and returns nil as soon as one
// answers; otherwise why not, host by host.
func reachable(ctx context.Context, urls []string) error {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	causes := make(chan error, len(urls))
	for _, u := range urls {
		go func() { causes <- probe(ctx, u) }()
	}
	var all []string
	for range urls {
		err := <-causes
		if err == nil {
			return nil
		}
		all = append(all, err.Error())
	}
	return errors.New(strings.Join(all, "; "))
}

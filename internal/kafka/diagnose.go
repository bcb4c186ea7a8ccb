package kafka

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-project/weir/internal/certs"
)

// ConnectError says that no broker answered, or none let this client in: the CLI's
// exit code 3.
type ConnectError struct {
	Brokers []string
	// Err is the cause, in words that say which.
	Err error
	// Out is the way out where there is one in the settings of the client; it may
	// be empty.
	Out string
}

func (e *ConnectError) Error() string {
	return fmt.Sprintf("cannot reach Kafka at %s: %v; %s", strings.Join(e.Brokers, ","), e.Err, cmp.Or(e.Out, "start `weir cluster` or give --kafka"))
}

// Unwrap returns the cause.
func (e *ConnectError) Unwrap() error { return e.Err }

// examineTime bounds how long one address is examined.
const examineTime = 3 * time.Second

// diagnose says why a cluster could not be reached or refuses this client. A broker
// that wants TLS, a login or a certificate mostly just hangs up, so the addresses
// are looked at once more, step by step; nothing secret is sent on the way.
func (c Config) diagnose(ctx context.Context, err error) *ConnectError {
	ce := &ConnectError{Brokers: c.Brokers, Err: err}
	if errors.Is(err, context.DeadlineExceeded) {
		ce.Err = fmt.Errorf("no answer within %v", dialTimeout)
	}
	if cause, out := c.refusal(err); cause != "" {
		ce.Err, ce.Out = &explained{cause, err}, out
		return ce
	}
	if len(c.Opts) > 0 {
		return ce // connections of a test's own
	}
	for _, addr := range c.Brokers {
		step, cancel := context.WithTimeout(ctx, examineTime)
		cause, out := c.examine(step, addr)
		cancel()
		if cause != "" {
			ce.Err, ce.Out = &explained{cause, err}, out
			if out != "" {
				return ce
			}
		}
	}
	return ce
}

// explained is an error in better words.
type explained struct {
	words string
	err   error
}

func (e *explained) Error() string { return e.words }
func (e *explained) Unwrap() error { return e.err }

// refusal is what a broker itself says about a login.
func (c Config) refusal(err error) (cause, out string) {
	var le *LoginError
	switch {
	case errors.As(err, &le):
		return le.Error(), "see sasl.oauthbearer.token.endpoint.url and the client's id and secret in the settings of --kafka-config"
	// A refused token is answered with reasons in place of an error (RFC 7628), which
	// the library does not expect.
	case errors.Is(err, kerr.SaslAuthenticationFailed), strings.Contains(err.Error(), "unexpected data in oauth response"):
		return fmt.Sprintf("it refuses the login of %s by %s", cmp.Or(c.Security.Principal(), "this client"), c.Security), "check the name, the password or token, and the mechanism"
	case errors.Is(err, kerr.UnsupportedSaslMechanism):
		return fmt.Sprintf("it does not take logins by %s", c.Security.mechanism.Name()), "set sasl.mechanism to one that this listener has enabled (sasl.enabled.mechanisms of the brokers)"
	case errors.Is(err, kerr.IllegalSaslState):
		return "it asks for no login at this port", "set security.protocol to PLAINTEXT or SSL and leave the sasl settings out, or name the port that asks"
	}
	return "", ""
}

// examine connects to one address as the client does, and says at which step it
// ends and why; empty where every step went well. out is empty where only the
// network is in the way.
func (c Config) examine(ctx context.Context, addr string) (cause, out string) {
	conn, err := open(ctx, addr)
	if err != nil {
		return netCause(err).Error(), ""
	}
	defer conn.Close()
	host, _, _ := net.SplitHostPort(addr)
	if c.Security == nil || c.Security.tls == nil {
		return c.examinePlain(ctx, conn, addr, host)
	}
	secure, err := certs.Handshake(ctx, conn, host, c.Security.tls)
	if err != nil {
		return tlsCause(err)
	}
	if err := exchange(secure, hello); err != nil {
		return tlsCause(err)
	}
	return c.wantsLogin(secure)
}

// open connects until the deadline of ctx.
func open(ctx context.Context, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		err = conn.SetDeadline(deadline)
	}
	return conn, err
}

// examinePlain is examine without TLS.
func (c Config) examinePlain(ctx context.Context, conn net.Conn, addr, host string) (cause, out string) {
	if err := exchange(conn, hello); err == nil {
		return c.wantsLogin(conn)
	}
	again, err := open(ctx, addr)
	if err != nil {
		return netCause(err).Error(), ""
	}
	defer again.Close()
	if !certs.Spoken(ctx, again, host) {
		return "it hangs up, and speaks neither Kafka nor TLS at this port", "name a port of a Kafka broker"
	}
	want := "SSL"
	if c.Security != nil && c.Security.mechanism != nil {
		want = "SASL_SSL"
	}
	return "it speaks TLS at this port, and was spoken to without", "set security.protocol=" + want + " (SASL_SSL where it asks for a login, too) in the file of --kafka-config, or name its port without TLS"
}

// wantsLogin sends a request that a broker answers only after a login.
func (c Config) wantsLogin(conn net.Conn) (cause, out string) {
	if c.Security != nil && c.Security.mechanism != nil {
		return "", ""
	}
	req := kmsg.NewPtrMetadataRequest()
	req.Version = 1
	req.Topics = []kmsg.MetadataRequestTopic{}
	if err := exchange(conn, req); err != nil {
		want := "SASL_PLAINTEXT"
		if c.Security != nil && c.Security.tls != nil {
			want = "SASL_SSL"
		}
		return "it hangs up on who has not logged in", "set security.protocol=" + want + ", sasl.mechanism and what belongs to it in the file of --kafka-config"
	}
	return "", ""
}

// hello is a request, in its version 0, that a broker answers to every client.
var hello = kmsg.NewPtrApiVersionsRequest()

// exchange sends a request, and reads the answer to its end.
func exchange(conn net.Conn, req kmsg.Request) error {
	f := kmsg.NewRequestFormatter(kmsg.FormatterClientID("weir-preflight"))
	if _, err := conn.Write(f.AppendRequest(nil, req, 1)); err != nil {
		return err
	}
	var head [4]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n < 4 || n > 1<<20 {
		return errors.New("the answer is not Kafka's")
	}
	_, err := io.CopyN(io.Discard, conn, int64(n))
	return err
}

var waysOut = certs.Ways{
	Name:      "use a name of the certificate in --kafka and in the brokers' advertised.listeners, or let the brokers have one for this name",
	Expired:   "renew the brokers' certificate, or set this machine's clock",
	Authority: "name the certificate of that certificate authority (CA) with ssl.ca.location in the file of --kafka-config",
	Unusable:  "give the brokers another certificate",
	Client:    "set ssl.certificate.location and ssl.key.location to a certificate that the brokers' truststore knows",
	Version:   "check the versions of TLS that the brokers have enabled (ssl.enabled.protocols)",
	Plain:     "set security.protocol=PLAINTEXT (SASL_PLAINTEXT where it asks for a login), or name its port with TLS",
}

// tlsCause says why a broker's TLS failed; empty where TLS is not the reason. A broker hangs up on what it does not understand.
func tlsCause(err error) (cause, out string) {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || strings.Contains(err.Error(), "connection reset") {
		err = tls.RecordHeaderError{}
	}
	return waysOut.Cause(err)
}

// netCause is the innermost reason of a network error, without the layers that
// repeat the address.
func netCause(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("no answer in time")
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}

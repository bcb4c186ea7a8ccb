// Package certs reads the files of TLS that a user names, and explains why a TLS
// connection failed. It knows neither Kafka nor Redis.
package certs

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"time"
)

const maxFile = 1 << 20 // bytes

// ReadFile reads a file of certificates, of a key, a password or settings, of at most 1 MiB.
func ReadFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("%s is larger than %d bytes", path, maxFile)
	}
	return b, err
}

// Pool returns the authorities that the content of a PEM file holds; name is what the error calls it.
func Pool(name string, content []byte) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(content) {
		return nil, fmt.Errorf("%s holds no certificate in PEM form%s", name, IfBinary(content))
	}
	return pool, nil
}

// IfBinary is the end of an error about a file that is not PEM but what such files often are; it says how to convert one.
func IfBinary(content []byte) string {
	switch {
	case bytes.Contains(content, []byte("-----BEGIN")):
		return ""
	case bytes.HasPrefix(content, []byte{0xfe, 0xed, 0xfe, 0xed}):
		return "; it is a Java key store (JKS): keytool -list -rfc -keystore STORE prints its certificates as PEM"
	case bytes.HasPrefix(content, []byte{0x30}):
		return "; it looks like PKCS#12 or DER: openssl pkcs12 -in FILE -nodes, or openssl x509 -inform der -in FILE, prints it as PEM"
	}
	return ""
}

// Handshake begins TLS with the server at host, and listens for half a second: a server
// that wants another certificate says so only after the handshake, and hangs up on a
// client that writes before hearing it.
func Handshake(ctx context.Context, conn net.Conn, host string, cfg *tls.Config) (*tls.Conn, error) {
	cfg = cfg.Clone()
	cfg.ServerName = host
	secure := tls.Client(conn, cfg)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	_ = conn.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
	_, err := secure.Read(make([]byte, 1))
	if t, ok := errors.AsType[net.Error](err); err != nil && (!ok || !t.Timeout()) {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	return secure, conn.SetReadDeadline(deadline)
}

// Spoken reports whether the server at host begins TLS when it is asked to.
func Spoken(ctx context.Context, conn net.Conn, host string) bool {
	err := tls.Client(conn, &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}).HandshakeContext(ctx)
	return err == nil || errors.As(err, new(*tls.CertificateVerificationError)) || errors.As(err, new(tls.AlertError)) || refusal(err) != ""
}

// refusal is the alert with which a server ended the connection, or "".
func refusal(err error) string {
	_, alert, _ := strings.Cut(err.Error(), "remote error: tls: ")
	return alert
}

// Ways are the ways out, by what is wrong.
type Ways struct {
	Name, Expired, Authority, Unusable string // the server's certificate
	Client, Version, Plain             string // the client's certificate; TLS as such; a server without TLS
}

// wantsAnother are the alerts of a server that is not content with the client's certificate.
var wantsAnother = []string{"certificate required", "bad certificate", "unknown certificate authority", "unknown certificate", "expired certificate", "handshake failure"}

// Cause says why a TLS connection failed, and gives the way out; both are empty where TLS was not the reason.
func (w Ways) Cause(err error) (cause, out string) {
	var (
		unknown x509.UnknownAuthorityError
		invalid x509.CertificateInvalidError
		wrong   x509.HostnameError
	)
	switch alert := refusal(err); {
	case errors.As(err, &wrong):
		return fmt.Sprintf("its certificate is for %s, and not for %s", namesOf(wrong.Certificate), wrong.Host), w.Name
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Sprintf("its certificate is valid from %s to %s, and it is %s", day(invalid.Cert.NotBefore), day(invalid.Cert.NotAfter), day(time.Now())), w.Expired
	case errors.As(err, &unknown):
		if unknown.Cert == nil {
			return "its certificate is signed by an unknown certificate authority (CA), which is not trusted here", w.Authority
		}
		return fmt.Sprintf("its certificate is signed by %q, which is not trusted here", unknown.Cert.Issuer.String()), w.Authority
	case errors.As(err, &invalid):
		return "its certificate cannot be used: " + invalid.Error(), w.Unusable
	case slices.Contains(wantsAnother, alert):
		return fmt.Sprintf("it asks for a client's certificate that it trusts, and refuses this one or none (%s)", alert), w.Client
	case alert != "":
		return "it refuses the TLS handshake: " + alert, w.Version
	case errors.As(err, new(tls.RecordHeaderError)):
		return "it does not speak TLS at this port", w.Plain
	}
	return "", ""
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }

func namesOf(c *x509.Certificate) string {
	names := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	return cmp.Or(strings.Join(names, ", "), "no name at all")
}

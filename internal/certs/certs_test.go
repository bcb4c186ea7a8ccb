package certs

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// signed returns a certificate for 127.0.0.1 or another name, which signs itself.
func signed(t *testing.T, name string, until time.Duration) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "the authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(until)}
	if ip := net.ParseIP(name); ip != nil {
		c.IPAddresses = []net.IP{ip}
	} else {
		c.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// dial connects to a server that serve answers for.
func dial(t *testing.T, serve func(net.Conn)) net.Conn {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		if conn, err := l.Accept(); err == nil {
			serve(conn)
		}
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func overTLS(cfg *tls.Config) func(net.Conn) {
	return func(conn net.Conn) { // which stays open: Read fails at the end of the test
		secure := tls.Server(conn, cfg)
		_, _ = secure.Read(make([]byte, 1))
		_ = conn.Close()
	}
}

func plain(conn net.Conn) {
	_, _ = conn.Write([]byte("-ERR unknown command\r\n"))
	_, _ = conn.Read(make([]byte, 1))
}

func TestWhyAHandshakeFails(t *testing.T) {
	ways := Ways{Name: "name", Expired: "expired", Authority: "authority", Unusable: "unusable", Client: "client", Version: "version", Plain: "plain"}
	good, elsewhere, old := signed(t, "127.0.0.1", time.Hour), signed(t, "redis.example.org", time.Hour), signed(t, "127.0.0.1", -time.Hour)
	with := func(c tls.Certificate) *tls.Config { return &tls.Config{Certificates: []tls.Certificate{c}} }
	trusting := func(c tls.Certificate) *tls.Config {
		pool, err := Pool("ca", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}))
		if err != nil {
			t.Fatal(err)
		}
		return &tls.Config{RootCAs: pool}
	}
	demanding := with(good)
	demanding.ClientAuth = tls.RequireAnyClientCert
	modern := with(good)
	modern.MinVersion = tls.VersionTLS13
	ancient := trusting(good)
	ancient.MaxVersion = tls.VersionTLS12
	for name, test := range map[string]struct {
		serve      func(net.Conn)
		cfg        *tls.Config
		cause, out string
	}{
		"nothing wrong":       {overTLS(with(good)), trusting(good), "", ""},
		"another name":        {overTLS(with(elsewhere)), trusting(elsewhere), "is for redis.example.org, and not for 127.0.0.1", "name"},
		"expired":             {overTLS(with(old)), trusting(old), "is valid from", "expired"},
		"unknown authority":   {overTLS(with(good)), trusting(elsewhere), "signed by", "authority"},
		"a client's is asked": {overTLS(demanding), trusting(good), "asks for a client's certificate", "client"},
		"no common version":   {overTLS(modern), ancient, "refuses the TLS handshake", "version"},
		"no TLS":              {plain, trusting(good), "does not speak TLS", "plain"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			var cause, out string
			if _, err := Handshake(ctx, dial(t, test.serve), "127.0.0.1", test.cfg); err != nil {
				cause, out = ways.Cause(err)
			}
			if !strings.Contains(cause, test.cause) || (cause == "") != (test.cause == "") || out != test.out {
				t.Errorf("%q, %q; want %q, %q", cause, out, test.cause, test.out)
			}
			if spoken, want := Spoken(ctx, dial(t, test.serve), "127.0.0.1"), name != "no TLS"; spoken != want {
				t.Errorf("TLS was found: %v, want %v", spoken, want)
			}
		})
	}
}

func TestFilesAreBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	for _, size := range []int64{maxFile, maxFile + 1} {
		if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
		if b, err := ReadFile(path); (err == nil) != (size == maxFile) || err == nil && int64(len(b)) != size {
			t.Errorf("%d bytes: read %d, %v", size, len(b), err)
		}
	}
	if _, err := Pool("ca.p12", []byte{0x30, 0x82}); err == nil || !strings.Contains(err.Error(), "ca.p12 holds no certificate in PEM form; it looks like PKCS#12") {
		t.Errorf("a binary file: %v", err)
	}
}

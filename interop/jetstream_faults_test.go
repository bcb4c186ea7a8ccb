package interop

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// behindTLS puts a proxy with a certificate of an authority of its own before
// Jetstream: weir refuses it until it is told to trust that authority.
func (j *jetstream) behindTLS() {
	t := j.t
	server := j.serve()
	authority := newAuthority(t)
	p := newTLSProxy(t, authority.issue(), j.address)
	w := j.weir("wss://" + p.address() + "/subscribe")

	t.Log("weir trusts somebody else")
	w.env = []string{"SSL_CERT_FILE=" + newAuthority(t).file}
	up := w.up()
	waitFor(t, "the refusal in words", func() bool {
		said := up.out.tail(1 << 20)
		return strings.Contains(said, "certificate signed by unknown authority") && strings.Contains(said, "SSL_CERT_FILE names other certificates to trust")
	})
	up.stop(t, syscall.SIGINT)
	if n := p.passed(); n > 0 {
		t.Fatalf("%d connections went through to a server that is not trusted", n)
	}

	t.Log("weir trusts the authority")
	w.env = []string{"SSL_CERT_FILE=" + authority.file}
	up = w.up()
	w.grows(300)
	before := p.passed()
	t.Logf("the proxy breaks %d connections", p.cut())
	w.grows(300)
	if p.passed() <= before {
		t.Error("weir did not connect again: nothing was cut")
	}
	j.settle(&w)
	up.stop(t, syscall.SIGINT)
	server.stop(t, syscall.SIGTERM)
}

// failover takes weir from one server to another. A Jetstream that is asked with a time
// newer than its last sealed segment sends all of its active segment, an hour or more: what
// is stored by then does not become stored twice.
func (j *jetstream) failover() {
	t := j.t
	other := *j
	other.address, other.data = "127.0.0.1:"+strconv.Itoa(freePort(t)), t.TempDir()
	first, second := j.serve(), other.serve()
	w := j.weir("ws://" + j.address + "/subscribe ws://" + other.address + "/subscribe")
	up := w.up()
	w.grows(4_000)

	t.Log("the first server dies")
	first.stop(t, syscall.SIGKILL)
	waitFor(t, "the second one's replay", func() bool { return strings.Contains(up.out.tail(1<<20), "older than the duplicate filter") })
	w.grows(500)
	other.settle(&w)
	up.stop(t, syscall.SIGINT)
	second.stop(t, syscall.SIGTERM)
}

// outOfRetention keeps weir away until Jetstream serves its position no more: a gap
// is noticed and told of, and everything around it is there once.
func (j *jetstream) outOfRetention() {
	t := j.t
	server := j.serve()
	w := j.weir("ws://" + j.address + "/subscribe")
	up := w.up()
	w.grows(500)
	up.stop(t, syscall.SIGINT)
	server.stop(t, syscall.SIGTERM)

	t.Log("Jetstream keeps nothing for those who return")
	server = j.serve("JETSTREAM_CURSOR_LOOKBACK=0s")
	j.hear(500)
	up = w.up()
	waitFor(t, "the gap in words", func() bool { return strings.Contains(up.out.tail(1<<20), "the last event stored did not come again") })
	w.grows(500)

	t.Log("the network falls silent; all that can still be had arrives")
	j.simulator.stop(t, syscall.SIGTERM)
	server.stop(t, syscall.SIGTERM)
	server = j.serve() // which serves everything, to compare
	truth, order := replay(t, j.address, j.started)
	kafka := w.stored(order[len(order)-1])
	order = onwards(order, truth, kafka)
	// From the first event that weir was sent on, what is missing is one stretch, and
	// nothing else is.
	var missing []int
	for i, id := range order {
		if _, ok := kafka[id]; !ok {
			delete(truth, id)
			missing = append(missing, i)
		}
	}
	if len(missing) < 300 {
		t.Fatalf("only %d events are missing: weir's position was not too old", len(missing))
	}
	if first, end := missing[0], missing[len(missing)-1]; end == len(order)-1 || end-first+1 != len(missing) {
		t.Errorf("%d events are missing, from %d to %d of %d: not one stretch", len(missing), first, end, len(order))
	}
	compare(t, truth, kafka)
	waitFor(t, "everything to be counted", func() bool { return w.counted() == int64(len(kafka)) })
	w.tellsOfGap()
	up.stop(t, syscall.SIGINT)
	server.stop(t, syscall.SIGTERM)
	t.Logf("%d commits, %d of them in the gap", len(order), len(missing))
}

// hear listens to that many live events, anew where Jetstream hangs up: just started, it
// may end a connection that asks for no position (`cold replay made no progress`).
func (j *jetstream) hear(n int) {
	j.t.Helper()
	ctx, cancel := context.WithTimeout(j.t.Context(), patience)
	defer cancel()
	for n > 0 {
		conn, _, err := websocket.Dial(ctx, "ws://"+j.address+"/subscribe", nil)
		if err != nil {
			j.t.Fatal(err)
		}
		conn.SetReadLimit(8 << 20)
		for err == nil && n > 0 {
			if _, _, err = conn.Read(ctx); err == nil {
				n--
			}
		}
		conn.CloseNow()
		if ctx.Err() != nil {
			j.t.Fatalf("%d events are still to come: %v", n, err)
		}
	}
}

// tellsOfGap checks that one gap is recorded, and that weir's own proof tells of it
// and of nothing else.
func (w *weir) tellsOfGap() {
	w.t.Helper()
	var gaps []string
	for m := range w.messages("weir.dead-letters") {
		if strings.Contains(m, `"reason":"the last event stored did not come again`) {
			gaps = append(gaps, m)
		}
	}
	if len(gaps) != 1 {
		w.t.Errorf("%d gaps in weir.dead-letters: %q", len(gaps), gaps)
	} else {
		w.t.Logf("dead letter: %s", gaps[0])
	}
	out, _ := w.run("verify", "-o", "json") // its exit code tells of the gap, too
	var report struct {
		Bluesky struct {
			Gaps, Lost, Doubled, Miscounted int64
		} `json:"bluesky"`
	}
	if err := json.Unmarshal(out, &report); err != nil {
		w.t.Fatalf("weir verify printed %q: %v", out, err)
	}
	if b := report.Bluesky; b.Gaps != 1 || b.Lost+b.Doubled+b.Miscounted > 0 {
		w.t.Errorf("weir verify: %+v", b)
	}
}

// authority is a certificate authority of this test, as a file of its own.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, file: filepath.Join(t.TempDir(), "ca.pem")}
	a.key = newKey(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "an authority of a test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(a.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// issue makes a certificate of a server on this machine.
func (a *authority) issue() tls.Certificate {
	a.t.Helper()
	key := newKey(a.t)
	template := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "a proxy of a test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// tlsProxy ends TLS and passes on what is within.
type tlsProxy struct {
	listener net.Listener
	to       string

	mu    sync.Mutex
	open  []net.Conn
	count int
}

func newTLSProxy(t *testing.T, cert tls.Certificate, to string) *tlsProxy {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	p := &tlsProxy{listener: l, to: to}
	t.Cleanup(func() { l.Close(); p.cut() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.pass(c.(*tls.Conn))
		}
	}()
	return p
}

func (p *tlsProxy) address() string { return p.listener.Addr().String() }

func (p *tlsProxy) pass(c *tls.Conn) {
	defer c.Close()
	if c.Handshake() != nil {
		return
	}
	server, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer server.Close()
	p.mu.Lock()
	p.open = append(p.open, c)
	p.count++
	p.mu.Unlock()
	go func() {
		_, _ = io.Copy(server, c)
		server.Close()
	}()
	_, _ = io.Copy(c, server)
}

// passed is how many connections went through.
func (p *tlsProxy) passed() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count
}

// cut breaks all connections and returns how many there were.
func (p *tlsProxy) cut() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.open)
	for _, c := range slices.Backward(p.open) {
		_ = c.Close()
	}
	p.open = nil
	return n
}

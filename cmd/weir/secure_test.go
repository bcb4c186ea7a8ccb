package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/cluster/apache"
)

// secureCluster is three brokers that ask who one is, in every way that Kafka has,
// each way at ports of its own, and allow nothing that is not allowed by name.
type secureCluster struct {
	t     *testing.T
	dir   string
	ports map[string][]int // by listener, of the three brokers
	admin *kadm.Client     // of the port that asks nobody, whose user may do everything
	token func(subject string, life time.Duration) string
	cache string
}

// The listeners. PLAIN is also how the brokers talk to each other.
var listeners = []struct{ name, protocol string }{
	{"CLIENT", "PLAINTEXT"}, {"TLS", "SSL"}, {"BOTH", "SSL"}, {"LOGIN", "SASL_SSL"}, {"OPEN", "SASL_PLAINTEXT"}, {"OLD", "SSL"}, {"ELSEWHERE", "SSL"},
}

const (
	scramPassword = "hidden-scram-3f9a"
	plainPassword = "hidden-plain-77c1"
	// tokenHead begins every token of the test.
	tokenHead = "eyJ"
)

func openSecure(t *testing.T) *secureCluster {
	t.Helper()
	if os.Getenv("WEIR_TEST_KAFKA") != "apache" {
		t.Skip("starts real brokers (Java 17, and Maven or KAFKA_HOME): WEIR_TEST_KAFKA=apache go test ./cmd/weir -run TestSecure")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	c := &secureCluster{t: t, dir: t.TempDir(), ports: map[string][]int{}, cache: filepath.Join(cache, "weir")}
	c.certificates()
	jwks := c.keys()
	for _, l := range listeners {
		c.ports[l.name] = freePorts(t, 3)
	}
	// The brokers read a key set from a file only where the JVM is told so.
	t.Setenv("JDK_JAVA_OPTIONS", "-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls="+jwks)
	t.Setenv("XDG_CACHE_HOME", "")
	brokers, err := apache.Open(t.Context(), apache.Config{
		Dir: filepath.Join(c.dir, "brokers"), Cache: c.cache, Home: os.Getenv("KAFKA_HOME"), Addrs: c.addresses("CLIENT"), Bound: true,
		Properties: c.properties(jwks), Edit: c.listen,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = brokers.Close() })
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.addresses("CLIENT")...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	c.admin = kadm.NewClient(cl)
	res, err := c.admin.AlterUserSCRAMs(t.Context(), nil, []kadm.UpsertSCRAM{
		{User: "weir256", Mechanism: kadm.ScramSha256, Iterations: 4096, Password: scramPassword},
		{User: "weir512", Mechanism: kadm.ScramSha512, Iterations: 4096, Password: scramPassword},
	})
	if err == nil {
		err = res.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *secureCluster) addresses(listener string) []string {
	var all []string
	for _, p := range c.ports[listener] {
		all = append(all, "127.0.0.1:"+strconv.Itoa(p))
	}
	return all
}

func (c *secureCluster) properties(jwks string) map[string]string {
	p := map[string]string{
		"authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
		"super.users":           "User:ANONYMOUS;User:CN=admin",
		"ssl.keystore.type":     "PEM", "ssl.keystore.location": c.file("server.both"),
		"ssl.truststore.type": "PEM", "ssl.truststore.location": c.file("ca.pem"),
		"listener.name.both.ssl.client.auth":            "required",
		"listener.name.old.ssl.keystore.type":           "PEM",
		"listener.name.old.ssl.keystore.location":       c.file("old.both"),
		"listener.name.elsewhere.ssl.keystore.type":     "PEM",
		"listener.name.elsewhere.ssl.keystore.location": c.file("elsewhere.both"),
		// A name of another host cannot be known to be wrong by a broker itself.
		"ssl.allow.dn.changes": "true", "ssl.allow.san.changes": "true",
		"listener.name.login.sasl.enabled.mechanisms":                        "PLAIN,SCRAM-SHA-512,OAUTHBEARER",
		"listener.name.open.sasl.enabled.mechanisms":                         "SCRAM-SHA-256",
		"listener.name.login.plain.sasl.jaas.config":                         `org.apache.kafka.common.security.plain.PlainLoginModule required user_plainer="` + plainPassword + `";`,
		"listener.name.login.scram-sha-512.sasl.jaas.config":                 "org.apache.kafka.common.security.scram.ScramLoginModule required;",
		"listener.name.open.scram-sha-256.sasl.jaas.config":                  "org.apache.kafka.common.security.scram.ScramLoginModule required;",
		"listener.name.login.oauthbearer.sasl.jaas.config":                   "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;",
		"listener.name.login.oauthbearer.sasl.server.callback.handler.class": "org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler",
		"sasl.oauthbearer.jwks.endpoint.url":                                 jwks,
		"sasl.oauthbearer.expected.audience":                                 "kafka",
		"offsets.retention.minutes":                                          "60", // differs from the default, and is told
	}
	var protocols []string
	for _, l := range listeners {
		protocols = append(protocols, l.name+":"+l.protocol)
	}
	p["listener.security.protocol.map"] = strings.Join(append(protocols, "CONTROLLER:PLAINTEXT"), ",")
	return p
}

// listen adds the listeners beside the one that a broker has by itself.
func (c *secureCluster) listen(id int32, p map[string]string) {
	for _, l := range listeners[1:] {
		at := "," + l.name + "://127.0.0.1:" + strconv.Itoa(c.ports[l.name][id-1])
		p["listeners"] += at
		p["advertised.listeners"] += at
	}
}

func (c *secureCluster) file(name string) string { return filepath.Join(c.dir, name) }

func (c *secureCluster) write(name, text string) string {
	c.t.Helper()
	if err := os.WriteFile(c.file(name), []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return c.file(name)
}

// certificates makes two authorities and what they sign: NAME.pem, NAME.key, and
// both in one file for Java.
func (c *secureCluster) certificates() {
	loopback := []net.IP{net.IPv4(127, 0, 0, 1)}
	for _, name := range []string{"ca", "stranger"} {
		ca := &x509.Certificate{Subject: pkix.Name{CommonName: "the authority " + name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
		parent, key := c.sign(name, ca, nil, nil)
		if name == "stranger" {
			c.sign("foreigner", &x509.Certificate{Subject: pkix.Name{CommonName: "foreigner"}}, parent, key)
			continue
		}
		c.sign("server", &x509.Certificate{Subject: pkix.Name{CommonName: "broker"}, IPAddresses: loopback}, parent, key)
		c.sign("elsewhere", &x509.Certificate{Subject: pkix.Name{CommonName: "broker"}, DNSNames: []string{"kafka.example.org"}}, parent, key)
		c.sign("old", &x509.Certificate{Subject: pkix.Name{CommonName: "broker"}, IPAddresses: loopback,
			NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-24 * time.Hour)}, parent, key)
		// A subject with what has to be escaped, in the name and for the shell.
		c.sign("client", &x509.Certificate{Subject: pkix.Name{CommonName: "weir, it's #1 \"client\"", OrganizationalUnit: []string{"data + streams"}, Country: []string{"SE"}}}, parent, key)
		c.sign("admin", &x509.Certificate{Subject: pkix.Name{CommonName: "admin"}}, parent, key)
	}
}

func (c *secureCluster) sign(name string, cert, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	c.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		c.t.Fatal(err)
	}
	cert.SerialNumber = big.NewInt(time.Now().UnixNano())
	if cert.NotAfter.IsZero() {
		cert.NotBefore, cert.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	}
	if parent == nil {
		parent, signer = cert, key
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, &key.PublicKey, signer)
	if err != nil {
		c.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		c.t.Fatal(err)
	}
	certText := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	keyText := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	c.write(name+".pem", certText)
	c.write(name+".key", keyText)
	c.write(name+".both", keyText+certText)
	signed, err := x509.ParseCertificate(der)
	if err != nil {
		c.t.Fatal(err)
	}
	return signed, key
}

// keys makes the key that signs tokens, and returns the URL of its public half.
func (c *secureCluster) keys() string {
	c.t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		c.t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	set, err := json.Marshal(map[string]any{"keys": []map[string]string{{"kty": "RSA", "kid": "k1", "use": "sig", "alg": "RS256",
		"n": b64(key.N.Bytes()), "e": b64(big.NewInt(int64(key.E)).Bytes())}}})
	if err != nil {
		c.t.Fatal(err)
	}
	c.token = func(subject string, life time.Duration) string {
		now := time.Now()
		payload, err := json.Marshal(map[string]any{"sub": subject, "aud": "kafka", "iss": "test", "scope": "kafka",
			"iat": now.Add(min(0, 2*life)).Unix(), "exp": now.Add(life).Unix()})
		if err != nil {
			c.t.Fatal(err)
		}
		text := b64([]byte(`{"alg":"RS256","typ":"JWT","kid":"k1"}`)) + "." + b64(payload)
		sum := sha256.Sum256([]byte(text))
		sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
		if err != nil {
			c.t.Fatal(err)
		}
		return text + "." + b64(sig)
	}
	return "file://" + c.write("jwks.json", string(set))
}

// login is one way to be somebody.
type login struct {
	name, listener, settings string
	env                      []string
	secret                   string // that must be seen nowhere
	admin                    string // the same way for an administrator, for Java's tools; empty where Go grants
}

func (c *secureCluster) logins() []login {
	const ca = "ssl.ca.location=ca.pem\n"
	c.write("token", c.token("weir-token", time.Hour))
	return []login{
		{name: "certificate", listener: "BOTH", secret: "PRIVATE KEY",
			settings: "security.protocol=SSL\n" + ca + "ssl.certificate.location=client.pem\nssl.key.location=client.key\n",
			admin:    "security.protocol=SSL\nssl.truststore.type=PEM\nssl.truststore.location=" + c.file("ca.pem") + "\nssl.keystore.type=PEM\nssl.keystore.location=" + c.file("admin.both") + "\n"},
		{name: "scram-256", listener: "OPEN", secret: scramPassword, env: []string{"WEIR_KAFKA_PASSWORD=" + scramPassword},
			settings: "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=SCRAM-SHA-256\nsasl.username=weir256\n"},
		{name: "scram-512", listener: "LOGIN", secret: scramPassword,
			settings: "security.protocol=SASL_SSL\n" + ca + "sasl.mechanism=SCRAM-SHA-512\nsasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username=\"weir512\" password=\"" + scramPassword + "\";\n"},
		{name: "plain", listener: "LOGIN", secret: plainPassword,
			settings: "security.protocol=SASL_SSL\n" + ca + "sasl.mechanism=PLAIN\nsasl.username=plainer\nsasl.password=" + plainPassword + "\n"},
		{name: "token", listener: "LOGIN", secret: tokenHead,
			settings: "security.protocol=SASL_SSL\n" + ca + "sasl.mechanism=OAUTHBEARER\nsasl.oauthbearer.token.endpoint.url=file:token\n"},
	}
}

// environment is that of a weir which logs in so.
func (c *secureCluster) environment(l login, more ...string) []string {
	file := c.write(l.name+".properties", l.settings)
	return testEnv(c.t, append(append([]string{"WEIR_KAFKA=" + strings.Join(c.addresses(l.listener), ","), "WEIR_KAFKA_CONFIG=" + file}, l.env...), more...)...)
}

// deleteTopics removes what an earlier login made.
func (c *secureCluster) deleteTopics() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), apachePatience)
	defer cancel()
	names := []string{"bluesky-events", "bluesky-accounts", "wikipedia-edits", "weir.dead-letters", "weir.cursors"}
	if _, err := c.admin.DeleteTopics(ctx, names...); err != nil {
		c.t.Fatal(err)
	}
	within(c.t, "the topics are gone", func() bool {
		topics, err := c.admin.ListTopics(ctx, names...)
		for _, n := range names {
			if err == nil && topics.Has(n) {
				return false
			}
		}
		return err == nil
	})
}

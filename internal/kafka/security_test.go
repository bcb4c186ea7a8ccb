package kafka

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// certificate makes one for the loopback address that signs itself, as files.
func certificate(t *testing.T, dir string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "cert.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	write(t, filepath.Join(dir, "key.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// join puts key and certificate into one file, as Java reads them.
func join(t *testing.T, dir string) {
	t.Helper()
	var all []byte
	for _, name := range []string{"key.pem", "cert.pem"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	write(t, filepath.Join(dir, "both.pem"), string(all))
}

// inline is a file as the value of a setting, its lines joined as Java's form has them.
func inline(t *testing.T, dir, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(strings.TrimSpace(string(b)), "\n", "\\n\\\n ")
}

const secret = `s3"cr\et`

func TestSecurityConnects(t *testing.T) {
	dir := t.TempDir()
	pair := certificate(t, dir)
	join(t, dir)
	pool := x509.NewCertPool()
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(leaf)
	server := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	mutual := server.Clone()
	mutual.ClientAuth, mutual.ClientCAs = tls.RequireAndVerifyClientCert, pool
	// The properties file's escapes are Java's: \" in JAAS is \\" in the file.
	const jaas = "sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \\\n  username=\"weir\" password=\"s3\\\\\"cr\\\\\\\\et\";\n"
	for _, c := range []struct {
		name, text, password string
		opts                 []kfake.Opt
		refused              bool
	}{
		{"tls", "security.protocol=SSL\nssl.ca.location=cert.pem\n", "", []kfake.Opt{kfake.TLS(server)}, false},
		{"tls, a stranger's certificate", "security.protocol=SSL\n", "", []kfake.Opt{kfake.TLS(server)}, true},
		{"tls, both sides", "security.protocol=SSL\nssl.ca.location=cert.pem\nssl.certificate.location=cert.pem\nssl.key.location=key.pem\n", "", []kfake.Opt{kfake.TLS(mutual)}, false},
		{"tls, both sides by Java's names", "security.protocol=SSL\nssl.truststore.type=PEM\nssl.truststore.location=cert.pem\nssl.keystore.type=PEM\nssl.keystore.location=both.pem\n", "", []kfake.Opt{kfake.TLS(mutual)}, false},
		{"tls, both sides in the settings", "security.protocol=SSL\nssl.truststore.type=PEM\nssl.truststore.certificates=" + inline(t, dir, "cert.pem") +
			"\nssl.keystore.type=PEM\nssl.keystore.certificate.chain=" + inline(t, dir, "cert.pem") + "\nssl.keystore.key=" + inline(t, dir, "key.pem") + "\n", "", []kfake.Opt{kfake.TLS(mutual)}, false},
		{"tls, one side", "security.protocol=SSL\nssl.ca.location=cert.pem\n", "", []kfake.Opt{kfake.TLS(mutual)}, true},
		{"plain", "security.protocol: SASL_PLAINTEXT\nsasl.mechanism=PLAIN\nsasl.username = weir\n", secret, []kfake.Opt{kfake.EnableSASL(), kfake.Superuser("PLAIN", "weir", secret)}, false},
		{"scram 256", "# of production\nsecurity.protocol=SASL_PLAINTEXT\nsasl.mechanism=SCRAM-SHA-256\n" + jaas, "", []kfake.Opt{kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-256", "weir", secret)}, false},
		{"scram 512 over tls", "security.protocol=SASL_SSL\nssl.ca.location=cert.pem\nsasl.mechanisms=SCRAM-SHA-512\nacks=all\n" + jaas, "",
			[]kfake.Opt{kfake.TLS(server), kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-512", "weir", secret)}, false},
		{"a wrong password", "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=SCRAM-SHA-256\n" + jaas, "wr0ng", []kfake.Opt{kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-256", "weir", secret)}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			cluster, err := kfake.NewCluster(append(c.opts, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))...)
			if err != nil {
				t.Fatal(err)
			}
			defer cluster.Close()
			s, err := ReadSecurity(write(t, filepath.Join(dir, "client.properties"), c.text), c.password)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			cl, err := Config{Brokers: cluster.ListenAddrs(), Security: s}.Connect(ctx)
			if c.refused {
				if _, ok := errors.AsType[*ConnectError](err); !ok {
					t.Errorf("it was not refused: %v", err)
				} else if strings.Contains(err.Error(), "wr0ng") || strings.Contains(err.Error(), secret) {
					t.Errorf("the error tells the password: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer cl.Close()
			if err := cl.ProduceSync(ctx, &kgo.Record{Topic: "t", Value: []byte("x")}).FirstErr(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestSecurityRefuses(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "no.pem"), "nothing")
	write(t, filepath.Join(dir, "store.jks"), "\xfe\xed\xfe\xed\x00\x00\x00\x02")
	write(t, filepath.Join(dir, "store.p12"), "\x30\x82\x0a\x00")
	write(t, filepath.Join(dir, "encrypted.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("hidden")})))
	for _, c := range []struct{ text, want string }{
		{"", "security.protocol"},
		{"security.protocol=TLS", `"TLS"`},
		{"security.protocol=PLAINTEXT\nsasl.password=hidden", "does not use it"},
		{"security.protocol=SASL_PLAINTEXT\nssl.ca.location=x", "does not use it"},
		{"security.protocol=SSL\nssl.truststore.location=x.jks\nssl.truststore.password=hidden", "keytool -list -rfc"},
		{"security.protocol=SSL\nssl.keystore.type=PKCS12\nssl.keystore.location=x.p12\nssl.keystore.password=hidden", "openssl pkcs12"},
		{"security.protocol=SSL\nssl.keystore.type=PEM\nssl.keystore.location=no.pem\nssl.keystore.password=hidden", "leave it out"},
		{"security.protocol=SSL\nssl.ca.location=store.jks", "keytool -list -rfc"},
		{"security.protocol=SSL\nssl.ca.location=store.p12", "PKCS#12"},
		{"security.protocol=SSL\nssl.certificate.location=no.pem\nssl.key.location=encrypted.pem\nssl.key.password=hidden", "openssl pkey -in"},
		{"security.protocol=SSL\nssl.certificate.location=no.pem\nssl.key.location=encrypted.pem", "openssl pkey -in"},
		{"security.protocol=SSL\nssl.ca.location=no.pem\nssl.truststore.certificates=x", "leave out one"},
		{"security.protocol=SSL\nssl.provider=x", "ssl.provider is not understood"},
		{"security.protocol=SSL\nssl.ca.location=no.pem", "no certificate"},
		{"security.protocol=SSL\nssl.ca.location=missing.pem", "missing.pem"},
		{"security.protocol=SSL\nssl.key.location=no.pem", "belong together"},
		{"security.protocol=SSL\nssl.endpoint.identification.algorithm=", "does not do"},
		{"security.protocol=SASL_SSL\nsasl.mechanism=GSSAPI\nsasl.username=u\nsasl.password=hidden", "GSSAPI"},
		{"security.protocol=SASL_SSL\nsasl.mechanism=PLAIN\nsasl.username=u", "WEIR_KAFKA_PASSWORD"},
		{"security.protocol=SASL_SSL\nsasl.mechanism=PLAIN\nsasl.username=u\nsasl.jaas.config=x password=\"hidden\"", "leave out one"},
	} {
		_, err := ReadSecurity(write(t, filepath.Join(dir, "client.properties"), c.text), "")
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%q: %v, want %q", c.text, err, c.want)
		}
	}
	if _, err := ReadSecurity(filepath.Join(dir, "none"), ""); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestSecurityPrintsNoSecret(t *testing.T) {
	s, err := ReadSecurity(write(t, filepath.Join(t.TempDir(), "p"), "security.protocol=SASL_SSL\nsasl.mechanism=PLAIN\nsasl.username=u\nsasl.password=hidden"), "")
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("%v %+v %#v %s", s, s, s, s)
	if strings.Contains(text, "hidden") || !strings.Contains(text, "SASL_SSL PLAIN") {
		t.Errorf("it prints as %s", text)
	}
}

package kafka

import (
	"cmp"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/weir-project/weir/internal/certs"
)

// tlsOf trusts the system's authorities, or those that the settings name alone.
func tlsOf(p map[string]string, dir string) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if v, ok := p["ssl.endpoint.identification.algorithm"]; ok && !strings.EqualFold(v, "https") {
		return nil, errors.New("ssl.endpoint.identification.algorithm is not https: a certificate that is not the broker's own would be taken, which weir does not do")
	}
	if err := onlyPEM(p); err != nil {
		return nil, err
	}
	name, ca, noCA := material(p, dir, "ssl.truststore.certificates", "ssl.ca.location", "ssl.truststore.location")
	certName, cert, noCert := material(p, dir, "ssl.keystore.certificate.chain", "ssl.certificate.location", "ssl.keystore.location")
	keyName, key, noKey := material(p, dir, "ssl.keystore.key", "ssl.key.location", "ssl.keystore.location")
	if err := cmp.Or(noCA, noCert, noKey); err != nil {
		return nil, err
	}
	if name != "" {
		var err error
		if cfg.RootCAs, err = certs.Pool(name, ca); err != nil {
			return nil, err
		}
	}
	if (certName == "") != (keyName == "") {
		return nil, errors.New("ssl.certificate.location and ssl.key.location belong together, and one is missing")
	}
	if certName == "" {
		if p["ssl.key.password"] != "" {
			return nil, errors.New("ssl.key.password is set, and ssl.key.location is not")
		}
		return cfg, nil
	}
	if encrypted(key) || p["ssl.key.password"] != "" {
		return nil, fmt.Errorf("%s is encrypted with a password, or ssl.key.password is set, which weir does not read: decrypt a copy of the key for weir with "+
			"`(umask 077; openssl pkey -in KEY -out key.pem)`, name that file, and leave ssl.key.password out", keyName)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("%s and %s: %w%s", certName, keyName, err, certs.IfBinary(key))
	}
	cfg.Certificates = []tls.Certificate{pair}
	return cfg, nil
}

// onlyPEM refuses Java's own key stores, with the command that converts one.
func onlyPEM(p map[string]string) error {
	for _, store := range []struct{ prefix, out string }{
		{"ssl.truststore.", "convert it with `keytool -list -rfc -keystore STORE > ca.pem` and set ssl.ca.location=ca.pem in its place"},
		{"ssl.keystore.", "convert it with `keytool -importkeystore -srckeystore STORE -destkeystore client.p12 -deststoretype PKCS12` and " +
			"`(umask 077; openssl pkcs12 -in client.p12 -nodes -out client.pem)`, and set ssl.certificate.location=client.pem and ssl.key.location=client.pem in its place"},
	} {
		kind := p[store.prefix+"type"]
		if (kind != "" || p[store.prefix+"location"] != "") && !strings.EqualFold(kind, "PEM") {
			return fmt.Errorf("%slocation is a key store of type %s, and weir reads only PEM: %s", store.prefix, cmp.Or(kind, "JKS"), store.out)
		}
		if p[store.prefix+"password"] != "" {
			return fmt.Errorf("%spassword is set, and PEM files have none: leave it out", store.prefix)
		}
	}
	return nil
}

// material is what is given for one thing, in the settings themselves or by the
// name of a file, and the name of the setting that gave it; "" where none did. inline is
// "" where the settings themselves cannot hold it.
func material(p map[string]string, dir, inline string, files ...string) (name string, content []byte, err error) {
	for _, key := range append([]string{inline}, files...) {
		if key == "" || p[key] == "" {
			continue
		}
		if name != "" {
			return "", nil, fmt.Errorf("%s and %s are both set: leave out one of them", name, key)
		}
		name = key
		if key == inline {
			content = []byte(p[key])
		} else if content, err = certs.ReadFile(inDir(dir, p[key])); err != nil {
			return "", nil, fmt.Errorf("%s: %w", key, err)
		}
	}
	return name, content, nil
}

// encrypted reports whether a private key in PEM form needs a password.
func encrypted(key []byte) bool {
	for {
		block, rest := pem.Decode(key)
		if block == nil {
			return false
		}
		if block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "" {
			return true
		}
		key = rest
	}
}

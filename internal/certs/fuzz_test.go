package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"
)

// FuzzPool reads files of certificates of any bytes. It takes exactly the certificates that encoding/pem and
// x509 find in them; a file without any is named, with the command where it is of a known kind.
func FuzzPool(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, NotAfter: time.Unix(1<<32, 0), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		f.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for _, seed := range [][]byte{text, append(append([]byte("# a comment\n"), text...), text...), der, text[:len(text)/2], {0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2}, {},
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der[:50]}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		want := x509.NewCertPool()
		found := false
		for rest := content; ; {
			var block *pem.Block
			if block, rest = pem.Decode(rest); block == nil {
				break
			}
			if c, err := x509.ParseCertificate(block.Bytes); err == nil && block.Type == "CERTIFICATE" && len(block.Headers) == 0 {
				want.AddCert(c)
				found = true
			}
		}
		got, err := Pool("ca.pem", content)
		switch {
		case found != (err == nil), err == nil && !got.Equal(want):
			t.Errorf("%q: %v", content, err)
		case err != nil && !strings.HasPrefix(err.Error(), "ca.pem holds no certificate in PEM form"):
			t.Errorf("%q: %v", content, err)
		case err != nil && len(content) > 0 && content[0] == 0x30 && !strings.Contains(string(content), "-----BEGIN") && !strings.Contains(err.Error(), "openssl x509 -inform der"):
			t.Errorf("%q: %v", content, err)
		}
	})
}

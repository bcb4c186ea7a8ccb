package kafka

import (
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
)

// anonymous is the principal of a client at a listener without logins.
const anonymous = "User:ANONYMOUS"

// Principal is the name by which the cluster's access rules know this client, as
// Kafka makes it unless the cluster maps names by rules of its own: the login's
// name, the subject of the token, or the subject of the certificate. It is empty
// where it cannot be known: a token that is opaque, or that was not asked for yet.
func (s *Security) Principal() string {
	switch {
	case s == nil:
		return anonymous
	case s.mechanism != nil:
		if name := s.user(); name != "" {
			return "User:" + name
		}
		return ""
	case s.tls != nil && len(s.tls.Certificates) > 0 && s.tls.Certificates[0].Leaf != nil:
		if dn, err := distinguishedName(s.tls.Certificates[0].Leaf.RawSubject); err == nil {
			return "User:" + dn
		}
		return ""
	}
	return anonymous
}

// tokenSubject is the claim "sub" of a token, which is Kafka's name for the client;
// empty for a token of another form. Nothing is verified: the broker does that.
func tokenSubject(token string) string {
	parts := strings.Split(token, ".")
	if len(parts) < 2 {
		return ""
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return ""
	}
	var claims struct {
		Subject string `json:"sub"`
	}
	if json.Unmarshal(payload, &claims) != nil {
		return ""
	}
	return claims.Subject
}

// rfc2253 are the attributes that Java's X500Principal.getName writes by name;
// all others it writes by number, their value in hexadecimal.
var rfc2253 = map[string]string{
	"2.5.4.3": "CN", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST", "2.5.4.9": "STREET", "2.5.4.10": "O", "2.5.4.11": "OU",
	"0.9.2342.19200300.100.1.25": "DC", "0.9.2342.19200300.100.1.1": "UID",
}

// distinguishedName is a certificate's subject as Kafka's default principal has
// it: RFC 2253, the last part first.
func distinguishedName(raw []byte) (string, error) {
	var seq []asn1.RawValue
	if _, err := asn1.Unmarshal(raw, &seq); err != nil {
		return "", fmt.Errorf("read the certificate's subject: %w", err)
	}
	parts := make([]string, len(seq))
	for i, set := range seq {
		var values []string
		for rest := set.Bytes; len(rest) > 0; {
			var v struct {
				Type  asn1.ObjectIdentifier
				Value asn1.RawValue
			}
			var err error
			if rest, err = asn1.Unmarshal(rest, &v); err != nil {
				return "", fmt.Errorf("read the certificate's subject: %w", err)
			}
			values = append(values, attribute(v.Type, v.Value))
		}
		parts[len(seq)-1-i] = strings.Join(values, "+")
	}
	return strings.Join(parts, ","), nil
}

func attribute(oid asn1.ObjectIdentifier, v asn1.RawValue) string {
	var text string
	name, known := rfc2253[oid.String()]
	if !known {
		return oid.String() + "=#" + hex.EncodeToString(v.FullBytes)
	}
	if _, err := asn1.Unmarshal(v.FullBytes, &text); err != nil {
		return name + "=#" + hex.EncodeToString(v.FullBytes)
	}
	var b strings.Builder
	for i, r := range text {
		edge := r == ' ' && (i == 0 || i == len(text)-1)
		if edge || strings.ContainsRune(`,=+<>#;"\`, r) { // what Java escapes is more than the RFC asks for
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return name + "=" + b.String()
}

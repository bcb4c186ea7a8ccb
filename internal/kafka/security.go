package kafka

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/weir-project/weir/internal/certs"
	"github.com/weir-project/weir/internal/intake"
)

// Security is how a client logs in, and which servers it trusts. It holds
// secrets: it has no exported fields, and prints as what it is, not what it holds.
type Security struct {
	protocol  string
	tls       *tls.Config
	mechanism sasl.Mechanism
	// user is the name that logs in; empty where it is not known.
	user func() string
}

// String names the protocol and the mechanism, never a secret.
func (s *Security) String() string {
	if s.mechanism == nil {
		return s.protocol
	}
	return s.protocol + " " + s.mechanism.Name()
}

// GoString is String, so that %#v shows no secret either.
func (s *Security) GoString() string { return s.String() }

func (s *Security) options() (opts []kgo.Opt) {
	if s == nil || s.tls == nil { // brokers of this process admit these connections always
		opts = append(opts, kgo.Dialer(intake.Dialer{Timeout: dialTimeout}.DialContext))
	}
	if s == nil {
		return opts
	}
	if s.tls != nil {
		opts = append(opts, kgo.DialTLSConfig(s.tls))
	}
	if s.mechanism != nil {
		opts = append(opts, kgo.SASL(s.mechanism))
	}
	return opts
}

// securitySettings are the settings that ReadSecurity understands, by the names that Kafka's own
// clients and librdkafka give them. Java's clients need a few that weir does not.
var securitySettings = strings.Fields(`
	https.ca.location
	sasl.jaas.config sasl.login.callback.handler.class sasl.mechanism sasl.mechanisms
	sasl.oauthbearer.client.credentials.client.id sasl.oauthbearer.client.credentials.client.secret
	sasl.oauthbearer.client.id sasl.oauthbearer.client.secret sasl.oauthbearer.extensions sasl.oauthbearer.grant.type
	sasl.oauthbearer.method sasl.oauthbearer.scope sasl.oauthbearer.token.endpoint.url
	sasl.password sasl.username
	security.protocol
	ssl.ca.location ssl.certificate.location ssl.endpoint.identification.algorithm ssl.key.location ssl.key.password
	ssl.keystore.certificate.chain ssl.keystore.key ssl.keystore.location ssl.keystore.password ssl.keystore.type
	ssl.truststore.certificates ssl.truststore.location ssl.truststore.password ssl.truststore.type`)

// ReadSecurity reads security.protocol and what belongs to it from a properties
// file of a Kafka client. Settings that are not about security are passed over;
// one that is and is not understood is an error, because leaving it out could
// weaken what the user asked for. Paths in it are relative to the file. password,
// if not empty, wins over the file's. No error quotes a value of the file, but for
// protocol, mechanism and paths.
func ReadSecurity(file, password string) (*Security, error) {
	text, err := certs.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read Kafka's client settings: %w", err)
	}
	s, err := securityOf(parseProperties(string(text)), filepath.Dir(file), password)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return s, nil
}

var aboutSecurity = regexp.MustCompile(`^(ssl|sasl|security|https)\.`)

func securityOf(p map[string]string, dir, password string) (s *Security, err error) {
	s = &Security{protocol: strings.ToUpper(p["security.protocol"])}
	withTLS, withSASL := strings.HasSuffix(s.protocol, "SSL"), strings.HasPrefix(s.protocol, "SASL_")
	mechanism := strings.ToUpper(cmp.Or(p["sasl.mechanism"], p["sasl.mechanisms"]))
	keys := slices.Sorted(maps.Keys(p))
	for _, key := range keys {
		if !slices.Contains(securitySettings, key) && aboutSecurity.MatchString(key) {
			return nil, fmt.Errorf("setting %s is not understood; there are: %s", key, strings.Join(securitySettings, ", "))
		}
	}
	if !slices.Contains([]string{"PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"}, s.protocol) {
		return nil, fmt.Errorf("security.protocol is %q, and should be PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL", s.protocol)
	}
	for _, key := range keys {
		oauth := strings.HasPrefix(key, "sasl.oauthbearer.") || strings.HasPrefix(key, "https.")
		switch {
		case strings.HasPrefix(key, "ssl.") && !withTLS, (oauth || strings.HasPrefix(key, "sasl.")) && !withSASL:
			return nil, fmt.Errorf("%s is set, and security.protocol %s does not use it", key, s.protocol)
		case oauth && mechanism != "OAUTHBEARER":
			return nil, fmt.Errorf("%s is set, and sasl.mechanism %s does not use it", key, mechanism)
		}
	}
	if withTLS {
		if s.tls, err = tlsOf(p, dir); err != nil {
			return nil, err
		}
	}
	switch {
	case !withSASL:
	case mechanism == "OAUTHBEARER":
		s.mechanism, s.user, err = oauthOf(p, dir, password)
	default:
		s.mechanism, s.user, err = passwordOf(p, mechanism, password)
	}
	return s, err
}

// passwordOf logs in with a name and a password. password, if not empty, wins over the file's.
func passwordOf(p map[string]string, mechanism, password string) (m sasl.Mechanism, name func() string, err error) {
	user, pass := p["sasl.username"], p["sasl.password"]
	if jaas := p["sasl.jaas.config"]; jaas != "" {
		if user != "" || pass != "" {
			return nil, nil, errors.New("sasl.jaas.config and sasl.username or sasl.password are both set: leave out one of them")
		}
		user, pass = jaasOption(jaas, "username"), jaasOption(jaas, "password")
	}
	pass = cmp.Or(password, pass)
	if user == "" || pass == "" {
		return nil, nil, errors.New("the name or the password for SASL is missing: set sasl.username and sasl.password, or sasl.jaas.config with both; the password can be in WEIR_KAFKA_PASSWORD")
	}
	switch mechanism {
	case "PLAIN":
		m = plain.Auth{User: user, Pass: pass}.AsMechanism()
	case "SCRAM-SHA-256":
		m = scram.Auth{User: user, Pass: pass}.AsSha256Mechanism()
	case "SCRAM-SHA-512":
		m = scram.Auth{User: user, Pass: pass}.AsSha512Mechanism()
	default:
		err = fmt.Errorf("sasl.mechanism is %q, and weir knows PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 and OAUTHBEARER", mechanism)
	}
	return m, func() string { return user }, err
}

// inDir is a path of a file's setting, which is relative to the file.
func inDir(dir, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// jaasOption is the value of an option in a login module's line:
// "… required username="x" password="y";", where a backslash escapes.
func jaasOption(line, name string) string {
	m := regexp.MustCompile(`(?:^|\s)` + name + `\s*=\s*"((?:[^"\\]|\\.)*)"`).FindStringSubmatch(line)
	if m == nil {
		return ""
	}
	return regexp.MustCompile(`\\(.)`).ReplaceAllString(m[1], "$1")
}

// parseProperties reads Java's properties form: key=value or key:value, comments
// from # or !, a backslash at the end of a line goes on in the next one.
func parseProperties(text string) map[string]string {
	p := make(map[string]string)
	rest := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	for len(rest) > 0 {
		line := strings.TrimLeft(rest[0], " \t\f")
		rest = rest[1:]
		if line == "" || line[0] == '#' || line[0] == '!' {
			continue
		}
		for goesOn(line) && len(rest) > 0 {
			line = line[:len(line)-1] + strings.TrimLeft(rest[0], " \t\f")
			rest = rest[1:]
		}
		key, value := line, ""
		if i := strings.IndexAny(line, "=: \t"); i >= 0 {
			key, value = line[:i], strings.TrimLeft(line[i:], " \t")
			if value != "" && (value[0] == '=' || value[0] == ':') {
				value = strings.TrimLeft(value[1:], " \t")
			}
		}
		p[key] = unescape(value)
	}
	return p
}

// goesOn reports whether a line ends in a backslash that is not escaped itself.
func goesOn(line string) bool {
	return (len(line)-len(strings.TrimRight(line, `\`)))%2 == 1
}

var escaped = regexp.MustCompile(`(?s)\\(u[0-9A-Fa-f]{4}|.)`)

// unescape resolves \n, \t, \uXXXX and the backslash before any other character.
func unescape(s string) string {
	return escaped.ReplaceAllStringFunc(s, func(e string) string {
		switch {
		case e == `\n`:
			return "\n"
		case e == `\t`:
			return "\t"
		case len(e) == len(`\uXXXX`):
			r, _ := strconv.ParseUint(e[2:], 16, 16)
			return string(rune(r))
		}
		return e[1:]
	})
}

package kafka

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/weir-project/weir/internal/intake"
)

// maxSecurityFile bounds a configuration, key or certificate file in bytes.
const maxSecurityFile = 1 << 20

// Security is how a client proves who it is and whom it talks to. It holds
// secrets: it has no exported fields, and prints as what it is, not what it holds.
type Security struct {
	protocol  string
	tls       *tls.Config
	mechanism sasl.Mechanism
	// user is who logs in, as the mechanism names them; empty where nobody knows.
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

// securityKeys are the settings that ReadSecurity understands, by the names that
// Kafka's own clients and librdkafka give them.
var securityKeys = slices.Concat([]string{"security.protocol", "sasl.mechanism", "sasl.mechanisms", "sasl.username", "sasl.password", "sasl.jaas.config"},
	oauthKeys, tlsKeys)

// ReadSecurity reads security.protocol and what belongs to it from a properties
// file of a Kafka client. Settings that are not about security are passed over;
// one that is and is not understood is an error, because leaving it out could
// weaken what the user asked for. Paths in it are relative to the file. password,
// if not empty, wins over the file's. No error quotes a value of the file, but for
// protocol, mechanism and paths.
func ReadSecurity(file, password string) (*Security, error) {
	text, err := readSmall(file)
	if err != nil {
		return nil, fmt.Errorf("read Kafka's client settings: %w", err)
	}
	p := parseProperties(string(text))
	for key := range p {
		about := strings.HasPrefix(key, "ssl.") || strings.HasPrefix(key, "sasl.") || strings.HasPrefix(key, "security.") || strings.HasPrefix(key, "https.")
		if about && !slices.Contains(securityKeys, key) {
			return nil, fmt.Errorf("%s: setting %s is not understood; there are: %s", file, key, strings.Join(securityKeys, ", "))
		}
	}
	s := &Security{protocol: strings.ToUpper(p["security.protocol"])}
	withTLS := s.protocol == "SSL" || s.protocol == "SASL_SSL"
	withSASL := s.protocol == "SASL_PLAINTEXT" || s.protocol == "SASL_SSL"
	if !withTLS && !withSASL && s.protocol != "PLAINTEXT" {
		return nil, fmt.Errorf("%s: security.protocol is %q, and should be PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL", file, s.protocol)
	}
	for key := range p {
		if strings.HasPrefix(key, "ssl.") && !withTLS || (strings.HasPrefix(key, "sasl.") || strings.HasPrefix(key, "https.")) && !withSASL {
			return nil, fmt.Errorf("%s: %s is set, and security.protocol %s does not use it", file, key, s.protocol)
		}
	}
	if withTLS {
		if s.tls, err = tlsOf(p, filepath.Dir(file)); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	if withSASL {
		if s.mechanism, s.user, err = mechanismOf(p, filepath.Dir(file), password); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	return s, nil
}

// mechanismOf is how a client logs in, and as whom. password, if not empty, wins
// over the file's; for OAUTHBEARER it is the client's secret.
func mechanismOf(p map[string]string, dir, password string) (m sasl.Mechanism, name func() string, err error) {
	kind := strings.ToUpper(firstOf(p, "sasl.mechanism", "sasl.mechanisms"))
	if kind == "OAUTHBEARER" {
		return oauthOf(p, dir, password)
	}
	for key := range p {
		if strings.HasPrefix(key, "sasl.oauthbearer.") || key == "https.ca.location" {
			return nil, nil, fmt.Errorf("%s is set, and sasl.mechanism %s does not use it", key, kind)
		}
	}
	user, pass := p["sasl.username"], p["sasl.password"]
	if jaas := p["sasl.jaas.config"]; jaas != "" {
		if user != "" || pass != "" {
			return nil, nil, errors.New("sasl.jaas.config and sasl.username or sasl.password are both set: leave out one of them")
		}
		user, pass = jaasOption(jaas, "username"), jaasOption(jaas, "password")
	}
	if password != "" {
		pass = password
	}
	if user == "" || pass == "" {
		return nil, nil, errors.New("the name or the password for SASL is missing: set sasl.username and sasl.password, or sasl.jaas.config with both; the password can be in WEIR_KAFKA_PASSWORD")
	}
	name = func() string { return user }
	switch kind {
	case "PLAIN":
		return plain.Auth{User: user, Pass: pass}.AsMechanism(), name, nil
	case "SCRAM-SHA-256":
		return scram.Auth{User: user, Pass: pass}.AsSha256Mechanism(), name, nil
	case "SCRAM-SHA-512":
		return scram.Auth{User: user, Pass: pass}.AsSha512Mechanism(), name, nil
	}
	return nil, nil, fmt.Errorf("sasl.mechanism is %q, and weir knows PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 and OAUTHBEARER", kind)
}

// firstOf is the first of several names of one setting that has a value.
func firstOf(p map[string]string, names ...string) string {
	for _, n := range names {
		if p[n] != "" {
			return p[n]
		}
	}
	return ""
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

// unescape resolves \n, \t, \uXXXX and the backslash before any other character.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		switch s[i] {
		case 'n':
			b.WriteByte('\n')
		case 't':
			b.WriteByte('\t')
		case 'u':
			if i+4 < len(s) {
				if r, err := strconv.ParseUint(s[i+1:i+5], 16, 16); err == nil {
					b.WriteRune(rune(r))
					i += 4
					continue
				}
			}
			b.WriteByte('u')
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

func readSmall(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSecurityFile+1))
	if err == nil && len(b) > maxSecurityFile {
		err = fmt.Errorf("%s is larger than %d bytes", path, maxSecurityFile)
	}
	return b, err
}

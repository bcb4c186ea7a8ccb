package kafka

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"

	"github.com/weir-project/weir/internal/certs"
)

// Limits of asking for a token.
const (
	tokenTimeout = 10 * time.Second
	maxTokenSize = 64 << 10
	// tokenShare of a token's life is how long it is used for new connections.
	tokenShare = 0.8
)

// tokenForm is RFC 6750's b64token: nothing in it could end the login message early.
var tokenForm = regexp.MustCompile(`^[A-Za-z0-9._~+/-]+=*$`)

// oauthOf is OAUTHBEARER with the token of a file, which is read again for each
// connection and each time that a broker asks anew, or with one that is asked for
// with a client's id and secret, and asked for again before it expires.
func oauthOf(p map[string]string, dir, password string) (m sasl.Mechanism, name func() string, err error) {
	jaas := p["sasl.jaas.config"]
	handler, method, grant := p["sasl.login.callback.handler.class"], strings.ToLower(p["sasl.oauthbearer.method"]), strings.ToLower(p["sasl.oauthbearer.grant.type"])
	switch {
	case p["sasl.username"] != "" || p["sasl.password"] != "":
		return nil, nil, errors.New("sasl.username and sasl.password are not OAUTHBEARER's: set sasl.oauthbearer.client.id and sasl.oauthbearer.client.secret")
	case handler != "" && !strings.HasSuffix(handler, ".OAuthBearerLoginCallbackHandler"):
		return nil, nil, fmt.Errorf("sasl.login.callback.handler.class is %s, a program of its own: let it write its token to a file, and set sasl.oauthbearer.token.endpoint.url=file:///path", handler)
	case method != "" && method != "oidc":
		return nil, nil, fmt.Errorf("sasl.oauthbearer.method is %q, and weir knows oidc", method)
	case grant != "" && grant != "client_credentials" && grant != "client-credentials":
		return nil, nil, fmt.Errorf("sasl.oauthbearer.grant.type is %q, and weir knows client_credentials", grant)
	}
	extensions, err := extensionsOf(p["sasl.oauthbearer.extensions"], jaas)
	if err != nil {
		return nil, nil, err
	}
	endpoint := p["sasl.oauthbearer.token.endpoint.url"]
	u, err := url.Parse(endpoint)
	if err != nil || endpoint == "" || u.User != nil {
		return nil, nil, errors.New("sasl.oauthbearer.token.endpoint.url is missing or no URL: set it to https://…, where a token is asked for, or to file:///path of a file that holds one")
	}
	id := cmp.Or(p["sasl.oauthbearer.client.credentials.client.id"], p["sasl.oauthbearer.client.id"], jaasOption(jaas, "clientId"))
	secret := cmp.Or(password, p["sasl.oauthbearer.client.credentials.client.secret"], p["sasl.oauthbearer.client.secret"], jaasOption(jaas, "clientSecret"))
	var source func(context.Context) (string, error)
	if u.Scheme == "file" {
		path := u.Path
		if u.Opaque != "" { // file:token, relative to the settings
			path = filepath.Join(dir, u.Opaque)
		}
		source = func(context.Context) (string, error) { return tokenFile(path) }
	} else {
		if id == "" || secret == "" {
			return nil, nil, errors.New("the client's id or secret is missing: set sasl.oauthbearer.client.id and sasl.oauthbearer.client.secret, or clientId and clientSecret in sasl.jaas.config; the secret can be in WEIR_KAFKA_PASSWORD")
		}
		e, err := newTokenEndpoint(u, p, dir)
		if err != nil {
			return nil, nil, err
		}
		e.id, e.secret, e.scope = id, secret, cmp.Or(p["sasl.oauthbearer.scope"], jaasOption(jaas, "scope"))
		source = e.token
	}
	var subject atomic.Value
	subject.Store("")
	return oauth.Oauth(func(ctx context.Context) (oauth.Auth, error) {
		token, err := source(ctx)
		if err != nil {
			return oauth.Auth{}, &LoginError{err}
		}
		subject.Store(tokenSubject(token))
		return oauth.Auth{Token: token, Extensions: maps.Clone(extensions)}, nil
	}), func() string { return subject.Load().(string) }, nil
}

// LoginError says that there is no token to log in with.
type LoginError struct{ Err error }

func (e *LoginError) Error() string { return "no token to log in to Kafka with: " + e.Err.Error() }

// Unwrap returns the cause.
func (e *LoginError) Unwrap() error { return e.Err }

// extensionsOf reads librdkafka's "key=value,key=value", and options of a login
// module that begin with extension_.
func extensionsOf(list, jaas string) (map[string]string, error) {
	out := map[string]string{}
	for pair := range strings.SplitSeq(list, ",") {
		if k, v, ok := strings.Cut(pair, "="); ok {
			out[strings.TrimSpace(k)] = strings.TrimSpace(v)
		} else if strings.TrimSpace(pair) != "" {
			return nil, errors.New("sasl.oauthbearer.extensions is not key=value,key=value")
		}
	}
	for _, m := range regexp.MustCompile(`\sextension_([A-Za-z]+)\s*=`).FindAllStringSubmatch(jaas, -1) {
		out[m[1]] = jaasOption(jaas, "extension_"+m[1])
	}
	for k, v := range out {
		if k == "auth" || strings.ContainsFunc(k+v, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			return nil, errors.New("an extension of OAUTHBEARER is called auth, or holds a control character, which the protocol does not allow")
		}
	}
	return out, nil
}

// tokenFile reads a token that something else keeps fresh.
func tokenFile(path string) (string, error) {
	text, err := certs.ReadFile(path)
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(text))
	if !tokenForm.MatchString(token) || len(token) > maxTokenSize {
		return "", fmt.Errorf("%s holds no bearer token", path)
	}
	return token, nil
}

// tokenEndpoint asks for tokens (RFC 6749, client credentials), and keeps one as
// long as it is fresh: every connection logs in, and there are many.
type tokenEndpoint struct {
	url, id, secret, scope string
	client                 *http.Client

	mu    sync.Mutex
	last  string
	until time.Time
}

func newTokenEndpoint(u *url.URL, p map[string]string, dir string) (*tokenEndpoint, error) {
	if u.Hostname() == "" || u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) {
		return nil, fmt.Errorf("sasl.oauthbearer.token.endpoint.url is %s://%s…: a secret is sent there, so it has to be https", u.Scheme, u.Host)
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	name, ca, err := material(p, dir, "", "https.ca.location")
	if err == nil && name != "" {
		cfg.RootCAs, err = certs.Pool(name, ca)
	}
	if err != nil {
		return nil, err
	}
	return &tokenEndpoint{url: u.String(), client: &http.Client{
		Timeout: tokenTimeout,
		Transport: &http.Transport{TLSClientConfig: cfg, Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, ForceAttemptHTTP2: true,
			MaxResponseHeaderBytes: maxTokenSize, DialContext: (&net.Dialer{Timeout: dialTimeout}).DialContext},
		// A redirect would send the secret to a server that the settings do not name.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

func (e *tokenEndpoint) token(ctx context.Context) (string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if time.Now().Before(e.until) {
		return e.last, nil
	}
	token, life, err := e.ask(ctx)
	if err != nil {
		return "", err
	}
	e.last, e.until = token, time.Now().Add(time.Duration(float64(life)*tokenShare))
	return token, nil
}

// oauthError is RFC 6749's list of reasons, open to extensions: what else a server
// says could repeat what it was sent.
var oauthError = regexp.MustCompile(`^[a-z_]{1,40}$`)

func (e *tokenEndpoint) ask(ctx context.Context) (token string, life time.Duration, err error) {
	form := url.Values{"grant_type": {"client_credentials"}}
	if e.scope != "" {
		form.Set("scope", e.scope)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url, strings.NewReader(form.Encode()))
	if err != nil {
		return "", 0, errors.New("the token endpoint's URL cannot be used")
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	// RFC 6749, 2.3.1: both are form-encoded first.
	req.SetBasicAuth(url.QueryEscape(e.id), url.QueryEscape(e.secret))
	resp, err := e.client.Do(req)
	var body []byte
	if err == nil {
		defer resp.Body.Close()
		body, err = io.ReadAll(io.LimitReader(resp.Body, maxTokenSize+1))
	}
	if ue, ok := errors.AsType[*url.Error](err); ok {
		err = ue.Err
	}
	switch {
	case err != nil:
		return "", 0, fmt.Errorf("ask %s for a token: %w", req.URL.Host, err)
	case len(body) > maxTokenSize:
		return "", 0, fmt.Errorf("%s answered with more than %d bytes", req.URL.Host, maxTokenSize)
	}
	var answer struct {
		Token   string  `json:"access_token"`
		Expires float64 `json:"expires_in"`
		Error   string  `json:"error"`
	}
	bad := json.Unmarshal(body, &answer) != nil
	switch {
	case resp.StatusCode != http.StatusOK:
		why := ""
		if !bad && oauthError.MatchString(answer.Error) && !strings.Contains(answer.Error, e.secret) {
			why = " (" + answer.Error + ")"
		}
		return "", 0, fmt.Errorf("%s refuses a token: status %d%s; check the client's id and secret", req.URL.Host, resp.StatusCode, why)
	case bad || !tokenForm.MatchString(answer.Token):
		return "", 0, fmt.Errorf("%s answered without a bearer token", req.URL.Host)
	}
	seconds := min(max(answer.Expires, 0), 24*60*60)
	return answer.Token, time.Duration(seconds * float64(time.Second)), nil
}

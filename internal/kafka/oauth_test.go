package kafka

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// login is what a broker would be sent.
func login(t *testing.T, settings, password string) (string, error) {
	t.Helper()
	s, err := ReadSecurity(settings, password)
	if err != nil {
		return "", err
	}
	if text := fmt.Sprintf("%v %#v", s, s); strings.Contains(text, "hidden") || !strings.Contains(text, "OAUTHBEARER") {
		t.Errorf("it prints as %s", text)
	}
	_, first, err := s.mechanism.Authenticate(context.Background(), "broker")
	return string(first), err
}

func TestTokenOfAFileIsReadAgain(t *testing.T) {
	dir := t.TempDir()
	settings := filepath.Join(dir, "client.properties")
	for _, url := range []string{"file:token", "file://" + filepath.Join(dir, "token")} {
		write(t, settings, "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=OAUTHBEARER\nsasl.oauthbearer.extensions=logicalCluster=lkc-1\nsasl.oauthbearer.token.endpoint.url="+url)
		s, err := ReadSecurity(settings, "")
		if err != nil {
			t.Fatal(err)
		}
		for _, token := range []string{"hidden.one", "hidden.two"} {
			write(t, filepath.Join(dir, "token"), token+"\n")
			_, first, err := s.mechanism.Authenticate(t.Context(), "broker")
			if want := "n,,\x01auth=Bearer " + token + "\x01logicalCluster=lkc-1\x01\x01"; err != nil || string(first) != want {
				t.Errorf("%s: %q, %v, want %q", url, first, err, want)
			}
		}
		for _, bad := range []string{"", "hidden token", "hidden\x01auth=x", strings.Repeat("hidden", maxTokenSize)} {
			write(t, filepath.Join(dir, "token"), bad)
			_, _, err := s.mechanism.Authenticate(t.Context(), "broker")
			if _, ok := errors.AsType[*LoginError](err); !ok || strings.Contains(err.Error(), "hidden") {
				t.Errorf("token %.20q: %v", bad, err)
			}
		}
	}
}

// TestTokenEndpoint asks a server for tokens: with the secret in a header alone,
// as often as needed, and with no word of the secret or of a token in an error.
func TestTokenEndpoint(t *testing.T) {
	var asked, mode atomic.Int64
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.FormValue("grant_type") != "client_credentials" || r.FormValue("scope") != "kafka" {
			t.Errorf("form %v", r.Form)
		}
		id, secret, _ := r.BasicAuth()
		switch {
		case id != "weir" || secret != "hidden%2B1":
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprintf(w, `{"error":"invalid_client","error_description":"%s is wrong"}`, secret)
		case mode.Load() == 1:
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		case mode.Load() == 2:
			fmt.Fprint(w, strings.Repeat("hidden", maxTokenSize))
		case mode.Load() == 3:
			fmt.Fprint(w, `{"access_token":"hidden\u0001auth=x","expires_in":60}`)
		default:
			fmt.Fprintf(w, `{"access_token":"hidden.token%d","expires_in":%d}`, asked.Load(), mode.Load())
		}
	}))
	defer server.Close()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "idp.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	settings := filepath.Join(dir, "client.properties")
	const head = "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=OAUTHBEARER\nhttps.ca.location=idp.pem\n"
	at := "sasl.oauthbearer.token.endpoint.url=" + server.URL + "/token\n"
	for _, c := range []struct{ name, text, password string }{
		{"librdkafka's names", "sasl.oauthbearer.method=oidc\nsasl.oauthbearer.client.id=weir\nsasl.oauthbearer.client.secret=hidden+1\nsasl.oauthbearer.scope=kafka\n", ""},
		{"Java's names", "sasl.oauthbearer.client.credentials.client.id=weir\nsasl.oauthbearer.client.credentials.client.secret=hidden+1\nsasl.oauthbearer.scope=kafka\n", ""},
		{"JAAS", "sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required clientId=\"weir\" clientSecret=\"hidden+1\" scope=\"kafka\";\n" +
			"sasl.login.callback.handler.class=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler\n", ""},
		{"the environment", "sasl.oauthbearer.client.id=weir\nsasl.oauthbearer.scope=kafka\n", "hidden+1"},
	} {
		first, err := login(t, write(t, settings, head+at+c.text), c.password)
		if want := fmt.Sprintf("hidden.token%d\x01", asked.Load()); err != nil || !strings.Contains(first, want) {
			t.Errorf("%s: %q, %v, want %q", c.name, first, err, want)
		}
	}

	right := head + at + "sasl.oauthbearer.client.id=weir\nsasl.oauthbearer.scope=kafka\n"
	mode.Store(3600)
	s, err := ReadSecurity(write(t, settings, right), "hidden+1")
	if err != nil {
		t.Fatal(err)
	}
	before := asked.Load()
	for range 3 {
		if _, _, err := s.mechanism.Authenticate(t.Context(), "broker"); err != nil {
			t.Fatal(err)
		}
	}
	if n := asked.Load() - before; n != 1 {
		t.Errorf("a token that lasts an hour was asked for %d times", n)
	}
	for _, c := range []struct {
		name, text, password, want string
		mode                       int64
	}{
		{"a wrong secret", right, "hidden+2", "status 401 (invalid_client)", 0},
		{"a redirection", right, "hidden+1", "status 307", 1},
		{"too much", right, "hidden+1", "more than", 2},
		{"a token that would end the message", right, "hidden+1", "without a bearer token", 3},
		{"a stranger's certificate", strings.Replace(right, "https.ca.location=idp.pem\n", "", 1), "hidden+1", "certificate", 0},
		{"no secret", right, "", "WEIR_KAFKA_PASSWORD", 0},
		{"no encryption", strings.Replace(right, server.URL, "http://idp.example.org", 1), "hidden+1", "has to be https", 0},
		{"no endpoint", head + "sasl.oauthbearer.client.id=weir\n", "hidden+1", "token.endpoint.url is missing", 0},
		{"another mechanism", strings.Replace(right, "OAUTHBEARER", "PLAIN", 1), "hidden+1", "does not use it", 0},
		{"a program", right + "sasl.login.callback.handler.class=com.example.Handler\n", "hidden+1", "com.example.Handler", 0},
	} {
		mode.Store(c.mode)
		first, err := login(t, write(t, settings, c.text), c.password)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: %q, %v, want an error with %q", c.name, first, err, c.want)
		}
	}
}

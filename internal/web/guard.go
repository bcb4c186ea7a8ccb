package web

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// csp lets a page load its own files and nothing else: no inline code, no frames,
// no other hosts. Post text that slipped through as HTML could still do nothing.
const csp = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; font-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"

const tokenCookie = "weir_token"

// guard keeps strangers out: a page of another site that makes the browser send
// requests here, directly or under a name that it points at this machine.
func (s *Server) guard(next http.Handler) http.Handler {
	cross := http.NewCrossOriginProtection()
	cross.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusForbidden, "this change was asked for by a page of another origin: open weir's own page and do it there")
	}))
	next = cross.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", csp)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		if !s.knownHost(r.Host) {
			refuse(w, http.StatusMisdirectedRequest,
				"weir does not answer to the name "+r.Host+": use its address, or localhost, or start it with --allow-host and that name")
			return
		}
		// Reads are kept from other sites too: the browser says where they come from.
		if site := r.Header.Get("Sec-Fetch-Site"); site == "cross-site" && r.Header.Get("Sec-Fetch-Mode") != "navigate" {
			refuse(w, http.StatusForbidden, "another site asked for this: open weir's own page")
			return
		}
		if !s.admit(w, r) {
			return
		}
		next.ServeHTTP(w, r)
	})
}

func refuse(w http.ResponseWriter, status int, why string) {
	writeJSON(w, status, errorAnswer{Error: why})
}

// knownHost reports whether a Host header names this server: a loopback or other
// address (a page cannot be served from an address that is not its own), or a
// name that was configured. Any other name is DNS rebinding.
func (s *Server) knownHost(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	host = strings.TrimSuffix(strings.ToLower(strings.Trim(host, "[]")), ".")
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || slices.Contains(s.cfg.Hosts, host)
}

// admit checks the token where one is set. A link with ?token= sets it as a
// cookie and leads on without it, so that it stays in no address bar.
func (s *Server) admit(w http.ResponseWriter, r *http.Request) bool {
	if s.cfg.Token == "" || r.URL.Path == "/healthz" {
		return true
	}
	if given := r.URL.Query().Get("token"); given != "" && r.Method == http.MethodGet && same(given, s.cfg.Token) {
		http.SetCookie(w, &http.Cookie{Name: tokenCookie, Value: given, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil}) //nolint:gosec // G124: without TLS a Secure cookie would never come back
		u := *r.URL
		q := u.Query()
		q.Del("token")
		u.RawQuery, u.Scheme, u.Host = q.Encode(), "", ""
		// A path that begins with two slashes would name another host.
		u.Path = "/" + strings.TrimLeft(u.Path, "/")
		http.Redirect(w, r, u.String(), http.StatusSeeOther) //nolint:gosec // G710: scheme and host are empty, and the path has one leading slash
		return false
	}
	if bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok && same(bearer, s.cfg.Token) {
		return true
	}
	if c, err := r.Cookie(tokenCookie); err == nil && same(c.Value, s.cfg.Token) {
		return true
	}
	refuse(w, http.StatusUnauthorized, "a token is needed: open the link that weir printed, or send Authorization: Bearer TOKEN")
	return false
}

// same compares in a time that tells nothing about how much agrees.
func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

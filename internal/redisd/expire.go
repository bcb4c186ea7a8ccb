package redisd

import (
	"strings"
	"time"
)

// miniredis counts TTLs down only when FastForward is called, and then
// looks at every key. So time is passed on only while some key may have a TTL,
// and so often that it takes at most 2 % of one core.
const (
	tickEvery    = 20 * time.Millisecond
	tickEveryMax = 2 * time.Second
	tickShare    = 50
)

// setsExpiry reports whether a command can give a key a TTL. Scripts and
// transactions can.
func setsExpiry(cmd string) bool {
	switch cmd {
	case "SET", "SETEX", "PSETEX", "GETEX", "RESTORE", "EVAL", "EVALSHA", "EXEC", "HSETEX", "HGETEX", "COPY", "MOVE":
		return true
	}
	return strings.Contains(cmd, "EXPIRE")
}

// catchUp passes time on before a command that may set a TTL, so that the TTL is
// not charged for the time before it. The caller holds the gate.
func (s *Server) catchUp() {
	if s.expiring.Load() && s.tickCost < time.Millisecond {
		s.advance()
	} else if !s.expiring.Load() {
		s.ticked = time.Now()
	}
	s.expiring.Store(true)
}

// tick passes time on, and returns after how long to do so again.
func (s *Server) tick() time.Duration {
	if !s.expiring.Load() {
		return tickEvery
	}
	s.gate.Lock()
	defer s.gate.Unlock()
	s.advance()
	return min(max(tickEvery, tickShare*s.tickCost), tickEveryMax)
}

// advance passes on the time since the last call. The caller holds the gate.
func (s *Server) advance() {
	now := time.Now()
	elapsed := now.Sub(s.ticked)
	if elapsed <= 0 {
		return
	}
	s.ticked = now
	s.redis.FastForward(elapsed)
	s.tickCost = time.Since(now)
}

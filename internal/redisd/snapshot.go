package redisd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// A snapshot's body is a sequence of keys: database, type, name, expiry in Unix
// milliseconds (0 for none), and a value that depends on the type. Numbers are
// varints, strings have their length in front.
const (
	typeString byte = iota + 1
	typeHash
	typeList
	typeSet
	typeZSet
	typeStream
)

// encoder appends the values of a snapshot.
type encoder struct{ b []byte }

func (e *encoder) num(n int64)     { e.b = binary.AppendVarint(e.b, n) }
func (e *encoder) count(n int)     { e.b = binary.AppendUvarint(e.b, uint64(n)) }
func (e *encoder) str(s string)    { e.count(len(s)); e.b = append(e.b, s...) }
func (e *encoder) float(f float64) { e.b = binary.BigEndian.AppendUint64(e.b, math.Float64bits(f)) }
func (e *encoder) strs(l []string) {
	e.count(len(l))
	for _, s := range l {
		e.str(s)
	}
}

// encode returns all data, the same bytes for the same data, and whether any key
// has a TTL. The caller holds the gate.
func (s *Server) encode() (body []byte, expiring bool, err error) {
	e := &encoder{b: make([]byte, 0, s.size.Load()+4096)}
	in := s.inner(nil)
	for db := range Databases {
		if n, _ := in.do(db, "DBSIZE").(int); n == 0 {
			continue
		}
		d := s.redis.DB(db)
		for _, k := range d.Keys() {
			has, err := s.encodeKey(e, in, d, db, k)
			if err != nil {
				return nil, false, fmt.Errorf("key %q of database %d: %w", k, db, err)
			}
			expiring = expiring || has
		}
	}
	return e.b, expiring, in.err
}

var types = map[string]byte{"string": typeString, "hash": typeHash, "list": typeList, "set": typeSet, "zset": typeZSet, "stream": typeStream}

func (s *Server) encodeKey(e *encoder, in *inner, d *miniredis.RedisDB, db int, k string) (expiring bool, err error) {
	typ, ok := types[d.Type(k)]
	if !ok {
		return false, fmt.Errorf("has type %q, which cannot be kept", d.Type(k))
	}
	e.count(db)
	e.b = append(e.b, typ)
	e.str(k)
	ttl := d.TTL(k)
	e.expiry(ttl, s.ticked)
	expiring = ttl > 0
	var list []string
	switch typ {
	case typeString:
		var v string
		v, err = d.Get(k)
		e.str(v)
	case typeHash:
		list, err = d.HKeys(k)
		e.count(len(list))
		for _, f := range list {
			e.str(f)
			e.str(d.HGet(k, f))
			ttl := d.HTTL(k, f)
			e.expiry(ttl, s.ticked)
			expiring = expiring || ttl > 0
		}
	case typeList:
		list, err = d.List(k)
		e.strs(list)
	case typeSet:
		list, err = d.Members(k)
		e.strs(list)
	case typeZSet:
		var scores map[string]float64
		scores, err = d.SortedSet(k)
		e.count(len(scores))
		for _, m := range slices.Sorted(maps.Keys(scores)) {
			e.str(m)
			e.float(scores[m])
		}
	case typeStream:
		err = s.encodeStream(e, in, db, k)
	}
	return expiring, err
}

// expiry keeps when a key expires. It is reckoned from the moment that miniredis
// has been told about, so that it stays the same while the TTL counts down.
func (e *encoder) expiry(ttl time.Duration, now time.Time) {
	var at int64
	if ttl > 0 {
		at = max(1, now.Add(ttl).UnixMilli())
	}
	e.num(at)
}

// encodeStream keeps the entries, the last id, and each group with its consumers
// and what they have not acknowledged.
func (s *Server) encodeStream(e *encoder, in *inner, db int, k string) error {
	entries, err := s.redis.DB(db).Stream(k)
	if err != nil {
		return err
	}
	e.count(len(entries))
	for _, en := range entries {
		e.str(en.ID)
		e.strs(en.Values)
	}
	info := pairs(in.do(db, "XINFO", "STREAM", k))
	e.str(text(info["last-generated-id"]))
	groups := list(in.do(db, "XINFO", "GROUPS", k))
	slices.SortFunc(groups, func(a, b any) int {
		return strings.Compare(text(pairs(a)["name"]), text(pairs(b)["name"]))
	})
	e.count(len(groups))
	for _, g := range groups {
		p := pairs(g)
		name := text(p["name"])
		e.str(name)
		e.str(text(p["last-delivered-id"]))
		consumers := list(in.do(db, "XINFO", "CONSUMERS", k, name))
		e.count(len(consumers))
		for _, c := range consumers {
			e.str(text(pairs(c)["name"]))
		}
		pending := list(in.do(db, "XPENDING", k, name, "-", "+", strconv.Itoa(math.MaxInt32)))
		e.count(len(pending))
		for _, x := range pending {
			row := list(x)
			if len(row) != 4 {
				return errors.New("a pending entry has another form than expected")
			}
			deliveries, _ := row[3].(int)
			e.str(text(row[0]))
			e.str(text(row[1]))
			e.num(int64(deliveries))
		}
	}
	return in.err
}

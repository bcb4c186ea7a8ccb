package redisd

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// decoder reads the values of a snapshot. After an error it returns zero values.
type decoder struct {
	s   *Server
	b   []byte
	err error
}

var errShort = errors.New("the data end too early")

// take returns the next n bytes, or nil after an error.
func (d *decoder) take(n int, ok bool) []byte {
	if !ok || n > len(d.b) {
		d.err, d.b = cmp.Or(d.err, errShort), nil
		return nil
	}
	taken := d.b[:n]
	d.b = d.b[n:]
	return taken
}

func (d *decoder) num() int64 {
	n, size := binary.Varint(d.b)
	d.take(size, size > 0)
	return n
}

// count reads a number of things of at least one byte each.
func (d *decoder) count() int {
	n, size := binary.Uvarint(d.b)
	if d.take(size, size > 0 && n <= uint64(len(d.b))) == nil {
		return 0
	}
	return int(n)
}

func (d *decoder) byte() byte {
	if b := d.take(1, true); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) str() string { return string(d.take(d.count(), true)) }

func (d *decoder) strs() []string {
	l := make([]string, d.count())
	for i := range l {
		l[i] = d.str()
	}
	return l
}

func (d *decoder) float() float64 {
	if b := d.take(8, true); b != nil {
		return math.Float64frombits(binary.BigEndian.Uint64(b))
	}
	return 0
}

// left reads when something expires, and returns how long that is from now: 0 for never,
// negative where it has expired.
func (d *decoder) left() time.Duration {
	expiry := d.num()
	if expiry <= 0 {
		return 0
	}
	d.s.expiring.Store(true)
	if left := time.UnixMilli(expiry).Sub(d.s.ticked); left > 0 {
		return left
	}
	return -1
}

// load puts a snapshot's data into the empty server.
func (s *Server) load(body []byte) error {
	d := &decoder{s: s, b: body}
	in := s.inner(nil)
	for len(d.b) > 0 && d.err == nil {
		db := d.count()
		typ, key, left := d.byte(), d.str(), d.left()
		if d.err != nil {
			break
		}
		if db >= Databases {
			return fmt.Errorf("database %d does not exist", db)
		}
		rdb := s.redis.DB(db)
		if err := loadKey(d, in, rdb, db, typ, key); err != nil {
			return fmt.Errorf("key %q of database %d: %w", key, db, err)
		}
		switch {
		case d.err != nil:
		case left > 0:
			rdb.SetTTL(key, left)
		case left < 0:
			rdb.Del(key)
		}
	}
	return errors.Join(d.err, in.err)
}

func loadKey(d *decoder, in *inner, rdb *miniredis.RedisDB, db int, typ byte, key string) error {
	var err error
	switch typ {
	case typeString:
		err = rdb.Set(key, d.str())
	case typeHash:
		for n := d.count(); n > 0 && d.err == nil; n-- {
			field, value, left := d.str(), d.str(), d.left()
			if d.err != nil {
				break
			}
			rdb.HSet(key, field, value)
			switch {
			case left > 0:
				rdb.HExpire(key, field, left)
			case left < 0:
				rdb.HDel(key, field)
			}
		}
	case typeList:
		_, err = rdb.Push(key, d.strs()...)
	case typeSet:
		_, err = rdb.SetAdd(key, d.strs()...)
	case typeZSet:
		for n := d.count(); n > 0 && err == nil; n-- {
			member, score := d.str(), d.float()
			_, err = rdb.ZAdd(key, score, member)
		}
	case typeStream:
		err = loadStream(d, in, rdb, db, key)
	default:
		err = fmt.Errorf("unknown type %d", typ)
	}
	return err
}

func loadStream(d *decoder, in *inner, rdb *miniredis.RedisDB, db int, key string) error {
	last := ""
	for range d.count() {
		id, values := d.str(), d.strs()
		if d.err != nil {
			return d.err
		}
		if _, err := rdb.XAdd(key, id, values); err != nil {
			return err
		}
		last = id
	}
	lastID := d.str()
	if lastID == "" && last == "" {
		lastID = "0-1" // there is no other way to make a stream without entries
	}
	if lastID != "" && lastID != last {
		in.do(db, "XADD", key, lastID, "x", "x")
		in.do(db, "XDEL", key, lastID)
	}
	for range d.count() {
		group, delivered := d.str(), d.str()
		in.do(db, "XGROUP", "CREATE", key, group, delivered)
		for range d.count() {
			in.do(db, "XGROUP", "CREATECONSUMER", key, group, d.str())
		}
		for range d.count() {
			id, consumer, deliveries := d.str(), d.str(), d.num()
			if d.err != nil {
				return d.err
			}
			in.do(db, "XCLAIM", key, group, consumer, "0", id, "RETRYCOUNT", strconv.FormatInt(deliveries, 10), "FORCE", "JUSTID")
		}
	}
	return in.err
}

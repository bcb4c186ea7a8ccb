package redisd

import (
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
	b   []byte
	err error
}

var errShort = errors.New("the data end early")

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
	d.b = nil
}

func (d *decoder) num() int64 {
	n, size := binary.Varint(d.b)
	if size <= 0 {
		d.fail(errShort)
		return 0
	}
	d.b = d.b[size:]
	return n
}

// count reads a number of things of at least one byte each.
func (d *decoder) count() int {
	n, size := binary.Uvarint(d.b)
	if size <= 0 || n > uint64(len(d.b)) {
		d.fail(errShort)
		return 0
	}
	d.b = d.b[size:]
	return int(n)
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail(errShort)
		return 0
	}
	c := d.b[0]
	d.b = d.b[1:]
	return c
}

func (d *decoder) str() string {
	n := d.count()
	if n > len(d.b) {
		d.fail(errShort)
		return ""
	}
	s := string(d.b[:n])
	d.b = d.b[n:]
	return s
}

func (d *decoder) strs() []string {
	l := make([]string, d.count())
	for i := range l {
		l[i] = d.str()
	}
	return l
}

func (d *decoder) float() float64 {
	if len(d.b) < 8 {
		d.fail(errShort)
		return 0
	}
	f := math.Float64frombits(binary.BigEndian.Uint64(d.b))
	d.b = d.b[8:]
	return f
}

// load puts a snapshot's data into the empty server.
func (s *Server) load(body []byte) error {
	d := &decoder{b: body}
	now := s.ticked
	in := s.internal()
	for len(d.b) > 0 && d.err == nil {
		db := d.count()
		typ, key, expiry := d.byte(), d.str(), d.num()
		if d.err != nil {
			break
		}
		if db >= Databases {
			return fmt.Errorf("database %d does not exist", db)
		}
		rdb := s.redis.DB(db)
		if err := loadKey(d, in, rdb, db, typ, key, now); err != nil {
			return fmt.Errorf("key %q of database %d: %w", key, db, err)
		}
		if expiry > 0 && d.err == nil {
			s.expiring.Store(true)
			if left := time.UnixMilli(expiry).Sub(now); left > 0 {
				rdb.SetTTL(key, left)
			} else {
				rdb.Del(key)
			}
		}
	}
	return errors.Join(d.err, in.err)
}

func loadKey(d *decoder, in *internal, rdb *miniredis.RedisDB, db int, typ byte, key string, now time.Time) error {
	switch typ {
	case typeString:
		return rdb.Set(key, d.str())
	case typeHash:
		for range d.count() {
			f, v, expiry := d.str(), d.str(), d.num()
			if d.err != nil {
				return d.err
			}
			rdb.HSet(key, f, v)
			if expiry > 0 {
				in.s.expiring.Store(true)
				if left := time.UnixMilli(expiry).Sub(now); left > 0 {
					rdb.HExpire(key, f, left)
				} else {
					rdb.HDel(key, f)
				}
			}
		}
		return nil
	case typeList:
		_, err := rdb.Push(key, d.strs()...)
		return err
	case typeSet:
		_, err := rdb.SetAdd(key, d.strs()...)
		return err
	case typeZSet:
		for range d.count() {
			m, score := d.str(), d.float()
			if _, err := rdb.ZAdd(key, score, m); err != nil {
				return err
			}
		}
		return nil
	case typeStream:
		return loadStream(d, in, rdb, db, key)
	}
	return fmt.Errorf("unknown type %d", typ)
}

func loadStream(d *decoder, in *internal, rdb *miniredis.RedisDB, db int, key string) error {
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

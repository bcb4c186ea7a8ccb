package batching

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// ProducerSetting is how a producer makes batches of records and sends them.
type ProducerSetting struct {
	// Linger is how long a batch waits for more records before it is sent.
	Linger time.Duration `json:"linger_ns"`
	// Batch bounds a batch in bytes, before compression.
	Batch int `json:"batch_bytes"`
	// Compression is none, snappy, lz4, gzip or zstd.
	Compression string `json:"compression"`
	// Acks says which replicas must have a record before it is acknowledged: all, 1 or 0.
	Acks string `json:"acks"`
	// Idempotent lets the brokers recognise what is sent again; only with all.
	Idempotent bool `json:"idempotent"`
}

// BaseSetting is what the others are compared with: each differs in one thing.
func BaseSetting() ProducerSetting {
	return ProducerSetting{Linger: 20 * time.Millisecond, Batch: 256 << 10, Compression: "snappy", Acks: "all", Idempotent: true}
}

// Limits of a setting.
const (
	MaxLinger = 5 * time.Second
	minBatch  = 1 << 10
	maxBatch  = 1 << 20 // max.message.bytes as it is by default
)

// codecs are what records can be compressed with.
func codecs() map[string]kgo.CompressionCodec {
	return map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "gzip": kgo.GzipCompression(), "zstd": kgo.ZstdCompression()}
}

// part is one thing that a setting consists of, how it is written, and how it is read.
type part struct {
	name, text string
	read       func(value string) error
}

func (s *ProducerSetting) parts() []part {
	text := func(to *string) func(string) error {
		return func(v string) error { *to = v; return nil }
	}
	onOff := map[bool]string{true: "on", false: "off"}
	return []part{
		{"linger", s.Linger.String(), func(v string) (err error) { s.Linger, err = time.ParseDuration(v); return }},
		{"batch", bytesText(s.Batch), func(v string) (err error) { s.Batch, err = parseBytes(v); return }},
		{"compression", s.Compression, text(&s.Compression)},
		{"acks", s.Acks, text(&s.Acks)},
		{"idempotence", onOff[s.Idempotent], func(v string) error {
			if s.Idempotent = v == "on"; v != onOff[s.Idempotent] {
				return errors.New("want on or off")
			}
			return nil
		}},
	}
}

// ParseProducerSetting reads a setting like "linger=5ms,compression=zstd,acks=1": what is
// not named is as in BaseSetting; "base" is that. Idempotence goes with acks=all unless
// it is switched off. An error names what is wrong or impossible.
func ParseProducerSetting(text string) (ProducerSetting, error) {
	s := BaseSetting()
	if strings.TrimSpace(text) == "base" {
		return s, nil
	}
	idempotence := false // is named
	for part := range strings.SplitSeq(text, ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok {
			return s, fmt.Errorf("%q is not a setting: want linger=TIME, batch=SIZE, compression=CODEC, acks=all|1|0, idempotence=on|off", part)
		}
		idempotence = idempotence || name == "idempotence"
		err := errors.New("there is linger, batch, compression, acks, idempotence")
		for _, p := range s.parts() {
			if p.name == name {
				err = p.read(value)
			}
		}
		if err != nil {
			return s, fmt.Errorf("%s=%s: %w", name, value, err)
		}
	}
	if !idempotence {
		s.Idempotent = s.Acks == "all"
	}
	return s, s.check()
}

// ProducerSettings are those to try.
type ProducerSettings []ProducerSetting

// Lists of settings that have names: usual varies one thing at a time, few are the least
// that show something.
const (
	usualSettings = "base;linger=0;linger=2ms;linger=5ms;linger=50ms;linger=200ms;batch=4k;" +
		"compression=none;compression=lz4;compression=gzip;compression=zstd;idempotence=off;acks=1;acks=0"
	fewSettings = "base;linger=0;linger=200ms;batch=4k;compression=none;compression=zstd;acks=1;acks=0"
)

// UnmarshalText reads one setting, or a list that has a name.
func (l *ProducerSettings) UnmarshalText(text []byte) error {
	list := string(text)
	switch list {
	case "usual":
		list = usualSettings
	case "few":
		list = fewSettings
	}
	*l = nil
	for part := range strings.SplitSeq(list, ";") {
		s, err := ParseProducerSetting(part)
		if err != nil {
			return err
		}
		*l = append(*l, s)
	}
	return nil
}

// parseBytes reads a size like 65536, 64k or 1m.
func parseBytes(text string) (int, error) {
	number, shift := text, 0
	if cut, ok := strings.CutSuffix(text, "k"); ok {
		number, shift = cut, 10
	} else if cut, ok := strings.CutSuffix(text, "m"); ok {
		number, shift = cut, 20
	}
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 || n > 1<<30>>shift {
		return 0, fmt.Errorf("%q is not a size; write it as 16k or 1m", text)
	}
	return n << shift, nil
}

func bytesText(n int) string {
	switch {
	case n%(1<<20) == 0:
		return fmt.Sprintf("%dm", n>>20)
	case n%(1<<10) == 0:
		return fmt.Sprintf("%dk", n>>10)
	}
	return strconv.Itoa(n)
}

// check rejects settings that a producer cannot have.
func (s ProducerSetting) check() error {
	_, known := codecs()[s.Compression]
	switch {
	case s.Linger < 0 || s.Linger > MaxLinger:
		return fmt.Errorf("a linger of %v is not between 0 and %v", s.Linger, MaxLinger)
	case s.Batch < minBatch || s.Batch > maxBatch:
		return fmt.Errorf("a batch of %d bytes is not between %d and %d, which is what brokers accept", s.Batch, minBatch, maxBatch)
	case !known:
		return fmt.Errorf("unknown compression %q: choose one of %s", s.Compression, strings.Join(slices.Sorted(maps.Keys(codecs())), ", "))
	case s.Acks != "all" && s.Acks != "1" && s.Acks != "0":
		return fmt.Errorf("acks=%s: want all, 1 or 0", s.Acks)
	case s.Idempotent && s.Acks != "all":
		return fmt.Errorf("idempotence needs acks=all, not acks=%s: without it a producer cannot know which records the replicas have", s.Acks)
	}
	return nil
}

// written lists the parts that differ from another setting.
func (s ProducerSetting) written(other ProducerSetting) (out []string) {
	others := other.parts()
	for i, p := range s.parts() {
		if p.text != others[i].text {
			out = append(out, p.name+"="+p.text)
		}
	}
	return out
}

// String names a setting by its differences from BaseSetting.
func (s ProducerSetting) String() string {
	base := BaseSetting()
	base.Idempotent = s.Acks == "all"
	return cmp.Or(strings.Join(s.written(base), ","), "base")
}

// words describes a setting in full.
func (s ProducerSetting) words() string {
	return strings.Join(s.written(ProducerSetting{Linger: -1, Idempotent: !s.Idempotent}), " ")
}

// safe reports whether what is acknowledged is neither lost nor duplicated.
func (s ProducerSetting) safe() bool { return s.Acks == "all" && s.Idempotent }

// options are the client's.
func (s ProducerSetting) options() []kgo.Opt {
	acks := map[string]kgo.Acks{"all": kgo.AllISRAcks(), "1": kgo.LeaderAck(), "0": kgo.NoAck()}[s.Acks]
	opts := []kgo.Opt{kgo.ProducerLinger(s.Linger), kgo.ProducerBatchMaxBytes(int32(s.Batch)),
		kgo.ProducerBatchCompression(codecs()[s.Compression]), kgo.RequiredAcks(acks)}
	if !s.Idempotent {
		opts = append(opts, kgo.DisableIdempotentWrite())
	}
	return opts
}

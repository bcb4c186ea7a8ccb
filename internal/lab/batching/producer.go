package batching

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/lab/kit"
)

// ProducerSetting is how a producer makes batches of records and sends them.
type ProducerSetting struct {
	// Linger is how long a batch waits for more records before it is sent.
	Linger time.Duration `json:"linger_ns"`
	// Batch bounds a batch in bytes, before compression.
	Batch int `json:"batch_bytes"`
	// Compression is one of Codecs.
	Compression string `json:"compression"`
	// Acks is who must have a record before it is acknowledged: all, 1 or 0.
	Acks string `json:"acks"`
	// Idempotent lets the brokers recognise what is sent again; only with all.
	Idempotent bool `json:"idempotent"`
}

// BaseSetting is what the others are compared with: each differs in one thing.
func BaseSetting() ProducerSetting {
	return ProducerSetting{Linger: 20 * time.Millisecond, Batch: 256 << 10, Compression: "snappy", Acks: "all", Idempotent: true}
}

// Codecs lists what records can be compressed with.
func Codecs() []string { return []string{"none", "snappy", "lz4", "gzip", "zstd"} }

// Limits of a setting.
const (
	MaxLinger = 5 * time.Second
	minBatch  = 1 << 10
	maxBatch  = 1 << 20 // max.message.bytes as it is by default
)

// ParseProducerSetting reads a setting like "linger=5ms,compression=zstd,acks=1": what is
// not named is as in BaseSetting; "base" is that. Idempotence goes with acks=all unless
// it is switched off. An error names what is wrong or impossible.
func ParseProducerSetting(text string) (ProducerSetting, error) {
	s := BaseSetting()
	if strings.TrimSpace(text) == "base" {
		return s, nil
	}
	idempotence := ""
	for part := range strings.SplitSeq(text, ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok {
			return s, fmt.Errorf("%q is not a setting: want linger=TIME, batch=SIZE, compression=CODEC, acks=all|1|0, idempotence=on|off", part)
		}
		var err error
		switch name {
		case "linger":
			if s.Linger, err = time.ParseDuration(value); value == "0" {
				s.Linger, err = 0, nil
			}
		case "batch":
			s.Batch, err = parseBytes(value)
		case "compression":
			s.Compression = value
		case "acks":
			s.Acks = value
		case "idempotence":
			if idempotence = value; value != "on" && value != "off" {
				err = fmt.Errorf("want on or off")
			}
		default:
			err = fmt.Errorf("there is linger, batch, compression, acks, idempotence")
		}
		if err != nil {
			return s, fmt.Errorf("%s=%s: %w", name, value, err)
		}
	}
	s.Idempotent = idempotence == "on" || idempotence == "" && s.Acks == "all"
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
	switch {
	case strings.HasSuffix(text, "k"):
		number, shift = strings.TrimSuffix(text, "k"), 10
	case strings.HasSuffix(text, "m"):
		number, shift = strings.TrimSuffix(text, "m"), 20
	}
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 || n > 1<<30>>shift {
		return 0, fmt.Errorf("%q is not a size; write it as 16k or 1m", text)
	}
	return n << shift, nil
}

// check rejects settings that a producer cannot have.
func (s ProducerSetting) check() error {
	switch {
	case s.Linger < 0 || s.Linger > MaxLinger:
		return fmt.Errorf("a linger of %v is not between 0 and %v", s.Linger, MaxLinger)
	case s.Batch < minBatch || s.Batch > maxBatch:
		return fmt.Errorf("a batch of %d bytes is not between %d and %d, which is what brokers accept", s.Batch, minBatch, maxBatch)
	case !slices.Contains(Codecs(), s.Compression):
		return kit.NoSuch("compression", s.Compression, Codecs())
	case s.Acks != "all" && s.Acks != "1" && s.Acks != "0":
		return fmt.Errorf("acks=%s: want all, 1 or 0", s.Acks)
	case s.Idempotent && s.Acks != "all":
		return fmt.Errorf("idempotence needs acks=all, not acks=%s: without it a producer cannot know which records the replicas have", s.Acks)
	}
	return nil
}

// String names a setting by what it has other than BaseSetting.
func (s ProducerSetting) String() string {
	b := BaseSetting()
	var out []string
	if s.Linger != b.Linger {
		out = append(out, "linger="+s.Linger.String())
	}
	if s.Batch != b.Batch {
		out = append(out, "batch="+bytesText(s.Batch))
	}
	if s.Compression != b.Compression {
		out = append(out, "compression="+s.Compression)
	}
	if s.Acks != b.Acks {
		out = append(out, "acks="+s.Acks)
	}
	if s.Idempotent != (s.Acks == "all") {
		out = append(out, "idempotence=off")
	}
	if len(out) == 0 {
		return "base"
	}
	return strings.Join(out, ",")
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

// words describes a setting in full.
func (s ProducerSetting) words() string {
	idempotence := "off"
	if s.Idempotent {
		idempotence = "on"
	}
	return fmt.Sprintf("linger=%v batch=%s compression=%s acks=%s idempotence=%s", s.Linger, bytesText(s.Batch), s.Compression, s.Acks, idempotence)
}

// safe reports whether what is acknowledged is neither lost nor doubled.
func (s ProducerSetting) safe() bool { return s.Acks == "all" && s.Idempotent }

// options are the client's.
func (s ProducerSetting) options() []kgo.Opt {
	codec := map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(),
		"gzip": kgo.GzipCompression(), "zstd": kgo.ZstdCompression()}[s.Compression]
	acks := map[string]kgo.Acks{"all": kgo.AllISRAcks(), "1": kgo.LeaderAck(), "0": kgo.NoAck()}[s.Acks]
	opts := []kgo.Opt{kgo.ProducerLinger(s.Linger), kgo.ProducerBatchMaxBytes(int32(s.Batch)), kgo.ProducerBatchCompression(codec), kgo.RequiredAcks(acks)}
	if !s.Idempotent {
		opts = append(opts, kgo.DisableIdempotentWrite())
	}
	return opts
}

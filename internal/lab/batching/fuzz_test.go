package batching

import (
	"math/big"
	"strings"
	"testing"
)

// FuzzProducerSetting reads settings of any text. What is taken is one that a producer can have, and is
// written as something that is taken as the same.
func FuzzProducerSetting(f *testing.F) {
	for _, s := range []string{"base", "linger=5ms,compression=zstd,acks=1", "idempotence=off", "batch=4k", "batch=1m, acks=0", "linger=-1s", "batch=2m", "acks=all,acks=1",
		"linger=0,", "batch=1048576", "idempotence=on,acks=1", "compression=", "x=y", "linger=1h", "batch=1025"} {
		f.Add(s)
	}
	for _, s := range []string{usualSettings, fewSettings, "usual", "few", "base;", ";"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var list ProducerSettings
		err := list.UnmarshalText([]byte(text))
		s, one := ParseProducerSetting(text)
		if one == nil && (err != nil || len(list) != 1 || list[0] != s) {
			t.Errorf("%q is %v, and as a list %v, %v", text, s, list, err)
		}
		for _, s := range list {
			again, wrong := ParseProducerSetting(s.String())
			if wrong != nil || err == nil && again != s {
				t.Errorf("%q has %+v, written %q, which is %+v, %v", text, s, s, again, wrong)
			}
			if s.Linger < 0 || s.Linger > MaxLinger || s.Batch < minBatch || s.Batch > maxBatch || s.Idempotent && s.Acks != "all" || s.words() == "" {
				t.Errorf("%q is taken as %+v", text, s)
			}
		}
		number, shift := text, uint(0)
		if strings.HasSuffix(text, "k") {
			number, shift = text[:len(text)-1], 10
		} else if strings.HasSuffix(text, "m") {
			number, shift = text[:len(text)-1], 20
		}
		n, ok := new(big.Int).SetString(number, 10)
		if ok {
			n.Lsh(n, shift)
			ok = n.Sign() >= 0 && n.Cmp(big.NewInt(1<<30)) <= 0
		}
		if got, err := parseBytes(text); ok != (err == nil) || ok && n.Cmp(big.NewInt(int64(got))) != 0 {
			t.Errorf("%q has %d bytes, %v; want %v", text, got, err, n)
		} else if err == nil {
			if again, err := parseBytes(bytesText(got)); err != nil || again != got {
				t.Errorf("%d bytes are written %q, which is %d, %v", got, bytesText(got), again, err)
			}
		}
	})
}

package event

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestSourceMeterFollowsConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m SourceMeter
		if s := m.Status(); s != (SourceStatus{}) {
			t.Fatalf("fresh status %+v, want zero", s)
		}
		m.Dialing("a:1")
		failed := time.Now()
		m.Closed(errors.New("refused"))
		time.Sleep(time.Second)
		m.Closed(errors.New("refused again"))
		want := SourceStatus{Host: "a:1", Since: failed, LastError: "refused again"}
		if s := m.Status(); s != want {
			t.Fatalf("after two refusals %+v, want %+v", s, want)
		}

		m.Dialing("b:2")
		m.Opened("b:2", OriginLive)
		opened := time.Now()
		time.Sleep(time.Second)
		b := NewBatch()
		for _, r := range []Route{Data, Account, Reject, Skip, Skip, Gap} {
			b.Add().Route = r
		}
		m.Received(b, 700)
		want = SourceStatus{Connected: true, Host: "b:2", Since: opened, LastEvent: time.Now(), LastError: "refused again",
			Origin: OriginLive, Frames: 5, Bytes: 700, Rejects: 1, Canaries: 2, Gaps: 1}
		if s := m.Status(); s != want {
			t.Fatalf("after a batch %+v, want %+v", s, want)
		}

		time.Sleep(time.Second)
		m.Closed(nil)
		m.Opened("b:2", OriginLive)
		m.Closed(nil)
		m.Opened("b:2", OriginLive)
		if s := m.Status(); s.Reconnects != 2 || s.LastError != "" || s.Since != time.Now() {
			t.Errorf("after two normal ends %+v, want 2 reconnects, no error, since now", s)
		}
	})
}

func TestSourceMeterConcurrently(t *testing.T) {
	var m SourceMeter
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			b := NewBatch()
			b.Add().Route = Data
			for range 100 {
				m.Received(b, 2)
				_ = m.Status()
			}
		})
	}
	wg.Wait()
	if s := m.Status(); s.Frames != 400 || s.Bytes != 800 {
		t.Errorf("%d frames, %d bytes; want 400, 800", s.Frames, s.Bytes)
	}
}

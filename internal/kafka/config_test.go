package kafka_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/weir-project/weir/internal/kafka"
)

func TestWrongAddressesAreNamed(t *testing.T) {
	for _, tt := range []struct {
		brokers []string
		want    string
	}{
		{nil, "no Kafka address"},
		{[]string{"127.0.0.1:9092", "localhost"}, `"localhost" is not host:port`},
		{[]string{":9092"}, `":9092" is not host:port`},
		{[]string{"host:99999"}, `port "99999"`},
		{[]string{"host:kafka"}, `port "kafka"`},
		{[]string{"http://host:9092"}, `"http://host:9092" is not host:port`},
	} {
		_, err := kafka.Config{Brokers: tt.brokers}.NewClient()
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v, want an error with %q", tt.brokers, err, tt.want)
		}
	}
}

func TestConnect(t *testing.T) {
	_, cfg := cluster(t)
	cl, err := cfg.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cl.Close()
}

func TestNobodyThereIsAConnectError(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()

	start := time.Now()
	_, err = kafka.Config{Brokers: []string{addr}}.Connect(t.Context())
	var ce *kafka.ConnectError
	if !errors.As(err, &ce) {
		t.Fatalf("connect: %v, want a ConnectError", err)
	}
	for _, want := range []string{"cannot reach Kafka at " + addr, "refused", "start `weir cluster` or give --kafka"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q lacks %q", err, want)
		}
	}
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("took %v", d)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (kafka.Config{Brokers: []string{addr}}).Connect(ctx); !errors.Is(err, context.Canceled) || errors.As(err, &ce) {
		t.Errorf("connect with a cancelled context: %v", err)
	}
}

// TestSomethingElseThere connects to a server that hangs up on everybody, as a
// web server does with what is not HTTP.
func TestSomethingElseThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, err = kafka.Config{Brokers: []string{l.Addr().String()}}.Connect(ctx)
	var ce *kafka.ConnectError
	if !errors.As(err, &ce) {
		t.Errorf("connect: %v, want a ConnectError", err)
	}
}

func TestOneBrokerOfManyIsEnough(t *testing.T) {
	_, cfg := cluster(t, kfake.NumBrokers(1))
	cfg.Brokers = append([]string{"127.0.0.1:1"}, cfg.Brokers...)
	cl, err := cfg.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cl.Close()
}

package kafka

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestBrokerSettings: what a broker that is set badly is told, and that Kafka's own
// defaults are not.
func TestBrokerSettings(t *testing.T) {
	three := kadm.BrokerDetails{{NodeID: 1}, {NodeID: 2}, {NodeID: 3}}
	none := kadm.TopicDetails{topicTransactions: {Err: kerr.UnknownTopicOrPartition}, topicOffsets: {Err: kerr.UnknownTopicOrPartition}}
	for _, c := range []struct {
		key, value string
		severity   string // empty for nothing to report
		absent     bool
		md         kadm.Metadata
	}{
		{"transaction.state.log.replication.factor", "1", Breaks, false, kadm.Metadata{Brokers: three, Topics: none}},
		{"transaction.state.log.replication.factor", "3", "", false, kadm.Metadata{Brokers: three, Topics: none}},
		{"transaction.state.log.replication.factor", "1", "", false, kadm.Metadata{Brokers: three}},                   // it exists
		{"transaction.state.log.replication.factor", "1", "", false, kadm.Metadata{Brokers: three[:1], Topics: none}}, // one broker is told of once
		{"transaction.state.log.min.isr", "1", Breaks, false, kadm.Metadata{Brokers: three, Topics: none}},
		{"offsets.topic.replication.factor", "2", Different, false, kadm.Metadata{Brokers: three, Topics: none}},
		{"transaction.max.timeout.ms", "10000", Breaks, false, kadm.Metadata{}},
		{"transaction.max.timeout.ms", "900000", "", false, kadm.Metadata{}},
		{"group.min.session.timeout.ms", "60000", Breaks, false, kadm.Metadata{}},
		{"group.min.session.timeout.ms", "6000", "", false, kadm.Metadata{}},
		{"group.max.session.timeout.ms", "30000", Breaks, false, kadm.Metadata{}},
		{"group.max.session.timeout.ms", "1800000", "", false, kadm.Metadata{}},
		{"socket.request.max.bytes", "1048576", Breaks, false, kadm.Metadata{}},
		{"socket.request.max.bytes", "104857600", "", false, kadm.Metadata{}},
		{"unclean.leader.election.enable", "true", Breaks, true, kadm.Metadata{}},
		{"unclean.leader.election.enable", "true", "", false, kadm.Metadata{}}, // the topics that exist say it themselves
		{"log.retention.ms", "60000", Breaks, true, kadm.Metadata{}},
		{"log.retention.ms", "-1", "", true, kadm.Metadata{}},
		{"log.message.timestamp.type", "LogAppendTime", Different, true, kadm.Metadata{}},
		{"auto.create.topics.enable", "true", Different, true, kadm.Metadata{}},
		{"offsets.retention.minutes", "60", Different, false, kadm.Metadata{}},
		{"offsets.retention.minutes", "10080", "", false, kadm.Metadata{}},
	} {
		b := brokerCheck{md: c.md, absent: c.absent, values: map[string]map[string][]int32{c.key: {c.value: {1, 2, 3}}}}
		var got []Finding
		for _, r := range brokerRules {
			got = append(got, b.check(r)...)
		}
		if c.severity == "" && len(got) == 0 {
			continue
		}
		if len(got) != 1 || got[0].Severity != c.severity || !strings.Contains(got[0].Cause, c.key+" is "+c.value) || got[0].Out == "" {
			t.Errorf("%s=%s: %v", c.key, c.value, got)
		}
	}
	b := brokerCheck{values: map[string]map[string][]int32{"transaction.max.timeout.ms": {"900000": {1, 3}, "10": {2}}}}
	for _, r := range brokerRules {
		for _, f := range b.check(r) {
			if !strings.Contains(f.Cause, "on brokers 2:") {
				t.Errorf("which broker is not said: %v", f)
			}
		}
	}
}

// TestInternalTopics: the topic that says which transactions were committed counts as
// much as the events.
func TestInternalTopics(t *testing.T) {
	partition := func(replicas ...int32) kadm.TopicDetail {
		return kadm.TopicDetail{Partitions: kadm.PartitionDetails{0: {Replicas: replicas}}}
	}
	b := brokerCheck{Config: Config{Brokers: []string{"b:9092"}}, md: kadm.Metadata{Brokers: make(kadm.BrokerDetails, 3), Topics: kadm.TopicDetails{topicTransactions: partition(1), topicOffsets: partition(1)}}}
	got := b.internalTopics()
	if len(got) != 2 || got[0].Severity != Breaks || got[0].Where != "topic "+topicTransactions || got[1].Severity != Different || got[1].Where != "topic "+topicOffsets {
		t.Errorf("findings are %v", got)
	}
	b.md.Topics = kadm.TopicDetails{topicTransactions: partition(1, 2, 3), topicOffsets: partition(1, 2, 3)}
	if got := b.internalTopics(); len(got) != 0 {
		t.Errorf("findings are %v", got)
	}
}

// TestUnreachableBroker: a cluster that names its brokers by addresses which this
// machine does not reach.
func TestUnreachableBroker(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	open := l.Addr().(*net.TCPAddr).Port
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := closed.Addr().(*net.TCPAddr).Port
	_ = closed.Close()
	defer l.Close()
	got := Config{Brokers: []string{"127.0.0.1:1"}}.reachable(t.Context(), kadm.BrokerDetails{
		{NodeID: 7, Host: "127.0.0.1", Port: int32(open)}, {NodeID: 8, Host: "127.0.0.1", Port: int32(gone)}})
	if len(got) != 1 || got[0].Severity != Breaks || !strings.Contains(got[0].Cause, "broker 8") || !strings.Contains(got[0].Out, "advertised.listeners") {
		t.Errorf("findings are %v", got)
	}
}

func TestPurposes(t *testing.T) {
	p := Ingest("bluesky", TopicBluesky, TopicBlueskyAccounts).And(Ingest("wikipedia", TopicWikipedia)).
		And(Purpose{Read: []string{TopicBluesky, "other"}, Groups: []string{"g"}})
	if want := []string{TopicBluesky, TopicBlueskyAccounts, TopicDeadLetters, TopicCursors, TopicWikipedia}; !slices.Equal(p.Write, want) || !slices.Equal(p.Read, []string{"other"}) {
		t.Errorf("both write %v and read %v", p.Write, p.Read)
	}
	if !slices.Equal(p.Transactions, []string{"weir-ingest-bluesky", "weir-ingest-wikipedia"}) || len(p.Specs()) != 5 {
		t.Errorf("transactions %v, topics %v", p.Transactions, p.Specs())
	}
	if s := (Purpose{Read: []string{TopicWikipedia}}).Specs(); len(s) != 1 || s[0].Name != TopicWikipedia {
		t.Errorf("topics of a reader: %v", s)
	}
}

func TestPrincipals(t *testing.T) {
	dir := t.TempDir()
	certificate(t, dir)
	token := "x." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"robot 1"}`)) + ".y"
	write(t, filepath.Join(dir, "token"), token)
	for settings, want := range map[string]string{
		"security.protocol=PLAINTEXT":                                                                                  "User:ANONYMOUS",
		"security.protocol=SSL\nssl.ca.location=cert.pem":                                                              "User:ANONYMOUS",
		"security.protocol=SASL_SSL\nsasl.mechanism=PLAIN\nsasl.username=u\nsasl.password=p":                           "User:u",
		"security.protocol=SASL_PLAINTEXT\nsasl.mechanism=OAUTHBEARER\nsasl.oauthbearer.token.endpoint.url=file:token": "",
	} {
		s, err := ReadSecurity(write(t, filepath.Join(dir, "client.properties"), settings), "")
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Principal(); got != want {
			t.Errorf("%q: %q, want %q", settings, got, want)
		}
		if want == "" { // known once there is a token
			if _, _, err := s.mechanism.Authenticate(t.Context(), "h"); err != nil || s.Principal() != "User:robot 1" {
				t.Errorf("with a token it is %q (%v)", s.Principal(), err)
			}
		}
	}
	if p := (*Security)(nil).Principal(); p != "User:ANONYMOUS" {
		t.Errorf("without settings: %q", p)
	}
	for _, opaque := range []string{"", "abc", "a.b.c", "a.e30.c"} {
		if s := tokenSubject(opaque); s != "" {
			t.Errorf("%q is of %q", opaque, s)
		}
	}
}

// TestDiagnoses: who hangs up says nothing, and the reason is found all the same.
func TestDiagnoses(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { // neither Kafka nor TLS
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	_, err = Config{Brokers: []string{l.Addr().String()}}.Connect(t.Context())
	if err == nil || !strings.Contains(err.Error(), "neither Kafka nor TLS") {
		t.Errorf("error is %v", err)
	}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.Superuser("PLAIN", "u", "p"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	begin := time.Now()
	_, err = Config{Brokers: cluster.ListenAddrs()}.Connect(t.Context())
	if err == nil || !strings.Contains(err.Error(), "has not logged in") || !strings.Contains(err.Error(), "sasl.mechanism") {
		t.Errorf("error is %v after %v", err, time.Since(begin))
	}
	// A client of a test's own connections is not second-guessed.
	_, err = Config{Brokers: []string{l.Addr().String()}, Opts: []kgo.Opt{kgo.ClientID("x")}}.Connect(t.Context())
	if err == nil || strings.Contains(err.Error(), "neither") {
		t.Errorf("error is %v", err)
	}
}

// TestDistinguishedNames: as Java 17's X500Principal.getName prints the same subjects,
// which is what Kafka's access rules are compared with.
func TestDistinguishedNames(t *testing.T) {
	for _, c := range []struct {
		subject pkix.RDNSequence
		want    string
	}{
		{pkix.Name{CommonName: "weir", Organization: []string{"x"}, Country: []string{"SE"}}.ToRDNSequence(), "CN=weir,O=x,C=SE"},
		{pkix.Name{CommonName: `weir, it's #1 "client"`, OrganizationalUnit: []string{"data + streams"}}.ToRDNSequence(), `CN=weir\, it's \#1 \"client\",OU=data \+ streams`},
		{pkix.RDNSequence{
			{{Type: asn1.ObjectIdentifier{2, 5, 4, 8}, Value: "a=b"}},
			{{Type: asn1.ObjectIdentifier{2, 5, 4, 7}, Value: " lead<x>;y "}},
			{{Type: asn1.ObjectIdentifier{2, 5, 4, 10}, Value: `Ö ber \back`}},
			{{Type: asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 1}, Value: "u1"}},
			{{Type: asn1.ObjectIdentifier{2, 5, 4, 5}, Value: "42"}},
		}, `2.5.4.5=#13023432,UID=u1,O=Ö ber \\back,L=\ lead\<x\>\;y\ ,ST=a\=b`},
	} {
		raw, err := asn1.Marshal(c.subject)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := distinguishedName(raw); err != nil || got != c.want {
			t.Errorf("%s (%v), want %s", got, err, c.want)
		}
	}
}

package conformance

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Every replica has its directory, whose size is that of its log (KIP-113).
func TestDescribeLogDirs(t *testing.T) {
	t.Parallel()
	top := topic(t, 2)
	for range 10 {
		code(t, "produce", send(t, top, 1, batch{id: -1, epoch: -1, sequence: -1, values: []string{strings.Repeat("x", 10_000)}}.bytes()).ErrorCode, nil)
	}
	var set kadm.TopicsSet
	set.Add(top, 0, 1)
	eventually(t, func() string { // followers follow
		all, err := adm.DescribeAllLogDirs(testCtx(t), set)
		if err != nil {
			return err.Error()
		}
		equal(t, "brokers that answer", len(all), 3)
		for id, dirs := range all {
			var size, others int64
			dirs.Each(func(d kadm.DescribedLogDir) {
				if p, ok := d.Topics[top][1]; ok {
					size += p.Size
				}
				if p, ok := d.Topics[top][0]; ok {
					others += p.Size
				}
			})
			if size < 100_000 || size > 110_000 || others != 0 {
				return fmt.Sprintf("broker %d tells %d and %d bytes, want about 100,000 and 0", id, size, others)
			}
		}
		return ""
	})
}

// Without an authorizer there is nothing to be listed or added (protocol guide,
// error 54).
func TestACLsWithoutAuthorizer(t *testing.T) {
	t.Parallel()
	b := kadm.NewACLs().Topics("x").Allow("User:somebody").AllowHosts("*").Operations(kadm.OpRead).ResourcePatternType(kadm.ACLPatternLiteral)
	want := kerr.SecurityDisabled
	if differs(t, "acls") {
		want = nil
	}
	made, err := adm.CreateACLs(testCtx(t), b)
	if err != nil {
		t.Fatal(err)
	}
	answered(t, "create", made[0].Err, want)
	told, err := adm.DescribeACLs(testCtx(t), b)
	if err != nil {
		t.Fatal(err)
	}
	answered(t, "describe", told[0].Err, want)
	gone, err := adm.DeleteACLs(testCtx(t), b)
	if err != nil {
		t.Fatal(err)
	}
	answered(t, "delete", gone[0].Err, want)
}

// All brokers tell the same cluster.
func TestDescribeCluster(t *testing.T) {
	t.Parallel()
	ids := brokers(t)
	equal(t, "brokers", len(ids), 3)
	seen := make(map[string]bool)
	for _, b := range ids {
		resp, err := kmsg.NewPtrDescribeClusterRequest().RequestWith(testCtx(t), plain.Broker(int(b)))
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, x := range resp.Brokers {
			all = append(all, fmt.Sprintf("%d=%s:%d", x.NodeID, x.Host, x.Port))
		}
		slices.Sort(all)
		seen[resp.ClusterID+" "+strings.Join(all, " ")] = true
		if !slices.Contains(ids, resp.ControllerID) {
			t.Errorf("the controller is %d, of %v", resp.ControllerID, ids)
		}
	}
	equal(t, "different answers", len(seen), 1)
	one, err := kmsg.NewPtrMetadataRequest().RequestWith(testCtx(t), plain)
	if err != nil {
		t.Fatal(err)
	}
	if one.ClusterID == nil || *one.ClusterID == "" {
		t.Error("metadata tells no cluster id")
	}
}

// Elections are refused where the preferred replica leads already (KIP-460).
func TestElectLeaders(t *testing.T) {
	t.Parallel()
	top := topic(t, 1)
	var set kadm.TopicsSet
	set.Add(top, 0)
	rs, err := adm.ElectLeaders(testCtx(t), kadm.ElectPreferredReplica, set)
	if err != nil {
		t.Fatal(err)
	}
	answered(t, "an election of who leads", rs[top][0].Err, lenient(t, kerr.ElectionNotNeeded))
}

// Passwords of users are stored as SCRAM verifiers, and never told (KIP-554).
func TestSCRAMUsers(t *testing.T) {
	t.Parallel()
	user := name(t)
	made, err := adm.AlterUserSCRAMs(testCtx(t), nil, []kadm.UpsertSCRAM{{User: user, Mechanism: kadm.ScramSha256, Iterations: 4096, Password: "secret"}})
	if err = errors.Join(err, made.Error()); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string {
		told, err := adm.DescribeUserSCRAMs(testCtx(t), user)
		if err != nil || told[user].Err != nil || len(told[user].CredInfos) != 1 || told[user].CredInfos[0].Iterations != 4096 {
			return fmt.Sprintf("described as %+v (%v)", told[user], err)
		}
		return ""
	})
	gone, err := adm.AlterUserSCRAMs(testCtx(t), []kadm.DeleteSCRAM{{User: user, Mechanism: kadm.ScramSha256}}, nil)
	if err = errors.Join(err, gone.Error()); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string {
		told, err := adm.DescribeUserSCRAMs(testCtx(t), user)
		if err != nil || !errors.Is(told[user].Err, kerr.ResourceNotFound) {
			return fmt.Sprintf("still described as %+v (%v)", told[user], err)
		}
		return ""
	})
}

// A version that a broker does not know is told, with those that it knows (KIP-511),
// and every broker knows what this program's clients need.
func TestAPIVersions(t *testing.T) {
	t.Parallel()
	vs, err := adm.ApiVersions(testCtx(t))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "brokers that answer", len(vs), 3)
	for id, v := range vs {
		for key, atLeast := range map[kmsg.Key]int16{
			kmsg.Produce: 12, kmsg.Fetch: 13, kmsg.ListOffsets: 7, kmsg.Metadata: 12, kmsg.OffsetCommit: 8, kmsg.OffsetFetch: 8, kmsg.InitProducerID: 4,
			kmsg.EndTxn: 5, kmsg.TxnOffsetCommit: 5, kmsg.ConsumerGroupHeartbeat: 0, kmsg.DescribeTransactions: 0, kmsg.ShareFetch: 1, kmsg.IncrementalAlterConfigs: 1,
		} {
			if most, ok := v.KeyMaxVersion(int16(key)); !ok || most < atLeast {
				t.Errorf("broker %d: %s up to version %d, want %d at least", id, kmsg.NameForKey(int16(key)), most, atLeast)
			}
		}
	}
	older := differs(t, "produce-version")
	for id, v := range vs {
		if most, _ := v.KeyMaxVersion(int16(kmsg.Produce)); (most == 12) != older {
			t.Errorf("broker %d: Produce up to version %d", id, most)
		}
	}
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "conformance", "1"
	resp, err := req.RequestWith(testCtx(t), plain.Broker(int(brokers(t)[0])))
	if err != nil {
		t.Fatal(err)
	}
	finalized := make(map[string]int16)
	for _, f := range resp.FinalizedFeatures {
		finalized[f.Name] = f.MaxVersionLevel
	}
	equal(t, "transaction.version", finalized["transaction.version"], 2)
	equal(t, "group.version", finalized["group.version"], 1)
	if finalized["share.version"] < 1 {
		t.Error("share groups are off")
	}
}

// Moving replicas copies them, and the leader moves when the old one is not among
// the new (KIP-455).
func TestReassignment(t *testing.T) {
	t.Parallel()
	top := topic(t, 1)
	produce(t, top, 0, "a")
	was := detail(t, top, 0)
	to := slices.DeleteFunc(slices.Clone(was.Replicas), func(b int32) bool { return b == was.Leader })
	var req kadm.AlterPartitionAssignmentsReq
	req.Assign(top, 0, to)
	rs, err := adm.AlterPartitionAssignments(testCtx(t), req)
	if err = errors.Join(err, rs.Error()); err != nil {
		t.Fatal(err)
	}
	if differs(t, "replica-placement") {
		equal(t, "leader", detail(t, top, 0).Leader, was.Leader)
	} else {
		eventually(t, func() string {
			d := detail(t, top, 0)
			if !slices.Contains(to, d.Leader) || len(d.Replicas) != 2 {
				return fmt.Sprintf("leader %d, replicas %v, want one of %v", d.Leader, d.Replicas, to)
			}
			return ""
		})
	}
	equal(t, "log", show(read(t, top, 0, uncommitted)), "0=a")
}

package embedded

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestAMemberThatVanishesWhileItJoins has a new member lose its connection while it waits for the
// others to join again: its session ends like that of any other.
func TestAMemberThatVanishesWhileItJoins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := virtual(t, config{})
		defer c.Close()
		ctx := t.Context()
		addrs := c.Addrs()
		join := func(cl *kgo.Client, id string) *kmsg.JoinGroupResponse {
			req := kmsg.NewPtrJoinGroupRequest()
			req.Group, req.SessionTimeoutMillis, req.RebalanceTimeoutMillis, req.ProtocolType, req.MemberID = "g", 6000, 20000, "consumer", id
			req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "p"}}
			resp, err := req.RequestWith(ctx, cl)
			if err != nil {
				return nil
			}
			return resp
		}
		one, two := client(t, addrs, kgo.Dialer(dial)), client(t, addrs, kgo.Dialer(dial))
		first := join(one, "")
		first = join(one, first.MemberID)
		assign := func(r *kmsg.JoinGroupResponse) {
			req := kmsg.NewPtrSyncGroupRequest()
			req.Group, req.Generation, req.MemberID = "g", r.Generation, r.MemberID
			if _, err := req.RequestWith(ctx, one); err != nil {
				t.Fatal(err)
			}
		}
		assign(first)
		second := join(two, "")
		done := make(chan struct{})
		go func() {
			defer close(done)
			join(two, second.MemberID)
		}()
		synctest.Wait()
		two.Close()
		<-done
		synctest.Wait()
		first = join(one, first.MemberID)
		assign(first)
		if len(first.Members) != 2 {
			t.Fatalf("%d members have joined, want the one that vanished, too", len(first.Members))
		}
		for range 30 {
			req := kmsg.NewPtrHeartbeatRequest()
			req.Group, req.Generation, req.MemberID = "g", first.Generation, first.MemberID
			resp, err := req.RequestWith(ctx, one)
			if err != nil {
				t.Fatal(err)
			}
			if resp.ErrorCode == kerr.RebalanceInProgress.Code {
				first = join(one, first.MemberID)
				assign(first)
			}
			time.Sleep(time.Second)
		}
		req := kmsg.NewPtrDescribeGroupsRequest()
		req.Groups = []string{"g"}
		resp, err := req.RequestWith(context.Background(), one)
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range resp.Groups {
			if len(g.Members) != 1 {
				t.Errorf("30 s later the group is %s and has %d members, want 1", g.State, len(g.Members))
			}
		}
		one.Close()
	})
}

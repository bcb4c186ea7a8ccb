package embedded

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// sharedFrom returns the first offset of each partition that a share group has not done with.
// The module delivers records to share groups from its own part of the log alone, and a group
// whose next record is not there gets nothing any more.
func (c *Cluster) sharedFrom(ctx context.Context) (map[partition]int64, error) {
	if c.archive == nil {
		return nil, nil
	}
	from := make(map[partition]int64)
	for node := range int32(Size) { // each lists and describes the groups that it coordinates
		list, err := rpc[*kmsg.ListGroupsResponse](ctx, c, node, &kmsg.ListGroupsRequest{Version: 5, TypesFilter: []string{"share"}})
		if err != nil {
			return nil, err
		}
		req := kmsg.NewPtrDescribeShareGroupOffsetsRequest()
		for _, g := range list.Groups {
			rg := kmsg.NewDescribeShareGroupOffsetsRequestGroup()
			rg.GroupID = g.Group
			req.Groups = append(req.Groups, rg)
		}
		if len(req.Groups) == 0 {
			continue
		}
		resp, err := rpc[*kmsg.DescribeShareGroupOffsetsResponse](ctx, c, node, req)
		if err != nil {
			return nil, err
		}
		for _, g := range resp.Groups {
			if err := kerr.ErrorForCode(g.ErrorCode); err != nil {
				return nil, err // its coordinator moved: the next pass asks again
			}
			for _, t := range g.Topics {
				for _, tp := range t.Partitions {
					p := partition{t.Topic, tp.Partition}
					if have, ok := from[p]; tp.StartOffset >= 0 && (!ok || tp.StartOffset < have) {
						from[p] = tp.StartOffset
					}
				}
			}
		}
	}
	return from, nil
}

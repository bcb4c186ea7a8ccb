package embedded

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// RejectRecords makes the brokers reject all records of a topic until lift is called, as when too
// few replicas are in sync. Producers send such records again. lift returns how many requests the
// brokers rejected.
func (c *Cluster) RejectRecords(topic string) (lift func() (rejected int), err error) {
	var fault *kfake.FaultHandle
	err = c.module(func(k *kfake.Cluster) error {
		fault = k.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Err: kerr.NotEnoughReplicas, Count: -1})
		return nil
	})
	return func() int {
		fault.Remove()
		return fault.Hits()
	}, err
}

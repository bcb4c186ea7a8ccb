package kafka

import (
	"fmt"
	"time"
)

// TimestampError says that a broker refused a record because of its time
// (INVALID_TIMESTAMP). Settings that are too narrow are named by the preflight, so
// this mostly is a clock that is wrong: a broker's, or this machine's.
type TimestampError struct {
	Topic string
	// Time is the record's, Now this machine's when it was refused.
	Time, Now time.Time
	Err       error
}

func (e *TimestampError) Error() string {
	distance, side := e.Time.Sub(e.Now), "ahead of"
	if distance < 0 {
		distance, side = -distance, "behind"
	}
	return fmt.Sprintf("a broker refuses records of %s because of their time: one of %s, %v %s this machine's clock, is by the broker's clock "+
		"further ahead than message.timestamp.after.max.ms allows or older than message.timestamp.before.max.ms does (INVALID_TIMESTAMP); "+
		"set the clocks of the brokers and of this machine right, or widen these settings of the topic",
		e.Topic, e.Time.UTC().Format(time.RFC3339), distance.Round(time.Millisecond), side)
}

func (e *TimestampError) Unwrap() error { return e.Err }

package topicconf

import (
	"fmt"
	"strconv"
)

// Kind is the type of the setting's value: int, long, share (a number from 0 to 1), bool, word,
// list (of words), replicas (a list of partition:broker) or text.
func (s TopicSetting) Kind() string { return s.kind }

// Contradiction says why settings cannot be a topic's together, although each could be alone;
// empty where they can. A setting that values does not have is at its default.
func Contradiction(values map[string]string) string {
	value := func(name string) (text string, number int64) {
		text, own := values[name]
		if s, ok := Named(name); ok && !own {
			text = s.Default
		}
		number, _ = strconv.ParseInt(text, 10, 64) // Bad reports what is not a number
		return text, number
	}
	const least, most = "min.compaction.lag.ms", "max.compaction.lag.ms"
	low, min := value(least)
	high, max := value(most)
	if min > max {
		return fmt.Sprintf("conflict topic config setting %s (%s) > %s (%s)", least, low, most, high)
	}
	if values["remote.storage.enable"] == "true" {
		return "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage."
	}
	return ""
}

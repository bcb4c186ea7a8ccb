package embedded

import "slices"

// Difference is one way in which this cluster behaves differently from Apache Kafka.
type Difference struct {
	ID        string `json:"id"`        // short, in kebab-case; tests name it
	Behaviour string `json:"behaviour"` // what it is about
	Apache    string `json:"apache"`    // what Apache Kafka does
	Embedded  string `json:"embedded"`  // what this cluster does
	Learner   string `json:"learner"`   // what this means for a learner
}

// DiffReplication is the id of the entry about copies of the data.
const DiffReplication = "replication"

// Differences returns where this cluster is known to differ from Apache Kafka, what
// matters most first. The conformance suite asserts both sides of each entry.
func Differences() []Difference { return slices.Clone(differences) }

// DifferenceOf returns the entry with an id, and whether there is one.
func DifferenceOf(id string) (Difference, bool) {
	i := slices.IndexFunc(differences, func(d Difference) bool { return d.ID == id })
	if i < 0 {
		return Difference{}, false
	}
	return differences[i], true
}

var differences = []Difference{
	{DiffReplication, "Replication",
		"Each replica is a copy on its broker's disk. acks=all waits for the in-sync replicas, and is rejected below `min.insync.replicas`",
		"There is one copy on one disk, and all brokers share it. Replicas and the ISR are simulated, leaders move at once, and `min.insync.replicas` has no effect",
		"A killed broker loses nothing here, whatever acks is. `weir lab failover --engine apache` shows what really happens"},
	{"replica-placement", "Placement of replicas",
		"Replicas are on the brokers that they are assigned to. A reassignment copies them and moves the leader",
		"Leaders are spread evenly. Assignments are accepted and change nothing",
		"Practise reassignments on real brokers"},
	{"last-record", "The last record of a partition",
		"DeleteRecords and retention can leave a partition empty",
		"The last record of a partition always stays",
		"An emptied topic still shows one record in each partition"},
	{"compaction", "Log compaction",
		"The cleaner keeps the last record of each key and leaves gaps. A null value deletes its key",
		"Superseded records are deleted only at the beginning of a partition. A null value deletes no key",
		"Consumers see old values of a key for longer, and no gaps"},
	{"log-append-time", "`message.timestamp.type=LogAppendTime`",
		"The broker gives each record the time of its own clock",
		"The setting is kept, but the producer's timestamp stays",
		"Timestamps are the producers' here"},
	{"timestamp-limits", "Timestamps far from the clock",
		"Rejected when they are more than `message.timestamp.after.max.ms` (an hour) ahead or `message.timestamp.before.max.ms` (no limit) old",
		"Accepted",
		"Only real brokers reject a producer with a wrong clock. weir limits event times itself"},
	{"share-offsets", "A new start offset for a share group",
		"Apache Kafka 4.3 shows it, but continues from the old offset (KAFKA-20910)",
		"It takes effect at once",
		"After a reset, real brokers of that version may not deliver records again"},
	{"topic-compression", "`compression.type` of a topic",
		"The broker recompresses batches that use another codec",
		"The setting is kept, but batches stay as the producer made them",
		"Sizes on disk follow the producer's codec"},
	{"quotas", "Quotas",
		"A client beyond its quota has to wait (throttle time)",
		"Quotas are stored and shown, but never enforced",
		"No client is throttled"},
	{"acls", "ACLs without an authorizer",
		"SECURITY_DISABLED",
		"Accepted, without effect",
		"Practise permissions on real brokers"},
	{"group-settings", "Settings of one group",
		"A group's heartbeat interval, lock duration and others win over the brokers'",
		"They are kept for the group, but the brokers' settings apply",
		"Set them for the brokers (`group.consumer.heartbeat.interval.ms`, ...)"},
	{"streams-groups", "Streams groups (`group.protocol=streams` of Kafka Streams)",
		"Served since 4.2",
		"Not offered",
		"Kafka Streams uses classic groups here, which are its default"},
	{"internal-topics", "Internal topics",
		"`__consumer_offsets`, `__transaction_state` and `__share_group_state` can be listed and read",
		"They do not exist: offsets and transactions are in separate files",
		"Tools that read `__consumer_offsets` need real brokers"},
	{"static-leave", "A static member of the new group protocol leaves",
		"Its partitions wait for it until its session ends, without a rebalance",
		"Its partitions go to the other members at once, and it gets partitions again when it returns",
		"A restart rebalances as it does without `group.instance.id`; with `group.protocol=classic` it does not"},
	{"static-rejoin", "A static cooperative member returns",
		"It gets its partitions, in the same generation",
		"It gets its partitions, in a new generation",
		"There is one more rebalance than on real brokers; no partition moves"},
	{"ended-transactions", "State of an ended transaction",
		"CompleteCommit or CompleteAbort",
		"Empty, like a transaction that never began",
		"`kafka-transactions.sh` does not show how the last transaction ended"},
	{"lenient", "Wrong requests",
		"Rejected: unknown quotas, no replicas, a broker twice in an assignment, a partition count that stays the same, commit metadata over 4 KiB, an election that is not needed",
		"Accepted",
		"Only real brokers notice a mistyped setting"},
	{"error-codes", "Codes of some errors",
		"A zombie's offsets: INVALID_PRODUCER_EPOCH; an unknown transactional id: INVALID_PRODUCER_ID_MAPPING",
		"PRODUCER_FENCED; INVALID_TXN_STATE",
		"The requests fail on both"},
	{"produce-version", "Versions of Produce",
		"Up to 13, which names topics by ID",
		"Up to 12",
		"Clients choose a version that both support"},
}

package embedded

import "slices"

// Difference is one way in which this cluster behaves otherwise than Apache Kafka.
type Difference struct {
	ID        string `json:"id"`        // short, in kebab-case; tests name it
	Behaviour string `json:"behaviour"` // what it is about
	Apache    string `json:"apache"`    // what Apache Kafka does
	Embedded  string `json:"embedded"`  // what this cluster does
	Learner   string `json:"learner"`   // what follows for who learns here
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
		"A replica is a copy on its broker's disk; acks=all waits for those in sync, and is refused below `min.insync.replicas`",
		"One copy on one disk, shared by all brokers: replicas and the in-sync set are simulated, leaders move at once, and `min.insync.replicas` is not enforced",
		"A broker's death loses nothing here whatever acks says; `weir lab failover --engine apache` shows what really happens"},
	{"replica-placement", "Placement of replicas",
		"Replicas are where they were assigned, and a reassignment copies them and moves the leader",
		"Leaders are spread evenly; assignments are accepted and change nothing",
		"Reassignments can be practised on real brokers only"},
	{"last-record", "The last record of a partition",
		"DeleteRecords and retention can leave a partition empty",
		"The last record always stays",
		"A topic that is emptied still shows one record in each partition"},
	{"compaction", "Log compaction",
		"The cleaner keeps the last record of each key and leaves gaps; a null value deletes its key",
		"Only what is superseded at the head of a partition is deleted; nothing in the middle, and no key",
		"Consumers meet old values of a key for longer, and no gaps of compaction"},
	{"log-append-time", "`message.timestamp.type=LogAppendTime`",
		"The broker stamps each record with its own clock",
		"The setting is kept, the producer's timestamp stays",
		"Times are the producers' here"},
	{"timestamp-limits", "Timestamps far from the clock",
		"Refused when more than `message.timestamp.after.max.ms` (an hour) ahead, or `message.timestamp.before.max.ms` (no limit) old",
		"Accepted",
		"A producer with a wrong clock is noticed on real brokers only; weir itself clamps event times"},
	{"share-offsets", "Start offset of a share group that is set anew",
		"Apache Kafka 4.3 tells it, and delivers on from where the group was (KAFKA-20910)",
		"It holds at once",
		"After a reset, real brokers of that version may deliver nothing again"},
	{"topic-compression", "`compression.type` of a topic",
		"The broker compresses anew what comes with another codec",
		"The setting is kept, batches stay as the producer made them",
		"Sizes on disk follow the producer's codec"},
	{"quotas", "Quotas",
		"Clients beyond their quota are told to be silent (throttle time)",
		"Quotas are stored and told, never enforced",
		"Nobody is throttled"},
	{"acls", "ACLs without an authorizer",
		"SECURITY_DISABLED",
		"Accepted and without effect",
		"Permissions cannot be practised here"},
	{"group-settings", "Settings of one group",
		"Heartbeat interval, lock duration and others of a group win over the brokers'",
		"Heartbeat interval and lock duration are kept for the group, and the brokers' apply",
		"Set them for the brokers (`group.consumer.heartbeat.interval.ms`, ...)"},
	{"streams-groups", "Streams groups (`group.protocol=streams` of Kafka Streams)",
		"Served since 4.2",
		"Not offered",
		"Kafka Streams uses classic groups here, which are its default"},
	{"internal-topics", "The brokers' own topics",
		"`__consumer_offsets`, `__transaction_state` and `__share_group_state` can be listed and read",
		"There are none: offsets and transactions are kept in files of their own",
		"Tools that read `__consumer_offsets` need real brokers"},
	{"static-leave", "A static member of the new group protocol leaves",
		"Its partitions wait for it until its session ends, and nothing is rebalanced",
		"Its partitions go to the other members at once, and it gets some again when it comes back",
		"A restart rebalances as without `group.instance.id`; with `group.protocol=classic` it does not"},
	{"static-rejoin", "A static cooperative member comes back",
		"It gets what it had, in the same generation",
		"It gets what it had, in a new generation",
		"A rebalance is seen that real brokers do without; nothing moves"},
	{"ended-transactions", "State of an ended transaction",
		"CompleteCommit or CompleteAbort",
		"Empty, as one that never began",
		"How the last transaction ended is not told by `kafka-transactions.sh`"},
	{"lenient", "Requests that are wrong",
		"Refused: unknown quotas, no replicas, a broker twice in an assignment, as many partitions as there are, commit notes over 4 KiB, an election that is not needed",
		"Accepted",
		"A mistyped setting is noticed on real brokers only"},
	{"error-codes", "Codes of some refusals",
		"A zombie's offsets: INVALID_PRODUCER_EPOCH; an unknown transactional id: INVALID_PRODUCER_ID_MAPPING",
		"PRODUCER_FENCED; INVALID_TXN_STATE",
		"They are refused all the same"},
	{"produce-version", "Versions of Produce",
		"Up to 13, which names topics by id",
		"Up to 12",
		"Clients choose the version that both know"},
}

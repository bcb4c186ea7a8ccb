"""Writes, reads and shares a topic with confluent-kafka or kafka-python.

A record is a line of JSON that loses nothing:
  {"partition": 0, "key": BASE64|null, "value": BASE64|null,
   "headers": [[NAME, BASE64|null], ...], "timestamp": MILLISECONDS, or 0 for now}
"""

import argparse
import base64
import json
import signal
import sys


def unpack(line):
    r = json.loads(line)
    decode = lambda b: None if b is None else base64.b64decode(b)
    r["key"], r["value"] = decode(r["key"]), decode(r["value"])
    r["headers"] = [(name, decode(b)) for name, b in r["headers"]]
    return r


def show(partition, offset, timestamp, key, value, headers):
    encode = lambda b: None if b is None else base64.b64encode(b).decode()
    say(
        partition=partition, offset=offset, timestamp=timestamp, key=encode(key), value=encode(value),
        headers=[[name, encode(b)] for name, b in headers or []],
    )


def say(**fields):
    print(json.dumps(fields), flush=True)


class Confluent:
    """confluent-kafka, which is librdkafka."""

    def __init__(self, args):
        import confluent_kafka

        self.kafka, self.args = confluent_kafka, args
        self.common = {"bootstrap.servers": args.brokers, "log_level": 4}

    def create(self):
        from confluent_kafka.admin import AdminClient, NewTopic

        admin = AdminClient(self.common)  # it has to live until the answer is here
        for done in admin.create_topics([NewTopic(self.args.topic, self.args.partitions, 3)]).values():
            done.result(60)

    def produce(self, records, codec):
        conf = {**self.common, "compression.type": codec, "acks": "all", "enable.idempotence": True, "linger.ms": 5}
        if self.args.transactional_id:
            conf["transactional.id"] = self.args.transactional_id
        producer, written, failed = self.kafka.Producer(conf), [], []

        def delivered(error, message):
            if error:
                failed.append(error)
            else:
                written.append((message.partition(), message.offset()))

        if self.args.transactional_id:
            producer.init_transactions(60)
            producer.begin_transaction()
        for r in records:
            producer.produce(
                self.args.topic, value=r["value"], key=r["key"], partition=r["partition"],
                headers=r["headers"], timestamp=r["timestamp"], on_delivery=delivered,
            )
            producer.poll(0)
        producer.flush(60)
        if self.args.transactional_id and self.args.abort:
            producer.abort_transaction(60)
        elif self.args.transactional_id:
            producer.commit_transaction(60)
        if failed:
            raise self.kafka.KafkaException(failed[0])
        return written

    def consume(self):
        TopicPartition = self.kafka.TopicPartition
        consumer = self.kafka.Consumer({
            **self.common, "group.id": "nobody", "enable.auto.commit": False, "enable.partition.eof": True,
            "isolation.level": self.args.isolation, "auto.offset.reset": "error",
        })
        partitions = consumer.list_topics(self.args.topic, 60).topics[self.args.topic].partitions
        consumer.assign([TopicPartition(self.args.topic, p, self.kafka.OFFSET_BEGINNING) for p in partitions])
        ended = set()
        while len(ended) < len(partitions):
            m = consumer.poll(60)
            if m is None:
                raise SystemExit("nothing came for a minute")
            if m.error() and m.error().code() == self.kafka.KafkaError._PARTITION_EOF:
                ended.add(m.partition())
            elif m.error():
                raise self.kafka.KafkaException(m.error())
            else:
                self.show(m)
        consumer.close()

    def find(self, times):
        consumer = self.kafka.Consumer({**self.common, "group.id": "nobody"})
        for t in times:  # a partition can be asked once in a request
            [found] = consumer.offsets_for_times([self.kafka.TopicPartition(self.args.topic, t["partition"], t["timestamp"])], 60)
            yield found.offset
        consumer.close()

    def fetch(self, places):
        consumer = self.kafka.Consumer({
            **self.common, "group.id": "nobody", "enable.auto.commit": False, "isolation.level": self.args.isolation, "auto.offset.reset": "error",
        })
        for p in places:
            consumer.assign([self.kafka.TopicPartition(self.args.topic, p["partition"], p["offset"])])
            m = consumer.poll(60)
            if m is None or m.error():
                raise SystemExit(f"nothing at {p}: {m and m.error()}")
            self.show(m)
        consumer.close()

    def show(self, m):
        show(m.partition(), m.offset(), m.timestamp()[1], m.key(), m.value(), m.headers())

    def member(self, stopped):
        # Not by itself: librdkafka's close() moves its position over markers that wait to be read, and
        # commits it; the records before them, which wait, too, would be lost to the group.
        conf = {
            **self.common, "group.id": self.args.group, "auto.offset.reset": "earliest", "isolation.level": self.args.isolation,
            "group.protocol": self.args.protocol, "enable.auto.offset.store": False,
        }
        if self.args.protocol == "classic":
            conf["partition.assignment.strategy"] = self.args.assignor
        consumer = self.kafka.Consumer(conf)
        consumer.subscribe([self.args.topic])
        while not stopped():
            m = consumer.poll(0.1)
            if m is not None and m.error():
                raise self.kafka.KafkaException(m.error())
            if m is not None:
                self.show(m)
                consumer.store_offsets(m)
        consumer.close()  # commits what was stored


class KafkaPython:
    """kafka-python, which is Python alone."""

    def __init__(self, args):
        import kafka

        self.kafka, self.args = kafka, args
        self.common = {"bootstrap_servers": args.brokers.split(",")}

    def create(self):
        admin = self.kafka.KafkaAdminClient(**self.common)
        admin.create_topics([self.kafka.admin.NewTopic(name=self.args.topic, num_partitions=self.args.partitions, replication_factor=3)])
        admin.close()

    def produce(self, records, codec):
        producer = self.kafka.KafkaProducer(
            **self.common, acks="all", compression_type=None if codec == "none" else codec, linger_ms=5, transactional_id=self.args.transactional_id,
        )
        if self.args.transactional_id:
            producer.init_transactions()
            producer.begin_transaction()
        sent = [
            producer.send(
                self.args.topic, value=r["value"], key=r["key"], partition=r["partition"],
                headers=r["headers"], timestamp_ms=r["timestamp"] or None,
            )
            for r in records
        ]
        producer.flush(60)
        written = [(m.partition, m.offset) for m in (f.get(60) for f in sent)]
        if self.args.transactional_id and self.args.abort:
            producer.abort_transaction()
        elif self.args.transactional_id:
            producer.commit_transaction()
        producer.close()
        return written

    def consume(self):
        consumer = self.kafka.KafkaConsumer(
            **self.common, enable_auto_commit=False, isolation_level=self.args.isolation, auto_offset_reset="earliest",
        )
        partitions = [self.kafka.TopicPartition(self.args.topic, p) for p in consumer.partitions_for_topic(self.args.topic)]
        consumer.assign(partitions)
        consumer.seek_to_beginning()
        ends = consumer.end_offsets(partitions)
        while any(consumer.position(p) < ends[p] for p in partitions):
            self.show(consumer.poll(timeout_ms=1000))
        consumer.close()

    def find(self, times):
        consumer = self.kafka.KafkaConsumer(**self.common)
        for t in times:
            partition = self.kafka.TopicPartition(self.args.topic, t["partition"])
            found = consumer.offsets_for_times({partition: t["timestamp"]})[partition]
            yield found.offset if found else -1
        consumer.close()

    def fetch(self, places):
        consumer = self.kafka.KafkaConsumer(
            **self.common, enable_auto_commit=False, isolation_level=self.args.isolation, auto_offset_reset="none", max_poll_records=1,
        )
        for p in places:
            partition = self.kafka.TopicPartition(self.args.topic, p["partition"])
            consumer.assign([partition])
            consumer.seek(partition, p["offset"])
            batches = {}
            while not batches:
                batches = consumer.poll(timeout_ms=1000)
            self.show(batches)
        consumer.close()

    def show(self, batches):
        for records in batches.values():
            for m in records:
                show(m.partition, m.offset, m.timestamp, m.key, m.value, m.headers)

    def member(self, stopped):
        from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
        from kafka.coordinator.assignors.range import RangePartitionAssignor

        assignor = {"range": RangePartitionAssignor, "cooperative-sticky": CooperativeStickyAssignor}[self.args.assignor]
        consumer = self.kafka.KafkaConsumer(
            self.args.topic, **self.common, group_id=self.args.group, auto_offset_reset="earliest",
            isolation_level=self.args.isolation, partition_assignment_strategy=[assignor],
        )
        while not stopped():
            self.show(consumer.poll(timeout_ms=2000))
        consumer.close()  # commits what was read


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("client", choices=["confluent", "kafka-python"])
    parser.add_argument("what", choices=["create", "produce", "consume", "find", "fetch", "member"])
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--partitions", type=int, default=6)
    parser.add_argument("--compression", default="none", help="codecs: everything is written once with each")
    parser.add_argument("--transactional-id")
    parser.add_argument("--abort", action="store_true")
    parser.add_argument("--isolation", default="read_committed")
    parser.add_argument("--group")
    parser.add_argument("--protocol", default="classic")
    parser.add_argument("--assignor", default="range")
    parser.add_argument("--without", help="a module that is not installed")
    args = parser.parse_args()
    if args.without:
        sys.modules[args.without] = None
    client = {"confluent": Confluent, "kafka-python": KafkaPython}[args.client](args)

    if args.what == "create":
        client.create()
    elif args.what == "produce":
        records = [unpack(line) for line in sys.stdin]
        for codec in args.compression.split(","):
            for partition, offset in client.produce(records, codec):
                say(partition=partition, offset=offset)
    elif args.what == "consume":
        client.consume()
    elif args.what == "find":  # lines of partition and timestamp
        for offset in client.find(map(json.loads, sys.stdin)):
            say(offset=offset)
    elif args.what == "fetch":  # lines of partition and offset
        client.fetch(map(json.loads, sys.stdin))
    else:
        signals = []
        signal.signal(signal.SIGTERM, lambda *_: signals.append(1))
        client.member(lambda: bool(signals))


if __name__ == "__main__":
    main()

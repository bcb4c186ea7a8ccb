"""Transactions with confluent-kafka, which is librdkafka.

write      A line of standard input is a transaction, {"commit": BOOL, "records": [RECORD, ...]}, with records as in
           records.py. Once it has ended, a line says where its records are: {"placed": [[PARTITION, OFFSET], ...]}.
transform  Copies a topic to another one until it is stopped. The offsets that it has read are part of the transaction
           that writes what it made of them. It aborts every fifth transaction and does its work again.
"""

import argparse
import json
import sys

import confluent_kafka as kafka

from records import say, unpack


def fail(error):
    raise SystemExit(f"librdkafka: {error}")


def write(args):
    producer = kafka.Producer({"bootstrap.servers": args.brokers, "transactional.id": args.id, "linger.ms": 0})
    producer.init_transactions(60)
    for line in sys.stdin:
        transaction = json.loads(line)
        placed = [None] * len(transaction["records"])
        producer.begin_transaction()
        for i, r in enumerate(transaction["records"]):
            r = unpack(json.dumps(r))

            def delivered(error, message, i=i):
                if error:
                    fail(error)
                placed[i] = [message.partition(), message.offset()]

            producer.produce(
                args.topic, value=r["value"], key=r["key"], partition=r["partition"],
                headers=r["headers"], timestamp=r["timestamp"], on_delivery=delivered,
            )
        producer.flush(60)
        if transaction["commit"]:
            producer.commit_transaction(60)
        else:
            producer.abort_transaction(60)
        say(placed=placed)


def transform(args):
    consumer = kafka.Consumer({
        "bootstrap.servers": args.brokers, "group.id": args.id, "enable.auto.commit": False, "auto.offset.reset": "earliest",
        "isolation.level": "read_committed", "session.timeout.ms": 6000, "heartbeat.interval.ms": 1000,
    })
    producer = kafka.Producer({"bootstrap.servers": args.brokers, "transactional.id": args.id, "linger.ms": 0})
    producer.init_transactions(60)
    consumer.subscribe([args.topic])
    for n in range(1 << 30):
        messages = []
        while not messages:
            messages = consumer.consume(20, 0.2)
        producer.begin_transaction()
        first, after = {}, {}
        for m in messages:
            if m.error():
                fail(m.error())
            first.setdefault(m.partition(), m.offset())
            after[m.partition()] = m.offset() + 1
            producer.produce(args.to, key=f"{m.partition()}@{m.offset()}", value=m.value(), partition=m.partition())
        at = lambda offsets: [kafka.TopicPartition(args.topic, p, o) for p, o in offsets.items()]
        producer.send_offsets_to_transaction(at(after), consumer.consumer_group_metadata(), 60)
        producer.flush(60)
        if n % 5 == 4:
            producer.abort_transaction(60)
            for partition in at(first):
                consumer.seek(partition)
            say(aborted=len(messages))
        else:
            producer.commit_transaction(60)
            say(copied=len(messages))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["write", "transform"])
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--to")
    parser.add_argument("--id", required=True)
    args = parser.parse_args()
    {"write": write, "transform": transform}[args.what](args)


if __name__ == "__main__":
    main()

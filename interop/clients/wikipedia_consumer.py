"""Counts Wikipedia's changes by type as a member of a group: kafka-python. Ends
with the counts on SIGTERM."""

import collections
import json
import os
import signal

from kafka import KafkaConsumer

stopped = []
signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
consumer = KafkaConsumer(
    "wikipedia-edits", bootstrap_servers=os.environ["KAFKA_BROKER"].split(","), group_id="wikipedia-counter",
    auto_offset_reset="earliest", isolation_level="read_committed",
)
counts = collections.Counter()
while not stopped:
    # Not a short timeout: kafka-python begins to join its group anew with each poll, and on a slow machine never would.
    for records in consumer.poll(timeout_ms=5000).values():
        for record in records:
            counts[json.loads(record.value)["type"]] += 1
    print(json.dumps(counts), flush=True)
consumer.close()

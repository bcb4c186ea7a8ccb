"""Counts Bluesky's events in windows of 10 seconds of event time."""

import collections
import json
import os
import signal
import time

from confluent_kafka import Consumer, KafkaException, Producer

running = True


def stop(*_):
    global running
    running = False


signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGINT, stop)

# Nothing is committed: the counts are in memory, so a new process has to read the topic again.
consumer = Consumer({
    "bootstrap.servers": os.environ["KAFKA_BROKER"],
    "group.id": os.environ["GROUP"],
    "auto.offset.reset": "earliest",
    "enable.auto.commit": False,
})
producer = Producer({"bootstrap.servers": os.environ["KAFKA_BROKER"], "enable.idempotence": True})
windows = collections.defaultdict(collections.Counter)  # start of a window -> counts
changed = set()


def write_changed():
    for start in sorted(changed):
        result = {"start": start, "counts": windows[start]}
        producer.produce(os.environ["OUTPUT_TOPIC"], key=str(start), value=json.dumps(result))
    producer.flush()
    changed.clear()


consumer.subscribe([os.environ["TOPIC"]])
written = time.monotonic()
try:
    while running:
        message = consumer.poll(0.2)
        if message is not None:
            if message.error():
                raise KafkaException(message.error())
            event = json.loads(message.value())
            start = event["time_us"] // 1_000_000 // 10 * 10  # when it happened, not when it is read
            windows[start][event["commit"]["operation"]] += 1
            changed.add(start)
        if time.monotonic() - written > 0.5:
            write_changed()  # a late event changes an old window, and its result is written again
            written = time.monotonic()
finally:
    write_changed()
    consumer.close()

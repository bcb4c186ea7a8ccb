"""Counts Bluesky's events in windows of 10 seconds of event time.

Read EXERCISE.md first. Complete the places marked TODO, then run:

    weir exercise check window --dir .
"""

import collections
import json
import os
import signal
import time

from confluent_kafka import Consumer, KafkaException, Producer

KAFKA_BROKER = os.environ.get("KAFKA_BROKER", "127.0.0.1:19092,127.0.0.1:29092,127.0.0.1:39092")
TOPIC = os.environ.get("TOPIC", "bluesky-events")
GROUP = os.environ.get("GROUP", "my-group")
OUTPUT_TOPIC = os.environ.get("OUTPUT_TOPIC", "my-output")

running = True


def stop(*_):
    global running
    running = False


for name in ("SIGTERM", "SIGBREAK", "SIGINT"):  # weir at the end, weir on Windows, Ctrl-C
    if hasattr(signal, name):
        signal.signal(getattr(signal, name), stop)

producer = Producer({"bootstrap.servers": KAFKA_BROKER, "enable.idempotence": True})
consumer = Consumer({
    "bootstrap.servers": KAFKA_BROKER,
    "group.id": GROUP,
    "auto.offset.reset": "earliest",
    "enable.auto.commit": False,
})
windows = collections.defaultdict(collections.Counter)  # start of a window -> counts


def write_changed():
    """Writes the result of each window that has changed since the last call."""
    # TODO: key = the start as text, value = {"start": …, "counts": {…}} as JSON
    producer.flush()


consumer.subscribe([TOPIC])
written = time.monotonic()
try:
    while running:
        message = consumer.poll(0.2)
        if message is not None:
            if message.error():
                raise KafkaException(message.error())
            event = json.loads(message.value())
            # TODO: which window does event["time_us"] belong to? Count commit.operation there.
        if time.monotonic() - written > 0.5:
            write_changed()
            written = time.monotonic()
finally:
    write_changed()
    consumer.close()

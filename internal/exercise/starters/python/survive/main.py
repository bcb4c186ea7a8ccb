"""Counts Bluesky's events by operation in Redis, each at least once, also after kill -9.

Read EXERCISE.md first. Complete the places marked TODO, then run:

    weir exercise check survive --dir .
"""

import json
import os
import signal

import redis
from confluent_kafka import Consumer, KafkaException

KAFKA_BROKER = os.environ.get("KAFKA_BROKER", "127.0.0.1:19092,127.0.0.1:29092,127.0.0.1:39092")
REDIS_URL = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")
TOPIC = os.environ.get("TOPIC", "bluesky-events")
GROUP = os.environ.get("GROUP", "my-group")

running = True


def stop(*_):
    global running
    running = False


for name in ("SIGTERM", "SIGBREAK", "SIGINT"):  # weir at the end, weir on Windows, Ctrl-C
    if hasattr(signal, name):
        signal.signal(getattr(signal, name), stop)

counts = redis.Redis.from_url(REDIS_URL)
consumer = Consumer({
    "bootstrap.servers": KAFKA_BROKER,
    "group.id": GROUP,
    "auto.offset.reset": "earliest",
    # TODO: do not commit by itself; do not wait long for a member that was killed
})
consumer.subscribe([TOPIC])
try:
    while running:
        messages = consumer.consume(num_messages=100, timeout=0.2)
        if not messages:
            continue  # nothing came in the last 0.2 seconds
        for message in messages:
            if message.error():
                raise KafkaException(message.error())
            event = json.loads(message.value())
            counts.incr(event["commit"]["operation"])
        # TODO: commit. Why here, and not before the loop?
finally:
    consumer.close()  # leaves the group

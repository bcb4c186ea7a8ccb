"""Counts Bluesky's events by operation in Redis.

Read EXERCISE.md first. Complete the places marked TODO, then run:

    weir exercise check count --dir .
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
    # TODO: a new group must begin with the first record. Which setting does that?
})
consumer.subscribe([TOPIC])
try:
    while running:
        message = consumer.poll(0.2)
        if message is None:
            continue  # nothing came in the last 0.2 seconds
        if message.error():
            raise KafkaException(message.error())
        print(f"partition {message.partition()}, offset {message.offset()}: {message.value()[:60]}")
        # TODO: parse the value, and count commit.operation with counts.incr(…)
finally:
    consumer.close()  # leaves the group

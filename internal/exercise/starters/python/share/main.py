"""Counts Bluesky's events by operation in Redis; several copies share the partitions.

Read EXERCISE.md first. Complete the places marked TODO, then run:

    weir exercise check share --dir .
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
    "enable.auto.commit": False,  # TODO: replace this line; commit the events that are counted, and only those
})
consumer.subscribe([TOPIC])
try:
    while running:
        message = consumer.poll(0.2)
        if message is None:
            continue  # nothing came in the last 0.2 seconds
        if message.error():
            raise KafkaException(message.error())
        event = json.loads(message.value())
        counts.incr(event["commit"]["operation"])
        # TODO: mark this message as done
finally:
    consumer.close()  # leaves the group

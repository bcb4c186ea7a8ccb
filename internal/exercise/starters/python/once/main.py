"""Counts Bluesky's events by operation in Redis, each exactly once, also after kill -9.

Read EXERCISE.md first. Complete the places marked TODO, then run:

    weir exercise check once --dir .
"""

import json
import os
import signal
import time

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

counts = redis.Redis.from_url(REDIS_URL, socket_timeout=5)

# TODO: a script that counts an event and stores its offset in one step, and ignores an event at or
# before the stored offset: count_once = counts.register_script("""…""")


def count(message):
    operation = json.loads(message.value())["commit"]["operation"]
    # TODO: count it once, with the stored offset of message.topic() and message.partition().
    # TODO: when Redis does not answer (redis.exceptions.RedisError), wait a little and try again.
    counts.incr(operation)


consumer = Consumer({
    "bootstrap.servers": KAFKA_BROKER,
    "group.id": GROUP,
    "auto.offset.reset": "earliest",
    "enable.auto.offset.store": False,
    "auto.commit.interval.ms": 1000,
    "session.timeout.ms": 6000,
})
consumer.subscribe([TOPIC])
try:
    while running:
        message = consumer.poll(0.2)
        if message is None:
            continue  # nothing came in the last 0.2 seconds
        if message.error():
            raise KafkaException(message.error())
        count(message)
        consumer.store_offsets(message)
finally:
    consumer.close()  # leaves the group

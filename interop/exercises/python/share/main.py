"""Counts Bluesky's events by operation in Redis; several copies share the partitions."""

import json
import os
import signal

import redis
from confluent_kafka import Consumer, KafkaException

running = True


def stop(*_):
    global running
    running = False


signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGINT, stop)

counts = redis.Redis.from_url(os.environ["REDIS_URL"])
consumer = Consumer({
    "bootstrap.servers": os.environ["KAFKA_BROKER"],
    "group.id": os.environ["GROUP"],
    "auto.offset.reset": "earliest",
    # The client commits the offsets that store_offsets marks: every second, when a partition is
    # revoked, and in close().
    "enable.auto.offset.store": False,
    "auto.commit.interval.ms": 1000,
})
consumer.subscribe([os.environ["TOPIC"]])
try:
    while running:
        message = consumer.poll(0.2)
        if message is None:
            continue
        if message.error():
            raise KafkaException(message.error())
        event = json.loads(message.value())
        counts.incr(event["commit"]["operation"])
        consumer.store_offsets(message)  # after the work, never before
finally:
    consumer.close()  # commits, and leaves the group at once

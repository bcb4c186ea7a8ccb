"""Counts Bluesky's events by operation in Redis."""

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
    "auto.offset.reset": "earliest",  # a new group begins with the first record
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
finally:
    consumer.close()

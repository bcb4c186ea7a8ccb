"""Counts Bluesky's events by operation in Redis, each at least once, also after kill -9."""

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
    "enable.auto.commit": False,  # this program decides when an event is done
    "session.timeout.ms": 6000,  # the group waits this long for a member that was killed
})
consumer.subscribe([os.environ["TOPIC"]])
try:
    while running:
        messages = consumer.consume(num_messages=100, timeout=0.2)
        for message in messages:
            if message.error():
                raise KafkaException(message.error())
            event = json.loads(message.value())
            counts.incr(event["commit"]["operation"])
        if messages:
            consumer.commit(asynchronous=False)  # only now: all of them are counted
finally:
    consumer.close()

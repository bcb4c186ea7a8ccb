"""Counts Bluesky's events by operation; bad records go to a dead-letter topic.

Read EXERCISE.md first. Complete the places marked TODO, then run:

    weir exercise check poison --dir .
"""

import json
import os
import signal

import redis
from confluent_kafka import Consumer, KafkaException, Producer

KAFKA_BROKER = os.environ.get("KAFKA_BROKER", "127.0.0.1:19092,127.0.0.1:29092,127.0.0.1:39092")
REDIS_URL = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")
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

counts = redis.Redis.from_url(REDIS_URL)
producer = Producer({"bootstrap.servers": KAFKA_BROKER, "enable.idempotence": True})


def operation_of(value):
    """Returns the operation of an event. A ValueError says what is wrong with the record."""
    # TODO: null, empty, not JSON, not an object, no commit, no operation
    return json.loads(value)["commit"]["operation"]


def put_aside(message, reason):
    """Writes a bad record to the dead-letter topic, and waits until Kafka has it."""
    # TODO: producer.produce(OUTPUT_TOPIC, key=…, value=…, headers={"reason": reason})


consumer = Consumer({
    "bootstrap.servers": KAFKA_BROKER,
    "group.id": GROUP,
    "auto.offset.reset": "earliest",
    "enable.auto.offset.store": False,
})
consumer.subscribe([TOPIC])
try:
    while running:
        message = consumer.poll(0.2)
        if message is None:
            continue  # nothing came in the last 0.2 seconds
        if message.error():
            raise KafkaException(message.error())
        counts.incr(operation_of(message.value()))  # TODO: what when it raises a ValueError?
        consumer.store_offsets(message)
finally:
    consumer.close()  # leaves the group

"""Counts Bluesky's events by operation; records that are not events go to a dead-letter topic."""

import json
import os
import signal

import redis
from confluent_kafka import Consumer, KafkaException, Producer

running = True


def stop(*_):
    global running
    running = False


signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGINT, stop)


def operation_of(value):
    """Returns the operation of an event. A ValueError says what is wrong with the record."""
    if not value:
        raise ValueError("the value is null" if value is None else "the value is empty")
    event = json.loads(value)  # raises a ValueError when this is not JSON
    commit = event.get("commit") if isinstance(event, dict) else None
    operation = commit.get("operation") if isinstance(commit, dict) else None
    if operation not in ("create", "update", "delete"):
        raise ValueError("commit.operation is not create, update or delete")
    return operation


counts = redis.Redis.from_url(os.environ["REDIS_URL"])
producer = Producer({"bootstrap.servers": os.environ["KAFKA_BROKER"], "enable.idempotence": True})


def put_aside(message, reason):
    """Writes a bad record to the dead-letter topic, and waits until Kafka has it."""
    failed = []
    producer.produce(
        os.environ["OUTPUT_TOPIC"], key=message.key(), value=message.value(), headers={"reason": reason},
        on_delivery=lambda error, _: failed.append(error) if error else None,
    )
    producer.flush()
    if failed:
        raise KafkaException(failed[0])


consumer = Consumer({
    "bootstrap.servers": os.environ["KAFKA_BROKER"],
    "group.id": os.environ["GROUP"],
    "auto.offset.reset": "earliest",
    "enable.auto.offset.store": False,
})
consumer.subscribe([os.environ["TOPIC"]])
try:
    while running:
        message = consumer.poll(0.2)
        if message is None:
            continue
        if message.error():
            raise KafkaException(message.error())
        try:
            operation = operation_of(message.value())
        except (ValueError, RecursionError) as problem:
            put_aside(message, str(problem))
        else:
            counts.incr(operation)
        consumer.store_offsets(message)
finally:
    consumer.close()

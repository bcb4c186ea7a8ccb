"""Counts Bluesky's events by operation in Redis, each exactly once, also after kill -9."""

import json
import os
import signal
import time

import redis
from confluent_kafka import Consumer, KafkaException

running = True


def stop(*_):
    global running
    running = False


signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGINT, stop)

counts = redis.Redis.from_url(os.environ["REDIS_URL"], socket_timeout=5)

# Redis runs a script as one step: it counts the event and stores its offset, or does neither.
# An event at or before the stored offset was counted before; the script ignores it.
# KEYS: the stored offset of the partition, the count. ARGV: the offset of the event.
count_once = counts.register_script("""
    local counted = tonumber(redis.call('GET', KEYS[1]) or '-1')
    if tonumber(ARGV[1]) <= counted then return 0 end
    redis.call('INCR', KEYS[2])
    redis.call('SET', KEYS[1], ARGV[1])
    return 1
""")


def count(message):
    operation = json.loads(message.value())["commit"]["operation"]
    stored_offset = f"offset:{message.topic()}:{message.partition()}"
    while running:
        try:
            count_once(keys=[stored_offset, operation], args=[message.offset()])
            return True
        except redis.exceptions.RedisError:
            time.sleep(0.2)  # Redis restarts: try again, the script never counts twice
    return False


consumer = Consumer({
    "bootstrap.servers": os.environ["KAFKA_BROKER"],
    "group.id": os.environ["GROUP"],
    "auto.offset.reset": "earliest",
    "enable.auto.offset.store": False,
    "auto.commit.interval.ms": 1000,
    "session.timeout.ms": 6000,
})
consumer.subscribe([os.environ["TOPIC"]])
try:
    while running:
        message = consumer.poll(0.2)
        if message is None:
            continue
        if message.error():
            raise KafkaException(message.error())
        if count(message):
            consumer.store_offsets(message)
finally:
    consumer.close()

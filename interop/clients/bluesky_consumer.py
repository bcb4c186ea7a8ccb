"""Counts Bluesky's events by operation in Redis as a member of a group: quixstreams
and redis-py. Ends on SIGTERM."""

import json
import os
import signal

import redis
from quixstreams import Application

stopped = []
signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
counts = redis.Redis.from_url(os.environ["REDIS_URL"])
app = Application(
    broker_address=os.environ["KAFKA_BROKER"], consumer_group="bluesky-counter", auto_offset_reset="earliest", loglevel="WARNING",
    consumer_extra_config={"isolation.level": "read_committed", "log_level": 4},
)

with app.get_consumer() as consumer:
    consumer.subscribe(["bluesky-events"])
    while not stopped:
        message = consumer.poll(0.2)
        if message is None:
            continue
        if message.error():
            raise SystemExit(f"consume: {message.error()}")
        event = json.loads(message.value())
        counts.hincrby("bluesky:counts", event["commit"]["operation"], 1)
        consumer.store_offsets(message)

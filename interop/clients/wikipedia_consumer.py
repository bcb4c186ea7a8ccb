"""Counts Wikipedia's changes by type in Redis as a member of a group: quixstreams, and
a pipeline of redis-py for each batch. Ends on SIGTERM."""

import json
import os
import signal

import redis
from quixstreams import Application

stopped = []
signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
counts = redis.Redis.from_url(os.environ["REDIS_URL"])
app = Application(
    broker_address=os.environ["KAFKA_BROKER"], consumer_group="wikipedia-counter", auto_offset_reset="earliest", loglevel="WARNING",
    consumer_extra_config={"isolation.level": "read_committed", "log_level": 4},
)

with app.get_consumer() as consumer:
    consumer.subscribe(["wikipedia-edits"])
    while not stopped:
        messages = consumer.consume(num_messages=100, timeout=0.2)
        with counts.pipeline(transaction=True) as batch:
            for message in messages:
                if message.error():
                    raise SystemExit(f"consume: {message.error()}")
                batch.hincrby("wikipedia:counts", json.loads(message.value())["type"], 1)
            batch.execute()
        for message in messages:
            consumer.store_offsets(message)

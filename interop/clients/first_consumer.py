"""A first consumer, as many courses write it: quixstreams, one INCR an event, and no
thought of a crash. weir's exercises judge it: it counts, and a kill makes it count again."""

import json
import os

import redis
from quixstreams import Application

BROKERS = os.getenv("KAFKA_BROKER", "127.0.0.1:19092,127.0.0.1:29092,127.0.0.1:39092")
REDIS = os.getenv("REDIS_URL", "redis://127.0.0.1:6379/0")

app = Application(
    broker_address=BROKERS, consumer_group="kafka-stream-counter", auto_offset_reset="earliest",
    loglevel="WARNING", consumer_extra_config={"log_level": 4},
)
with app.get_consumer() as consumer:
    consumer.subscribe(["bluesky-events"])
    while True:
        message = consumer.poll(1)
        if message is None:
            continue
        if message.error() is not None:
            raise Exception(message.error())
        operation = json.loads(message.value())["commit"]["operation"]
        store = redis.Redis.from_url(REDIS)
        store.incr(operation)
        store.close()
        consumer.store_offsets(message)

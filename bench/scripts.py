"""The programs that such pipelines begin with: what they do for each event is what is
measured. Prints events, CPU time and time in nanoseconds as JSON.

  scripts.py produce|consume BROKERS REDIS TOPIC EVENTS FILE
"""

import json
import resource
import sys
import time
import uuid

import redis
from confluent_kafka import Producer
from quixstreams import Application

what, brokers, redis_url, topic, events, file = sys.argv[1:]
events = int(events)


def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def produce():
    """An event at a time: decode it, write it, wait for the answer."""
    with open(file, "rb") as f:
        values = [f.readline().split(b"\t", 1)[1].rstrip(b"\n") for _ in range(events)]
    producer = Producer({"bootstrap.servers": brokers, "acks": "all", "compression.type": "snappy", "linger.ms": 0})
    producer.list_topics(topic, 30)  # connected before it counts
    began = cpu(), time.monotonic()
    failed = []
    for value in values:
        event = json.loads(value)
        producer.produce(topic, key=event["did"], value=value, on_delivery=lambda err, _: err and failed.append(err))
        producer.flush(30)
    if failed:
        raise SystemExit(f"produce: {failed[0]}")
    return began


def consume():
    """An event at a time: read it, decode it, connect to Redis, increment a counter."""
    app = Application(broker_address=brokers, consumer_group=f"script-{uuid.uuid4()}", auto_offset_reset="earliest", loglevel="WARNING")
    began, n = None, 0
    with app.get_consumer() as consumer:
        consumer.subscribe([topic])
        while n < events:
            message = consumer.poll(1)
            if message is None:
                continue
            if message.error():
                raise SystemExit(f"consume: {message.error()}")
            if began is None:  # joining the group is not counted, as it is not for the others
                began = cpu(), time.monotonic()
            event = json.loads(message.value())
            with redis.Redis.from_url(redis_url.removesuffix("/1") + "/0") as counts:
                counts.incr(event["commit"]["operation"])
            consumer.store_offsets(message)
            n += 1
    return began


began = {"produce": produce, "consume": consume}[what]()
print(json.dumps({"Events": events, "CPU": int((cpu() - began[0]) * 1e9), "Wall": int((time.monotonic() - began[1]) * 1e9)}))

"""Works 10 ms on each event, on many events at a time, and keeps the order of each key."""

import collections
import concurrent.futures
import os
import signal
import time

from confluent_kafka import Consumer, KafkaException, Producer

running = True


def stop(*_):
    global running
    running = False


signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGINT, stop)

consumer = Consumer({
    "bootstrap.servers": os.environ["KAFKA_BROKER"],
    "group.id": os.environ["GROUP"],
    "auto.offset.reset": "earliest",
    "enable.auto.commit": False,
    "queued.max.messages.kbytes": 4096,  # the client reads 4 MB ahead, not 64
})
producer = Producer({
    "bootstrap.servers": os.environ["KAFKA_BROKER"],
    "enable.idempotence": True,
    "linger.ms": 5,
})
output = os.environ["OUTPUT_TOPIC"]
failed = []


def delivered(error, _):
    if error:
        failed.append(error)


def work(messages):
    """Works on the events of one key, one after the other."""
    for message in messages:
        time.sleep(0.010)
        producer.produce(output, key=message.key(), value=message.value(), on_delivery=delivered)


consumer.subscribe([os.environ["TOPIC"]])
workers = concurrent.futures.ThreadPoolExecutor(max_workers=64)
try:
    while running:
        messages = consumer.consume(num_messages=500, timeout=0.2)
        by_key = collections.defaultdict(list)
        for message in messages:
            if message.error():
                raise KafkaException(message.error())
            by_key[message.key()].append(message)
        for job in [workers.submit(work, same_key) for same_key in by_key.values()]:
            job.result()
        producer.flush()
        if failed:
            raise KafkaException(failed[0])
        if messages:
            consumer.commit(asynchronous=False)  # every result of this batch is in Kafka
finally:
    workers.shutdown()
    consumer.close()

"""Works 10 ms on each event and keeps up with 1,000 events a second.

Read EXERCISE.md first. Complete the places marked TODO, then run:

    weir exercise check keep-up --dir .
"""

import os
import signal
import time

from confluent_kafka import Consumer, KafkaException, Producer

KAFKA_BROKER = os.environ.get("KAFKA_BROKER", "127.0.0.1:19092,127.0.0.1:29092,127.0.0.1:39092")
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

producer = Producer({"bootstrap.servers": KAFKA_BROKER, "enable.idempotence": True})
consumer = Consumer({
    "bootstrap.servers": KAFKA_BROKER,
    "group.id": GROUP,
    "auto.offset.reset": "earliest",
    "enable.auto.commit": False,
    "queued.max.messages.kbytes": 4096,  # the client reads 4 MB ahead, not 64
})


def work(message):
    time.sleep(0.010)
    producer.produce(OUTPUT_TOPIC, key=message.key(), value=message.value())


consumer.subscribe([TOPIC])
try:
    while running:
        messages = consumer.consume(num_messages=500, timeout=0.2)
        for message in messages:
            if message.error():
                raise KafkaException(message.error())
            work(message)  # TODO: this does 100 events a second. Which events may be worked on together?
        producer.flush()
        if messages:
            consumer.commit(asynchronous=False)
finally:
    consumer.close()  # leaves the group

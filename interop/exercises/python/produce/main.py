"""Writes the commits of a Bluesky stream to a topic, keyed by their author."""

import json
import os
import signal
import sys

import websocket
from confluent_kafka import Producer

running = True


def stop(*_):
    global running
    running = False


signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGINT, stop)


def delivered(error, message):
    if error:
        print(f"record of {message.key()} was not written: {error}", file=sys.stderr, flush=True)


producer = Producer({
    "bootstrap.servers": os.environ["KAFKA_BROKER"],
    "enable.idempotence": True,  # a retry neither duplicates nor reorders records
    "linger.ms": 5,
})
topic = os.environ["OUTPUT_TOPIC"]
stream = websocket.create_connection(os.environ["STREAM_URL"], timeout=1)
try:
    while running:
        try:
            text = stream.recv()
        except websocket.WebSocketTimeoutException:
            continue
        if not text:
            break  # the server has closed the stream
        event = json.loads(text)
        if event["kind"] != "commit":
            continue  # account and identity events have no commit
        producer.produce(topic, key=event["did"], value=text, on_delivery=delivered)
        producer.poll(0)
finally:
    producer.flush()
    stream.close()

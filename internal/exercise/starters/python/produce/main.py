"""Writes the commits of a Bluesky stream to a topic, keyed by their author.

Read EXERCISE.md first. Complete the places marked TODO, then run:

    weir exercise check produce --dir .
"""

import json
import os
import signal

import websocket
from confluent_kafka import Producer

KAFKA_BROKER = os.environ.get("KAFKA_BROKER", "127.0.0.1:19092,127.0.0.1:29092,127.0.0.1:39092")
STREAM_URL = os.environ["STREAM_URL"]  # weir exercise check sets it
OUTPUT_TOPIC = os.environ.get("OUTPUT_TOPIC", "my-output")

running = True


def stop(*_):
    global running
    running = False


for name in ("SIGTERM", "SIGBREAK", "SIGINT"):  # weir at the end, weir on Windows, Ctrl-C
    if hasattr(signal, name):
        signal.signal(getattr(signal, name), stop)

producer = Producer({"bootstrap.servers": KAFKA_BROKER, "enable.idempotence": True})
stream = websocket.create_connection(STREAM_URL, timeout=1)
try:
    while running:
        try:
            text = stream.recv()
        except websocket.WebSocketTimeoutException:
            continue  # nothing came for a second: look whether it is time to stop
        if not text:
            break  # the server has closed the stream
        event = json.loads(text)
        print(event["kind"], event["did"])
        # TODO: skip what is not a commit
        # TODO: producer.produce(OUTPUT_TOPIC, key=…, value=…), and producer.poll(0)
finally:
    stream.close()
    # TODO: wait until Kafka has all records

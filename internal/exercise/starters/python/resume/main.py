"""Writes the commits of a Bluesky stream to a topic, and goes on after a cut connection.

Read EXERCISE.md first. Complete the places marked TODO, then run:

    weir exercise check resume --dir .
"""

import json
import os
import signal
import time

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
cursor = None  # the largest time_us so far


def read(stream):
    """Reads until the connection ends."""
    while running:
        try:
            text = stream.recv()
        except websocket.WebSocketTimeoutException:
            continue  # nothing came for a second: look whether it is time to stop
        except (websocket.WebSocketException, OSError):
            return  # the connection is cut
        if not text:
            return  # the server has closed the stream
        event = json.loads(text)
        # TODO: remember event["time_us"]
        # TODO: skip a commit that you have written already
        if event["kind"] == "commit":
            producer.produce(OUTPUT_TOPIC, key=event["did"], value=text)
            producer.poll(0)


try:
    while running:
        try:
            stream = websocket.create_connection(STREAM_URL, timeout=1)  # TODO: ?cursor=…
        except (websocket.WebSocketException, OSError):
            time.sleep(0.5)  # the server is away: try again
            continue
        read(stream)
        stream.close()
finally:
    producer.flush()

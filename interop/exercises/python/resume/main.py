"""Writes the commits of a Bluesky stream to a topic, and goes on after a cut connection."""

import collections
import json
import os
import signal
import time

import websocket
from confluent_kafka import KafkaException, Producer

running = True


def stop(*_):
    global running
    running = False


signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGINT, stop)

producer = Producer({
    "bootstrap.servers": os.environ["KAFKA_BROKER"],
    "enable.idempotence": True,
    "linger.ms": 5,
})
failed = []
seen = collections.OrderedDict()  # the last 100,000 events, to recognize those that come again


def delivered(error, _):
    if error:
        failed.append(error)


def is_new(event):
    commit = event["commit"]
    identity = (event["did"], commit["collection"], commit["rkey"], commit["rev"], commit["operation"])
    if identity in seen:
        return False
    seen[identity] = True
    if len(seen) > 100_000:
        seen.popitem(last=False)
    return True


def address(cursor):
    url = os.environ["STREAM_URL"]
    if cursor is None:
        return url
    # Events can be slightly out of order: ask for the last two seconds again.
    return f"{url}{'&' if '?' in url else '?'}cursor={cursor - 2_000_000}"


def read(stream, cursor):
    """Reads until the connection ends. Returns the time_us of the latest event."""
    while running and not failed:
        try:
            text = stream.recv()
        except websocket.WebSocketTimeoutException:
            continue
        except (websocket.WebSocketException, OSError):
            break
        if not text:
            break
        event = json.loads(text)
        if event["kind"] == "commit" and is_new(event):
            producer.produce(os.environ["OUTPUT_TOPIC"], key=event["did"], value=text, on_delivery=delivered)
            producer.poll(0)
        cursor = max(cursor or 0, event["time_us"])
    return cursor


cursor = None
try:
    while running and not failed:
        try:
            stream = websocket.create_connection(address(cursor), timeout=1)
        except (websocket.WebSocketException, OSError):
            time.sleep(0.5)  # the server is away: try again
            continue
        cursor = read(stream, cursor)
        stream.close()
finally:
    producer.flush()
if failed:
    raise KafkaException(failed[0])

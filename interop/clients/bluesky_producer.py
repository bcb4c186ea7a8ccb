"""Writes Bluesky's events to Kafka: Jetstream's WebSocket, quixstreams."""

import json
import os

import websocket
from quixstreams import Application

app = Application(broker_address=os.environ["KAFKA_BROKER"], loglevel="WARNING", producer_extra_config={"log_level": 4})
url = os.environ.get("BLUESKY_URL", "wss://jetstream2.us-east.bsky.network/subscribe")
left = int(os.environ.get("LIMIT", "0"))  # events to write; 0 for no end

with app.get_producer() as producer:
    stream = websocket.create_connection(url + "?wantedCollections=app.bsky.feed.post", timeout=60)
    while True:
        value = stream.recv()
        event = json.loads(value)
        if event["kind"] != "commit":  # accounts and identities come, too
            continue
        producer.produce("bluesky-events", key=event["did"], value=value.encode())
        left -= 1
        if left == 0:
            break
    stream.close()

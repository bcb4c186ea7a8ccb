"""Writes Wikipedia's recent changes to Kafka: Server-Sent Events, quixstreams."""

import json
import os

import requests
from quixstreams import Application

app = Application(
    broker_address=os.environ["KAFKA_BROKER"], loglevel="WARNING", producer_extra_config={"log_level": 4, "compression.type": "gzip"},
)
url = os.environ.get("WIKIPEDIA_URL", "https://stream.wikimedia.org/v2/stream/recentchange")
left = int(os.environ.get("LIMIT", "0"))  # events to write; 0 for no end

headers = {"Accept": "text/event-stream", "User-Agent": "kafka-learner/1.0 (learner@example.org)"}
with app.get_producer() as producer, requests.get(url, headers=headers, stream=True, timeout=60) as response:
    response.raise_for_status()
    for line in response.iter_lines():
        if not line.startswith(b"data: "):
            continue
        value = line[len(b"data: "):]
        change = json.loads(value)
        if change["meta"]["domain"] == "canary":
            continue
        producer.produce("wikipedia-edits", key=change["wiki"], value=value)
        left -= 1
        if left == 0:
            break

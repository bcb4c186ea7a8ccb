"""Counts words with quixstreams' table of states, each exactly once: reads one topic,
keeps counts in a changelog topic, and writes each new count to another one, all in
transactions. Ends on SIGTERM."""

import os

from quixstreams import Application

app = Application(
    broker_address=os.environ["KAFKA_BROKER"], consumer_group="word-counter", auto_offset_reset="earliest", loglevel="WARNING",
    processing_guarantee="exactly-once", commit_interval=0.5, state_dir=os.environ["STATE_DIR"],
    consumer_extra_config={"log_level": 4, "session.timeout.ms": 6000}, producer_extra_config={"log_level": 4},
)
words = app.topic("words", key_deserializer="str", value_deserializer="str")
counts = app.topic("word-counts", key_serializer="str", value_serializer="json")


def count(word, state):
    n = state.get("count", 0) + 1
    state.set("count", n)
    return {"word": word, "count": n}


stream = app.dataframe(words)
stream = stream.apply(count, stateful=True)
stream.to_topic(counts)
app.run()

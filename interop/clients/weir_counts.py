"""Prints what weir has counted, by group and kind: redis-py, in one SCAN and one
pipeline. The totals of a group are the sums over its partitions."""

import collections
import json
import os

import redis

counts = collections.defaultdict(collections.Counter)
with redis.Redis.from_url(os.environ["REDIS_URL"], decode_responses=True) as store:
    keys = list(store.scan_iter("weir:tally:*", count=100))  # weir:tally:GROUP:TOPIC:PARTITION
    with store.pipeline(transaction=False) as batch:
        for key in keys:
            batch.hgetall(key)
        tallies = batch.execute()
for key, tally in zip(keys, tallies):
    group = key.split(":")[2]
    for field, number in tally.items():
        if field.startswith("k:"):
            counts[group][field.removeprefix("k:")] += int(number)
print(json.dumps(counts))

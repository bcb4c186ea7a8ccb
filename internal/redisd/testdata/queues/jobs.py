"""RQ and Celery with Redis as broker and result store: python jobs.py HOST PORT"""
import operator
import sys

import celery
import redis
import rq
from celery.contrib.testing.worker import start_worker

url = "redis://%s:%s/0" % (sys.argv[1], sys.argv[2])

connection = redis.Redis.from_url(url)
queue = rq.Queue("jobs", connection=connection)
jobs = [queue.enqueue(operator.mul, 2, i) for i in range(20)]
bad = queue.enqueue(operator.truediv, 1, 0)
after = queue.enqueue(operator.mul, 3, 3, depends_on=jobs[-1])
rq.SimpleWorker([queue], connection=connection).work(burst=True)
assert [j.return_value() for j in jobs] == [2 * i for i in range(20)]
assert bad.get_status(refresh=True) == "failed" and bad.id in queue.failed_job_registry
assert after.return_value() == 9

app = celery.Celery("t", broker=url, backend=url)
app.conf.update(broker_connection_retry_on_startup=True)


@app.task
def add(a, b):
    return a + b


@app.task
def total(numbers):
    return sum(numbers)


@app.task(bind=True, max_retries=2)
def flaky(self):
    if self.request.retries < 1:
        raise self.retry(countdown=0)
    return "at last"


with start_worker(app, pool="threads", concurrency=2, perform_ping_check=False):
    assert celery.group(add.s(i, i) for i in range(20))().get(timeout=60) == [2 * i for i in range(20)]
    assert celery.chord(add.s(i, 1) for i in range(5))(total.s()).get(timeout=60) == 15
    assert flaky.delay().get(timeout=60) == "at last"
    assert app.control.ping(timeout=5)
print("fine")

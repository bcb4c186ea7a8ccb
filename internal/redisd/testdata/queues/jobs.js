// BullMQ's jobs in every way that its scripts serve: node jobs.js HOST PORT
const assert = require('node:assert');
const { Queue, Worker, QueueEvents, FlowProducer } = require('bullmq');
const connection = { host: process.argv[2], port: Number(process.argv[3]), maxRetriesPerRequest: null };

async function main() {
  const queue = new Queue('q', { connection });
  const events = new QueueEvents('q', { connection });
  const flow = new FlowProducer({ connection });
  events.setMaxListeners(0);
  queue.setMaxListeners(0);
  await events.waitUntilReady();
  let failed = 0;
  const tries = {};
  const worker = new Worker('q', async (job) => {
    tries[job.id] = (tries[job.id] || 0) + 1;
    await job.updateProgress(50);
    await job.log('begun');
    if (job.name === 'flaky' && tries[job.id] < 2) throw new Error('again');
    return job.data;
  }, { connection, concurrency: 5 });
  worker.on('failed', () => failed++);
  worker.on('error', (err) => { throw err; });

  const jobs = [];
  for (let i = 0; i < 50; i++) {
    jobs.push(await queue.add(i % 5 ? 'plain' : 'flaky', { i, empty: {}, list: [] }, {
      attempts: 3, backoff: { type: 'fixed', delay: 50 }, priority: i % 7 ? undefined : 2, delay: i % 11 ? 0 : 100,
    }));
  }
  const results = await Promise.all(jobs.map((job) => job.waitUntilFinished(events, 60000)));
  assert.deepStrictEqual(results, jobs.map((_, i) => ({ i, empty: {}, list: [] })));
  assert.strictEqual(failed, 10);

  await queue.addBulk([{ name: 'plain', data: {} }, { name: 'plain', data: {} }]);
  await queue.upsertJobScheduler('every', { every: 200 }, { name: 'plain' });
  const children = [{ name: 'plain', queueName: 'q', data: { n: 1 } }, { name: 'plain', queueName: 'q', data: { n: 2 } }];
  const tree = await flow.add({ name: 'parent', queueName: 'q', data: {}, children });
  await tree.job.waitUntilFinished(events, 60000);
  assert.strictEqual(Object.keys(await tree.job.getChildrenValues()).length, 2);

  await queue.pause();
  await queue.resume();
  await queue.removeJobScheduler('every');
  assert((await queue.clean(0, 1000, 'completed')).length >= 53);
  await worker.close();
  await queue.obliterate({ force: true });
  await Promise.all([flow.close(), events.close(), queue.close()]);
  console.log('fine');
}

main().catch((err) => {
  console.log(err);
  process.exit(1);
});

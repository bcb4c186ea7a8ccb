// A tab that is left open at 2,000 events a second: its heap, its nodes and its
// listeners stay what they were. WEIR_ENDURANCE_MINUTES says for how long.

import { test } from 'node:test';
import assert from 'node:assert/strict';
import { startWeir, startBrowser, openTab, until } from './weir.js';

const minutes = Number(process.env.WEIR_ENDURANCE_MINUTES || 1);
const warmUp = Math.min(60, minutes * 20); // seconds: rings fill, code is compiled
const every = Math.max(5, minutes * 60 / 30); // seconds between two looks
const rate = 2000;

// What may be more at the end than after warming up: the history of charts goes on
// filling for an hour (a number for each series and two seconds), and collectors
// leave some dust. A leak of one row or one parsed update a time is far beyond.
const moreHeap = 3_000_000 + minutes * 100_000; // bytes
const moreNodes = 400;
const moreListeners = 100;

const pause = (/** @type {number} */ s) => new Promise((done) => { setTimeout(done, s * 1000); });

/** @param {string} path @param {string} ready */
async function watchPage(browser, base, path, ready) {
  const t = await openTab(browser, base, path);
  await t.page.waitForSelector(ready);
  const cdp = await t.page.context().newCDPSession(t.page);
  await cdp.send('Performance.enable');
  await cdp.send('HeapProfiler.enable');
  const look = async () => {
    for (let i = 0; i < 2; i++) await cdp.send('HeapProfiler.collectGarbage');
    const { metrics } = await cdp.send('Performance.getMetrics');
    const m = Object.fromEntries(metrics.map((x) => [x.name, x.value]));
    return { heap: m.JSHeapUsedSize, nodes: m.Nodes, listeners: m.JSEventListeners, script: m.ScriptDuration, task: m.TaskDuration, at: m.Timestamp };
  };
  return { ...t, path, look };
}

test(`tabs that stay open for ${minutes} minutes at ${rate} events a second keep flat memory`, { timeout: (minutes * 60 + 240) * 1000 }, async () => {
  const [weir, browser] = await Promise.all([startWeir({ rate }), startBrowser(['--disable-background-timer-throttling', '--disable-renderer-backgrounding', '--disable-backgrounding-occluded-windows'])]);
  try {
    const tabs = await Promise.all([
      watchPage(browser, weir.base, '/', '.stream .tail li'),
      watchPage(browser, weir.base, '/topics/bluesky-events/messages?live=1', '.messages tbody tr .expand'),
      watchPage(browser, weir.base, '/topics', 'td >> text=bluesky-events'),
      watchPage(browser, weir.base, '/groups/weir-bluesky-counter', '.lane .flag-name'),
    ]);
    const tail = tabs[1];
    // The tail of messages keeps 500 rows: until it has them it may grow.
    await until('the tail to be full', async () => await tail.page.locator('.messages tbody tr .expand').count() >= 500, 120_000);
    await pause(warmUp);
    const first = await Promise.all(tabs.map((t) => t.look()));
    const counted = async () => (await (await fetch(weir.base + '/api/v1/state')).json()).streams.bluesky.counted;
    const before = await counted();
    const begin = Date.now();
    /** @type {any[][]} */
    const looks = [first];
    while (Date.now() - begin < minutes * 60_000 - warmUp * 1000) {
      await pause(every);
      looks.push(await Promise.all(tabs.map((t) => t.look())));
    }
    const took = (Date.now() - begin) / 1000;
    const events = await counted() - before;
    console.log(`${Math.round(took)} s, ${Math.round(events / took)} events/s counted`);
    assert.ok(events / took > rate * 0.25, `only ${Math.round(events / took)} events a second came`);
    tabs.forEach((t, i) => {
      const one = looks.map((l) => l[i]);
      const last = /** @type {any} */ (one.at(-1));
      const least = (/** @type {string} */ k, /** @type {any[]} */ l) => Math.min(...l.map((x) => x[k]));
      const third = Math.max(1, Math.floor(one.length / 3));
      const grown = (/** @type {string} */ k) => least(k, one.slice(-third)) - least(k, one.slice(0, third));
      console.log(`${t.path}: heap ${(one[0].heap / 1e6).toFixed(2)} → ${(last.heap / 1e6).toFixed(2)} MB (thirds: ${(grown('heap') / 1e6).toFixed(2)}), nodes ${one[0].nodes} → ${last.nodes}, listeners ${one[0].listeners} → ${last.listeners}, `
        + `main thread busy ${((last.task - one[0].task) / (last.at - one[0].at) * 100).toFixed(1)} %`);
      assert.ok(grown('heap') < moreHeap, `${t.path}: the heap grew by ${grown('heap')} bytes`);
      assert.ok(grown('nodes') < moreNodes, `${t.path}: ${grown('nodes')} nodes more`);
      assert.ok(grown('listeners') < moreListeners, `${t.path}: ${grown('listeners')} listeners more`);
      assert.deepEqual(t.wrong, [], `${t.path}: the browser complained`);
    });
  } finally { await browser.close(); await weir.stop(); }
});

// Much at once: a cluster with 2,000 topics, 20,000 partitions and 500 groups, and a
// hundred open tabs. Times depend on the machine and are printed; what is asserted
// is what holds on any: how much is drawn, kept and sent.

import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { request } from 'node:http';
import { startWeir, startBrowser, openTab, until } from './weir.js';

const crowdBinary = process.env.WEIR_CROWD;
if (!crowdBinary) throw new Error('WEIR_CROWD has to name the crowd: go build -o /tmp/crowd ./browser/crowd');

let browser;
before(async () => { browser = await startBrowser(); }, { timeout: 300_000 });
after(async () => { await browser?.close(); });

const pause = (/** @type {number} */ ms) => new Promise((done) => { setTimeout(done, ms); });

/** The cluster: its addresses, and its end. */
async function startCrowd() {
  const child = spawn(String(crowdBinary), [], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = new Promise((done) => { child.once('exit', done); });
  const addrs = await new Promise((done, fail) => {
    child.stdout.once('data', (b) => done(String(b).trim()));
    child.once('exit', (code) => fail(new Error(`the crowd ended with ${code}`)));
  });
  return { addrs, stop: async () => { child.stdin.end(); const timer = setTimeout(() => child.kill('SIGKILL'), 20_000); await ended; clearTimeout(timer); } };
}

/** What a process says of itself at /metrics. @param {string} base */
async function measures(base) {
  const text = await (await fetch(base + '/metrics')).text();
  const value = (/** @type {string} */ name) => Number(new RegExp(`^${name} (.*)$`, 'm').exec(text)?.[1]);
  return { cpu: value('process_cpu_seconds_total'), memory: value('go_memstats_heap_inuse_bytes') + value('go_memstats_stack_inuse_bytes'), at: Date.now() };
}

test('pages of 2,000 topics, 20,000 partitions and 500 groups', { timeout: 300_000 }, async () => {
  const crowd = await startCrowd();
  const weir = await startWeir({ kafka: crowd.addrs });
  const t = await openTab(browser, weir.base, '/brokers');
  t.page.setDefaultTimeout(60_000);
  try {
    const state = async () => (await fetch(weir.base + '/api/v1/state')).json();
    await until('all of it to be known', async () => { const s = await state(); return Object.keys(s.topics).length >= 2000 && Object.keys(s.groups).length >= 500; }, 120_000);
    const { page } = t;
    const times = [];
    for (const [path, ready, rows] of [
      ['/topics', 'td >> text=crowd.0003', 120], ['/groups', 'td >> text=classic-000', 120], ['/brokers', '.broker >> text=alive', 10],
      ['/topics/crowd.0003', 'th >> text=cleanup.policy', 120], ['/groups/classic-000', '.lane .track', 120], ['/topics/crowd.0003/messages', '.messages tbody tr .expand', 120], ['/produce', '.pick-lanes .chip', 10],
    ]) {
      const start = Date.now();
      await page.goto(String(path));
      await page.waitForSelector(String(ready));
      times.push(`${path} ${Date.now() - start} ms`);
      const made = await page.locator('tbody tr').count();
      assert.ok(made <= Number(rows), `${path} made ${made} rows: only those that are seen are to be`);
    }
    console.log('from the address to what is on the page: ' + times.join(', '));

    await page.goto('/topics/crowd.wide');
    await page.click('button:has-text("236 more of 300 partitions")');
    await page.waitForSelector('button:has-text("172 more of 300 partitions")');
    assert.equal(await page.locator('.lane').count(), 128, 'lanes are drawn that nobody asked for');

    await page.goto('/topics');
    await page.waitForSelector('td >> text=crowd.0000');
    assert.match(await page.locator('.bar-row [role=status]').innerText(), /^2,001 of 2,0\d\d/);
    await page.evaluate(() => { const b = document.querySelector('.scroll'); if (b) b.scrollTop = b.scrollHeight; });
    await page.waitForSelector('td >> text=crowd.1999');
    const height = await page.evaluate(() => Math.max(...[...document.querySelectorAll('tr[data-href]')].map((r) => Math.abs(r.getBoundingClientRect().height - 34))));
    assert.ok(height <= 1, `a row is ${height} pixels off the height that scrolling counts with`);
    await page.click('thead button:has-text("Rate")');
    await page.evaluate(() => { const b = document.querySelector('.scroll'); if (b) b.scrollTop = 0; });
    await until('the busiest first', async () => /^[1-9]/.test(await page.locator('tr[data-href] td').nth(1).innerText()));
    await page.fill('input[type=search]', 'crowd.01');
    await until('the filter', async () => /^100 of/.test(await page.locator('.bar-row [role=status]').innerText()));
    // Live, at the size: what came in half a minute is patches, and the tab does not grow by the state each time.
    const cdp = await page.context().newCDPSession(page);
    await cdp.send('Performance.enable');
    const look = async () => { await cdp.send('HeapProfiler.collectGarbage'); const m = Object.fromEntries((await cdp.send('Performance.getMetrics')).metrics.map((x) => [x.name, x.value])); return { heap: m.JSHeapUsedSize, task: m.TaskDuration, at: m.Timestamp }; };
    await page.fill('input[type=search]', '');
    const [first, server] = [await look(), await measures(weir.base)];
    await pause(15_000);
    const [last, serverThen] = [await look(), await measures(weir.base)];
    console.log(`the tab: heap ${(last.heap / 1e6).toFixed(1)} MB, main thread busy ${((last.task - first.task) / (last.at - first.at) * 100).toFixed(1)} %; `
      + `weir ui: ${((serverThen.cpu - server.cpu) * 1e5 / (serverThen.at - server.at)).toFixed(1)} % of a core, ${(serverThen.memory / 1e6).toFixed(0)} MB; the state ${(JSON.stringify(await state()).length / 1e3).toFixed(0)} kB`);
    assert.ok(last.heap < 60_000_000 && last.heap - first.heap < 5_000_000, `the heap went from ${first.heap} to ${last.heap}`);
    assert.equal(await page.locator('body.stale').count(), 0, 'it takes the cluster for gone');
    assert.deepEqual(t.wrong, []);
  } finally { await t.close(); await weir.stop(); await crowd.stop(); }
});

test('a hundred open tabs, and the first paint', { timeout: 300_000 }, async () => {
  const weir = await startWeir({ rate: 300 });
  const paths = ['/api/v1/live', '/api/v1/topics/bluesky-events/tail?rate=4', '/api/v1/topics/wikipedia-edits/tail?rate=4'];
  /** @type {import('node:http').ClientRequest[]} */
  const open = [];
  let bytes = 0;
  let events = 0;
  try {
    const t = await openTab(browser, weir.base, '/');
    await t.page.waitForSelector('.stream .lane .flag-name');
    const paint = () => t.page.evaluate(() => Math.round(performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? -1));
    const cold = await paint();
    await t.page.reload();
    await t.page.waitForSelector('.stream .lane .flag-name');
    console.log(`first paint after ${cold} ms, again after ${await paint()} ms`);
    const sent = await t.page.evaluate(() => performance.getEntriesByType('resource').filter((r) => r.name.includes('/v/') && /** @type {any} */ (r).transferSize > 0).length);
    assert.equal(sent, 0, 'files that the browser has are sent again');
    await t.close();
    await pause(5000);
    const alone = await measures(weir.base);
    await pause(10_000);
    const before = await measures(weir.base);
    for (let i = 0; i < 100; i++) {
      for (const p of paths) {
        const r = request(weir.base + p, (res) => { res.on('data', (b) => { bytes += b.length; events++; }); res.on('error', () => {}); });
        r.on('error', () => {});
        r.end();
        open.push(r);
      }
    }
    await until('all tabs to be served', async () => events >= 1000);
    await pause(5000);
    const busy = await measures(weir.base);
    const [b0, e0] = [bytes, events];
    await pause(10_000);
    const then = await measures(weir.base);
    const share = (/** @type {any} */ a, /** @type {any} */ b) => (b.cpu - a.cpu) * 1e5 / (b.at - a.at);
    const each = (then.memory - before.memory) / 100;
    console.log(`100 tabs: ${(share(busy, then) - share(alone, before)).toFixed(1)} % of a core more (${share(alone, before).toFixed(1)} % without), ${(each / 1e3).toFixed(0)} kB each; ${Math.round((events - e0) / 10)} events and ${((bytes - b0) / 1e4).toFixed(0)} kB a second`);
    assert.ok(each < 1_000_000, `a tab costs ${each} bytes`);
    assert.ok(events - e0 > 100 * 5, 'the tabs are not served');
  } finally { for (const r of open) r.destroy(); await weir.stop(); }
});

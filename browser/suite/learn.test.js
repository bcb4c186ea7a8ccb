// Learn and Exercises: a learner's way through a station, and the report of an exercise.

import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startWeir, startBrowser, openTab, until, shots } from './weir.js';

let weir;
let browser;
before(async () => { [weir, browser] = await Promise.all([startWeir({ rate: 100 }), startBrowser()]); }, { timeout: 300_000 });
after(async () => { await browser?.close(); await weir?.stop(); });

async function tab(path, f, options) {
  const t = await openTab(browser, weir.base, path, options);
  t.page.setDefaultTimeout(90_000);
  try {
    await f(t.page);
    assert.deepEqual(t.wrong, [], 'the browser complained');
  } finally { await t.close(); }
}
const post = async (path, body) => {
  const r = await fetch(weir.base + '/api/v1' + path, { method: 'POST', body: JSON.stringify(body) });
  assert.equal(r.status, 200, `${path}: ${await r.text()}`);
};
const create = (name, partitions) => post('/topics', { name, partitions, replicas: 0, config: {} });
const shot = async (page, name) => { if (shots) await page.screenshot({ path: `${shots}/${name}.png`, fullPage: true }); };

test('a station: an answer is judged, the near miss stays open with its reason, the task turns it green', { timeout: 300_000 }, async () => {
  await tab('/', async (page) => {
    await page.waitForFunction(() => document.querySelector('#nav a')?.textContent === 'Learn');
    await page.click('#nav a >> nth=0');
    await page.waitForSelector('.station-link');
    assert.equal(await page.locator('.station-link').count(), 13);
    assert.match(await page.locator('.learn-progress').innerText(), /0 of 13 stations done/);
    await shot(page, 'learn');
    await page.click('.station-link >> nth=1');
    await page.waitForSelector('h1:has-text("2. ")');
    // Three partitions with three replicas each are nine copies; this cluster has three brokers.
    await page.fill('input[name=answer]', '8');
    await page.click('button:has-text("Answer")');
    await page.waitForSelector('.badge >> text=Not right');
    await page.fill('input[name=answer]', '9');
    await page.click('button:has-text("Answer")');
    await page.waitForSelector('.badge >> text=/Right$/');
    await create('narrow', 2);
    await page.waitForSelector('.station-check:has-text("narrow has 2 partitions")');
    assert.match(await page.locator('.station-check').innerText(), /Not yet/);
    await create('shop', 3);
    await page.waitForSelector('.station-check:has-text("Done")');
    await shot(page, 'station');
    await page.goto(weir.base + '/learn');
    await page.waitForSelector('li.done .station-link');
    assert.match(await page.locator('.learn-progress').innerText(), /1 of 13 stations done/);
    await page.click('button:has-text("Start over")');
    await page.waitForTimeout(300);
    assert.equal((await (await fetch(weir.base + '/api/v1/learn')).json()).stations.filter((s) => s.done).length, 1, 'one click forgets nothing');
    await page.click('button:has-text("Forget all stations? Click again")');
    await page.waitForFunction(() => !document.querySelector('li.done'));
  });
});

test('stations draw the cluster, at every width', { timeout: 300_000 }, async () => {
  for (const width of [390, 1440]) {
    for (const [n, ready] of [[1, '.message-facts'], [6, '.members li'], [9, '.replicas td'], [10, '.station-picture .stage-tank']]) {
      await tab('/learn/' + n, async (page) => {
        await page.waitForSelector(ready);
        assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth), `station ${n} is wider than ${width}`);
        await shot(page, `station-${n}-${width}`);
      }, { viewport: { width, height: 900 } });
    }
  }
});

test('an exercise: instructions, starters, and the report of a program that ends by itself', { timeout: 240_000 }, async () => {
  const dir = mkdtempSync(join(tmpdir(), 'weir-exercise-'));
  try {
    writeFileSync(join(dir, 'ends.mjs'), 'console.log("I count nothing");\nsetTimeout(() => process.exit(3), 2000);\n');
    await tab('/exercises', async (page) => {
      await page.click('.cards a >> nth=0');
      await page.waitForSelector('h1');
      await page.waitForSelector('text=Not checked yet');
      const [file] = await Promise.all([page.waitForEvent('download'), page.click('text=Starter in Python')]);
      assert.match(file.suggestedFilename(), /\.zip$/);
      const check = spawn(/** @type {string} */ (process.env.WEIR_BIN), ['exercise', 'check', 'count', '--data', weir.data, '--', process.execPath, join(dir, 'ends.mjs')], { stdio: 'ignore', env: { PATH: process.env.PATH, HOME: dir } });
      const code = await new Promise((done) => { check.once('exit', done); });
      assert.equal(code, 4, 'a program that ends is wrong');
      await page.waitForSelector('.verdict-line .badge.bad');
      await page.waitForSelector('.course polyline', { state: 'attached' });
      assert.match(await page.locator('.moments').innerText(), /start/);
      assert.match(await page.locator('pre.raw').textContent(), /I count nothing/);
      await shot(page, 'exercise');
      await until('the list to know it', async () => (await (await fetch(weir.base + '/api/v1/exercises')).json()).exercises.some((x) => x.last?.verdict === 'wrong'));
    });
  } finally { rmSync(dir, { recursive: true, force: true }); }
});

// What changes groups and brokers, done from the pages: members, reset, replay, kill.

import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { startWeir, startBrowser, openTab, until, shots, engine, first } from './weir.js';

let weir;
let browser;
before(async () => { [weir, browser] = await Promise.all([startWeir(), startBrowser()]); }, { timeout: 300_000 });
after(async () => { await browser?.close(); await weir?.stop(); });

async function tab(path, f, options) {
  const t = await openTab(browser, weir.base, path, options);
  t.page.setDefaultTimeout(90_000);
  try {
    await f(t.page);
    assert.deepEqual(t.wrong, [], 'the browser complained');
  } finally { await t.close(); }
}
const group = 'weir-bluesky-counter';
const api = async (path) => (await fetch(weir.base + '/api/v1' + path)).json();
/** @param {string} s */
const number = (s) => Number(s.replace(/[^0-9]/g, ''));
const colours = (page) => page.evaluate(() => [...document.querySelectorAll('.lane .track')].map((t) => t.className.split(' ')[2]));
const shot = async (page, name, options = {}) => { if (shots) await page.screenshot({ path: `${shots}/${name}.png`, ...options }); };

test('members join and leave from the page: lanes recolour, the stop is measured', { timeout: 300_000 }, async () => {
  await tab('/groups/' + group, async (page) => {
    await page.waitForSelector('.lane .flag-name');
    await until('one colour', async () => { const c = new Set(await colours(page)); return c.size === 1 && !c.has(undefined); });
    assert.match(await page.locator('.command code').filter({ hasText: 'weir groups join' }).innerText(), /weir groups join weir-bluesky-counter/);
    await page.click('button:has-text("Add a member")');
    await page.waitForSelector('text=/3 of 6 partitions moved and stood still for \\d+ ms at most; every one is counted again after \\d+ ms/');
    await until('two colours, three lanes each', async () => {
      const c = await colours(page);
      return new Set(c).size === 2 && c.filter((x) => x === c[0]).length === 3;
    });
    await until('two members in the table', async () => await page.locator('[aria-label=members] tbody tr').count() === 2);
    await page.waitForSelector('[aria-label=rebalances] tbody tr');
    await shot(page, 'group-two-members', { fullPage: true });
    await page.click('button:has-text("Remove a member")');
    await page.waitForSelector('text=/a member was removed from the page, 1 member now/');
    await until('one colour again', async () => new Set(await colours(page)).size === 1);
    const log = (await api('/log')).entries.map((e) => e.text).filter((t) => t.includes('was added from the page') || t.includes('was removed from the page'));
    assert.equal(log.length, 2, log.join('\n'));
    assert.match(log[0], /stood still for \d+ ms/);
  });
});

test('the seventh member of six partitions is idle, grey', { timeout: 300_000 }, async () => {
  for (let n = 2; n <= 7; n++) {
    const r = await fetch(`${weir.base}/api/v1/groups/${group}/members/add`, { method: 'POST' });
    assert.equal(r.status, 200, await r.text());
  }
  await tab('/groups/' + group, async (page) => {
    await until('seven members', async () => await page.locator('[aria-label=members] tbody tr').count() === 7);
    await page.waitForSelector('tr.idle >> text=none: it is idle');
    await until('six colours', async () => new Set(await colours(page)).size === 6);
    assert.equal(await page.locator('tr.idle').count(), 1);
  });
  for (let n = 6; n >= 1; n--) await fetch(`${weir.base}/api/v1/groups/${group}/members/remove`, { method: 'POST' });
});

test('a group of somebody else has no buttons, and its members cannot be changed', async () => {
  const r = await fetch(`${weir.base}/api/v1/groups/somebody/members/add`, { method: 'POST' });
  assert.equal(r.status, 409, await r.text());
  await fetch(`${weir.base}/api/v1/groups/somebody/reset`, { method: 'POST', body: JSON.stringify({ to: 'latest', topics: ['bluesky-accounts'], confirm: 'somebody' }) });
  await tab('/groups/somebody', async (page) => {
    await page.waitForSelector('text=Empty');
    await until('lanes of a topic that no stream has', async () => await page.locator('.lane').count() === 3);
    const widths = await page.evaluate(() => [...document.querySelectorAll('.lane .track')].map((t) => t.getBoundingClientRect().width));
    assert.ok(widths.every((w) => w > 300), `tracks of ${widths} pixels: the columns have shifted`);
    assert.ok(!await page.locator('button:has-text("Add a member")').isVisible());
    assert.ok(!await page.locator('button:has-text("Preview the replay")').isVisible());
  });
});

test('a replay counts the log again beside the live count, until both are equal', { timeout: 300_000 }, async () => {
  await tab('/groups/' + group, async (page) => {
    await page.click('button:has-text("Preview the replay")');
    await page.waitForSelector('text=/are counted again, as group weir-bluesky-counter.replay/');
    await page.click('button:has-text("Replay…")');
    const go = page.locator('dialog button.danger');
    assert.ok(await go.isDisabled());
    await page.fill('dialog input', group);
    await go.click();
    await page.waitForSelector('text=/Equal: both counts are the same over the same offset range/', { timeout: 60_000 });
    const rows = await page.locator('table.replay tbody tr').allInnerTexts();
    assert.ok(rows.length >= 1 && rows.every((r) => /\t0$/.test(r)), rows.join('\n'));
    assert.match(rows[0], /create\t[0-9,]{3,}\t[0-9,]{3,}/);
    await shot(page, 'group-replay', { fullPage: true });
  });
  // The group that counted again stays behind. It must not stretch the lanes, nor count as the topic's lag.
  await tab('/', async (page) => {
    const left = '.stream[aria-label=bluesky] .flag.nobody';
    await page.waitForSelector(left, { state: 'attached' });
    const behind = async () => number((/, ([0-9,]+) behind/.exec(await page.locator(left).first().getAttribute('title') || '') || ['', '0'])[1]);
    await until('the replay to be far behind', async () => await behind() > 1000);
    const live = '.stream[aria-label=bluesky] .flag:not(.nobody)';
    const at = await page.locator(live).first().evaluate((f) => parseFloat(/** @type {HTMLElement} */ (f).style.insetInlineStart));
    // On a slow machine the live log is not that much longer yet: it grows on.
    await until('the flag of the replay to be at the edge of the lane', async () =>
      await page.locator(left).first().evaluate((f) => parseFloat(/** @type {HTMLElement} */ (f).style.insetInlineStart)) === 0, 60_000);
    assert.ok(at > 0, `the live flag is at ${at} %`);
  });
  await tab('/topics', async (page) => {
    const lag = page.locator('tr:has-text("bluesky-events") td').nth(9);
    await lag.waitFor();
    await until('the lag of the live counter alone', async () => number(await lag.innerText()) < 1000);
  });
});

test('a killed broker: its leaders move, and the longest pause is measured', { timeout: 300_000 }, async () => {
  await tab('/brokers', async (page) => {
    const broker = page.locator('.broker[aria-label="broker 1"]');
    await broker.locator('text=alive').waitFor();
    assert.equal(await page.locator('button:has-text("Kill hard")').count(), engine === 'apache' ? 3 : 0, 'embedded brokers always end at once');
    for (const [button, past] of [['Kill…', 'killed'], ['Restart', 'restarted']]) {
      await broker.locator(`button:has-text("${button}")`).click();
      if (past === 'killed') { await page.fill('dialog input', 'broker 1'); await page.click('dialog button.danger'); }
      const row = page.locator('[aria-label=changes] tbody tr').first();
      await until('the pause to be known', async () => { const t = await row.innerText(); return t.includes(past) && /\d ms\s+every [\d,]+ ms\s+(bluesky|wikipedia)/.test(t); }, 60_000);
      if (past === 'killed') { await shot(page, 'brokers-killed'); assert.equal(await page.locator('.command code').innerText(), `weir brokers kill 1 --data ${weir.data}`); }
    }
    const log = (await api('/log')).entries.map((e) => e.text).join('\n');
    assert.match(log, /broker 1 was killed: no transaction of \w+ was acknowledged for \d+ ms at most/);
  });
});

test('messages: oldest, an offset, a time, uncommitted; copied, kept as lines', { timeout: 300_000 }, async () => {
  const marker = 'weir-actions-' + process.pid;
  for (let i = 0; i < 12; i++) {
    const r = await fetch(`${weir.base}/api/v1/topics/weir.dead-letters/messages`, { method: 'POST', body: JSON.stringify({ key: marker, value: JSON.stringify({ i }), headers: [], partition: 1 }) });
    assert.equal(r.status, 200, await r.text());
  }
  const list = (await api('/topics/weir.dead-letters/messages?from=oldest&partition=1&key=' + marker)).messages;
  await tab('/topics/weir.dead-letters/messages?partition=1&key=' + marker, async (page) => {
    const values = () => page.locator('.messages td.value').allInnerTexts();
    const command = () => page.locator('.command code').innerText();
    const read = async (/** @type {Record<string, string>} */ fields) => {
      for (const [name, v] of Object.entries(fields)) { if (name === 'from' || name === 'isolation') await page.selectOption(`select[name=${name}]`, v); else await page.fill(`input[name=${name}]`, v); }
      await page.click('button:has-text("Read")');
    };
    await until('the newest', async () => (await values())[0] === '{"i":11}');
    await read({ from: 'oldest', n: '5' });
    await until('the oldest', async () => (await values()).length === 5 && (await values())[0] === '{"i":0}');
    assert.match(await command(), /^weir messages weir\.dead-letters --offset oldest -n 5 --partition 1 --filter key=weir-actions-\d+ --data \S+$/);
    assert.ok((await command()).endsWith(` --data ${weir.data}`), await command());
    await page.click('button:has-text("More")');
    await until('five more', async () => (await values()).length === 10);
    await read({ from: 'offset', offset: String(list[7].offset), n: '50' });
    await until('from an offset', async () => (await values()).join() === [7, 8, 9, 10, 11].map((i) => `{"i":${i}}`).join());
    await read({ from: 'time', time: list[9].time });
    await until('from a time', async () => (await values()).at(-1) === '{"i":11}' && (await values()).length <= 12 && (await values()).includes('{"i":9}'));
    await read({ from: 'newest', isolation: 'uncommitted' });
    await until('all of them', async () => (await values()).length === 12);
    assert.match(page.url(), /isolation=uncommitted/);

    const [file] = await Promise.all([page.waitForEvent('download'), page.click('a:has-text("Download")')]);
    assert.equal(file.suggestedFilename(), 'weir.dead-letters.jsonl');
    const lines = readFileSync(await file.path(), 'utf8').trim().split('\n').map((l) => JSON.parse(l));
    assert.deepEqual(lines.map((l) => JSON.parse(l.value).i).sort((a, b) => a - b), Array.from({ length: 12 }, (_, i) => i));
    await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
    await page.locator('.command button:has-text("Copy")').click();
    await page.waitForSelector('.toast >> text=Copied');
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), await command());
  });
});

test('what is configured is shown, filtered, and every page says how to do the same in a terminal', { timeout: 300_000 }, async () => {
  await tab('/brokers', async (page) => {
    await page.locator(`.broker[aria-label="broker ${first}"] button:has-text("Configuration")`).click();
    await page.waitForSelector(`[aria-label="configuration of broker ${first}"] tr`);
    assert.match(await page.locator('.command code').innerText(), new RegExp(`^kafka-configs\\.sh --bootstrap-server 127\\.0\\.0\\.1:\\d+ --describe --all --entity-type brokers --entity-name ${first}$`));
    await page.goto('/topics/bluesky-events');
    await page.waitForSelector('th >> text=cleanup.policy');
    await page.goto('/topics');
    const rows = page.locator('.rows tbody tr[data-href]');
    await until('all topics', async () => await rows.count() >= 4);
    for (const path of ['/topics', '/topics/bluesky-events', '/topics/bluesky-events/messages', '/groups', '/groups/weir-wikipedia-counter', '/brokers', '/produce?topic=bluesky-events', '/verify']) {
      await page.goto(path);
      await until(`the command and the requests of ${path}`, async () => {
        const bars = await page.locator('.command:visible').allInnerTexts();
        return bars.length > 0 && bars.every((b) => /^\$\s+weir .*Kafka: \w+/s.test(b));
      });
    }
  });
});

test('a group of weir itself is reset from the page: members out, reset, back in, counted anew', { timeout: 300_000 }, async () => {
  const accounts = group + '.accounts';
  await tab('/groups/' + accounts, async (page) => {
    await page.waitForSelector('button:has-text("Remove a member"):not([disabled])');
    await page.click('button:has-text("Remove a member")');
    await page.waitForSelector('text=/0 members now: no counter is left/');
    await page.click('button:has-text("Preview"):not(:has-text("replay"))');
    await page.locator('button:has-text("Reset 3 partitions")').waitFor();
    await until('no member is known any more', async () => await page.locator('button:has-text("Reset 3 partitions")').isEnabled());
    await page.click('button:has-text("Reset 3 partitions")');
    await page.fill('dialog input', accounts);
    await page.click('dialog button.danger');
    await page.waitForSelector('.toast >> text=was reset');
    assert.ok((await api('/groups/' + accounts)).partitions.every((p) => p.committed === 0));
    await page.click('button:has-text("Add a member")');
    await page.waitForSelector('text=/a member was added from the page, 1 member now/');
  });
});

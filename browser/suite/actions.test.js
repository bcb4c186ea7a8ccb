// What changes groups and brokers, done from the pages: members, reset, replay, kill.

import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { startWeir, startBrowser, openTab, until, shots } from './weir.js';

let weir;
let browser;
before(async () => { [weir, browser] = await Promise.all([startWeir(), startBrowser()]); }, { timeout: 120_000 });
after(async () => { await browser?.close(); await weir?.stop(); });

async function tab(path, f, options) {
  const t = await openTab(browser, weir.base, path, options);
  t.page.setDefaultTimeout(30_000);
  try {
    await f(t.page);
    assert.deepEqual(t.wrong, [], 'the browser complained');
  } finally { await t.close(); }
}
const group = 'weir-bluesky-counter';
const api = async (path) => (await fetch(weir.base + '/api/v1' + path)).json();
const colours = (page) => page.evaluate(() => [...document.querySelectorAll('.lane .track')].map((t) => t.className.split(' ')[2]));
const shot = async (page, name, options = {}) => { if (shots) await page.screenshot({ path: `${shots}/${name}.png`, ...options }); };

test('members join and leave from the page: lanes recolour, the stop is measured', { timeout: 120_000 }, async () => {
  await tab('/groups/' + group, async (page) => {
    await page.waitForSelector('.lane .flag-name');
    await until('one colour', async () => { const c = new Set(await colours(page)); return c.size === 1 && !c.has(undefined); });
    assert.match(await page.locator('.command code').filter({ hasText: 'weir groups join' }).innerText(), /weir groups join weir-bluesky-counter/);
    await page.click('button:has-text("Add a member")');
    await page.waitForSelector('text=/3 of 6 partitions changed hands and stood still for \\d+ ms at most; every one is counted again after \\d+ ms/');
    await until('two colours, three lanes each', async () => {
      const c = await colours(page);
      return new Set(c).size === 2 && c.filter((x) => x === c[0]).length === 3;
    });
    await until('two members in the table', async () => await page.locator('[aria-label=members] tbody tr').count() === 2);
    await page.waitForSelector('[aria-label=rebalances] tbody tr');
    await shot(page, 'group-two-members', { fullPage: true });
    await page.click('button:has-text("Remove a member")');
    await page.waitForSelector('text=/a member was removed here, 1 member now/');
    await until('one colour again', async () => new Set(await colours(page)).size === 1);
    const log = (await api('/log')).entries.map((e) => e.text).filter((t) => t.includes('was added here') || t.includes('was removed here'));
    assert.equal(log.length, 2, log.join('\n'));
    assert.match(log[0], /stood still for \d+ ms/);
  });
});

test('the seventh member of six partitions stands by, grey', { timeout: 120_000 }, async () => {
  for (let n = 2; n <= 7; n++) {
    const r = await fetch(`${weir.base}/api/v1/groups/${group}/members/add`, { method: 'POST' });
    assert.equal(r.status, 200, await r.text());
  }
  await tab('/groups/' + group, async (page) => {
    await until('seven members', async () => await page.locator('[aria-label=members] tbody tr').count() === 7);
    await page.waitForSelector('tr.idle >> text=none: it stands by');
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
    assert.ok(!await page.locator('button:has-text("Add a member")').isVisible());
    assert.ok(!await page.locator('button:has-text("Preview the replay")').isVisible());
  });
});

test('a replay counts the log again beside the live count, until both are equal', { timeout: 120_000 }, async () => {
  await tab('/groups/' + group, async (page) => {
    await page.click('button:has-text("Preview the replay")');
    await page.waitForSelector('text=/are counted again, as group weir-bluesky-counter.replay/');
    await page.click('button:has-text("Replay…")');
    const go = page.locator('dialog button.danger');
    assert.ok(await go.isDisabled());
    await page.fill('dialog input', group);
    await go.click();
    await page.waitForSelector('text=/Equal: over the same stretch/', { timeout: 60_000 });
    const rows = await page.locator('table.replay tbody tr').allInnerTexts();
    assert.ok(rows.length >= 1 && rows.every((r) => /\t0$/.test(r)), rows.join('\n'));
    assert.match(rows[0], /create\t[0-9,]{3,}\t[0-9,]{3,}/);
    await shot(page, 'group-replay', { fullPage: true });
  });
});

test('a killed broker: its leaders move, and the longest pause is measured', { timeout: 120_000 }, async () => {
  await tab('/brokers', async (page) => {
    const broker = page.locator('.broker[aria-label="broker 1"]');
    await broker.locator('text=alive').waitFor();
    assert.equal(await page.locator('button:has-text("Kill hard")').count(), 0, 'embedded brokers always end at once');
    for (const [button, past] of [['Kill…', 'killed'], ['Restart', 'restarted']]) {
      await broker.locator(`button:has-text("${button}")`).click();
      if (past === 'killed') { await page.fill('dialog input', 'broker 1'); await page.click('dialog button.danger'); }
      const row = page.locator('[aria-label=changes] tbody tr').first();
      await until('the pause to be known', async () => { const t = await row.innerText(); return t.includes(past) && /\d+ ms\s+every \d+ ms\s+(bluesky|wikipedia)/.test(t); }, 60_000);
      if (past === 'killed') { await shot(page, 'brokers-killed'); assert.match(await page.locator('.command code').innerText(), /weir brokers kill 1$/); }
    }
    const log = (await api('/log')).entries.map((e) => e.text).join('\n');
    assert.match(log, /broker 1 was killed: no transaction of \w+ was acknowledged for \d+ ms at most/);
  });
});

test('a group of weir itself is reset from the page: members out, reset, back in, counted anew', { timeout: 120_000 }, async () => {
  const accounts = group + '.accounts';
  await tab('/groups/' + accounts, async (page) => {
    await page.waitForSelector('button:has-text("Remove a member"):not([disabled])');
    await page.click('button:has-text("Remove a member")');
    await page.waitForSelector('text=/0 members now: nobody counts/');
    await page.click('button:has-text("Preview"):not(:has-text("replay"))');
    await page.locator('button:has-text("Reset 3 partitions")').waitFor();
    await until('no member is known any more', async () => await page.locator('button:has-text("Reset 3 partitions")').isEnabled());
    await page.click('button:has-text("Reset 3 partitions")');
    await page.fill('dialog input', accounts);
    await page.click('dialog button.danger');
    await page.waitForSelector('.toast >> text=was reset');
    assert.ok((await api('/groups/' + accounts)).partitions.every((p) => p.committed === 0));
    await page.click('button:has-text("Add a member")');
    await page.waitForSelector('text=/a member was added here, 1 member now/');
  });
});

// The labs' pages in a real browser: an experiment is started, watched, changed while it
// runs, judged, kept and compared.

import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { startWeir, startBrowser, openTab, until, shots } from './weir.js';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

let weir;
let browser;
before(async () => { [weir, browser] = await Promise.all([startWeir({ rate: 50 }), startBrowser()]); }, { timeout: 300_000 });
after(async () => { await browser?.close(); await weir?.stop(); });

async function tab(path, f, options) {
  const t = await openTab(browser, weir.base, path, options);
  t.page.setDefaultTimeout(90_000);
  try {
    await f(t.page, t.wrong);
    assert.deepEqual(t.wrong, [], 'the browser complained');
  } finally { await t.close(); }
}

const ask = async (path, body) => {
  const r = await fetch(weir.base + '/api/v1' + path, body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) });
  return { status: r.status, answer: await r.json() };
};

async function fits(page, name) {
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.equal(wide, 0, `${name} is ${wide} pixels wider than the window`);
  await page.evaluate(axe);
  const found = await page.evaluate(() => /** @type {any} */ (globalThis).axe.run(document, { resultTypes: ['violations'] }));
  const serious = found.violations.filter((v) => v.impact === 'serious' || v.impact === 'critical')
    .map((v) => `${v.id}: ${v.nodes.slice(0, 3).map((n) => `${n.target} ${n.failureSummary}`).join('; ')}`);
  assert.deepEqual(serious, [], name);
}

/** Pictures of a page in both themes, wide and narrow, each of which has to fit and be accessible. */
async function looks(page, name) {
  for (const scheme of ['light', 'dark']) {
    for (const width of [1440, 390]) {
      await page.emulateMedia({ colorScheme: /** @type {any} */ (scheme), reducedMotion: 'reduce' });
      await page.setViewportSize({ width, height: 900 });
      await fits(page, `${name}, ${scheme}, ${width}`);
      if (shots) await page.screenshot({ path: `${shots}/${name}-${scheme}-${width}.png`, fullPage: true });
    }
  }
  await page.setViewportSize({ width: 1440, height: 1000 });
}

/** Opens all settings of a lab's page and fills some in. */
async function settings(page, values) {
  await page.waitForSelector('.lab-form select, .lab-form input');
  await page.locator('details.more summary').first().click();
  for (const [k, v] of Object.entries(values)) {
    const field = page.locator('#f-' + k);
    if (await field.evaluate((e) => e.tagName) === 'SELECT') await field.selectOption(v); else await field.fill(v);
  }
}

const verdictOf = (page) => page.locator('.verdict h2').innerText({ timeout: 240_000 });

test('backpressure: tanks fill, the policy is changed, the verdict is kept', { timeout: 400_000 }, async () => {
  await tab('/labs/backpressure', async (page) => {
    await settings(page, { preset: 'play', queue: '1000', rate: '800', time: '40s' });
    assert.equal(await page.getByRole('heading', { name: 'Figures' }).isVisible(), false, 'nothing has run, and there are no figures');
    const command = await page.locator('.command code').first().innerText();
    for (const word of ['weir lab backpressure ', ' --preset play', ' --queue 1000', ' --rate 800', ' --time 40s']) assert.ok(command.includes(word), command);
    await page.getByRole('button', { name: 'Run', exact: true }).click();
    await page.waitForSelector('.stage-tank');
    const again = await ask('/labs/replay/start', { settings: {} });
    assert.equal(again.status, 409);
    assert.match(again.answer.error, /backpressure is running/);
    await until('the queue to be full', () => page.locator('.stage-tank.full h3', { hasText: 'Queue' }).isVisible());
    await looks(page, 'lab-backpressure-running');
    await page.getByRole('button', { name: 'drop-newest' }).click();
    await page.locator('.lab-marks li', { hasText: 'policy → drop-newest' }).waitFor();
    await page.waitForSelector('.stage-tank.losing');
    const slider = page.getByRole('slider', { name: 'workers' });
    await slider.focus();
    for (let i = 0; i < 20; i++) await page.keyboard.press('ArrowRight');
    await page.locator('.lab-marks li', { hasText: 'workers → ' }).first().waitFor();
    const refused = await ask('/labs/set', { name: 'workers', value: '65' });
    assert.equal(refused.status, 400);
    const verdict = await verdictOf(page);
    assert.match(verdict, /holds/i);
    assert.doesNotMatch(verdict, /not/i, await page.locator('.checks').innerText());
    assert.match(await page.locator('.checks').innerText(), /every loss is counted/);
    const named = 'block → drop-newest (workers changed)';
    for (const cell of await page.locator('.checks tbody tr td:nth-child(2)').allInnerTexts()) assert.equal(cell, named, 'a check is named after what was set');
    for (const legend of await page.locator('.course .legend span').allInnerTexts()) assert.ok(legend.startsWith(named), legend);
    assert.match(await page.locator('.results').innerText(), /block → drop-newest \(workers changed\)/);
    await looks(page, 'lab-backpressure-ended');
    await page.getByRole('link', { name: 'The report with its plot' }).click();
    await page.waitForSelector('.plot');
    await until('the plot to be drawn', () => page.locator('.plot').evaluate((i) => { i.scrollIntoView(); return /** @type {HTMLImageElement} */ (i).naturalWidth > 100; }));
    await looks(page, 'lab-report');
  });
});

test('a setting that cannot be is refused with what would do, and nothing runs', { timeout: 300_000 }, async () => {
  await tab('/labs/backpressure', async (page, wrong) => {
    await settings(page, { rate: '100' });
    await page.getByRole('button', { name: 'Run', exact: true }).click();
    assert.match(await page.getByRole('alert').innerText(), /offer at least 480/);
    assert.equal((await ask('/labs')).answer.running, '');
    await looks(page, 'lab-refused');
    await page.locator('#f-rate').fill('600');
    await until('the refusal to go with what was refused', async () => (await page.getByRole('alert').count()) === 0);
    assert.match(wrong.splice(0).join(), /^error: Failed to load resource[^,]*400[^,]*$/, 'the browser notes the refusal, and nothing else');
  });
});

for (const [lab, mark, limit] of [['failover', /broker \d killed/, 300_000], ['groups', /./, 300_000]]) {
  test(`${lab}: marks on the chart, and a verdict`, { timeout: limit }, async (t) => {
    if (!(await ask('/labs')).answer.labs.some((l) => l.name === lab)) { t.skip('there is no such lab'); return; }
    await tab('/labs/' + lab, async (page) => {
      await page.waitForSelector('.lab-form input');
      await page.getByRole('button', { name: 'Run', exact: true }).click();
      await page.locator('.lab-marks li', { hasText: mark }).first().waitFor({ timeout: 120_000 });
      assert.match(await verdictOf(page), /holds/i);
      assert.ok(await page.locator('.course polyline').count() > 0, 'lines are drawn');
      await looks(page, 'lab-' + lab);
    });
  });
}

test('groups: paused and resumed, a member comes and one dies, by hand', { timeout: 400_000 }, async () => {
  await tab('/labs/groups', async (page) => {
    await settings(page, { play: '45s' });
    for (const p of ['eager', 'kip-848']) await page.getByRole('checkbox', { name: p, exact: true }).uncheck();
    await page.getByRole('button', { name: 'Run', exact: true }).click();
    const slow = page.getByRole('group', { name: 'the slow group' });
    await slow.waitFor({ timeout: 180_000 });
    const lag = async () => Number((await page.locator('figure', { hasText: 'lag (records)' }).first().locator('.legend span', { hasText: 'lab-slow' }).locator('b').innerText()).replace(/[^0-9]/g, ''));
    await slow.getByRole('button', { name: 'paused' }).click();
    await until('the lag to grow', async () => (await lag()) > 1500);
    await slow.getByRole('button', { name: 'goes on' }).click();
    await until('the lag to drain', async () => (await lag()) < 500);
    const members = page.getByRole('slider', { name: 'members of cooperative' });
    await members.focus();
    await page.keyboard.press('ArrowRight');
    await page.locator('.lab-marks li', { hasText: 'members of cooperative → ' }).last().waitFor();
    await page.getByRole('group', { name: 'killed in cooperative' }).getByRole('button', { name: 'a member' }).click();
    await page.locator('.lab-marks li', { hasText: 'killed in cooperative → a member' }).waitFor();
    await until('the kill to be done', () => page.getByRole('group', { name: 'killed in cooperative' }).getByRole('button', { name: 'nobody', pressed: true }).isVisible());
    assert.match(await page.locator('.command', { hasText: 'kill-cooperative' }).innerText(), /a member.*weir lab groups --control/s, 'the command of what was changed');
    await looks(page, 'lab-groups-play');
    const verdict = await verdictOf(page);
    assert.match(verdict, /holds/i);
    assert.doesNotMatch(verdict, /not/i, await page.locator('.checks').innerText());
  });
});

test('a form knows its bounds and what its preset decides', { timeout: 300_000 }, async () => {
  await tab('/labs/backpressure', async (page) => {
    await settings(page, { preset: 'short', source: 'simulated' });
    assert.equal(await page.locator('#f-queue').getAttribute('placeholder'), '1000');
    assert.equal(await page.locator('#f-queue').getAttribute('min'), '512');
    await page.locator('#f-preset').selectOption('play');
    assert.equal(await page.locator('#f-queue').getAttribute('placeholder'), '2000');
    assert.equal(await page.getByRole('checkbox', { name: 'drop-newest' }).isChecked(), false, 'play has one policy');
    assert.equal(await page.locator('.command code').first().innerText(), `weir lab backpressure --preset play --data ${weir.data}`);
    if (!await page.locator('#f-work').isVisible()) await page.locator('details.more summary').first().click();
    await page.locator('#f-work').fill('1h');
    await page.getByRole('button', { name: 'Run', exact: true }).click();
    assert.match(await page.locator('#f-work').evaluate((e) => /** @type {HTMLInputElement} */ (e).validationMessage), /from 1ms to 1s/);
    assert.equal((await ask('/labs')).answer.running, '');
    await looks(page, 'lab-form');
  });
});

test('stopped in the middle, nothing is kept; two reports are compared', { timeout: 200_000 }, async () => {
  await tab('/labs/replay', async (page) => {
    const before = (await ask('/labs')).answer.reports.length;
    for (const last of [false, true]) {
      await page.waitForSelector('.lab-form input');
      await page.getByRole('button', { name: 'Run', exact: true }).click();
      if (last) break;
      await page.waitForSelector('.course polyline');
      await page.getByRole('button', { name: 'Stop' }).click();
      await page.getByText('nothing of it is kept').waitFor();
      assert.equal((await ask('/labs')).answer.reports.length, before);
    }
    await verdictOf(page);
    const first = (await ask('/labs')).answer.reports[0];
    await page.getByRole('button', { name: 'Run', exact: true }).click();
    await until('a second report', async () => (await ask('/labs')).answer.reports[0].name !== first.name, 120_000);
    await page.goto('/labs');
    await page.waitForSelector('.lab-card');
    const boxes = page.getByRole('checkbox', { name: /Compare replay/ });
    await boxes.nth(0).check();
    await boxes.nth(1).check();
    await looks(page, 'labs');
    await page.getByRole('button', { name: 'Compare two' }).click();
    await page.getByRole('rowheader', { name: 'verdict' }).waitFor();
    await looks(page, 'labs-compare');
  });
});

test('labs are for people who look first: a sentence, controls, the last chart; the text is behind Read more', { timeout: 300_000 }, async () => {
  await tab('/labs', async (page) => {
    await page.locator('.lab-card').nth(7).waitFor();
    for (const text of await page.locator('.lab-card > p:first-of-type').allInnerTexts()) assert.equal(text.match(/[.;](?=\s|$)/g)?.length, 1, `one sentence: ${text}`);
    const reports = (await ask('/labs')).answer.reports;
    assert.equal(await page.locator('.lab-card img').count(), 8, 'a plot on each card');
    assert.equal(await page.locator('.lab-card img[src^="/api/v1/labs/reports/"]').count(), new Set(reports.map((r) => r.lab)).size, 'the plot of each last run, not of the example');
    await looks(page, 'labs-cards');
    for (const [lab, box] of [['replay', '.lab-main .courses .course:visible'], ['batching', '.lab-last .doc']]) { // replay ran before, batching did not
      await page.goto('/labs/' + lab);
      await page.locator(box).first().waitFor();
      const more = page.locator('.read-more');
      assert.equal(await more.locator('.doc').isVisible(), false, 'the text is closed');
      const right = await page.locator('.lab-main').evaluate((e) => e.getBoundingClientRect().right);
      assert.ok(right > 1300, `the right half is empty: it ends at ${right}`);
      await more.locator('summary').click();
      await more.locator('h2', { hasText: 'What it means in production' }).waitFor();
      await looks(page, 'lab-idle-' + lab);
    }
  });
});

test('a stranger starts nothing', async () => {
  const r = await fetch(weir.base + '/api/v1/labs/replay/start', { method: 'POST', headers: { Origin: 'http://elsewhere.example', 'Sec-Fetch-Site': 'cross-site' }, body: '{}' });
  assert.equal(r.status, 403);
  for (const name of ['..%2f..', '.work-1', 'no-such']) assert.ok([400, 404].includes((await ask('/labs/reports/' + name)).status), name);
});

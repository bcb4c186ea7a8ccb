// Every term of the glossary is explained on every page, where it is first seen in a card or
// section. The terms come from the API, and what a reader sees from the page itself.

import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { startWeir, startBrowser, openTab, until, pages, shots } from './weir.js';

let weir;
let browser;
before(async () => { [weir, browser] = await Promise.all([startWeir({ rate: 200 }), startBrowser()]); }, { timeout: 300_000 });
after(async () => { await browser?.close(); await weir?.stop(); });

async function tab(path, f, options) {
  const t = await openTab(browser, weir.base, path, options);
  t.page.setDefaultTimeout(90_000);
  try {
    await f(t.page);
    assert.deepEqual(t.wrong, [], 'the browser complained');
  } finally { await t.close(); }
}

/** Pages with texts of their own beside those that every suite visits. */
const more = [
  { name: 'dead letters', path: '/topics/weir.dead-letters', ready: 'text=No group reads this topic' },
  { name: 'labs', path: '/labs', ready: '.lab-card' },
  ...['backpressure', 'batching', 'failover', 'groups', 'parallel', 'persistence', 'replay'].map((l) => ({ name: l + ' lab', path: '/labs/' + l, ready: '.lab-last .card' })),
  ...[1, 2, 5, 9, 12].map((n) => ({ name: 'station ' + n, path: '/learn/' + n, ready: '.station-text p' })),
  { name: 'tutorial', path: '/docs/tutorial', ready: '.doc h1' },
  { name: 'what Kafka is for', path: '/docs/explanation/what-kafka-is-for', ready: '.doc h1' },
  { name: 'commands', path: '/docs/reference/commands', ready: '.doc h1' },
];

/** A sentence means something else with these, so they are explained in labels only. */
const everyday = ['committed', 'consumed', 'counts', 'end', 'leads', 'low', 'position', 'positions', 'reject', 'rejects', 'sequence', 'time', 'trend', 'value', 'values', 'window', 'windows'];

/** What is not explained: the first occurrence of a term in each card, and marks where none may be. @param {import('playwright-core').Page} page @param {any[]} terms */
const unexplained = (page, terms) => page.evaluate(({ terms, everyday }) => {
  const parts = '.card, section, article, details, dialog, main';
  const ids = new Map(terms.flatMap((t) => [t.term, ...t.also].map((n) => [n.toLowerCase(), t.id])));
  const names = [...ids.keys()].sort((a, b) => b.length - a.length).map((n) => n.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  const word = new RegExp(`(?<![\\w.-])(${names.join('|')})(?![\\w-]|\\.\\w)`, 'gi');
  // Controls, code, names and values of people and programs, live lists, and documents' headings.
  const other = 'a, button, summary, pre, code, select, textarea, svg, time, .crumb, .log, .tail, .json, .hits, .lane, .requests, .message-facts dd, .course .legend, [data-plain], .doc :is(h1, h2, h3, h4, th)';
  const seen = new Map();
  const wrong = [];
  for (const root of [document.querySelector('main'), document.querySelector('dialog[open]')]) {
    if (!root) continue;
    const walk = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    for (let n = /** @type {Text|null} */ (walk.nextNode()); n; n = /** @type {Text|null} */ (walk.nextNode())) {
      const e = /** @type {Element} */ (n.parentElement);
      const row = e.closest('tr');
      if (e.closest(other) || e.closest('.sr') || !e.checkVisibility()) continue;
      if (row && !row.querySelector(':scope > th') && !row.closest('.prose') || e.closest('td') && !e.closest('.prose')) continue;
      const part = e.closest(parts);
      const known = seen.get(part) || new Set();
      seen.set(part, known);
      const label = e.closest('h1, h2, h3, th, dt, label, legend, figcaption, .legend, [role=columnheader]');
      for (const m of n.data.matchAll(word)) {
        const id = ids.get(m[0].toLowerCase());
        if (!label && everyday.includes(m[0].toLowerCase()) || known.has(id)) continue;
        known.add(id);
        if (!e.closest('[data-term]')) wrong.push(`${m[0]} in ${e.tagName.toLowerCase()}: “${n.data.trim().slice(0, 80)}”`);
      }
    }
  }
  const where = 'a [data-term], button [data-term], summary [data-term], code [data-term], pre [data-term], [data-term] [data-term], td.clip [data-term], .json [data-term], .log [data-term], .tail [data-term]';
  for (const e of document.querySelectorAll(where)) wrong.push(`a mark where none may be: ${e.textContent} in ${e.parentElement?.outerHTML.slice(0, 80)}`);
  for (const row of document.querySelectorAll('main tbody tr')) if (row.querySelectorAll('[data-term][tabindex="0"]').length > 0 && !row.querySelector('th') && !row.closest('.prose')) wrong.push(`a row of data with a tab stop: ${row.textContent}`);
  return wrong;
}, { terms, everyday });

/** Waits until all is explained: pages draw after they have asked. */
async function explained(page, terms, name) {
  let wrong = ['nothing was looked at'];
  try { await until('every term to be explained', async () => { wrong = await unexplained(page, terms); return !wrong.length && await page.locator('main [data-term]').count() > 0; }, 15_000); } catch { /* the list says more */ }
  assert.deepEqual(wrong, [], name);
}

const theTerms = async () => (await (await fetch(weir.base + '/api/v1/terms')).json()).terms;

test('the first occurrence of each term in a card is explained, on every page', { timeout: 300_000 }, async () => {
  const terms = await theTerms();
  for (const width of [1440, 390]) {
    await tab(null, async (page) => {
      for (const p of [...pages, ...more]) {
        await page.goto(p.path);
        await page.waitForSelector(p.ready);
        await explained(page, terms, `${p.name}, ${width} pixels`);
      }
    }, { viewport: { width, height: 900 } });
  }
});

test('what is opened, asked for and reported is explained, too', { timeout: 300_000 }, async () => {
  const terms = await theTerms();
  await tab('/topics', async (page) => {
    await page.click('button:has-text("Create a topic")');
    await page.click('summary:has-text("Settings")');
    await page.waitForSelector('.new-topic .field >> text=cleanup.policy');
    await explained(page, terms, 'the form of a new topic');
    await page.goto('/groups/weir-bluesky-counter');
    await page.click('button:has-text("Preview the replay")');
    await page.waitForSelector('button:has-text("Replay…")');
    await explained(page, terms, 'the plan of a replay');
    await page.goto('/verify');
    await page.click('button:has-text("Run verify")');
    await page.waitForSelector('th[scope=row]:has-text("dead letters") .term');
    await explained(page, terms, 'the report of verify');
    if (shots) await page.screenshot({ path: `${shots}/verify-terms.png` });
    await page.goto('/brokers');
    await page.click('summary:has-text("Where this engine differs")');
    await page.waitForSelector('.prose .term');
    await explained(page, terms, 'the differences of the engine');
  });
});

test('a dialog explains its terms: the card can be reached, and Escape closes only the card', { timeout: 300_000 }, async () => {
  const terms = await theTerms();
  await tab('/brokers', async (page) => {
    await page.locator('.broker').first().locator('button:has-text("Kill…")').click();
    await explained(page, terms, 'the dialog');
    const term = page.locator('dialog [data-term]', { hasText: 'partitions' });
    await term.hover();
    const card = page.locator('#term-card');
    await card.waitFor();
    assert.ok((await card.innerText()).includes(terms.find((t) => t.term === 'Partition').text));
    await page.keyboard.press('Escape');
    await card.waitFor({ state: 'hidden' });
    assert.ok(await page.locator('dialog').isVisible(), 'the dialog is still open');
    await page.locator('dialog h2').hover();
    await term.hover();
    await card.waitFor();
    await card.getByRole('link', { name: 'Glossary' }).click();
    await page.waitForURL(/glossary#partition$/);
    assert.ok(!await page.locator('dialog').isVisible(), 'the dialog is closed');
  });
});

test('live numbers change around an explained term: the focus stays, and nothing is marked anew', { timeout: 300_000 }, async () => {
  await tab('/', async (page) => {
    const mark = page.locator('.stream[aria-label=bluesky] header [data-term]', { hasText: 'events' });
    await mark.focus();
    const total = () => page.locator('.stream[aria-label=bluesky] header .dim').innerText();
    const first = await total();
    await page.waitForSelector('.stream[aria-label=wikipedia] .legend b >> text=/[0-9]/'); // the history has come
    await page.evaluate(() => {
      const w = /** @type {any} */ (window);
      w.marked = [];
      new MutationObserver((l) => { for (const r of l) for (const n of r.addedNodes) if (n instanceof Element && n.matches('.term')) w.marked.push(n.textContent); }).observe(/** @type {Node} */ (document.querySelector('header .dim')), { childList: true });
    });
    const values = new Set([first]);
    await until('five other totals', async () => { values.add(await total()); return values.size > 5; });
    assert.equal(await page.evaluate(() => document.activeElement?.textContent), 'events');
    assert.deepEqual(await page.evaluate(() => /** @type {any} */ (window).marked), []);
  });
});

test('touch: a tap explains, a tap elsewhere closes; help for a field is behind a tap', { timeout: 300_000 }, async () => {
  await tab('/', async (page) => {
    const card = page.locator('#term-card');
    await page.locator('.stage [data-term]', { hasText: 'Queue' }).first().tap();
    await card.waitFor();
    await page.locator('.stream h2').first().tap();
    await card.waitFor({ state: 'hidden' });
    await page.goto('/labs/backpressure');
    const help = page.locator('.field', { hasText: 'preset' }).first();
    await help.waitFor();
    assert.ok(!await help.locator('p').isVisible(), 'the text is hidden at first');
    await help.getByRole('button').tap();
    await help.locator('p').waitFor();
    if (shots) await page.screenshot({ path: `${shots}/lab-help-390.png` });
    await help.getByRole('button').tap();
    await help.locator('p').waitFor({ state: 'hidden' });
  }, { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true });
  await tab('/labs/backpressure', async (page) => { await page.locator('.field p').first().waitFor(); }, { viewport: { width: 1440, height: 900 } });
});

test('the keyboard stops at each term once on a page, and at each head of a column', { timeout: 300_000 }, async () => {
  const terms = await theTerms();
  const id = new Map(terms.flatMap((t) => [t.term, ...t.also].map((n) => [n.toLowerCase(), t.id])));
  await tab('/topics/bluesky-events', async (page) => {
    await page.waitForSelector('.config .term');
    const stops = await page.evaluate(() => [...document.querySelectorAll('main [data-term]')].filter((e) => /** @type {HTMLElement} */ (e).tabIndex === 0 && e.checkVisibility() && !e.closest('th[scope=col], [role=columnheader]'))
      .map((e) => (e.textContent || '').toLowerCase()));
    assert.ok(stops.length > 10, `${stops.length} tab stops`);
    const twice = stops.map((s) => id.get(s)).filter((x, i, all) => all.indexOf(x) !== i);
    assert.deepEqual(twice, []);
  });
});

// The documents and the explained terms, in a real browser against the real program.

import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { startWeir, startBrowser, openTab, shots } from './weir.js';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

let weir;
let browser;
before(async () => { [weir, browser] = await Promise.all([startWeir(), startBrowser()]); }, { timeout: 300_000 });
after(async () => { await browser?.close(); await weir?.stop(); });

/** A tab that has to end without any complaint of the browser. */
async function tab(path, f, options) {
  const t = await openTab(browser, weir.base, path, options);
  t.page.setDefaultTimeout(90_000);
  try {
    await f(t.page);
    assert.deepEqual(t.wrong, [], 'the browser complained');
  } finally { await t.close(); }
}

/** No wider than the window, and nothing serious for those who cannot see it. */
async function fits(page, name) {
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.equal(wide, 0, `${name} is ${wide} pixels wider than the window`);
  await page.evaluate(axe);
  const found = await page.evaluate(() => /** @type {any} */ (globalThis).axe.run(document, { resultTypes: ['violations'] }));
  assert.deepEqual(found.violations.filter((v) => v.impact === 'serious' || v.impact === 'critical').map((v) => `${v.id}: ${v.nodes[0].target} ${v.nodes[0].failureSummary}`), [], name);
  if (shots) await page.screenshot({ path: `${shots}/${name}.png` });
}

for (const [scheme, width] of [['light', 1440], ['dark', 390]]) {
  test(`every document can be read: ${scheme}, ${width} pixels`, { timeout: 300_000 }, async () => {
    const all = (await (await fetch(weir.base + '/api/v1/docs')).json()).pages;
    assert.ok(all.length >= 8);
    await tab(null, async (page) => {
      for (const p of all) {
        await page.goto(p.path === 'README' ? '/docs' : '/docs/' + p.path);
        await page.locator('.doc h1', { hasText: p.title }).waitFor();
        assert.equal(await page.title(), p.title + ' · weir');
        const broken = await page.evaluate(() => Promise.all([...document.querySelectorAll('.doc img')].map(async (i) => { i.loading = 'eager'; await i.decode().catch(() => {}); return i.naturalWidth ? '' : i.src; })));
        assert.deepEqual(broken.filter(Boolean), [], p.path);
        await fits(page, `docs-${p.path.replaceAll('/', '-')}-${scheme}-${width}`);
      }
    }, { colorScheme: scheme, viewport: { width, height: 900 } });
  });
}

test('documents are found by words, and a hit leads to its heading', async () => {
  await tab('/docs', async (page) => {
    await page.locator('.docs-list a', { hasText: 'Glossary' }).waitFor();
    await page.keyboard.press('/');
    await page.keyboard.type('high watermark');
    const hit = page.locator('.hits a').first();
    await hit.waitFor();
    assert.equal(await hit.innerText(), 'High watermark');
    assert.match(page.url(), /\?q=high/);
    await page.keyboard.press('Tab');
    await hit.click();
    await page.waitForURL(/\/docs\/reference\/glossary#high-watermark$/);
    const heading = page.locator('#high-watermark');
    await heading.waitFor();
    await page.waitForFunction(() => { const r = document.querySelector('#high-watermark')?.getBoundingClientRect(); return r && r.top >= 0 && r.top < innerHeight / 2; });
    // A link to the station, and back to what was found.
    assert.equal(await page.locator('#high-watermark ~ p a').first().getAttribute('href'), '/learn/9');
    await page.goBack();
    await page.locator('.hits a').first().waitFor();
    await page.getByRole('searchbox').fill('nosuchwordanywhere');
    await page.locator('.doc h1', { hasText: 'Nothing found' }).waitFor();
    await page.getByRole('searchbox').fill('');
    await page.locator('.doc h1', { hasText: 'Documentation' }).waitFor();
    await page.goto('/docs/no-such-page');
    await page.getByRole('alert').filter({ hasText: 'no such page' }).waitFor();
  }).catch((e) => { if (!/the browser complained/.test(e.message) || !/404/.test(e.message)) throw e; });
});

test('the commands of a block are copied without prompts and output', async () => {
  await tab('/docs/tutorial', async (page) => {
    await page.evaluate(() => { navigator.clipboard.writeText = async (text) => { /** @type {any} */ (globalThis).copied = text; }; });
    await page.locator('.block', { hasText: 'two pizzas' }).first().getByRole('button', { name: 'Copy' }).click();
    await page.getByText('Copied').waitFor();
    const copied = (await page.evaluate(() => /** @type {any} */ (globalThis).copied)).split('\n');
    assert.equal(copied[0], './weir topics create orders --partitions 3');
    assert.ok(copied.every((/** @type {string} */ line) => line.startsWith('./weir ')), copied.join('\n'));
  });
});

test('terms are explained: pointer, keyboard, touch', { timeout: 300_000 }, async () => {
  const { terms } = await (await fetch(weir.base + '/api/v1/terms')).json();
  const of = (name) => terms.find((t) => t.term === name);
  await tab('/topics/bluesky-events', async (page) => {
    const card = page.locator('#term-card');
    const term = page.locator('[data-term]', { hasText: 'High watermark' });
    await term.hover();
    await card.waitFor();
    assert.ok((await card.innerText()).includes(of('High watermark').text));
    await card.hover(); // it stays while the pointer is on it
    await page.getByRole('link', { name: 'Learn it: station 9' }).waitFor();
    await page.locator('h1').hover();
    await card.waitFor({ state: 'hidden' });
    // The keyboard: focus explains, Enter goes to the links, Escape closes and comes back.
    await page.locator('.lane-head [data-term]', { hasText: 'leader' }).focus();
    await page.keyboard.press('Shift+Tab');
    await page.keyboard.press('Tab');
    await card.waitFor();
    assert.ok((await card.innerText()).includes(of('Leader').text));
    await page.keyboard.press('Enter');
    assert.equal(await page.evaluate(() => document.activeElement?.getAttribute('href')), '/learn/9');
    await page.keyboard.press('Escape');
    await card.waitFor({ state: 'hidden' });
    assert.equal(await page.evaluate(() => document.activeElement?.textContent), 'leader');
    await page.keyboard.press('Shift+Tab');
    await page.keyboard.press('Tab');
    await page.getByRole('link', { name: 'Glossary' }).click();
    await page.waitForURL(/glossary#leader$/);
    await card.waitFor({ state: 'hidden' });
  });
  // A column that sorts is explained by its button; a touch on a label opens no keyboard.
  await tab('/groups', async (page) => {
    await page.getByRole('button', { name: 'Lag', exact: true }).tap();
    await page.locator('#term-card', { hasText: of('Lag').text }).waitFor();
    await page.goto('/topics/bluesky-events/messages');
    await page.locator('label [data-term]', { hasText: 'Isolation' }).tap();
    await page.locator('#term-card', { hasText: of('Isolation level').text }).waitFor();
    assert.equal(await page.evaluate(() => document.activeElement?.tagName), 'SPAN', 'the field has no focus');
  }, { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true });
});

// Every page and every action of the web pages, in a real browser against the real program.

import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { startWeir, startBrowser, openTab, until, pages, shots } from './weir.js';

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

const post = (path, body) => fetch(weir.base + '/api/v1' + path, { method: 'POST', body: JSON.stringify(body) }).then(async (r) => {
  const a = await r.json();
  assert.equal(r.status, 200, JSON.stringify(a));
  return a;
});
const number = (s) => Number(String(s).replace(/[^0-9.]/g, ''));

for (const [scheme, width] of [['light', 1440], ['dark', 1440], ['light', 390], ['dark', 390]]) {
  test(`every page is accessible, fits and looks as it did: ${scheme}, ${width} pixels`, { timeout: 300_000 }, async () => {
    await tab(null, async (page) => {
      for (const p of pages) {
        await page.goto(p.path);
        await page.waitForSelector(p.ready);
        if (p.name === 'messages') { await page.locator('.expand').first().click(); await page.waitForSelector('.detail:not([hidden]) .json'); }
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        assert.equal(wide, 0, `${p.name} is ${wide} pixels wider than the window`);
        // A policy that allows no inline code keeps axe out as a script element, and lets it in through the debugger.
        await page.evaluate(axe);
        const found = await page.evaluate(() => /** @type {any} */ (globalThis).axe.run(document, { resultTypes: ['violations'] }));
        const serious = found.violations.filter((v) => v.impact === 'serious' || v.impact === 'critical')
          .map((v) => `${v.id}: ${v.nodes.slice(0, 3).map((n) => `${n.target} ${n.failureSummary}`).join('; ')}`);
        assert.deepEqual(serious, [], p.name);
        if (shots) await page.screenshot({ path: `${shots}/${p.name}-${scheme}-${width}.png`, fullPage: p.name !== 'overview' || width < 1000 });
      }
    }, { colorScheme: scheme, viewport: { width, height: width > 1000 ? 1000 : 844 } });
  });
}

test('the overview is live', async () => {
  await tab('/', async (page) => {
    await page.waitForSelector('.stream .lane');
    const total = () => page.locator('.stream[aria-label=bluesky] header .dim').innerText().then(number);
    const was = await total();
    await until('the total to grow', async () => await total() > was + 100);
    assert.match(await page.locator('#mode').innerText(), /SIMULATED/);
    assert.match(await page.locator('#fresh').innerText(), /live/);
    assert.equal(await page.locator('.stream[aria-label=bluesky] .lane').count(), 6);
    await page.waitForSelector('.stream[aria-label=bluesky] .counts >> text=create');
    await page.waitForSelector('.stream[aria-label=bluesky] .tail li');
    assert.equal(await page.locator('text=No streams here').count(), 0);
  });
});

test('a card holds its sparklines, however large the counts are', async () => {
  await tab('/', async (page) => {
    await page.waitForSelector('.stream[aria-label=bluesky] .counts .spark');
    const beyond = await page.evaluate(() => [...document.querySelectorAll('.stream .counts')].map((t) => {
      for (const c of t.querySelectorAll('td.num')) c.textContent = '123,456,789';
      const card = /** @type {Element} */ (t.closest('.stream')).getBoundingClientRect();
      return Math.max(...[...t.querySelectorAll('.spark')].map((s) => s.getBoundingClientRect().right)) - card.right;
    }));
    assert.ok(beyond.length > 0 && beyond.every((n) => n <= 0), `sparklines reach ${beyond} pixels beyond their card`);
  }, { viewport: { width: 1100, height: 900 } });
});

test('the chart is drawn in colours of the theme', async () => {
  for (const scheme of ['light', 'dark']) {
    await tab('/', async (page) => {
      await page.waitForSelector('.stream canvas');
      const coloured = () => page.evaluate(() => {
        // A copy is read: reading the page's own canvas again and again makes Chromium warn.
        const c = /** @type {HTMLCanvasElement} */ (document.querySelector('.stream canvas'));
        if (!c.width || !c.height) return 0;
        const copy = new OffscreenCanvas(c.width, c.height);
        const g = /** @type {OffscreenCanvasRenderingContext2D} */ (copy.getContext('2d', { willReadFrequently: true }));
        g.drawImage(c, 0, 0);
        const d = g.getImageData(0, 0, c.width, c.height).data;
        let n = 0;
        for (let i = 0; i < d.length; i += 4) if (d[i + 3] > 200 && Math.max(d[i], d[i + 1], d[i + 2]) - Math.min(d[i], d[i + 1], d[i + 2]) > 60) n++;
        return n;
      });
      await until(`coloured lines, ${scheme}`, async () => await coloured() > 10);
    }, { colorScheme: scheme });
  }
});

test('history survives a reload', async () => {
  await tab('/', async (page) => {
    await page.waitForSelector('.stream .lane');
    await page.waitForTimeout(3000);
    await page.reload();
    await page.locator('.stream .behind summary').first().click();
    await until('older numbers in the table behind the chart', async () => {
      const cells = await page.locator('.stream .behind').first().locator('td.num').allInnerTexts();
      return cells.filter((c) => c !== '–').length >= 4;
    });
  });
});

test('messages: filter with what was scanned, older pages that lose nothing, a link to one', async () => {
  const marker = 'weir-browser-' + process.pid;
  for (let i = 0; i < 25; i++) await post('/topics/weir.dead-letters/messages', { key: marker, value: JSON.stringify({ n: i, big: 'X' }).replace('"X"', '9007199254740993') , headers: [['test', marker]], partition: i % 2 });
  await tab('/topics/weir.dead-letters/messages?n=10&header=test%3D' + marker, async (page) => {
    const values = () => page.locator('.messages td.value').allInnerTexts();
    await until('the first page', async () => (await values()).length === 10);
    assert.match(await page.locator('main p[role=status]').innerText(), /scanned \d+, matched 10/);
    await page.click('button:has-text("Older")');
    await until('the second page', async () => (await values()).length === 20);
    await page.click('button:has-text("Older")');
    await until('the third page', async () => (await values()).length === 25);
    const ns = (await values()).map((v) => JSON.parse(v).n);
    assert.deepEqual([...ns].sort((a, b) => a - b), Array.from({ length: 25 }, (_, i) => i), 'each once');
    assert.deepEqual(ns, [...ns].sort((a, b) => b - a), 'newest first, over all partitions');
    await until('no further page', async () => !await page.locator('button:has-text("Older")').isVisible());

    await page.locator('.expand').first().click();
    await page.waitForSelector('.json');
    assert.match(await page.locator('.json').first().innerText(), /big: 9007199254740993/, 'a 64-bit integer as it is');

    const link = await page.locator('.messages td.num a').nth(3).getAttribute('href');
    const value = (await values())[3];
    await page.goto(weir.base + link);
    await until('the one message', async () => (await values()).length === 1);
    assert.equal((await values())[0], value);

    await page.goto('/topics/weir.dead-letters/messages?text=' + marker);
    await until('the filter by text', async () => (await values()).length === 25);
    await page.fill('input[name=path]', '.n=7');
    await page.click('button:has-text("Read")');
    await until('the filter by path', async () => (await values()).length === 1);
    assert.match(page.url(), /path=.n%3D7/, 'the address is the state');
    await page.fill('input[name=path]', '.n=77');
    await page.click('button:has-text("Read")');
    await page.waitForSelector('text=No scanned message matches');
  });
});

test('messages: a timestamp that is not a time is shown as it is stored', async () => {
  const { partition, offset } = await post('/topics/weir.dead-letters/messages', { key: 'stamp', value: '{}', headers: [], partition: 0 });
  const path = `/topics/weir.dead-letters/messages?from=offset&partition=${partition}&offset=${offset}&n=1`;
  const t = await openTab(browser, weir.base, '');
  let changed = 0;
  // The page's producer cannot send such a timestamp. This is how the API shows one (TestWireTime).
  await t.page.route('**/api/v1/topics/*/messages?*', async (route) => {
    const response = await route.fetch();
    const body = await response.json();
    for (const m of body.messages) { m.time = null; m.timestamp = '1730176462000000000'; changed++; }
    await route.fulfill({ response, json: body });
  });
  try {
    await t.page.goto(path);
    await t.page.waitForSelector('.out-of-range');
    assert.match(await t.page.locator('.out-of-range').first().innerText(), /^1730176462000000000\s*out of range$/);
    assert.equal(changed, 1);
    if (shots) await t.page.screenshot({ path: `${shots}/out-of-range.png` });
    assert.deepEqual(t.wrong, [], 'the browser complained');
  } finally { await t.close(); }
});

test('messages: the shown time can be asked for, wherever the reader is', async () => {
  const { partition, offset } = await post('/topics/weir.dead-letters/messages', { key: 'when', value: '{"when":1}', headers: [], partition: 0 });
  const sent = Date.parse((await (await fetch(`${weir.base}/api/v1/topics/weir.dead-letters/messages/${partition}/${offset}`)).json()).time);
  // St. John's is three and a half hours behind UTC, without a clock change near a year's end; the wanted text comes from Intl.
  const timezoneId = 'America/St_Johns';
  const part = Object.fromEntries(new Intl.DateTimeFormat('en-CA', { timeZone: timezoneId, hourCycle: 'h23', year: 'numeric', month: '2-digit', day: '2-digit', hour: '2-digit', minute: '2-digit', second: '2-digit' }).formatToParts(sent).map((p) => [p.type, p.value]));
  const shown = `${part.year}-${part.month}-${part.day} ${part.hour}:${part.minute}:${part.second}.${String(sent % 1000).padStart(3, '0')}`;
  await tab(`/topics/weir.dead-letters/messages?from=offset&partition=${partition}&offset=${offset}`, async (page) => {
    await page.waitForSelector('.expand');
    assert.equal(await page.locator('tr.message time').first().innerText(), shown);
    assert.match(await page.locator('tr.message time').first().getAttribute('title'), /^America\/St_Johns, UTC-0[23]:30\. In UTC: 2.*Z$/);
    assert.match(await page.locator('label:has(input[name=time]) > span').textContent(), /America\/St_Johns/);
    for (const text of [shown, new Date(sent).toISOString()]) {
      await page.selectOption('select[name=from]', 'time');
      await page.fill('input[name=time]', text);
      await page.click('button:has-text("Read")');
      await until('the message at that time', async () => (await page.locator('td.value').allInnerTexts())[0] === '{"when":1}' && Date.parse((/--since (\S+Z)/.exec(await page.locator('.command code').innerText()) || [])[1] || '') === sent);
      assert.equal(new URL(page.url()).searchParams.get('time'), new Date(sent).toISOString(), 'the address means the same everywhere');
    }
    await page.reload();
    await until('the field to show local time again', async () => await page.inputValue('input[name=time]') === shown.replace(/\.000$/, ''));
    const before = Date.now();
    await page.fill('input[name=time]', '10m');
    await page.click('button:has-text("Read")');
    await until('ten minutes ago as an instant', async () => /--since 2\S+Z/.test(await page.locator('.command code').innerText()) && Date.parse(new URL(page.url()).searchParams.get('time')) >= before - 600_000);
    assert.ok(Date.parse(new URL(page.url()).searchParams.get('time')) <= Date.now() - 600_000);
    await page.fill('input[name=time]', 'tomorrow');
    await page.click('button:has-text("Read")');
    await page.waitForSelector('[role=alert] >> text=is not a time');
  }, { timezoneId });
});

test('messages: a link to one opens it, in sight', async () => {
  const { partition, offset } = await post('/topics/weir.dead-letters/messages', { key: 'linked', value: '{"linked":true}', headers: [], partition: 0 });
  await tab(`/topics/weir.dead-letters/messages?partition=${partition}`, async (page) => {
    const link = await page.locator(`tr.message:has([aria-label="Show message ${partition}:${offset}"]) td.num a`).getAttribute('href');
    for (const open of [() => page.goto(link), () => page.click(`a[href="${link}"]`)]) {
      await open();
      await page.waitForSelector('.expand[aria-expanded=true]');
      await until('the message in sight', () => page.evaluate(() => { const r = document.querySelector('.detail .json')?.getBoundingClientRect(); return !!r && r.top >= 0 && r.bottom <= window.innerHeight; }));
      assert.equal(await page.locator('tr.message').count(), 1);
    }
    if (shots) await page.screenshot({ path: `${shots}/linked.png` });
  }, { viewport: { width: 390, height: 800 } });
});

test('messages: bytes that are not text have a hex view', async () => {
  const { partition, offset } = await post('/topics/weir.dead-letters/messages', { key: 'bytes', value: 'plain <b>text</b>', headers: [], partition: 0 });
  const t = await openTab(browser, weir.base, '');
  const long = Buffer.from(Array.from({ length: 5000 }, (_, i) => (i * 7 + 0x80) % 256));
  let value = Buffer.concat([Buffer.from([0, 1, 0xfe, 0xff]), Buffer.from('<img src=x onerror=alert(1)>')]);
  // The page's producer cannot send such bytes. This is how the API shows them (TestWire).
  let changed = 0;
  await t.page.route('**/api/v1/topics/*/messages?*', async (route) => {
    const response = await route.fetch();
    const body = await response.json();
    for (const m of body.messages) { Object.assign(m, { value: null, value_base64: value.toString('base64'), value_size: value.length, key: null, key_base64: 'AP8=' }); changed++; }
    await route.fulfill({ response, json: body });
  });
  const path = `/topics/weir.dead-letters/messages?from=offset&partition=${partition}&offset=${offset}&n=1`;
  try {
    await t.page.goto(path);
    await t.page.waitForSelector('pre.hex');
    assert.equal(await t.page.locator('pre.hex').nth(1).innerText(),
      '00000000  00 01 fe ff 3c 69 6d 67  20 73 72 63 3d 78 20 6f  |....<img src=x o|\n00000010  6e 65 72 72 6f 72 3d 61  6c 65 72 74 28 31 29 3e  |nerror=alert(1)>|');
    assert.equal(await t.page.locator('pre.hex').first().innerText(), '00000000  00 ff                                             |..|');
    if (shots) await t.page.screenshot({ path: `${shots}/hex.png` });
    value = long;
    await t.page.reload();
    await t.page.waitForSelector('text=The first 4,096 of 5,000 bytes');
    assert.equal((await t.page.locator('pre.hex').nth(1).innerText()).split('\n').length, 256);
    assert.equal(changed, 2);
    await t.page.unrouteAll({ behavior: 'wait' });
    await t.page.reload();
    await t.page.waitForSelector('pre.raw:not(.hex)');
    assert.equal(await t.page.locator('pre.raw').innerText(), 'plain <b>text</b>', 'text stays text');
    await t.page.click('button:text-is("Hex")');
    assert.match(await t.page.locator('pre.hex').innerText(), /^00000000  70 6c 61 69 6e 20 3c 62 {2}3e 74 65 78 74 3c 2f 62 {2}\|plain <b>text<\/b\|\n/);
    assert.deepEqual(t.wrong, [], 'the browser complained');
  } finally { await t.close(); }
});

test('messages: offsets without a message are explained where one partition is shown', async () => {
  // weir writes in transactions: partitions of its topics hold markers, until the embedded cluster copies them into its archive.
  // So the end of a partition is looked at. The API is asked for a gap, and the page has to show it.
  const newest = async () => (await (await fetch(weir.base + '/api/v1/topics/bluesky-events/messages?partition=0&n=1')).json()).messages[0].offset;
  await until('messages for a page', async () => await newest() > 400, 180_000);
  const path = `/topics/bluesky-events/messages?from=offset&offset=${await newest() - 400}&partition=0&n=200`;
  const { messages } = await (await fetch(weir.base + '/api/v1' + path)).json();
  const skipped = messages.filter((m, i) => i && m.offset !== messages[i - 1].offset + 1);
  assert.ok(skipped.length, 'no offset is skipped');
  assert.deepEqual(skipped.map((m) => m.gap?.last), skipped.map((m) => m.offset - 1), 'each gap ends before its message');
  await tab(path, async (page) => {
    await until('the rows', async () => await page.locator('tr.message').count() === messages.length);
    const first = page.locator('tr.gap', { hasText: 'transaction marker' }).first();
    assert.match(await first.innerText(), /^\s*Offset [\d,]+ holds no message: 1 transaction marker$|^\s*Offsets [\d,]+–[\d,]+ hold no messages: \d+ transaction marker/);
    const shown = number(await first.locator('xpath=following-sibling::tr[1]').locator('td.num a').innerText());
    const { gap } = messages.find((m) => m.offset === shown);
    assert.ok((await first.innerText()).includes(gap.last.toLocaleString('en-US')), await first.innerText());
    if (shots) await page.screenshot({ path: `${shots}/gaps.png` });
    await page.goto(path.replace('&partition=0', ''));
    await until('the rows of all partitions', async () => await page.locator('tr.message').count() === 200);
    assert.equal(await page.locator('tr.gap').count(), 0);
  });
});

test('live tail shows what is written, and pauses under the pointer', async () => {
  await tab('/topics/bluesky-events/messages?live=1', async (page) => {
    await page.waitForSelector('.messages tbody tr .expand');
    await page.locator('.messages thead').hover();
    await page.waitForSelector('text=/paused · [1-9][0-9]* new/');
    const held = await page.locator('.messages tbody tr').count();
    await page.waitForTimeout(800);
    assert.equal(await page.locator('.messages tbody tr').count(), held, 'rows moved under the pointer');
    await page.mouse.move(5, 5);
    await page.waitForSelector('text=/live · /');
  });
});

test('a message of 4 MB does not freeze the tab', async () => {
  const { partition, offset } = await post('/topics/bluesky-events/messages', { key: 'large', value: JSON.stringify({ text: 'x'.repeat(4_000_000), list: Array.from({ length: 20_000 }, (_, i) => i) }), headers: [], partition: null });
  await tab(`/topics/bluesky-events/messages?from=offset&partition=${partition}&offset=${offset}&n=1`, async (page) => {
    await page.waitForSelector('text=/The first .* of/'); // a message that has its own address opens
    await page.locator('.expand').first().click();
    await page.waitForSelector('.detail', { state: 'detached' });
    const start = Date.now();
    await page.locator('.expand').first().click();
    await page.waitForSelector('text=/The first .* of/');
    assert.ok(Date.now() - start < 2000, `opening took ${Date.now() - start} ms`);
  });
});

test('produce: the hash picks the lane, and the record is found', async () => {
  await tab('/produce?topic=bluesky-events', async (page) => {
    await page.waitForSelector('.pick-lanes .chip');
    assert.equal(await page.locator('select[name=topic]').inputValue(), 'bluesky-events');
    await page.fill('input[name=key]', 'somebody');
    await page.waitForSelector('text=/murmur2.*modulo 6/');
    const lane = await page.locator('.pick-lanes .chosen').innerText();
    await page.fill('textarea[name=value]', '{"commit":{"operation":"create"},"text":"written by hand"}');
    await page.fill('textarea[name=headers]', 'by=hand');
    await page.click('button:has-text("Write the record")');
    const written = page.locator('p.done');
    await written.locator('a').waitFor();
    assert.ok((await written.innerText()).includes('partition ' + lane.slice(1)), `${await written.innerText()} is not ${lane}`);
    assert.match(await page.locator('.command code').innerText(), /^weir send bluesky-events '\{.*\}' --key somebody --header by=hand --data /);
    assert.match(await page.locator('.others code').last().innerText(), /^printf %s .* \| kcat -P -b 127\.0\.0\.1:\d+ -t bluesky-events -p \d -k somebody -H by=hand$/);
    await written.locator('a').click();
    await page.waitForSelector('td.value >> text=written by hand');
  });
});

test('reset: a preview, a typed name, and the group has moved', async () => {
  const group = 'weir-browser-nobody';
  await post(`/groups/${group}/reset`, { to: 'latest', topics: ['bluesky-accounts'], confirm: group });
  await tab('/groups/' + group, async (page) => {
    await page.waitForSelector('text=Empty');
    await page.fill('input[list=targets]', 'earliest');
    await page.click('button:has-text("Preview")');
    await page.click('button:has-text("Reset 3 partitions")');
    const go = page.locator('dialog button.danger');
    assert.ok(await go.isDisabled(), 'it can be confirmed without typing');
    await page.fill('dialog input', group.slice(0, -1));
    assert.ok(await go.isDisabled(), 'a part of the name is enough');
    await page.fill('dialog input', group);
    await go.click();
    await page.waitForSelector('.toast >> text=was reset');
    const r = await (await fetch(`${weir.base}/api/v1/groups/${group}`)).json();
    assert.deepEqual(r.partitions.map((p) => p.committed), [0, 0, 0]);
  });
  await tab('/groups/weir-bluesky-counter', async (page) => {
    await page.waitForSelector('.lane');
    await page.click('button:has-text("Preview")');
    await page.waitForSelector('text=/not while it has 1 member/');
    assert.ok(await page.locator('button:has-text("Reset 6 partitions")').isDisabled());
  });
  const r = await fetch(`${weir.base}/api/v1/groups/weir-bluesky-counter/reset`, { method: 'POST', body: JSON.stringify({ to: 'earliest', confirm: 'weir-bluesky-counter' }) });
  assert.equal(r.status, 409, await r.text());
});

test('a broker is killed and restarted from the page, and the overview tells', { timeout: 300_000 }, async () => {
  await tab('/brokers', async (page) => {
    const broker = page.locator('.broker[aria-label="broker 1"]');
    await broker.locator('text=alive').waitFor();
    await broker.locator('button:has-text("Kill…")').click();
    await page.fill('dialog input', 'broker 1');
    await page.click('dialog button.danger');
    await page.waitForSelector('text=/broker 1 was killed/');
    await broker.locator('.badge.bad').waitFor();
    await until('the others to lead', async () => number(await broker.locator('dd').nth(1).innerText()) === 0);
    if (shots) { await page.goto('/'); await page.waitForSelector('.lane .flag-name'); await page.waitForTimeout(3000); await page.screenshot({ path: `${shots}/overview-killed.png` }); await page.goto('/brokers'); }
    await page.goto('/topics/bluesky-events');
    await page.waitForSelector('p[role=status] .badge.warn:has-text("partitions under-replicated")');
    await page.goto('/brokers');
    await broker.locator('button:has-text("Restart")').click();
    await page.waitForSelector('text=/broker 1 was restarted/');
    await broker.locator('.badge.ok').waitFor();
    await page.click('nav >> text=Overview');
    const log = page.locator('[role=log]');
    await log.locator('text=/broker 1 is down/').first().waitFor();
    await log.locator('text=/broker 1 is back/').first().waitFor();
    await log.locator('text=/leaders moved/').first().waitFor();
  });
});

test('verify runs to its verdict', { timeout: 300_000 }, async () => {
  await tab('/verify', async (page) => {
    await page.click('button:has-text("Run verify")');
    await page.waitForSelector('text=Nothing lost, nothing duplicated, nothing miscounted', { timeout: 45_000 });
    assert.match(await page.locator('.rows tbody tr').first().innerText(), /events.*\t[0-9,]{3,}/);
    if (shots) await page.screenshot({ path: `${shots}/verify-report.png` });
  });
});

test('keys: / filters, j and k move, space pauses, digits lead on', async () => {
  await tab('/', async (page) => {
    await page.waitForSelector('.lane');
    await page.waitForFunction(() => document.querySelector('#nav a')?.textContent === 'Learn'); // on new data
    await page.keyboard.press('3');
    await page.waitForSelector('h1 >> text=Topics');
    await page.keyboard.press('/');
    await page.keyboard.type('wiki');
    await until('one row', async () => await page.locator('.rows tbody tr[data-href]').count() === 1);
    assert.match(page.url(), /q=wiki/);
    await page.fill('input[type=search]', '');
    await page.locator('h1').click();
    await page.keyboard.press('j');
    const first = await page.evaluate(() => document.activeElement?.textContent);
    await page.keyboard.press('j');
    const second = await page.evaluate(() => document.activeElement?.textContent);
    await page.keyboard.press('k');
    assert.equal(await page.evaluate(() => document.activeElement?.textContent), first);
    assert.notEqual(first, second);
    await page.keyboard.press('Enter');
    await page.waitForSelector(`h1 >> text=${first}`);
    await page.locator('h1').click();
    await page.keyboard.press('Space');
    await page.waitForSelector('#fresh >> text=/paused at/');
    const facts = () => page.locator('p.facts').innerText();
    const was = await facts();
    await page.waitForTimeout(1500);
    assert.equal(await facts(), was, 'numbers move while paused');
    await page.keyboard.press('Space');
    await page.waitForSelector('#fresh >> text=live');
    await page.goBack();
    await page.waitForSelector('h1 >> text=Topics');
  });
});

test('the theme can be chosen, and is kept', async () => {
  await tab('/', async (page) => {
    const dark = () => page.evaluate(() => getComputedStyle(document.body.parentElement).backgroundColor);
    const was = await dark();
    await page.click('#theme');
    const now = await dark();
    assert.notEqual(now, was);
    await page.reload();
    assert.equal(await dark(), now);
  });
});

test('a server that is gone greys everything out with the time, and its return is seen', { timeout: 300_000 }, async () => {
  const t = await openTab(browser, weir.base, '/');
  try {
    await t.page.waitForSelector('.lane .flag-name');
    weir.signal('SIGSTOP'); // silent: the connection stays open
    await t.page.waitForSelector('body.stale', { timeout: 15_000 });
    await t.page.waitForSelector('#fresh >> text=/no answer since \\d\\d:\\d\\d:\\d\\d/');
    weir.signal('SIGCONT');
    await t.page.waitForSelector('body:not(.stale)', { timeout: 20_000 });

    const port = new URL(weir.base).port;
    await weir.stop(true); // gone: the connection ends
    await t.page.waitForSelector('body.stale', { timeout: 15_000 });
    await t.page.evaluate(axe);
    const faint = await t.page.evaluate(() => /** @type {any} */ (globalThis).axe.run(document, { runOnly: ['color-contrast'] }));
    assert.deepEqual(faint.violations, [], 'what is old can be read');
    if (shots) await t.page.screenshot({ path: `${shots}/overview-stale.png` });
    weir = await startWeir({ listen: '127.0.0.1:' + port, data: weir.data });
    await t.page.waitForSelector('body:not(.stale)', { timeout: 30_000 });
    const total = await t.page.locator('.stream[aria-label=bluesky] header .dim').innerText().then(number);
    assert.ok(total > 200, 'the counts went on from where they were');
    // Apache Kafka's brokers take seconds to stop, and pages answer meanwhile: 502.
    const stopping = /ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED|ERR_EMPTY_RESPONSE|ERR_CONNECTION_RESET|502 \(Bad Gateway\).*\/tail/;
    assert.deepEqual(t.wrong.filter((w) => !stopping.test(w)), []);
  } finally { await t.close(); }
});

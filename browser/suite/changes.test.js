// Topics, settings, records and groups, changed from the pages; pages that change nothing.

import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { startWeir, startBrowser, openTab, until, shots, pages, engine } from './weir.js';

let weir;
let browser;
before(async () => { [weir, browser] = await Promise.all([startWeir({ rate: 100 }), startBrowser()]); }, { timeout: 300_000 });
after(async () => { await browser?.close(); await weir?.stop(); });

async function tab(base, path, f, options) {
  const t = await openTab(browser, base, path, options);
  t.page.setDefaultTimeout(90_000);
  try {
    await f(t.page);
    assert.deepEqual(t.wrong.filter((w) => !/status of 4\d\d/.test(w)), [], 'the browser complained');
  } finally { await t.close(); }
}
const ask = async (path, body, base = weir.base) => {
  const r = await fetch(base + '/api/v1' + path, body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) });
  const answer = await r.json();
  assert.equal(r.status, 200, `${path}: ${JSON.stringify(answer)}`);
  return answer;
};
const status = async (path, body, base = weir.base) => (await fetch(base + '/api/v1' + path, { method: 'POST', body: JSON.stringify(body) })).status;
const shot = async (page, name) => { if (shots) await page.screenshot({ path: `${shots}/${name}.png`, fullPage: true }); };
const setting = async (topic, name) => { const c = (await ask('/topics/' + topic)).config.find((x) => x.name === name); return `${c.value} ${c.source}`; };
const ranges = async (topic) => (await ask('/topics/' + topic)).partition_list.map((p) => `${p.low}-${p.high}`).join(' ');
/** Creates a topic, and waits until the pages know it. */
const create = async (name, partitions, config = {}) => {
  await ask('/topics', { name, partitions, replicas: 1, config });
  await until(`${name} to be known`, async () => Object.hasOwn((await ask('/state')).topics, name));
};
const write = (topic, value, more = {}) => ask(`/topics/${topic}/messages`, { key: null, value, headers: [], partition: 0, ...more });
/** The command lines in a part of a page: weir's own, and those of other programs. */
const commands = async (part) => ({ own: await part.locator('.command code').allInnerTexts(), others: await part.locator('.others:not([hidden]) code').allTextContents() });
/** Confirms a dialog by the name of what it is about, which must be the whole name. */
async function confirm(page, name) {
  const go = page.locator('dialog button.danger');
  assert.ok(await go.isDisabled(), 'nothing is typed yet');
  await page.fill('dialog input', name.slice(0, -1));
  assert.ok(await go.isDisabled(), 'half a name');
  await page.fill('dialog input', name);
  await go.click();
}

test('a topic is created with settings, its row lights up, and three command lines do the same', { timeout: 300_000 }, async () => {
  await tab(weir.base, '/topics', async (page) => {
    await page.click('button:has-text("Create a topic")');
    const form = page.locator('form[aria-label="create a topic"]');
    await page.fill('form input[name=name]', 'a b');
    await form.locator('button:has-text("Create the topic")').click();
    assert.match(await form.locator('[role=alert]').innerText(), /letters, digits, dots/);
    await page.fill('form input[name=name]', 'shop.orders');
    await page.fill('form input[name=partitions]', '3');
    await page.fill('form input[name=replicas]', '2');
    await form.locator('summary:has-text("Settings")').click();
    await page.fill('form input[name="retention.ms"]', '7200000');
    await form.locator('text=2 h').waitFor();
    await page.selectOption('form select[name="cleanup.policy"]', 'compact,delete');
    await shot(page, 'topic-create');
    const [sent] = await Promise.all([page.waitForRequest((r) => r.method() === 'POST'), form.locator('button:has-text("Create the topic")').click()]);
    assert.deepEqual(sent.postDataJSON(), { name: 'shop.orders', partitions: 3, replicas: 2, config: { 'cleanup.policy': 'compact,delete', 'retention.ms': '7200000' } });
    await form.locator('text=/Created:.*shop.orders.*3 partitions and 2 replicas/').waitFor();
    const c = await commands(form);
    assert.deepEqual(c.own, [`weir topics create shop.orders --partitions 3 --replicas 2 --config cleanup.policy=compact,delete --config retention.ms=7200000 --data ${weir.data}`]);
    assert.match(c.others.join('\n'), /^kafka-topics\.sh --bootstrap-server \S+ --create --topic shop\.orders --partitions 3 --replication-factor 2 .*\nrpk topic create shop\.orders /);
    await page.waitForSelector('tr.lit >> text=shop.orders');
    await shot(page, 'topic-created');
    await form.locator('a:text-is("shop.orders")').click();
    await page.waitForSelector('h1:has-text("shop.orders")');
  });
  const d = await ask('/topics/shop.orders');
  assert.deepEqual([d.partitions, d.replicas, await setting('shop.orders', 'retention.ms'), await setting('shop.orders', 'cleanup.policy')], [3, 2, '7200000 topic', 'compact,delete topic']);
  assert.equal(await status('/topics', { name: 'shop.orders' }), 409);
});

test('settings: only those that changed are sent, one returns to its default, and it is all taken back', { timeout: 300_000 }, async () => {
  await create('settings', 1, { 'retention.ms': '7200000', 'segment.bytes': '2097152' });
  await tab(weir.base, '/topics/settings', async (page) => {
    await page.click('button:has-text("Edit settings")');
    const row = (name) => page.locator('table.config tr').filter({ has: page.locator(`th:text("${name}")`) });
    await page.fill('table.config input[name="retention.ms"]', '3600000');
    await page.fill('[aria-label="Filter settings"]', 'segment.bytes');
    await page.locator('table.config button:visible:has-text("Use the default")').click();
    await page.fill('[aria-label="Filter settings"]', '');
    assert.equal(await page.locator('table.config input[name="retention.ms"]').inputValue(), '3600000', 'what was typed is kept behind the filter');
    await page.fill('table.config input[name="max.message.bytes"]', '5');
    await page.fill('table.config input[name="max.message.bytes"]', (await setting('settings', 'max.message.bytes')).split(' ')[0]);
    await page.waitForSelector('button:has-text("Save 2 changes")');
    assert.match(await row('retention.ms').first().innerText(), /how long/);
    await shot(page, 'topic-settings');
    const [sent] = await Promise.all([page.waitForRequest((r) => r.url().endsWith('/alter')), page.click('button:has-text("Save 2 changes")')]);
    assert.deepEqual(sent.postDataJSON(), { set: { 'retention.ms': '3600000' }, unset: ['segment.bytes'] });
    await page.waitForSelector('text=/retention.ms was 7200000 and is 3600000/');
    assert.equal(await setting('settings', 'retention.ms'), '3600000 topic');
    assert.ok(!(await setting('settings', 'segment.bytes')).endsWith(' topic'));
    await page.click('button:has-text("Undo")');
    await page.waitForSelector('text=Undone.');
    assert.equal(await setting('settings', 'retention.ms'), '7200000 topic');
    assert.equal(await setting('settings', 'segment.bytes'), '2097152 topic');
    // A value that Kafka does not allow: the reason is shown, and the form stays.
    await page.click('button:has-text("Edit settings")');
    await page.fill('table.config input[name="retention.ms"]', 'soon');
    await page.click('button:has-text("Save 1 change")');
    await page.waitForSelector('[role=alert]:has-text("retention.ms")');
    assert.equal(await page.locator('table.config input[name="retention.ms"]').inputValue(), 'soon');
  });
  assert.equal(await setting('settings', 'retention.ms'), '7200000 topic');
});

test('partitions are added, messages truncated, and the topic is deleted, each after its name is typed', { timeout: 300_000 }, async () => {
  await create('doomed', 2);
  for (let i = 0; i < 8; i++) await write('doomed', String(i), { partition: i % 2 });
  await ask('/groups/doomed-reader/reset', { to: 'earliest', topics: ['doomed'], partitions: [], confirm: 'doomed-reader' });
  await tab(weir.base, '/topics/doomed', async (page) => {
    const part = (name) => page.locator(`form[aria-label="${name}"]`);
    await page.fill('[aria-label="how many partitions"]', '1');
    await part('Add partitions').locator('button:has-text("Preview")').click();
    await part('Add partitions').locator('[role=alert]:has-text("cannot remove partitions")').waitFor();
    await page.fill('[aria-label="how many partitions"]', '5');
    await part('Add partitions').locator('button:has-text("Preview")').click();
    await part('Add partitions').locator('text=/Keys move: the partition of a key/').waitFor();
    await shot(page, 'topic-add-partitions');
    await part('Add partitions').locator('button:has-text("Add 3 partitions")').click();
    await confirm(page, 'doomed');
    await part('Add partitions').locator('text=The topic has 5 partitions now').waitFor();
    assert.equal(await ranges('doomed'), '0-4 0-4 0-0 0-0 0-0');

    await page.fill('[aria-label="before"]', '3');
    await page.fill('[aria-label="partitions to truncate"]', '0, 1-x');
    await part('Truncate').locator('button').first().click();
    await part('Truncate').locator('[role=alert]:has-text("is not a partition")').waitFor();
    await page.fill('[aria-label="partitions to truncate"]', '1-1');
    await part('Truncate').locator('button').first().click();
    await part('Truncate').locator('text=3 messages will be deleted').waitFor();
    assert.equal(await ranges('doomed'), '0-4 0-4 0-0 0-0 0-0', 'a plan changes nothing');
    const c = await commands(part('Truncate'));
    assert.deepEqual(c.own, [`weir topics truncate doomed --before 3 --partition 1 --data ${weir.data}`]);
    assert.match(c.others.join('\n'), /kafka-delete-records\.sh.*\nrpk topic trim-prefix doomed --offset 3/);
    await shot(page, 'topic-truncate');
    await page.fill('[aria-label="before"]', 'end'); // what was planned is what happens
    await part('Truncate').locator('button.danger').click();
    await confirm(page, 'doomed');
    await part('Truncate').locator('text=3 messages were deleted').waitFor();
    assert.equal(await ranges('doomed'), '0-4 3-4 0-0 0-0 0-0');
    const left = (await ask('/topics/doomed/messages?from=oldest&partition=1')).messages;
    assert.deepEqual(left.map((m) => [m.offset, m.value]), [[3, '7']]);

    await part('Delete').locator('button:has-text("Preview the deletion")').click();
    await part('Delete').locator('text=/The topic and its 5 messages will be deleted/').waitFor();
    await part('Delete').locator('td:has-text("doomed-reader")').waitFor();
    await shot(page, 'topic-delete');
    await part('Delete').locator('button.danger').click();
    await page.click('dialog button:has-text("Cancel")');
    assert.equal((await ask('/topics/doomed')).partitions, 5, 'a cancelled dialog deletes nothing');
    await part('Delete').locator('button.danger').click();
    await confirm(page, 'doomed');
    await page.waitForURL('**/topics');
    await page.waitForSelector('.toast:has-text("Topic doomed was deleted, with 5 messages")');
    await until('the row to go', async () => await page.locator('td >> text=doomed').count() === 0);
  });
  assert.equal((await fetch(weir.base + '/api/v1/topics/doomed')).status, 404);
  const log = (await ask('/log')).entries.map((e) => e.text).filter((t) => t.startsWith('topic doomed')).join('\n');
  for (const what of ['was created', 'was given 5 partitions', 'was truncated', 'was deleted']) assert.ok(log.includes(what), `${what} is not in the log:\n${log}`);
});

test("weir's own topics are not changed from here, and the page says why", async () => {
  await tab(weir.base, '/topics/bluesky-events', async (page) => {
    await page.waitForSelector('text=/counts exactly once only while it stays as it is/');
    assert.equal(await page.locator('form[aria-label=Delete]:visible').count(), 0);
    await shot(page, 'topic-own');
  });
  for (const [what, body] of [['delete', {}], ['truncate', { before: 'end' }], ['partitions', { to: 12 }]]) assert.equal(await status('/topics/bluesky-events/' + what, { ...body, confirm: 'bluesky-events' }), 409, what);
});

test('records: a tombstone, a partition by hand, many from a template, each in the lane that lights up', { timeout: 300_000 }, async () => {
  await create('written', 4);
  await tab(weir.base, '/produce?topic=written', async (page) => {
    await until('the lanes', async () => await page.locator('.pick-lanes .chip').count() === 4);
    const lit = () => page.locator('.chip.landed').allInnerTexts();
    await page.fill('input[name=key]', 'gone');
    await page.check('input[name=null]');
    assert.ok(await page.locator('textarea[name=value]').isDisabled());
    await page.fill('textarea[name=headers]', 'by=hand\n<b>=x=y');
    await page.fill('input[name=partition]', '3');
    assert.equal(await page.locator('.command code').innerText(), `weir send written --key gone --partition 3 --null --data ${weir.data}`);
    await page.click('button:has-text("Write the record")');
    await page.waitForSelector('p.done:has-text("Written to partition 3 at offset 0")');
    assert.deepEqual(await lit(), ['P3']);
    const [m] = (await ask('/topics/written/messages?partition=3')).messages;
    assert.deepEqual([m.key, m.value, m.headers.map((h) => [h.name, h.value])], ['gone', null, [['by', 'hand'], ['<b>', 'x=y']]]);
    const c = await commands(page.locator('main'));
    assert.match(c.own[0], /^weir send written --null --key gone --header by=hand /);
    assert.match(c.others.join('\n'), /kcat -P/);
    await shot(page, 'produce-tombstone');

    await page.uncheck('input[name=null]');
    await page.fill('textarea[name=headers]', '');
    await page.fill('input[name=partition]', '');
    await page.click('summary:has-text("Many records")');
    await page.fill('input[name=key]', 'user-{n}');
    await page.fill('textarea[name=value]', '{"n":{n},"colour":"{choice red green}"}');
    await page.fill('input[name=count]', '30');
    await page.click('button:has-text("Write 30 records")');
    await page.waitForSelector('p.done:has-text("30 records are written")');
    const all = (await ask('/topics/written/messages?from=oldest&n=500&text=colour')).messages;
    assert.deepEqual(all.map((x) => JSON.parse(x.value).n).sort((a, b) => a - b), Array.from({ length: 30 }, (_, i) => i + 1));
    for (const x of all) assert.deepEqual([x.key, /^(red|green)$/.test(JSON.parse(x.value).colour)], ['user-' + JSON.parse(x.value).n, true]);
    const lanes = [...new Set(all.map((x) => x.partition))].sort();
    assert.deepEqual((await lit()).map((t) => Number(t.slice(1).split(' ')[0])), lanes);
    assert.equal((await lit()).map((t) => Number(t.split('+')[1] || 1)).reduce((a, b) => a + b), 30);
    await shot(page, 'produce-many');

    // A rate: the reader can stop what takes long.
    await page.fill('input[name=count]', '1000');
    await page.fill('input[name=rate]', '4');
    await page.click('button:has-text("Write 1,000 records")');
    await page.waitForSelector('p.done:has-text("Writing: ")');
    await page.click('button:text-is("Stop")');
    await page.waitForSelector('p.done:has-text("Stopped.")');
    const said = Number((/(\d+) records? (is|are) written/.exec(await page.locator('p.done').innerText()) || [])[1]);
    const more = (await ask('/topics/written/messages?from=oldest&n=500&text=colour')).messages.length;
    assert.equal(more, 30 + said);
    assert.ok(said < 100, `${said} records in spite of the rate`);
  });
});

test('a message is sent again as it is, or after an edit', { timeout: 300_000 }, async () => {
  await create('again', 2);
  const all = ['again {n}', null, '<img src=x onerror=window.owned=1>'];
  for (const v of all) await write('again', v, { key: 'k', headers: [['{n}', '<b>'], ['empty', '']], partition: 1 });
  await tab(weir.base, '/topics/again/messages?partition=1', async (page) => {
    await until('three messages', async () => await page.locator('.expand').count() === 3);
    for (const b of await page.locator('.expand').all()) await b.click();
    for (const b of await page.locator('button:has-text("Send again")').all()) await b.click();
    await until('three answers', async () => await page.locator('.whole [role=status]:has-text("Written again to partition")').count() === 3);
    await shot(page, 'message-again');
    const bare = (m) => ({ key: m.key, value: m.value, headers: m.headers });
    const now = (await ask('/topics/again/messages?from=oldest&n=20')).messages;
    assert.equal(now.length, 6);
    for (const v of all) { const same = now.filter((m) => m.value === v); assert.equal(same.length, 2, String(v)); assert.deepEqual(bare(same[0]), bare(same[1])); }
    await page.locator('tr.detail').filter({ hasText: 'again {n}' }).locator('a:has-text("Edit and send")').click();
    await page.waitForSelector('text=/This is the message at offset 0 of partition 1/');
    assert.deepEqual([await page.locator('input[name=key]').inputValue(), await page.locator('textarea[name=value]').inputValue(), await page.locator('textarea[name=headers]').inputValue()], ['k', 'again {n}', '{n}=<b>\nempty=']);
    await page.fill('textarea[name=value]', 'edited {n}');
    await page.click('button:has-text("Write the record")');
    await page.locator('p.done a').waitFor();
    assert.equal(await page.evaluate(() => /** @type {any} */ (window).owned), undefined);
  });
  assert.deepEqual((await ask('/topics/again/messages?from=oldest&n=20&text=edited')).messages.map((m) => [m.key, m.value, m.headers.length]), [['k', 'edited {n}', 2]]);
});

test('a group: one partition is reset, offsets and the group are deleted, and each is taken back', { timeout: 300_000 }, async () => {
  const g = 'readers <i>';
  await create('read', 3);
  for (let i = 0; i < 30; i++) await write('read', String(i), { partition: i % 3 });
  await ask(`/groups/${encodeURIComponent(g)}/reset`, { to: 'latest', topics: ['read'], partitions: [], confirm: g });
  const at = async () => { const r = await fetch(`${weir.base}/api/v1/groups/${encodeURIComponent(g)}`); return r.status === 404 ? 'none' : (await r.json()).partitions.map((p) => p.committed).join(' '); };
  assert.equal(await at(), '10 10 10');
  await tab(weir.base, '/groups/' + encodeURIComponent(g), async (page) => {
    await page.waitForSelector('text=Empty');
    const card = (title) => page.locator('section.card').filter({ has: page.locator('h2').filter({ hasText: new RegExp(`^${title}$`) }) }); // a term in it is an element of its own
    const undo = async (part) => { await part.locator('button:text-is("Undo")').click(); await part.locator('text=Undone.').waitFor(); };
    await page.selectOption('[aria-label="topic of the reset"]', 'read');
    await page.fill('[aria-label="partitions of the reset"]', '1');
    await page.fill('input[list=targets]', '4');
    await page.click('button:text-is("Preview")');
    await page.click('button:has-text("Reset 1 partition")');
    await confirm(page, g);
    await card('Reset').locator('text=1 partition moved').waitFor();
    assert.equal(await at(), '10 4 10');
    await undo(card('Reset'));
    assert.equal(await at(), '10 10 10');

    const offsets = page.locator('form[aria-label="Committed offsets"]');
    await page.selectOption('[aria-label="topic of the offsets"]', 'read');
    await page.fill('[aria-label="partitions of the offsets"]', '0-1');
    await offsets.locator('button').first().click();
    await offsets.locator('button:has-text("Delete 2 offsets")').click();
    await confirm(page, g);
    await offsets.locator('text=2 offsets deleted').waitFor();
    assert.equal((await at()).split(' ').filter((x) => Number(x) >= 0).join(), '10');
    const c = await commands(offsets);
    assert.equal(c.own[0].replace(/ --data .*/, ''), "weir groups delete-offsets 'readers <i>' --topic read --partition 0 --partition 1");
    assert.match(c.others[0], /kafka-consumer-groups\.sh .*--delete-offsets/);
    await undo(offsets);
    assert.equal(await at(), '10 10 10');

    const whole = page.locator('form[aria-label="The group"]');
    await until('the page to know the offsets again', async () => /read/.test(await page.locator('[aria-label="committed offsets"] tbody').allInnerTexts().then((x) => x.join())));
    await whole.locator('button').first().click();
    await whole.locator('text=/committed offsets in 3 partitions will be deleted/').waitFor();
    await shot(page, 'group-delete');
    await whole.locator('button.danger').click();
    await confirm(page, g);
    await whole.locator('text=The group was deleted').waitFor();
    assert.equal(await at(), 'none');
    await undo(whole);
    assert.equal(await at(), '10 10 10');
  });
  // A group with members is only looked at, and weir's own counter keeps its counts.
  await tab(weir.base, '/groups/weir-bluesky-counter', async (page) => {
    await page.locator('form[aria-label="The group"] button').first().click();
    await page.waitForSelector('form[aria-label="The group"] [role=alert]:has-text("Redis")');
  });
});

test('values, headers and settings that look like markup, and a value of 4 MiB typed into the form', { timeout: 300_000 }, async () => {
  await create('large', 1, { 'max.message.bytes': '8388608' });
  await create('small', 1, { 'max.message.bytes': '100000' });
  const markup = '<img src=x onerror=window.owned=1>';
  const long = markup + 'x'.repeat(4 << 20);
  await tab(weir.base, '/produce?topic=small', async (page) => {
    await until('a lane', async () => await page.locator('.pick-lanes .chip').count() === 1);
    await page.fill('textarea[name=value]', long);
    await page.fill('textarea[name=headers]', markup);
    await page.fill('input[name=key]', markup);
    await page.click('button:has-text("Write the record")');
    await page.waitForSelector('form [role=alert]:has-text("max.message.bytes")');
    assert.equal((await page.locator('textarea[name=value]').inputValue()).length, long.length, 'what was typed stays');
    await page.selectOption('select[name=topic]', 'large');
    await page.click('button:has-text("Write the record")');
    await page.waitForSelector('p.done:has-text("Written to partition 0 at offset 0")');
    await page.locator('p.done a').click();
    await page.waitForSelector('text=/The first .* of 4.2 MB: download the rest/');
    // Its copy is too long for a form, and is sent as it is.
    await page.click('button:has-text("Send again")');
    await page.waitForSelector('text=/Written again to partition 0/');
    await page.click('a:has-text("Edit and send")');
    await page.waitForSelector('[role=alert]:has-text("too long to be shown whole")');
    await page.goto('/topics');
    await page.click('button:has-text("Create a topic")');
    await page.fill('form input[name=name]', markup);
    await page.click('button:has-text("Create the topic")');
    await page.waitForSelector('form [role=alert]');
    await page.goto('/topics/large');
    await page.click('button:has-text("Edit settings")');
    await page.fill('table.config input[name="retention.ms"]', markup);
    await page.click('button:has-text("Save 1 change")');
    await page.waitForSelector('[role=alert]:has-text("retention.ms")');
    assert.deepEqual(await page.evaluate(() => ({ owned: /** @type {any} */ (window).owned, made: document.querySelectorAll('main img, main script').length })), { owned: undefined, made: 0 });
  });
  const sizes = (await ask('/topics/large/messages?from=oldest&n=5')).messages.map((m) => [m.value_size, m.headers.map((h) => h.name)]);
  assert.deepEqual(sizes, [[long.length, ['<img src']], [long.length, ['<img src']]]);
});

test('--read-only: pages show nothing that cannot work, and the server refuses every change', { timeout: 300_000, skip: engine === 'apache' }, async () => {
  const addresses = (await ask('/brokers')).brokers.map((b) => b.address).join(',');
  const quiet = await startWeir({ kafka: addresses, more: ['--read-only'] });
  try {
    const doc = await ask('/openapi.json', undefined, quiet.base);
    for (const [path, methods] of Object.entries(doc.paths)) {
      if (!methods.post) continue;
      const r = await fetch(quiet.base + path.replace('{topic}', 'bluesky-events').replace('{group}', 'x').replace(/\{[a-z]+\}/g, '1'), { method: 'POST', body: '{}' });
      if (/\/learn\/\{station\}\/(answer|check)$/.test(path)) assert.equal(r.status, path.endsWith('check') ? 200 : 400, path); // they change nothing in Kafka
      else assert.deepEqual([r.status, (await r.json()).code], [403, 'read_only'], path);
    }
    for (const p of pages.filter((x) => x.name !== 'overview')) {
      await tab(quiet.base, p.path, async (page) => {
        await page.waitForSelector('#only:has-text("read-only")');
        if (p.name !== 'verify') await page.waitForSelector(p.ready, { state: 'attached' });
        for (const label of ['Create a topic', 'Edit settings', 'Preview', 'Reset', 'Delete', 'Write the record', 'Send again', 'Run verify', 'Kill…', 'Restart', 'Add a member', 'Allow changes']) assert.equal(await page.locator(`main button:visible:has-text("${label}"), #allow button:visible:has-text("${label}")`).count(), 0, `${p.path}: ${label}`);
        if (p.name === 'topic') await shot(page, 'read-only-topic');
      });
    }
  } finally { await quiet.stop(); }
});

test("somebody else's cluster: the page asks once before anything can be changed", { timeout: 300_000 }, async () => {
  await create('theirs', 1);
  const addresses = (await ask('/brokers')).brokers.map((b) => b.address).join(',');
  const beside = await startWeir({ kafka: addresses });
  try {
    await tab(beside.base, '/topics/theirs', async (page) => {
      const remove = page.locator('form[aria-label=Delete] button').first();
      await page.waitForSelector('#allow:has-text("This cluster was not started by weir")');
      assert.equal(await remove.isVisible(), false);
      await shot(page, 'external-asks');
      await page.click('#allow button:has-text("Only look")');
      await page.waitForSelector('#allow:has-text("You look at this cluster only")');
      await page.reload();
      await page.waitForSelector('#allow:has-text("You look at this cluster only")');
      assert.equal(await remove.isVisible(), false);
      await page.click('#allow button:has-text("Allow changes")');
      await remove.waitFor();
      assert.equal(await page.locator('#allow').isVisible(), false);
      await page.click('a:has-text("Messages")');
      await page.goto('/produce?topic=theirs');
      await until('a lane', async () => await page.locator('.pick-lanes .chip').count() === 1);
      assert.equal(await page.locator('#allow').isVisible(), false, 'it asks once');
      await page.click('button:has-text("Write the record")');
      await page.waitForSelector('p.done:has-text("Written to partition 0")');
    });
    // Another session is asked again.
    await tab(beside.base, '/groups', async (page) => { await page.waitForSelector('#allow button:has-text("Only look")'); });
  } finally { await beside.stop(); }
});

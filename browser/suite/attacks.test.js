// What a stranger would try: scripts in what others wrote, pages of other origins, names that lead here.

import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { createServer, request } from 'node:http';
import { connect } from 'node:net';
import { startWeir, startBrowser, openTab, until, pages, first } from './weir.js';

let weir;
let browser;
let stranger;
let strangerURL;
before(async () => {
  stranger = createServer((_, w) => { w.setHeader('Content-Type', 'text/html'); w.end('<!doctype html><title>a stranger</title>'); });
  await new Promise((done) => { stranger.listen(0, '127.0.0.1', () => done(undefined)); });
  strangerURL = `http://stranger.example:${stranger.address().port}`;
  [weir, browser] = await Promise.all([startWeir(), startBrowser(['--host-resolver-rules=MAP *.example 127.0.0.1'])]);
}, { timeout: 300_000 });
after(async () => { await browser?.close(); stranger?.close(); await weir?.stop(); });

const payloads = [
  '<img src=x onerror="window.owned=1;alert(1)">', '<script>window.owned=1</script>', '"><svg/onload=window.owned=1>', 'javascript:window.owned=1',
  '</textarea><iframe srcdoc="<script>parent.owned=1</script>">', '{{constructor.constructor("window.owned=1")()}}', "'-window.owned=1-'",
];

test('what others wrote stays text, in value, key and headers', async () => {
  for (const p of payloads) {
    const r = await fetch(`${weir.base}/api/v1/topics/weir.dead-letters/messages`, { method: 'POST', body: JSON.stringify({ key: p, value: JSON.stringify({ [p]: p, text: p }), headers: [[p, p]], partition: 0 }) });
    assert.equal(r.status, 200, await r.text());
  }
  const t = await openTab(browser, weir.base, '/topics/weir.dead-letters/messages');
  await until('all rows', async () => await t.page.locator('.expand').count() === payloads.length);
  for (const b of await t.page.locator('.expand').all()) await b.click();
  await until('all opened', async () => await t.page.locator('.whole').count() === payloads.length);
  for (const view of ['Hex', 'Raw']) for (const b of await t.page.locator(`button:text-is("${view}")`).all()) await b.click();
  const all = await t.page.locator('main').innerText();
  for (const p of payloads) assert.ok(all.includes(p), `${p} is not shown as it is`);
  const made = await t.page.evaluate(() => ({ owned: /** @type {any} */ (window).owned, elements: document.querySelectorAll('main img, main script, main svg:not(.spark), main iframe, main a[href^="javascript:"]').length }));
  assert.deepEqual(made, { owned: undefined, elements: 0 });
  assert.deepEqual(t.wrong, []);
  await t.close();
});

test('what others wrote stays text in names of groups, and in the address', async () => {
  const group = '<img src=x onerror=window.owned=1>';
  const r = await fetch(`${weir.base}/api/v1/groups/${encodeURIComponent(group)}/reset`, { method: 'POST', body: JSON.stringify({ to: 'latest', topics: ['bluesky-accounts'], confirm: group }) });
  assert.equal(r.status, 200, await r.text());
  for (const path of ['/groups', '/groups/' + encodeURIComponent(group), '/topics/bluesky-accounts', '/', '/topics?q=' + encodeURIComponent(payloads[0]), '/topics/' + encodeURIComponent(payloads[0]) + '/messages?text=' + encodeURIComponent(payloads[0])]) {
    const t = await openTab(browser, weir.base, path);
    await t.page.waitForSelector('#fresh.ok');
    await t.page.waitForTimeout(500);
    assert.deepEqual(await t.page.evaluate(() => ({ owned: /** @type {any} */ (window).owned, elements: document.querySelectorAll('main img, main script, main iframe').length })), { owned: undefined, elements: 0 }, path);
    await t.close();
  }
});

// Kafka's CreateTopics, version 2, by hand: no client would send such names.
async function createTopic(address, name) {
  const text = (s) => { const b = Buffer.from(s); const n = Buffer.alloc(2); n.writeInt16BE(b.length); return Buffer.concat([n, b]); };
  const ints = (...list) => Buffer.concat(list.map(([bytes, v]) => { const b = Buffer.alloc(bytes); b.writeIntBE(v, 0, bytes); return b; }));
  const body = Buffer.concat([ints([2, 19], [2, 2], [4, 7]), text('weir-browser'), ints([4, 1]), text(name), ints([4, 2], [2, 1], [4, 0], [4, 0], [4, 10_000], [1, 0])]);
  const [host, port] = address.split(':');
  const socket = connect(Number(port), host);
  socket.write(Buffer.concat([ints([4, body.length]), body]));
  /** @type {Buffer} */
  const answer = await new Promise((done, fail) => {
    let got = Buffer.alloc(0);
    socket.on('data', (b) => { got = Buffer.concat([got, b]); if (got.length >= 4 && got.length >= 4 + got.readInt32BE(0)) done(got); });
    socket.on('error', fail);
    socket.on('close', () => fail(new Error('the broker hung up')));
  });
  socket.destroy();
  return answer.readInt16BE(4 + 4 + 4 + 4 + 2 + Buffer.from(name).length); // length, correlation, throttle time, topics, name
}

test('names of topics and groups, whatever they are, are text on every page', { timeout: 300_000 }, async () => {
  const brokers = (await (await fetch(weir.base + '/api/v1/brokers')).json()).brokers;
  const controller = brokers.find((b) => b.controller).address;
  /** @type {string[]} */
  const topics = [];
  for (const name of ['__proto__', 'constructor', 'a..b', '_-.', 'x'.repeat(249), ...payloads]) {
    const code = await createTopic(controller, name);
    assert.ok(code === 0 || code === 17, `creating ${name}: error ${code}`); // 17: the broker allows no such name
    if (code === 0) topics.push(name);
  }
  assert.ok(topics.includes('__proto__') && topics.includes('constructor'), `made ${topics}`);
  const groups = [...payloads, '__proto__', 'constructor', '../../etc/passwd', '?a=b&c#d', '%2e%2e%2f', "it's $(touch /tmp/owned) `id`", 'line\nbreak\u202etxt.exe', '\u{e0041}hidden', 'g'.repeat(200)];
  for (const g of groups) {
    const r = await fetch(`${weir.base}/api/v1/groups/${encodeURIComponent(g)}/reset`, { method: 'POST', body: JSON.stringify({ to: 'earliest', topics: ['bluesky-accounts'], confirm: g }) });
    assert.equal(r.status, 200, `${g}: ${await r.text()}`);
  }
  await until('all to be seen', async () => { const s = await (await fetch(weir.base + '/api/v1/state')).json(); return groups.every((g) => Object.hasOwn(s.groups, g)) && topics.every((t) => Object.hasOwn(s.topics, t)); });
  const t = await openTab(browser, weir.base, null);
  const paths = ['/', '/topics?internal=1', '/groups', '/produce', '/topics/bluesky-accounts',
    ...topics.flatMap((n) => ['/topics/' + encodeURIComponent(n), '/topics/' + encodeURIComponent(n) + '/messages', '/produce?topic=' + encodeURIComponent(n)]), ...groups.map((g) => '/groups/' + encodeURIComponent(g))];
  for (const path of paths) {
    await t.page.goto(path);
    await t.page.waitForSelector('#fresh.ok');
    if (path.startsWith('/groups/')) await t.page.waitForSelector('.facts .badge'); // it is known by its name
    const made = await t.page.evaluate(() => ({ owned: /** @type {any} */ (window).owned, elements: document.querySelectorAll('main img, main script, main iframe, main a[href^="javascript:"]').length, hidden: /[\u202a-\u202e\u2066-\u2069\u{e0000}-\u{e007f}]/u.test(document.body.innerText), path: location.pathname }));
    assert.deepEqual(made, { owned: undefined, elements: 0, hidden: false, path: new URL(path, weir.base).pathname }, path);
    const wide = await t.page.evaluate(() => {
      const by = document.documentElement.scrollWidth - document.documentElement.clientWidth;
      return by ? `${by} pixels: ` + [...document.querySelectorAll('main *')].filter((e) => e.getBoundingClientRect().right > innerWidth).slice(0, 4).map((e) => e.outerHTML.slice(0, 120)).join(' ') : '';
    });
    assert.equal(wide, '', `${path} is too wide`);
  }
  // What is copied into a shell is one word, and hides nothing.
  for (const [name, word] of [["it's $(touch /tmp/owned) `id`", `'it'\\''s $(touch /tmp/owned) \`id\`'`], ['line\nbreak\u202etxt.exe', "$'line\\x0abreak\\xe2\\x80\\xaetxt.exe'"]]) {
    await t.page.goto('/groups/' + encodeURIComponent(name));
    await t.page.waitForSelector('.facts .badge');
    for (const c of await t.page.locator('.command code').allInnerTexts()) assert.ok(c.endsWith(` ${word} --data ${weir.data}`), c);
  }
  assert.deepEqual(t.wrong.filter((w) => !w.includes('404')), []);
  await t.close();
});

test('no change at all is made for a page of another origin', async () => {
  const doc = await (await fetch(weir.base + '/api/v1/openapi.json')).json();
  const changes = Object.entries(doc.paths).flatMap(([path, ops]) => Object.keys(ops).filter((m) => m !== 'get').map((m) => [m.toUpperCase(), path.replace('{broker}', String(first)).replace('{group}', 'weir-bluesky-counter').replace('{topic}', 'weir.dead-letters').replace(/\{[a-z]+\}/g, 'x')]));
  assert.ok(changes.length >= 8, `only ${changes.length} changes`);
  for (const [method, path] of changes) {
    for (const headers of [{ 'Sec-Fetch-Site': 'cross-site' }, { 'Sec-Fetch-Site': 'same-site' }, { Origin: strangerURL }, { Origin: 'null' }]) {
      const status = await new Promise((done, fail) => { request(weir.base + path, { method, headers: { ...headers, 'Content-Type': 'text/plain' } }, (a) => { a.resume(); done(a.statusCode); }).on('error', fail).end('{}'); });
      assert.equal(status, 403, `${method} ${path} with ${JSON.stringify(headers)}`);
    }
    const status = await new Promise((done, fail) => { request(weir.base + path, { method, headers: { Host: 'rebound.example' } }, (a) => { a.resume(); done(a.statusCode); }).on('error', fail).end('{}'); });
    assert.equal(status, 421, `${method} ${path} under a foreign name`);
  }
  for (const path of ['/groups/weir-bluesky-counter/members/add', '/verify']) { // by a real browser, as a form
    const t = await openTab(browser, weir.base, null);
    await t.page.goto(strangerURL);
    const [sent] = await Promise.all([
      t.page.waitForResponse((r) => r.url().endsWith(path), { timeout: 10_000 }),
      t.page.evaluate((u) => { const f = document.createElement('form'); f.method = 'post'; f.action = u; f.enctype = 'text/plain'; document.body.appendChild(f); f.submit(); }, weir.base + '/api/v1' + path),
    ]);
    assert.equal(sent.status(), 403, path);
    await t.close();
  }
  assert.equal((await (await fetch(weir.base + '/api/v1/groups/weir-bluesky-counter')).json()).member_count, 1);
});

test('characters that turn text around are seen', async () => {
  const spoof = 'safe\u202Efdp.exe\u2066\u200B';
  await fetch(`${weir.base}/api/v1/topics/weir.dead-letters/messages`, { method: 'POST', body: JSON.stringify({ key: spoof, value: spoof, headers: [], partition: 1 }) });
  const t = await openTab(browser, weir.base, '/topics/weir.dead-letters/messages?partition=1');
  await t.page.waitForSelector('.expand');
  const row = await t.page.locator('.messages tbody tr').first().innerText();
  for (const seen of ['U+202E', 'U+2066', 'U+200B']) assert.ok(row.includes(seen), `${seen} is not seen in ${row}`);
  assert.ok(!/[\u202E\u2066\u200B]/.test(row), 'the character itself is still there');
  await t.close();
});

test('DNS rebinding: a foreign name that leads here gets nothing', async () => {
  const { port } = new URL(weir.base);
  const t = await openTab(browser, weir.base, null);
  const r = await t.page.goto(`http://rebound.example:${port}/api/v1/state`);
  assert.equal(r.status(), 421);
  assert.ok(!(await r.text()).includes('bluesky-events'));
  assert.equal((await t.page.goto(`http://rebound.example:${port}/`)).status(), 421);
  await t.close();
  const status = await new Promise((done, fail) => { request({ port, host: '127.0.0.1', path: '/api/v1/state', headers: { Host: 'evil.example' } }, (a) => { a.resume(); done(a.statusCode); }).on('error', fail).end(); });
  assert.equal(status, 421);
});

test('a page of another origin neither reads nor changes anything', async () => {
  const t = await openTab(browser, weir.base, null);
  await t.page.goto(strangerURL);
  const read = await t.page.evaluate((u) => fetch(u + '/api/v1/state').then((r) => r.text(), (e) => 'refused: ' + e.name), weir.base);
  assert.match(read, /^refused/);
  const live = await t.page.evaluate((u) => new Promise((done) => { const s = new EventSource(u + '/api/v1/live'); s.addEventListener('snapshot', () => done('read')); s.onerror = () => { s.close(); done('refused'); }; }), weir.base);
  assert.equal(live, 'refused');

  const before = await (await fetch(weir.base + '/api/v1/brokers')).json();
  // Whatever the browser tells of the answer: what counts is that the brokers go on, below.
  await t.page.evaluate((u) => fetch(u + '/kill', { method: 'POST', mode: 'no-cors', headers: { 'Content-Type': 'text/plain' }, body: '{}' }).catch(() => {}), `${weir.base}/api/v1/brokers/${first}`);
  // A form is sent by the browser as a navigation, without asking first.
  const [sent] = await Promise.all([
    t.page.waitForResponse((r) => r.url().endsWith('/kill'), { timeout: 10_000 }),
    t.page.evaluate((u) => { const f = document.createElement('form'); f.method = 'post'; f.action = u + '/kill'; f.enctype = 'text/plain'; document.body.appendChild(f); f.submit(); }, `${weir.base}/api/v1/brokers/${first}`),
  ]);
  assert.equal(sent.status(), 403);
  const now = await (await fetch(weir.base + '/api/v1/brokers')).json();
  assert.deepEqual(now.brokers.map((b) => b.alive), before.brokers.map((b) => b.alive));
  assert.deepEqual(now.brokers.map((b) => b.alive), [true, true, true]);
  await t.close();
});

test('no page can be framed, and the policy allows nothing inline', async () => {
  const t = await openTab(browser, weir.base, null);
  await t.page.goto(strangerURL);
  await t.page.evaluate((u) => new Promise((done) => { const f = document.createElement('iframe'); f.onload = done; f.src = u; document.body.appendChild(f); }), weir.base);
  const inner = t.page.frames().find((f) => f !== t.page.mainFrame());
  assert.equal(await inner.evaluate(() => document.querySelectorAll('#nav a').length).catch(() => 0), 0);
  await t.page.goto(weir.base);
  const ran = await t.page.evaluate(() => {
    const s = document.createElement('script');
    try { s.textContent = 'window.owned = 1'; } catch { return 'no text for scripts'; }
    document.body.appendChild(s);
    return /** @type {any} */ (window).owned ? 'ran' : 'did not run';
  });
  assert.notEqual(ran, 'ran');
  await t.close();
});

test('nothing changes on GET', async () => {
  for (const path of [`/brokers/${first}/kill`, `/brokers/${first}/restart`, '/groups/weir-bluesky-counter/reset']) {
    const r = await fetch(weir.base + '/api/v1' + path);
    assert.ok(r.status === 404 || r.status === 405, `${path} answered ${r.status}`);
  }
});

test('every page forbids everything but its own files', async () => {
  for (const p of pages) {
    const r = await fetch(weir.base + p.path);
    assert.match(r.headers.get('content-security-policy') || '', /default-src 'none'; script-src 'self'/, p.path);
  }
});

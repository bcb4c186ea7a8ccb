// Every command that the pages and the API show, run in a shell: it does what the page
// or its button does. A command without an entry here fails the suite.

import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { startWeir, startBrowser, openTab, until, pages, first } from './weir.js';

let weir;
let browser;
const bin = mkdtempSync(join(tmpdir(), 'weir-commands-'));
symlinkSync(resolve(process.env.WEIR_BIN || ''), join(bin, 'weir'));
before(async () => { [weir, browser] = await Promise.all([startWeir({ rate: 100 }), startBrowser()]); }, { timeout: 300_000 });
after(async () => { await browser?.close(); await weir?.stop(); rmSync(bin, { recursive: true, force: true }); });

const group = 'weir-bluesky-counter';
const topic = 'weir.dead-letters';

/** Runs a command as a reader who copies it into a terminal. @returns {Promise<{code: number, out: string, err: string}>} */
const run = (command, { timeout = 120_000 } = {}) => new Promise((done) => {
  execFile('bash', ['-c', command], { timeout, maxBuffer: 64 << 20, env: { PATH: `${bin}:${process.env.PATH}`, HOME: bin } }, (e, out, err) => done({ code: e ? Number(e.code ?? -1) : 0, out, err }));
});
/** Runs a command that has to succeed. */
async function ok(command, more = '') {
  const r = await run(command + more);
  assert.equal(r.code, 0, `${command}${more}\n${r.out}${r.err}`);
  return r.out;
}
const json = async (command) => JSON.parse(await ok(command, ' -o json'));
const ask = async (path, body) => {
  const r = await fetch(weir.base + '/api/v1' + path, body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) });
  const answer = await r.json();
  assert.equal(r.status, 200, `${path}: ${JSON.stringify(answer)}`);
  return answer;
};
const names = (list, key) => list.map((x) => x[key]).sort();
const places = (list) => list.map((m) => `${m.partition}:${m.offset}`).sort();
const reached = (address) => new Promise((done, fail) => {
  const [host, port] = address.split(':');
  const s = connect(Number(port), host, () => { s.destroy(); done(true); });
  s.on('error', fail);
});
const memberCount = async () => (await ask('/groups/' + group)).own.members;
const alive = async (id) => (await ask('/brokers')).brokers.find((b) => b.id === id).alive;
const write = (value, more = {}) => ask(`/topics/${topic}/messages`, { key: null, value, headers: [], partition: 0, ...more });

const made = (name, partitions, config = {}) => ask('/topics', { name, partitions, replicas: 1, config });
const gone = (name) => until(`${name} to be deleted`, async () => (await fetch(`${weir.base}/api/v1/topics/${encodeURIComponent(name)}`)).status === 404);
/** The settings that a topic has itself. */
const own = (d) => Object.fromEntries(d.config.filter((c) => c.source === 'topic').map((c) => [c.name, c.value]));
/** A group that stands somewhere in bluesky-accounts, and has no members. */
async function stands(name) {
  for (const p of [0, 1, 2]) await ask('/topics/bluesky-accounts/messages', { key: null, value: '{}', headers: [], partition: p });
  const path = '/groups/' + encodeURIComponent(name);
  await ask(path + '/reset', { to: 'latest', topics: ['bluesky-accounts'], partitions: [], confirm: name });
  return { path, offsets: async () => (await ask(path)).partitions.filter((p) => p.committed >= 0).map((p) => ({ topic: p.topic, partition: p.partition, committed: p.committed })).sort((x, y) => x.partition - y.partition) };
}

/** The shortest run of a lab. */
const quick = { ways: 'threads', events: '300', work: '2ms', workers: '2', keys: '20' };
async function labRun(settings) {
  const { command } = await ask('/labs/parallel/start', { settings });
  await until('the lab to end', async () => (await ask('/labs')).running === '' || !(await ask('/labs')).running, 240_000);
  return command;
}

/** By operation of the API whose answer has a command: does the same, and runs it. */
const operations = {
  'GET /api/v1/topics': async () => {
    const a = await ask('/topics');
    assert.deepEqual(names(await json(a.command), 'name'), names(a.topics, 'name'));
  },
  'GET /api/v1/topics/{topic}': async () => {
    const a = await ask('/topics/bluesky-events');
    const got = await json(a.command);
    assert.deepEqual([got.name, got.partitions], [a.name, a.partitions]);
  },
  'GET /api/v1/topics/{topic}/messages': async () => {
    for (const i of [1, 2, 3]) await write(`{"i":${i}}`, { key: 'commands', headers: [['-o', "it's"]] });
    const since = (await ask(`/topics/${topic}/messages?n=1`)).messages[0].time;
    for (const q of ['', 'from=oldest&n=2', 'from=offset&offset=-2&partition=0', 'from=time&time=' + since, 'text=%7B%22i%22', 'key=commands', 'header=' + encodeURIComponent("-o=it's"), 'path=.i%3D2', 'regexp=i%22%3A(1|3)', 'isolation=uncommitted']) {
      const a = await ask(`/topics/${topic}/messages?` + q);
      assert.ok(a.messages.length, q);
      assert.deepEqual(places(await json(a.command)), places(a.messages), a.command);
    }
  },
  'GET /api/v1/topics/{topic}/messages/{partition}/{offset}': async () => {
    const { partition, offset } = await write('one');
    const a = await ask(`/topics/${topic}/messages/${partition}/${offset}`);
    const m = JSON.parse(await ok(a.command));
    assert.deepEqual([m.partition, m.offset, m.value], [partition, offset, 'one']);
  },
  'POST /api/v1/topics/{topic}/messages': async (t) => {
    const kcat = (await run('command -v kcat')).code === 0;
    if (!kcat) t.diagnostic('kcat is not installed: its commands were not run');
    for (const more of [{}, { key: "it's", headers: [['a', 'b=c'], ['kind', 'x']] }, { key: 'gone', value: null }]) {
      const a = await write("{\"text\":\"it's $HOME\\n\u202e\"}", more);
      const one = (offset) => ask(`/topics/${topic}/messages/${a.partition}/${offset}`);
      const others = kcat ? a.others.filter((o) => o.tool === 'kcat').map((o) => o.command) : [];
      if (kcat) assert.equal(others.length, 1, JSON.stringify(a.others));
      for (const command of [a.command, ...others]) {
        await ok(command);
        const [was, now] = [await one(a.offset), (await ask(`/topics/${topic}/messages?partition=${a.partition}&n=1`)).messages[0]];
        assert.notEqual(now.offset, was.offset);
        for (const k of ['partition', 'key', 'value', 'headers']) assert.deepEqual(now[k], was[k], `${k} of ${command}`);
        a.offset = now.offset;
      }
    }
    const many = await write('{n} of {choice a b}', { count: 5, partition: 1 });
    await ok(many.command);
    const values = (await ask(`/topics/${topic}/messages?partition=1&n=5`)).messages.map((m) => m.value.split(' ')[0]);
    assert.deepEqual(values, ['5', '4', '3', '2', '1'], many.command);
  },
  'GET /api/v1/topics/{topic}/activity': async () => {
    const a = await ask('/topics/bluesky-events/activity');
    assert.equal((await json(a.command)).name, 'bluesky-events', a.command);
  },
  'POST /api/v1/topics': async () => {
    const a = await ask('/topics', { name: '-made', partitions: 2, replicas: 1, config: { 'cleanup.policy': 'compact,delete', 'retention.ms': '7200000' } });
    await ask('/topics/-made/delete', { confirm: '-made' });
    await gone('-made');
    await ok(a.command);
    const d = await ask('/topics/-made');
    assert.deepEqual([d.partitions, d.replicas, own(d)], [2, 1, { 'cleanup.policy': 'compact,delete', 'retention.ms': '7200000' }], a.command);
  },
  'POST /api/v1/topics/{topic}/alter': async () => {
    await made('altered', 1, { 'segment.ms': '8640000' });
    const a = await ask('/topics/altered/alter', { set: { 'cleanup.policy': 'compact,delete', 'retention.ms': '7200000' }, unset: ['segment.ms'] });
    const want = own(await ask('/topics/altered'));
    assert.deepEqual(want, { 'cleanup.policy': 'compact,delete', 'retention.ms': '7200000' });
    await ask('/topics/altered/alter', { set: { 'segment.ms': '8640000' }, unset: Object.keys(want) });
    await ok(a.command);
    assert.deepEqual(own(await ask('/topics/altered')), want, a.command);
  },
  'POST /api/v1/topics/{topic}/partitions': async () => {
    await made('grown', 1);
    const a = await ask('/topics/grown/partitions', { to: 4, confirm: '' });
    assert.equal((await ask('/topics/grown')).partitions, 1);
    await ok(a.command, ' --yes');
    assert.equal((await ask('/topics/grown')).partitions, 4, a.command);
  },
  'POST /api/v1/topics/{topic}/truncate': async () => {
    await made('cut', 2);
    for (const p of [0, 1, 0, 1, 0, 1]) await ask('/topics/cut/messages', { key: null, value: 'x', headers: [], partition: p });
    const a = await ask('/topics/cut/truncate', { before: '2', partitions: [1], confirm: '' });
    await ok(a.command, ' --yes');
    assert.deepEqual((await ask('/topics/cut')).partition_list.map((p) => p.low), [0, 2], a.command);
  },
  'POST /api/v1/topics/{topic}/delete': async () => {
    await made('removed', 1);
    const a = await ask('/topics/removed/delete', { confirm: '' });
    await ok(a.command, ' --yes');
    await gone('removed');
  },
  'POST /api/v1/groups/{group}/delete': async () => {
    const at = await stands("it's");
    const a = await ask(at.path + '/delete', { confirm: '' });
    await ok(a.command, ' --yes');
    assert.equal((await fetch(weir.base + '/api/v1' + at.path)).status, 404, a.command);
  },
  'POST /api/v1/groups/{group}/delete-offsets': async () => {
    const at = await stands('less');
    const a = await ask(at.path + '/delete-offsets', { topic: 'bluesky-accounts', partitions: [0, 2], confirm: '' });
    await ok(a.command, ' --yes');
    assert.deepEqual((await at.offsets()).map((p) => p.partition), [1], a.command);
  },
  'POST /api/v1/groups/{group}/import': async () => {
    const at = await stands('imported');
    await ok(`weir groups export imported --data ${weir.data}`, ` > ${bin}/offsets.csv`);
    const want = await at.offsets();
    const a = await ask(at.path + '/import', { offsets: want.map((p) => ({ topic: p.topic, partition: p.partition, offset: 0 })), confirm: 'imported' });
    assert.ok((await at.offsets()).every((p) => p.committed === 0));
    await ok(`cd ${bin} && ${a.command}`, ' --yes');
    assert.deepEqual(await at.offsets(), want, a.command);
  },
  'GET /api/v1/groups': async () => {
    const a = await ask('/groups');
    assert.deepEqual(names(await json(a.command), 'group'), names(a.groups, 'group'));
  },
  'GET /api/v1/groups/{group}': async () => {
    const a = await ask('/groups/' + group);
    const got = await json(a.command);
    assert.deepEqual([got.group, places(got.partitions.map((p) => ({ ...p, offset: p.topic })))], [group, places(a.partitions.map((p) => ({ ...p, offset: p.topic })))]);
  },
  'POST /api/v1/groups/{group}/members/add': async () => {
    const a = await ask(`/groups/${group}/members/add`, {});
    const n = await memberCount();
    await ok(a.command);
    assert.equal(await memberCount(), n + 1);
  },
  'POST /api/v1/groups/{group}/members/remove': async () => {
    const a = await ask(`/groups/${group}/members/remove`, {});
    const n = await memberCount();
    await ok(a.command);
    assert.equal(await memberCount(), n - 1);
  },
  'POST /api/v1/groups/{group}/reset': async () => {
    while (await memberCount() > 0) await ask(`/groups/${group}/members/remove`, {});
    await until('the group to be empty', async () => (await ask('/groups/' + group)).members.length === 0);
    const at = async () => Object.fromEntries((await ask('/groups/' + group)).partitions.map((p) => [p.partition, p.committed]));
    const was = await at();
    // The button moves two partitions back by two offsets, and so does the command after it.
    const a = await ask(`/groups/${group}/reset`, { to: '-2', topics: ['bluesky-events'], partitions: [0, 2], confirm: group });
    await ok(a.command, ' --yes');
    const want = { ...was, 0: was[0] - 4, 2: was[2] - 4 };
    assert.deepEqual(await at(), want, a.command);
    const then = new Date(Date.now() - 3_600_000).toISOString();
    const b = await ask(`/groups/${group}/reset`, { to: then, topics: [], partitions: [], confirm: '' });
    assert.equal(JSON.stringify(await at()), JSON.stringify(want), 'a plan changes nothing');
    await ok(b.command, ' --yes');
    assert.deepEqual(await at(), Object.fromEntries(b.plan.changes.map((c) => [c.partition, c.to])), b.command);
    await ask(`/groups/${group}/members/add`, {});
  },
  'POST /api/v1/groups/{group}/replay': async () => {
    const a = await ask(`/groups/${group}/replay`, { topic: '', confirm: '' });
    await ok(a.command, ' --yes'); // exit code 4 says that the counts differ
  },
  'GET /api/v1/groups/{group}/replay': async () => {
    const a = await ask(`/groups/${group}/replay`);
    await ok(a.command, ' --yes');
  },
  'GET /api/v1/brokers': async () => {
    const a = await ask('/brokers');
    assert.deepEqual(names(await json(a.command), 'id'), names(a.brokers, 'id'));
  },
  'GET /api/v1/brokers/{broker}': async (t) => {
    const a = await ask('/brokers/' + first);
    const m = /^kafka-configs\.sh --bootstrap-server (\S+) --describe --all --entity-type brokers --entity-name (\d+)$/.exec(a.command);
    assert.ok(m && Number(m[2]) === first, a.command);
    await reached(m[1]);
    if ((await run('command -v kafka-configs.sh')).code === 0) assert.match(await ok(a.command), /log\.retention/); else t.diagnostic('kafka-configs.sh is not installed: only its address was tried');
  },
  'GET /api/v1/exercises': async () => {
    const a = await ask('/exercises');
    assert.deepEqual(names((await json(a.command)).exercises, 'name'), names(a.exercises, 'name'));
  },
  'GET /api/v1/exercises/{name}': async () => {
    const a = await ask('/exercises/survive');
    const got = await json(a.command);
    assert.deepEqual([got.name, got.title], ['survive', a.title]);
  },
  'POST /api/v1/brokers/{broker}/kill': async () => {
    const id = first + 2;
    const a = await ask(`/brokers/${id}/kill`, {});
    await ask(`/brokers/${id}/restart`, {});
    assert.equal(await alive(id), true);
    await ok(a.command);
    assert.equal(await alive(id), false, a.command);
  },
  'POST /api/v1/brokers/{broker}/restart': async () => {
    const id = first + 2;
    const a = await ask(`/brokers/${id}/restart`, {});
    await ask(`/brokers/${id}/kill`, {});
    assert.equal(await alive(id), false);
    await ok(a.command);
    assert.equal(await alive(id), true, a.command);
  },
  'GET /api/v1/verify': async () => { assert.match(await ok((await ask('/verify')).command), /\bok\b/); },
  'POST /api/v1/verify': async () => {
    const { command } = await ask('/verify', {});
    await until('the proof on the page', async () => !(await ask('/verify')).running);
    assert.match(await ok(command), /\bok\b/);
  },
  'POST /api/v1/labs/{lab}/start': async () => {
    const before = (await ask('/labs')).reports.length;
    const command = await labRun(quick);
    const r = await run(command, { timeout: 240_000 });
    assert.ok([0, 4, 5].includes(r.code), `${command}: ${r.code}\n${r.err}`); // the verdict is the lab's affair
    const { reports } = await ask('/labs');
    assert.equal(reports.length, before + 2, `the report of ${command} is not beside the page's\n${r.out}${r.err}`);
    const [a, b] = await Promise.all(reports.slice(0, 2).map(async (x) => (await ask('/labs/reports/' + x.name)).report.settings));
    assert.deepEqual(a, b, command);
  },
  'GET /api/v1/labs': async () => {
    const a = await ask('/labs');
    const out = await ok(a.command);
    for (const l of a.labs) assert.ok(out.includes(l.name), l.name);
    for (const r of a.reports) assert.ok(out.includes(r.name), r.name);
  },
  'GET /api/v1/labs/reports/{report}': async () => {
    const [{ name }] = (await ask('/labs')).reports;
    assert.ok((await ok((await ask('/labs/reports/' + name)).command)).includes(name));
  },
  'GET /api/v1/labs/compare': async () => {
    const [a, b] = (await ask('/labs')).reports;
    const { command, differences } = await ask(`/labs/compare?a=${a.name}&b=${b.name}`);
    const out = await ok(command);
    assert.ok(differences.length > 5);
    for (const d of differences) assert.ok(out.includes(d.case) && out.includes(d.name), out);
  },
  // Not a command of its own: the key that ends a command in a terminal.
  'POST /api/v1/labs/stop': async () => {
    await ask('/labs/parallel/start', { settings: { ...quick, events: '5000', work: '20ms' } });
    assert.equal((await ask('/labs/stop', {})).command, 'Ctrl-C');
    await until('the lab to stop', async () => !(await ask('/labs')).running);
  },
  // Not a command of its own either: a line of standard input of the one before.
  'POST /api/v1/labs/set': async () => {
    await ask('/labs/backpressure/start', { settings: { preset: 'play', time: '40s' } });
    let a;
    await until('the lab to take a setting', async () => {
      const r = await fetch(weir.base + '/api/v1/labs/set', { method: 'POST', body: JSON.stringify({ name: 'policy', value: 'drop-newest' }) });
      a = await r.json();
      return r.status === 200;
    });
    assert.deepEqual(JSON.parse(await ok(a.command)), { set: 'policy', value: 'drop-newest' });
    await ask('/labs/stop', {});
    await until('the lab to stop', async () => !(await ask('/labs')).running);
  },
};

test('every operation that shows a command is tried here', async () => {
  const doc = await ask('/openapi.json');
  const resolved = (s) => s.$ref ? doc.components.schemas[s.$ref.split('/').pop()] : s;
  const shown = [];
  for (const [path, methods] of Object.entries(doc.paths)) {
    for (const [method, op] of Object.entries(methods)) {
      const schema = op.responses['200'].content?.['application/json']?.schema;
      if (schema && resolved(schema).properties?.command) shown.push(`${method.toUpperCase()} ${path}`);
    }
  }
  assert.ok(shown.length > 15, shown.join());
  assert.deepEqual(Object.keys(operations).sort(), shown.sort());
});

for (const [name, f] of Object.entries(operations)) test(name, { timeout: 600_000 }, f);

/** A command without where its program is: stations name the program as it was started. @param {string} command */
const plain = (command) => command.replace(/^\/\S+ /, 'weir ');

/** Commands that only pages make, and what shows that they do what the page does. */
const ofPages = [
  [/^weir messages \S+ --follow/, async (command, page) => {
    const followed = run(`timeout 60 ${command} -o jsonl | head -n 3`);
    await until('the page to follow', async () => await page.locator('tr.message').count() >= 3);
    const { out } = await followed;
    assert.equal(out.trim().split('\n').map((l) => JSON.parse(l).topic).join(), 'bluesky-events,bluesky-events,bluesky-events', command);
  }],
  [/^weir messages \S+ --group team --follow /, async (command) => { // a station names one of the reader's own topics
    const own = command.split(' ')[2];
    await ask(`/topics/${own}/messages`, { key: 'team', value: 'for the team', headers: [], partition: null });
    assert.equal(JSON.parse(await ok(`timeout 60 ${command} -n 1 -o jsonl`)).topic, own, command);
  }],
  [/^weir exercise (start|check) /, async (command) => { assert.match(await ok(command, ' --help'), /Usage:/); }],
  [/^weir send \S+ --data /, async (command) => { assert.match(await ok("printf '%s\\n' from-a-page | " + command), /partition \d/); }],
  [/^weir lab [a-z]+ /, async (command) => { assert.match(await ok(command, ' --help'), /Usage:/); }],
  // Buttons, whose commands are tried above as the API shows them: here that both are the same.
  [/^weir groups join /, async (command) => { const a = await ask(`/groups/${group}/members/add`, {}); await ask(`/groups/${group}/members/remove`, {}); assert.equal(plain(command), a.command); }],
  // After a replay, which a terminal can have started, the API names its topic, too.
  [/^weir groups replay /, async (command) => { assert.equal(plain(command).replace(/ --topic \S+/, ''), (await ask(`/groups/${group}/replay`)).command.replace(/ --topic \S+/, '')); }],
  [/^weir (topics|messages|groups|groups describe|brokers|verify|lab list|learn|exercise list)( |$)/, (command) => ok(command)],
];

test('every command that a page shows is tried here', { timeout: 600_000 }, async () => {
  const labs = (await ask('/labs')).labs.map((l) => ({ path: '/labs/' + l.name, ready: '.lab-form button:not(.help)' }));
  const all = [...pages, { path: '/topics/bluesky-events/messages?live=1', ready: 'tr.message' }, { path: '/labs', ready: '.card' }, ...labs];
  const used = new Set();
  for (const p of all) {
    const t = await openTab(browser, weir.base, p.path);
    await t.page.waitForSelector(p.ready);
    await until('the commands of ' + p.path, async () => (await t.page.locator('.command:visible code').allInnerTexts()).filter((c) => c).length > 0 || p.path === '/');
    for (const command of await t.page.locator('.command:visible code').allInnerTexts()) {
      const known = ofPages.find(([re]) => re.test(plain(command)));
      assert.ok(known, `${p.path} shows a command that is not tried: ${command}`);
      used.add(known);
      await known[1](command, t.page);
    }
    assert.deepEqual(t.wrong, [], p.path);
    await t.close();
  }
  assert.deepEqual(ofPages.filter((x) => !used.has(x)).map(([re]) => String(re)), [], 'no page shows these');
});

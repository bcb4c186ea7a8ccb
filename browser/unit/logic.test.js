// The logic of the pages that needs no page: patches, tokens, scales, numbers.

import { test } from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

const root = new URL('../../internal/web/static/', import.meta.url);

/** As much of a document as elements without a page need. */
class FakeElement {
  constructor(tag) { this.tag = tag; this.children = []; this.parent = null; this.moves = 0; }
  get firstElementChild() { return this.children[0] || null; }
  get nextElementSibling() { const s = this.parent?.children || []; return s[s.indexOf(this) + 1] || null; }
  insertBefore(e, at) {
    e.parent?.children.splice(e.parent.children.indexOf(e), 1);
    this.children.splice(at ? this.children.indexOf(at) : this.children.length, 0, e);
    e.parent = this;
    e.moves++;
  }
  remove() { this.parent.children.splice(this.parent.children.indexOf(this), 1); this.parent = null; }
}

const { mergePatch, keyed, count, rate, bytes, duration, hue } = await import(new URL('store.js', root).href);
const { tokens, pickPaths } = await import(new URL('json.js', root).href);
const { spread, onFront, decades } = await import(new URL('course.js', root).href);
const { commandsOf } = await import(new URL('text.js', root).href);
const { nice, scale } = await import(new URL('chart.js', root).href);
const { parseTime, fieldTime, offset } = await import(new URL('time.js', root).href);
const { hexDump, fromBase64 } = await import(new URL('message.js', root).href);
const { weir, filterWord } = await import(new URL('ui.js', root).href);
const { partitionsOf } = await import(new URL('changes.js', root).href);
const { inWords } = await import(new URL('settings.js', root).href);
const { headersOf, notText } = await import(new URL('pages/produce.js', root).href);

test('merge patches: the examples of RFC 7396', () => {
  const cases = [
    [{ a: 'b' }, { a: 'c' }, { a: 'c' }], [{ a: 'b' }, { b: 'c' }, { a: 'b', b: 'c' }], [{ a: 'b' }, { a: null }, {}], [{ a: 'b', b: 'c' }, { a: null }, { b: 'c' }],
    [{ a: ['b'] }, { a: 'c' }, { a: 'c' }], [{ a: 'c' }, { a: ['b'] }, { a: ['b'] }], [{ a: { b: 'c' } }, { a: { b: 'd', c: null } }, { a: { b: 'd' } }],
    [{ a: [{ b: 'c' }] }, { a: [1] }, { a: [1] }], [['a', 'b'], ['c', 'd'], ['c', 'd']], [{ a: 'b' }, ['c'], ['c']], [{ a: 'foo' }, null, null], [{ a: 'foo' }, 'bar', 'bar'],
    [{ e: null }, { a: 1 }, { e: null, a: 1 }], [[1, 2], { a: 'b', c: null }, { a: 'b' }], [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
  ];
  for (const [target, patch, want] of cases) assert.deepEqual(mergePatch(structuredClone(target), patch), want);
});

test('merge patches pollute no prototype', () => {
  const target = {};
  mergePatch(target, JSON.parse('{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}'));
  assert.equal(/** @type {any} */ ({}).polluted, undefined);
  assert.ok(Object.hasOwn(target, '__proto__'));
});

test('keyed rows: kept by key, moved, removed, and untouched where nothing changed', () => {
  const parent = new FakeElement('tbody');
  const draw = (keys) => keyed(parent, keys, (k) => k, (k) => new FakeElement(k), () => {});
  const shown = () => parent.children.map((e) => e.tag).join('');
  draw([...'abc']);
  const [a, b, c] = parent.children;
  assert.equal(shown(), 'abc');
  draw([...'abc']);
  assert.deepEqual([a.moves, b.moves, c.moves], [1, 1, 1], 'moved for nothing');
  draw([...'cab']);
  assert.equal(shown(), 'cab');
  assert.equal(parent.children[0], c, 'made anew');
  draw([...'cxb']);
  assert.equal(shown(), 'cxb');
  draw([]);
  assert.equal(shown(), '');
  // Any change of order, from a seed that is printed.
  let seed = Number(process.env.SEED || 7);
  const random = (n) => { seed = (seed * 1103515245 + 12345) % 2147483648; return seed % n; };
  for (let i = 0; i < 500; i++) {
    const keys = [...new Set(Array.from({ length: random(12) }, () => 'abcdefghijkl'[random(12)]))];
    draw(keys);
    assert.equal(shown(), keys.join(''), `seed ${process.env.SEED || 7}, round ${i}`);
  }
});

test('tokens keep numbers as they are written', () => {
  const text = '{"id": 9007199254740993, "n": -1.50e+10, "list": [18446744073709551615, true, null, "a\\"b"]}';
  assert.deepEqual(tokens(text).filter((t) => t.t === 'atom').map((t) => t.s), ['9007199254740993', '-1.50e+10', '18446744073709551615', 'true', 'null']);
  assert.equal(tokens(text).map((t) => t.s).join(''), '{"id"9007199254740993"n"-1.50e+10"list"[18446744073709551615truenull"a\\"b"]}');
});

test('what JSON.parse refuses is refused, what it takes is taken', () => {
  const texts = ['', ' ', '{', '}', '[', '[1', '[1,]', '[,1]', '{"a"}', '{"a":}', '{"a":1,}', '{,"a":1}', '{a:1}', '01', '1.', '.5', '+1', '1e', '--1', 'tru', 'nul', 'NaN', '"a', '"\\x"', '"\t"', "'a'", '1 2', '{} {}', '[1 2]', '{"a" 1}', ':', ',', '[]]', '{]', '[}', '"a" "b"', '{"a":1 "b":2}', '\u00a01',
    '1', '-0', '1e5', '"a"', '[]', '{}', ' [1, 2] ', '{"a":{"b":[1,{"c":null}]}}', '"\\u0041"', 'true', '[[],{}]', '{"":""}'];
  for (const text of texts) {
    let valid = true;
    try { JSON.parse(text); } catch { valid = false; }
    assert.equal(tokens(text) !== null, valid, JSON.stringify(text));
  }
  assert.equal(tokens('['.repeat(5000) + ']'.repeat(5000)), null, 'depth has a limit');
});

test('members are found by their paths', () => {
  assert.deepEqual(pickPaths('{"commit":{"record":{"text":"hi","n":9007199254740993},"x":[{"text":"no"}]},"text":"top"}', ['commit.record.text', 'commit.record.n', 'text', 'absent']),
    { 'commit.record.text': 'hi', 'commit.record.n': '9007199254740993', text: 'top' });
  assert.deepEqual(pickPaths('not json', ['a']), {});
});

test('scales end at a round number that holds the most', () => {
  for (const [n, want] of [[0, 1], [-5, 1], [1, 1], [1.1, 2], [2, 2], [3, 5], [7, 10], [10, 10], [11, 20], [99, 100], [101, 200], [501, 1000], [0.03, 0.05]]) assert.equal(nice(n), want, String(n));
});

test('names beside dots cover nothing, and are left out where there is no room', () => {
  const at = (/** @type {number} */ x, /** @type {number} */ y, text = 'acks=1') => ({ x, y, text });
  assert.deepEqual(spread([at(100, 50)], 900), [{ left: false, up: 0, none: false }]);
  assert.equal(spread([at(890, 50)], 900)[0].left, true, 'at the right end');
  const two = spread([at(100, 50), at(102, 51)], 900);
  assert.notDeepEqual([two[0].left, two[0].up], [two[1].left, two[1].up], 'two at one place');
  assert.equal(spread(Array.from({ length: 40 }, () => at(100, 50)), 900).filter((p) => p.none).length, 30);
  assert.equal(spread([at(5, 50, 'x'.repeat(200))], 300)[0].none, true);
});

test('a logarithmic axis has a line at 1, 2 and 5 of each decade', () => {
  assert.deepEqual(decades(1.8, 300), [2, 5, 10, 20, 50, 100, 200]);
  assert.deepEqual(decades(0.05, 0.3), [0.05, 0.1, 0.2]);
});

test('the front: nobody is better at one and no worse at the other', () => {
  const all = [{ case: 'a', x: 1, y: 9 }, { case: 'b', x: 2, y: 2 }, { case: 'c', x: 3, y: 2 }, { case: 'd', x: 9, y: 1 }, { case: 'e', x: 9, y: 9 }];
  assert.deepEqual(all.filter((t) => onFront(t, all)).map((t) => t.case), ['a', 'b', 'd']);
});

test('an axis: half of a whole number is not said where it would read like another', () => {
  assert.deepEqual(scale(1, count), [[1, '1']]);
  assert.deepEqual(scale(5, count), [[1, '5']]);
  assert.deepEqual(scale(2, count), [[0.5, '1'], [1, '2']]);
  assert.deepEqual(scale(5000, count), [[0.5, '2,500'], [1, '5,000']]);
  assert.deepEqual(scale(1, rate), [[0.5, '0.5/s'], [1, '1.0/s']]);
});

test('numbers read the same everywhere', () => {
  assert.deepEqual([count(1234567), count(-1), count(null), rate(99.94), rate(1234.5), rate(0), bytes(999), bytes(1000), bytes(1234567), bytes(-1)], ['1,234,567', '?', '?', '99.9/s', '1,235/s', '0/s', '999 B', '1.0 kB', '1.2 MB', '?']);
  assert.deepEqual([duration(0), duration(0.25), duration(2.5), duration(90), duration(600), duration(7200), duration(null)], ['0 s', '250 ms', '2.5 s', '90 s', '10 min', '2 h', '?']);
  assert.deepEqual([hue(0), hue(13), hue(-1)], ['h0', 'h1', 'h11']);
});

test('nothing makes HTML of text, everything together is light, and the pieces keep to their size', () => {
  const files = (d) => readdirSync(d).flatMap((n) => { const p = join(d, n); return statSync(p).isDirectory() ? files(p) : [p]; });
  let packed = 0;
  for (const f of files(root.pathname)) {
    const text = readFileSync(f, 'utf8');
    packed += gzipSync(text).length;
    assert.ok(!/innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|https?:\/\/(?!www\.w3\.org)/.test(text.replace(/xmlns="[^"]*"/g, '')), f);
  }
  assert.ok(packed < 150_000, `${packed} bytes compressed`);
  const lines = (n) => readFileSync(new URL(n, root), 'utf8').split('\n').length;
  assert.ok(lines('chart.js') <= 400, `chart.js has ${lines('chart.js')} lines`);
});

test('a shown command takes a text as a text and a name as a name', () => {
  assert.equal(weir('messages', 'events', '--follow'), 'weir messages events --follow');
  assert.equal(weir('groups describe', '-a b', '--data /x'), "weir groups describe --data /x -- '-a b'");
  assert.equal(filterWord('a|b'), 'a|b');
  for (const text of ['/a|b/', '.dot', 'key=k', 'header:h', '.*[x]+(y)?{1}^$\\']) {
    const word = filterWord(text);
    assert.ok(word.startsWith('/') && word.endsWith('/'));
    assert.ok(new RegExp(word.slice(1, -1)).test('<' + text + '>'), word);
    assert.ok(!new RegExp('^(?:' + word.slice(1, -1) + ')$').test('a'), word);
  }
});

test('times: what is shown can be asked for, and means one instant', () => {
  const zone = process.env.TZ;
  try {
    process.env.TZ = 'Europe/Berlin';
    const now = Date.parse('2026-11-28T11:00:00Z'); // 12:00 in Berlin
    for (const [text, want] of /** @type {[string, string|null][]} */ ([
      ['2026-11-28 11:20:05', '2026-11-28T10:20:05Z'], ['2026-07-01 11:20:05.250', '2026-07-01T09:20:05.250Z'], ['2026-11-28T11:20', '2026-11-28T10:20:00Z'], ['2026-11-28', '2026-11-27T23:00:00Z'],
      ['2026-11-28T11:20:05Z', '2026-11-28T11:20:05Z'], ['2026-11-28T11:20:05.123456789-03:30', '2026-11-28T14:50:05.123Z'], ['1764328805000', '2025-11-28T11:20:05Z'],
      ['10m', '2026-11-28T10:50:00Z'], ['1h30m', '2026-11-28T09:30:00Z'], ['1.5d', '2026-11-26T23:00:00Z'], ['11:30', '2026-11-28T10:30:00Z'], ['13:30:10', '2026-11-27T12:30:10Z'],
      ['2026-02-31', null], ['2026-11-28 24:00:00', null], ['2026-11-28 11:60', null], ['25:00', null], ['yesterday', null], ['', null], ['12', null], ['10 minutes', null],
    ])) assert.equal(parseTime(text, now), want === null ? null : Date.parse(want), text);
    for (const [at, shown] of [['2026-11-28T10:20:05Z', '2026-11-28 11:20:05'], ['2026-11-28T10:20:05.007Z', '2026-11-28 11:20:05.007'], ['2026-10-25T01:30:00Z', '2026-10-25T01:30:00.000Z']]) {
      assert.equal(fieldTime(Date.parse(at)), shown);
      assert.equal(parseTime(shown, now), Date.parse(at));
    }
    assert.deepEqual([offset(now), offset(Date.parse('2026-07-01T00:00:00Z'))], ['UTC+01:00', 'UTC+02:00']);
    process.env.TZ = 'America/St_Johns';
    assert.equal(offset(now), 'UTC-03:30');
    assert.equal(parseTime('2026-11-28 11:20:05', now), Date.parse('2026-11-28T14:50:05Z'));
  } finally { if (zone === undefined) delete process.env.TZ; else process.env.TZ = zone; }
});

test('bytes are dumped as hexdump -C does', () => {
  assert.equal(hexDump(new Uint8Array()), '');
  assert.equal(hexDump(fromBase64('AAH+/zxiPkh5fiAJCgD/gEE=')),
    '00000000  00 01 fe ff 3c 62 3e 48  79 7e 20 09 0a 00 ff 80  |....<b>Hy~ .....|\n' +
    '00000010  41                                                |A|');
});

test('partitions as they are typed', () => {
  assert.deepEqual(partitionsOf(''), []);
  assert.deepEqual(partitionsOf(' 5-7,0, 2 ,6,'), [0, 2, 5, 6, 7]);
  for (const wrong of ['a', '-1', '3-1', '1.5', '0-999999', '1 2', '0;1']) assert.throws(() => partitionsOf(wrong), /is not a partition/, wrong);
});

test('headers as they are typed, and the messages that cannot be typed', () => {
  assert.deepEqual(headersOf('a=b=c\n\nname\n<b>=x\n =y'), [['a', 'b=c'], ['name', ''], ['<b>', 'x'], [' ', 'y']]);
  const m = { key: 'k', value: 'v', headers: [{ name: 'a', value: 'b' }] };
  assert.equal(notText(m), '');
  assert.equal(notText({ ...m, key: null, value: null, headers: [] }), '');
  for (const odd of [{ truncated: true }, { key: null, key_base64: '/w==' }, { value: null, value_base64: '/w==' }, { headers: [{ name: 'a', value: null }] }, { headers: [{ name: 'a', value: null, value_base64: '/w==' }] }, { headers: [{ name: 'a=b', value: '' }] }, { headers: [{ name: 'a', value: 'b\nc' }] }]) assert.ok(notText({ ...m, ...odd }), JSON.stringify(odd));
});

test('what the number of a setting means', () => {
  const ms = { unit: 'milliseconds' };
  assert.deepEqual(['604800000', '-1', '9223372036854775807', 'soon', ''].map((v) => inWords(ms, v)), ['7 d', 'no limit', 'no limit', '', '']);
  assert.equal(inWords({ unit: 'bytes' }, '1048588'), '1.0 MB');
  assert.equal(inWords(undefined, '5'), '');
});

test('a block copies its commands without prompts and output, and other text as it is', () => {
  assert.equal(commandsOf('$ weir topics\nTOPIC  STATE\n…\n$ weir send a \\\n> b\n5 $ 3'), 'weir topics\nweir send a \\\nb');
  assert.equal(commandsOf('weir lab list\n> not a prompt'), 'weir lab list\n> not a prompt');
});

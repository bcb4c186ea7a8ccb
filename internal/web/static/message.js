// @ts-check
// One message: its row, and the whole of it. Bytes that are not text are shown in
// hex, and nothing is ever made HTML of.

import { el, put, count, bytes, stamp, visible } from './store.js';
import { toast, commandBar } from './ui.js';
import { oneLine, tree } from './json.js';
import { zone, offset, instant } from './time.js';

/** So many bytes of a value are shown in hex. */
const hexLimit = 4096;

/** @param {string} text base64 */
export function fromBase64(text) { return Uint8Array.from(atob(text), (c) => c.charCodeAt(0)); }

const two = (/** @type {number} */ b) => b.toString(16).padStart(2, '0');

/** Bytes as hexdump -C writes them: offset, sixteen bytes, ASCII. @param {Uint8Array} b */
export function hexDump(b) {
  const lines = [];
  for (let at = 0; at < b.length; at += 16) {
    const part = [...b.subarray(at, at + 16)];
    const hex = [part.slice(0, 8), part.slice(8)].map((half) => half.map(two).join(' ').padEnd(23)).join('  ');
    lines.push(`${at.toString(16).padStart(8, '0')}  ${hex}  |${part.map((c) => c >= 0x20 && c < 0x7f ? String.fromCharCode(c) : '.').join('')}|`);
  }
  return lines.join('\n');
}

/** The beginning of bytes on one line. @param {Uint8Array} b @param {number} size of the whole */
function hexLine(b, size) { return `${bytes(size)}: ${[...b.subarray(0, 24)].map(two).join(' ')}${size > 24 ? ' …' : ''}`; }

/** A key or a header's value on one line. @param {string|null} text @param {string|undefined} base64 @param {string} none */
function short(text, base64, none) {
  if (text !== null) return text;
  if (!base64) return none;
  const b = fromBase64(base64);
  return hexLine(b, b.length);
}

/** A message's time, or the stored number where that is no time. @param {any} m */
function when(m) {
  if (m.time === null) return el('span.out-of-range', { title: 'The stored timestamp is not a time in milliseconds between 1970 and 9999. Some producers send microseconds or nanoseconds.' }, m.timestamp, el('small', null, 'out of range'));
  const ms = Date.parse(m.time);
  return el('time', { datetime: instant(ms), title: `${zone()}, ${offset(ms)}. In UTC: ${instant(ms)}` }, stamp(ms));
}

/**
 * The row of a message, which opens.
 * @param {any} m @param {{base: string, uncommitted: boolean, api: (path: string, body?: any) => Promise<any>}} o base is the topic's page
 * @returns {{row: HTMLElement, toggle: () => void}}
 */
export function messageRow(m, o) {
  const link = `${o.base}/messages?partition=${m.partition}&offset=${m.offset}&from=offset&n=1${o.uncommitted ? '&isolation=uncommitted' : ''}`;
  /** @type {HTMLElement|null} */
  let detail = null;
  const toggle = () => {
    if (detail) { detail.remove(); detail = null; } else row.after(detail = el('tr.detail', null, el('td', { colspan: 7 }, whole(m, o.base, o.api))));
    open.setAttribute('aria-expanded', String(!!detail));
    put(open, detail ? '▾' : '▸');
  };
  const open = el('button.expand', { type: 'button', 'aria-expanded': 'false', 'aria-label': `Show message ${m.partition}:${m.offset}`, onclick: toggle }, '▸');
  const row = el('tr.message', null, el('td', null, open), el('td.num', null, m.partition), el('td.num', null, el('a', { href: link, title: 'a link to this message' }, count(m.offset))), el('td.nowrap', null, when(m)),
    el('td.clip', null, m.key === null && !m.key_base64 ? el('i.dim', null, 'none') : visible(oneLine(short(m.key, m.key_base64, ''), 60))),
    el('td.clip.value', null, m.value === null && !m.value_base64 ? el('i.dim', null, 'null (a tombstone)') : m.value_base64 ? hexLine(fromBase64(m.value_base64), m.value_size) : visible(oneLine(m.value, 300))),
    el('td.clip', null, visible(oneLine(m.headers.map((/** @type {any} */ h) => h.name + '=' + short(h.value, h.value_base64, 'null')).join(' '), 80))));
  return { row, toggle };
}

/** Explains the offsets before a message that hold none. @param {any} g the message's gap */
export function gapText(g) {
  const why = [[g.markers, 'transaction marker', 'transaction markers'], [g.aborted, 'record of an aborted transaction', 'records of aborted transactions'],
    [g.missing, 'offset whose record or transaction marker is no longer in the log (compacted or archived)',
      'offsets whose records or transaction markers are no longer in the log (compacted or archived)']]
    .filter(([n]) => n).map(([n, one, many]) => `${count(n)} ${n === 1 ? one : many}`);
  return (g.first === g.last ? `Offset ${count(g.first)} holds no message: ` : `Offsets ${count(g.first)}–${count(g.last)} hold no messages: `) + why.join(', ');
}

/** A view in hex, with a note where it is not all. @param {Uint8Array} b @param {number} size of the whole */
function hexView(b, size) {
  const shown = b.subarray(0, hexLimit);
  return el('div', null, el('pre.raw.hex', { tabindex: '0' }, hexDump(shown)),
    shown.length < size ? el('p.dim', null, `The first ${count(shown.length)} of ${count(size)} bytes: download the value for the rest.`) : null);
}

/** Writes a message once more, whole, or opens it on the Produce page. @param {any} m @param {string} base @param {(path: string, body?: any) => Promise<any>} api */
function again(m, base, api) {
  const result = el('div');
  const send = /** @type {HTMLButtonElement} */ (el('button.change', { type: 'button', title: 'Writes its key, value and headers again; the key chooses the partition', onclick: async () => {
    send.disabled = true;
    try {
      const a = await api(base + '/messages', { key: null, value: null, headers: [], partition: null, again: { partition: m.partition, offset: m.offset } });
      result.replaceChildren(el('p', { role: 'status' }, `Written again to partition ${a.partition} at `, el('a', { href: `${base}/messages?partition=${a.partition}&offset=${a.offset}&from=offset&n=1` }, 'offset ' + count(a.offset))), commandBar(a.command, a.requests, a.others, true).root);
    } catch (e) { result.replaceChildren(el('p.alert', { role: 'alert' }, /** @type {Error} */ (e).message)); }
    send.disabled = false;
  } }, 'Send again'));
  const topic = encodeURIComponent(m.topic);
  return { buttons: [send, el('a.button.change', { href: `/produce?topic=${topic}&copy=${m.partition}:${m.offset}` }, 'Edit and send')], result };
}

/** The whole of a message. @param {any} m @param {string} base the topic's page @param {(path: string, body?: any) => Promise<any>} api */
function whole(m, base, api) {
  const once = again(m, base, api);
  const binary = !!m.value_base64;
  const text = m.value ?? m.value_base64 ?? '';
  const t = m.value !== null && !m.truncated ? tree(m.value) : null;
  /** @type {[string, () => Node][]} */
  const views = [];
  if (t) views.push(['Tree', () => t]);
  if (!binary) views.push(['Raw', () => el('pre.raw', { tabindex: '0' }, visible(text))]);
  if (m.value_size) views.push(['Hex', () => hexView(binary ? fromBase64(text) : new TextEncoder().encode(text), m.value_size)]);
  const view = el('div');
  const buttons = views.map(([name, make], i) => el('button', { type: 'button', 'aria-pressed': 'false', onclick: () => {
    view.replaceChildren(make());
    buttons.forEach((b, n) => b.setAttribute('aria-pressed', String(n === i)));
  } }, name));
  buttons[0]?.click();
  const line = (/** @type {any} */ name, /** @type {any} */ value) => el('tr', null, el('th', { scope: 'row' }, name), el('td.wrap', null, value));
  return el('div.whole', null,
    el('div.actions', null, buttons.length > 1 ? buttons : null,
      el('button', { type: 'button', onclick: () => navigator.clipboard.writeText(text).then(() => toast('Copied'), () => toast('The browser does not let this page copy')) }, binary ? 'Copy value as base64' : 'Copy value'),
      el('a.button', { href: `/api/v1${base}/messages/${m.partition}/${m.offset}/value`, download: '' }, 'Download value, ' + bytes(m.value_size)), once.buttons),
    once.result,
    m.gap ? el('p.dim', null, `Before it: ${gapText(m.gap).toLowerCase()}.`) : null,
    m.truncated && !binary ? el('p.dim', null, `The first ${bytes(new Blob([text]).size)} of ${bytes(m.value_size)}: download the rest.`) : null,
    el('table.headers', null, line('key', m.key_base64 ? hexBlock(m.key_base64) : visible(m.key ?? 'none')),
      m.headers.map((/** @type {any} */ h) => line(visible(h.name), h.value_base64 ? hexBlock(h.value_base64) : visible(h.value ?? 'null')))),
    view);
}

/** A binary key or header in hex. @param {string} base64 */
function hexBlock(base64) { const b = fromBase64(base64); return hexView(b, b.length); }

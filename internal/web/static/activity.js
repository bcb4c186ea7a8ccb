// @ts-check
// What happens in a topic: messages by hour, the logs of its partitions, who writes to it.

import { el, keyed, put, count, many, bytes, stamp, ago, duration } from './store.js';
import { badge } from './ui.js';

/** @param {[string, boolean?][]} columns */
const head = (columns) => el('thead', null, el('tr', null, columns.map(([t, num]) => el(num ? 'th.num' : 'th', { scope: 'col' }, t))));

/** A table that scrolls by itself. @param {string} label @param {[string, boolean?][]} columns @param {Node} body */
const table = (label, columns, body) => el('div.scroll', { tabindex: '0', role: 'region', 'aria-label': label }, el('table.rows', null, head(columns), body));

/** @param {string|undefined} time */
const ms = (time) => time ? new Date(time).getTime() : 0;

/**
 * The section of a topic's page. It asks when it is made, and then each time that refresh is
 * called: the question goes to every broker.
 * @param {import('./app.js').App} app @param {string} name
 */
export function activitySection(app, name) {
  const hours = el('div.hours', { role: 'img' });
  const legend = el('p.dim');
  const logs = el('tbody');
  const producers = el('tbody');
  const open = el('tbody');
  const none = el('p.dim');
  const noneOpen = el('p.dim');
  const openTable = table('open transactions', [['Transactional id'], ['State'], ['Age', true], ['Aborted after', true], ['Producer id', true], ['Partitions']], open);
  const producerTable = table('producers', [['Partition', true], ['Producer id', true], ['Epoch', true], ['Last sequence', true], ['Last record'], ['Open transaction']], producers);
  const problem = el('div');
  const root = el('section.card', { id: 'activity' }, el('h2', null, 'Activity'), problem, hours, legend,
    el('h3', null, 'Log of each partition'), table('logs', [['Partition', true], ['Size', true], ['Oldest message'], ['Age', true]], logs),
    el('h3', null, 'Producers'), none, producerTable, el('h3', null, 'Open transactions'), noneOpen, openTable);

  const cells = (/** @type {HTMLElement} */ tr, /** @type {(string|number)[]} */ texts) => texts.forEach((t, i) => put(/** @type {HTMLElement} */ (tr.children[i]), t));
  /** @param {string} shape n for a number */
  const row = (shape) => el('tr', null, [...shape].map((c) => el(c === 'n' ? 'td.num' : 'td')));

  /** @param {any} a @param {number} now */
  function draw(a, now) {
    const most = Math.max(1, ...a.hours.map((/** @type {any} */ h) => h.offsets));
    keyed(hours, a.hours, (/** @type {any} */ h) => h.from, () => el('span'), (e, /** @type {any} */ h) => {
      /** @type {HTMLElement} */ (e).style.blockSize = (h.offsets ? Math.max(2, h.offsets / most * 100) : 0) + '%';
      const text = `${stamp(ms(h.from)).slice(0, 16)}: ${count(h.offsets)}`;
      if (/** @type {HTMLElement} */ (e).title !== text) /** @type {HTMLElement} */ (e).title = text;
    });
    const sum = a.hours.reduce((/** @type {number} */ n, /** @type {any} */ h) => n + h.offsets, 0);
    hours.hidden = !a.hours.length;
    hours.setAttribute('aria-label', `Offsets by hour: ${count(sum)} in ${many(a.hours.length, 'hour')}, ${count(most)} in the fullest`);
    put(legend, !a.hours.length ? 'The topic holds no messages.'
      : `Offsets by hour since ${stamp(ms(a.hours[0].from)).slice(0, 16)}, at most ${count(most)}, including the markers that end transactions.` + (a.earlier ? ` ${count(a.earlier)} are older.` : ''));
    keyed(logs, a.partitions, (/** @type {any} */ p) => String(p.partition), () => row('nn n'), (tr, /** @type {any} */ p) =>
      cells(/** @type {HTMLElement} */ (tr), [p.partition, bytes(p.bytes), p.oldest ? stamp(ms(p.oldest)) : 'none', p.oldest ? duration(Math.max(0, now - ms(p.oldest)) / 1000) : '–']));
    producerTable.hidden = !a.producers.length;
    put(none, a.producers.length ? '' : 'No producer is known. Apache Kafka lists each idempotent or transactional producer that wrote in the last day. The embedded brokers list only producers with an open transaction.');
    keyed(producers, a.producers, (/** @type {any} */ p) => p.partition + '/' + p.producer_id, () => row('nnnn  '), (tr, /** @type {any} */ p) =>
      cells(/** @type {HTMLElement} */ (tr), [p.partition, p.producer_id, p.epoch, p.last_sequence, p.last ? ago(ms(p.last), now) : 'unknown', p.open < 0 ? 'none' : 'since offset ' + count(p.open)]));
    openTable.hidden = !a.transactions.length;
    put(noneOpen, a.transactions.length ? '' : 'No transaction is open, so no reader of committed messages has to wait.');
    keyed(open, a.transactions, (/** @type {any} */ t) => t.producer_id + t.state, (/** @type {any} */ t) => {
      const tr = row('  nnn ');
      tr.children[1].append(t.transactional_id ? badge('ok', t.state) : badge('bad', t.state));
      return tr;
    }, (tr, /** @type {any} */ t) => {
      const set = (/** @type {number} */ i, /** @type {string|number} */ text) => put(/** @type {HTMLElement} */ (tr.children[i]), text);
      set(0, t.transactional_id || 'unknown');
      set(2, t.started ? duration(Math.max(0, now - ms(t.started)) / 1000) : 'unknown');
      set(3, t.timeout_ms ? duration(t.timeout_ms / 1000) : 'never');
      set(4, t.producer_id);
      set(5, t.partitions.join(', '));
    });
    problem.replaceChildren(...(a.warnings || []).map((/** @type {string} */ w) => el('p.alert', null, w)));
  }
  async function refresh() {
    try { draw(await app.api('/topics/' + encodeURIComponent(name) + '/activity'), Date.now()); } catch (e) {
      problem.replaceChildren(el('p.alert', { role: 'alert' }, /** @type {Error} */ (e).message));
    }
  }
  refresh();
  return { root, refresh };
}

// @ts-check
// Changes of a group: add and remove weir's counters, reset it after a preview, replay
// the log as a second group.

import { el, put, count, many, duration, clock, visible, groupPath } from '../store.js';
import { commandBar, confirmTyped, toast, badge, weir } from '../ui.js';
import { parseTime, fieldTime, instant, zone } from '../time.js';

/** @typedef {import('../app.js').App} App */

/** A table's head. @param {Array<string|[string]>} titles those in brackets are of numbers */
const head = (titles) => el('thead', null, el('tr', null, titles.map((t) => el(Array.isArray(t) ? 'th.num' : 'th', { scope: 'col' }, Array.isArray(t) ? t[0] : t))));
const ms = (/** @type {number} */ n) => n.toLocaleString('en-US') + ' ms';

/** Buttons that add and remove counters of this weir, and what each change has stopped. @param {string} name @param {App} app @param {() => void} changed */
export function ownMembers(name, app, changed) {
  const path = (/** @type {string} */ verb) => groupPath(name, '/members/' + verb);
  const add = /** @type {HTMLButtonElement} */ (el('button', { type: 'button', onclick: () => change('add') }, 'Add a member'));
  const remove = /** @type {HTMLButtonElement} */ (el('button', { type: 'button', onclick: () => change('remove') }, 'Remove a member'));
  const said = el('p.done', { role: 'status' });
  const command = commandBar(weir('groups join', name), ['FindCoordinator', 'JoinGroup', 'SyncGroup', 'Heartbeat']);
  const other = el('p.dim');
  const past = el('tbody');
  const table = el('div.scroll', { tabindex: '0', role: 'region', 'aria-label': 'rebalances', hidden: true },
    el('table.rows', null, head(['Rebalance', 'A member was', 'From', ['Members'], ['Changed hands'], ['Stood still'], ['All counted again after']]), past));
  const root = el('div', { hidden: true }, other, el('p.actions', null, add, remove), said, table, command.root);
  let busy = false;
  let own = 0;
  const allow = () => { add.disabled = busy || own >= 16; remove.disabled = busy || own === 0; };
  async function change(/** @type {string} */ verb) {
    busy = true; allow();
    put(said, verb === 'add' ? 'a member joins, and the group rebalances…' : 'a member leaves, and the others take over its partitions…');
    try {
      const a = await app.api(path(verb), {});
      put(said, a.text);
      command.set(a.command, a.requests);
      changed();
    } catch (e) { put(said, ''); toast(/** @type {Error} */ (e).message, true); }
    busy = false; allow();
  }
  return { root,
    /** @param {any} o of the answer: own */
    set(o) {
      root.hidden = !o;
      if (!o) return;
      own = o.members;
      allow();
      put(other, `${many(own, 'member')} of this group ${own === 1 ? 'runs' : 'run'} here. In a terminal, as a process of its own: weir consume ${o.source}`);
      table.hidden = !o.rebalances.length;
      past.replaceChildren(...o.rebalances.map((/** @type {any} */ r) => el('tr', null, el('td.nowrap', null, clock(r.time)), el('td', null, r.change), el('td', null, r.from), el('td.num', null, r.members),
        el('td.num', null, `${r.moved} of ${r.partitions || r.moved}`), el('td.num', null, r.moved ? ms(r.stopped_ms) : '–'), el('td.num', null, r.members ? (r.settled ? '' : 'not after ') + ms(r.settled_ms) : 'nobody counts'))));
    } };
}

/** A reset: preview, typed confirmation. @param {string} name @param {App} app @param {() => void} changed */
export function resetCard(name, app, changed) {
  const path = groupPath(name, '/reset');
  const to = /** @type {HTMLInputElement} */ (el('input', { list: 'targets', value: 'earliest', 'aria-label': 'where to', size: 24, title: `earliest, latest, an offset, +N or -N, or a time in ${zone()} such as 2026-01-31 12:00:00, 15:04 or 2h (ago)`, autocomplete: 'off' }));
  const plan = el('div');
  /** @type {HTMLButtonElement|null} */
  let go = null;
  /** @type {HTMLElement|null} */
  let why = null;
  const allow = (/** @type {any} */ g) => {
    if (!go || !why) return;
    go.disabled = !!g && g.members > 0;
    put(why, go.disabled ? `not while it has ${many(g.members, 'member')}: stop them first, or their commits undo the reset` : '');
  };
  /** Where to, as the API takes it; a time stays the same instant until it is applied. */
  const target = () => {
    const text = to.value.trim();
    const ms = /^[+-]?\d+$/.test(text) ? null : parseTime(text, Date.now());
    if (ms === null) return text;
    to.value = fieldTime(ms);
    return instant(ms);
  };
  const preview = async () => {
    try {
      const a = await app.api(path, { to: target(), confirm: '' });
      const changes = a.plan.changes || [];
      plan.replaceChildren(
        commandBar(a.command, a.requests).root,
        el('div.scroll', { tabindex: '0', role: 'region', 'aria-label': 'plan of the reset' }, el('table.rows', null, head(['Topic', ['Partition'], ['From'], ['To'], ['Moves by'], ['Counts dropped']]),
          el('tbody', null, changes.map((/** @type {any} */ c) => el('tr', null, el('td', null, visible(c.topic)), el('td.num', null, c.partition), el('td.num', null, c.from < 0 ? 'none' : count(c.from)), el('td.num', null, count(c.to)), el('td.num', null, c.delta), el('td.num', null, c.tally ? count(c.tally.dropped) : '–')))))),
        (a.plan.skipped || []).map((/** @type {string} */ s) => el('p.dim', null, 'Skipped: ', visible(s))),
        el('p.actions', null, go = /** @type {HTMLButtonElement} */ (el('button.danger', { type: 'button', onclick: apply }, `Reset ${many(changes.length, 'partition')}…`)), why = el('span.dim')));
      allow(app.state?.groups[name]);
    } catch (e) { plan.replaceChildren(el('p.alert', { role: 'alert' }, /** @type {Error} */ (e).message)); }
  };
  const apply = async () => {
    if (!await confirmTyped({ title: 'Reset this group?', body: el('p', null, `The group moves to ${to.value}, and counts again from there.`), type: name, action: 'Reset' })) return;
    try {
      await app.api(path, { to: target(), confirm: name });
      toast('The group was reset');
      plan.replaceChildren();
      changed();
    } catch (e) { toast(/** @type {Error} */ (e).message, true); }
  };
  const root = el('section.card', null, el('h2', null, 'Reset'), el('p.dim', null, 'A group can be reset while it has no members. First you see a preview. Nothing changes until you type the group\'s name.'),
    el('div.bar-row', null, el('label', null, 'Move to ', to), el('datalist', { id: 'targets' }, ['earliest', 'latest', '-1000'].map((v) => el('option', { value: v }))), el('button', { type: 'button', onclick: preview }, 'Preview')), plan);
  return { root, allow };
}

/** A replay: the log is counted once more into a second group, beside the live one. @param {string} name @param {App} app */
export function replayCard(name, app) {
  const path = groupPath(name, '/replay');
  const box = el('div');
  const plan = el('div');
  const start = /** @type {HTMLButtonElement} */ (el('button', { type: 'button', onclick: preview }, 'Preview the replay'));
  const command = commandBar(weir('groups replay', name), ['ListOffsets', 'Fetch', 'OffsetCommit', 'JoinGroup']);
  const root = el('section.card', null, el('h2', null, 'Replay'), el('p.dim', null, 'Counts the whole log again as a second group, while this group goes on. When both columns are equal, nothing was lost, duplicated or miscounted.'),
    el('p.actions', null, start), plan, box, command.root);
  /** @type {any} */
  let timer = 0;
  let closed = false;
  async function preview() {
    try {
      const a = await app.api(path, { topic: '', confirm: '' });
      const parts = a.plan.partitions || [];
      const sum = parts.reduce((/** @type {number} */ n, /** @type {any} */ p) => n + p.until - p.from, 0);
      plan.replaceChildren(
        el('p', null, `${count(sum)} offsets of ${a.plan.topic} in ${many(parts.length, 'partition')} are counted again, as group `, el('b', null, visible(a.plan.into)), a.plan.drops ? `; the ${count(a.plan.drops)} events of its last replay are dropped first` : '', '.'),
        el('div.scroll', { tabindex: '0', role: 'region', 'aria-label': 'plan of the replay' }, el('table.rows', null, head([['Partition'], ['From'], ['To'], ['No longer in the log']]),
          el('tbody', null, parts.map((/** @type {any} */ p) => el('tr', null, el('td.num', null, p.partition), el('td.num', null, count(p.from)), el('td.num', null, count(p.until)), el('td.num', null, count(p.trimmed))))))),
        el('p.actions', null, el('button.primary', { type: 'button', onclick: begin }, 'Replay…')));
      command.set(a.command, a.requests);
    } catch (e) { plan.replaceChildren(el('p.alert', { role: 'alert' }, /** @type {Error} */ (e).message)); }
  }
  async function begin() {
    if (!await confirmTyped({ title: 'Count all of it again?', body: el('p', null, 'The group itself goes on unchanged. A second group reads the log from its beginning.'), type: name, action: 'Replay' })) return;
    try { await app.api(path, { topic: '', confirm: name }); plan.replaceChildren(); poll(); } catch (e) { toast(/** @type {Error} */ (e).message, true); }
  }
  async function poll() {
    clearTimeout(timer);
    if (closed) return;
    try {
      const a = await app.api(path);
      start.disabled = a.running;
      if (a.started) draw(a);
      if (a.running) timer = setTimeout(poll, 300);
    } catch (e) { box.replaceChildren(el('p.alert', { role: 'alert' }, /** @type {Error} */ (e).message)); }
  }
  function draw(/** @type {any} */ a) {
    const r = a.result;
    const verdict = a.error ? el('p.alert', { role: 'alert' }, a.error)
      : a.running ? el('p', { role: 'status' }, `counting again: ${count(a.left)} of ${count(a.total)} offsets to go`)
      : r && r.equal ? el('p', { role: 'status' }, badge('ok', 'Equal: both counts are the same over the same offset range'), ` in ${duration((a.ended - a.started) / 1000)}` + (r.trimmed ? `; ${count(r.trimmed)} counted offsets are no longer in the log` : ''))
      : el('p', { role: 'status' }, badge('bad', 'The counts differ'), ': weir verify says what is wrong');
    const rows = r && !a.running ? r.kinds.map((/** @type {any} */ k) => [k.kind, k.original, k.replay, k.difference]) : a.kinds.map((/** @type {any} */ k) => [k.kind, k.counted, k.again, null]);
    box.replaceChildren(verdict, el('div.scroll', { tabindex: '0', role: 'region', 'aria-label': 'replay' }, el('table.rows.replay', null, head(['Type', [a.running ? 'Counted, live' : 'Counted'], ['Counted again'], [''], ['Difference']]),
      el('tbody', null, rows.map((/** @type {any[]} */ [kind, x, y, d]) => el('tr', null, el('th', { scope: 'row' }, visible(kind)), el('td.num', null, count(x)), el('td.num', null, count(y)),
        el('td', null, el('meter', { min: 0, max: Math.max(1, x), value: y, 'aria-label': `${kind} counted again` })), el(d ? 'td.num.badtext' : 'td.num', null, d === null ? '…' : d)))))));
  }
  poll();
  return { root, close() { closed = true; clearTimeout(timer); } };
}

// @ts-check
// Changes of a group: add and remove weir's counters, reset it after a preview, replay
// the log as a second group.

import { el, put, count, many, duration, clock, visible, groupPath } from '../store.js';
import { commandBar, confirmTyped, toast, badge, weir } from '../ui.js';
import { head, list, partitionsOf, planned, undoButton } from '../changes.js';
import { parseTime, fieldTime, instant, zone } from '../time.js';

/** @typedef {import('../app.js').App} App */

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
    el('table.rows', null, head(['Rebalance', 'A member was', 'From', ['Members'], ['Moved'], ['Stood still'], ['All counted again after']]), past));
  const root = el('div', { hidden: true }, other, el('p.actions.change', null, add, remove), said, table, command.root);
  let busy = false;
  let own = 0;
  const allow = () => { add.disabled = busy || own >= 16; remove.disabled = busy || own === 0; };
  async function change(/** @type {string} */ verb) {
    busy = true; allow();
    put(said, verb === 'add' ? 'a member joins, and the group rebalances…' : 'a member leaves, and the others take over its partitions…');
    try {
      const a = await app.api(path(verb), {});
      put(said, a.text);
      command.set(a.command, a.requests, a.others);
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
      put(other, `${many(own, 'member')} of this group ${own === 1 ? 'runs' : 'run'} here. A terminal can run one more: weir consume ${o.source}`);
      table.hidden = !o.rebalances.length;
      past.replaceChildren(...o.rebalances.map((/** @type {any} */ r) => el('tr', null, el('td.nowrap', null, clock(r.time)), el('td', null, r.change), el('td', null, r.from), el('td.num', null, r.members),
        el('td.num', null, `${r.moved} of ${r.partitions || r.moved}`), el('td.num', null, r.moved ? ms(r.stopped_ms) : '–'), el('td.num', null, r.members ? (r.settled ? '' : 'not after ') + ms(r.settled_ms) : 'no counter is left'))));
    } };
}

/** Returns a group to the offsets that it had: an import of them. @param {App} app @param {string} name @param {Array<{topic: string, partition: number, offset: number}>} offsets @param {() => void} changed */
function undoOffsets(app, name, offsets, changed) {
  return offsets.length ? undoButton(app, `Commit the ${many(offsets.length, 'offset')} that the group had`, groupPath(name, '/import'), { offsets, confirm: name }, changed) : null;
}

/** A reset: preview, typed confirmation. @param {string} name @param {App} app @param {() => void} changed */
export function resetCard(name, app, changed) {
  const path = groupPath(name, '/reset');
  const to = /** @type {HTMLInputElement} */ (el('input', { list: 'targets', value: 'oldest', 'aria-label': 'where to', size: 24, title: `oldest, latest, an offset, +N or -N, or a time in ${zone()} such as 2026-01-31 12:00:00, 15:04 or 2h (ago)`, autocomplete: 'off' }));
  const topic = /** @type {HTMLSelectElement} */ (el('select', { 'aria-label': 'topic of the reset' }));
  const only = /** @type {HTMLInputElement} */ (el('input', { size: 9, placeholder: 'all', 'aria-label': 'partitions of the reset', autocomplete: 'off' }));
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
      const body = { to: target(), topics: topic.value ? [topic.value] : [], partitions: partitionsOf(only.value) };
      const a = await app.api(path, { ...body, confirm: '' });
      const changes = a.plan.changes || [];
      plan.replaceChildren(
        commandBar(a.command, a.requests, a.others, true).root,
        el('div.scroll', { tabindex: '0', role: 'region', 'aria-label': 'plan of the reset' }, el('table.rows', null, head(['Topic', ['Partition'], ['From'], ['To'], ['Moves by'], ['Counts dropped']]),
          el('tbody', null, changes.map((/** @type {any} */ c) => el('tr', null, el('td', null, visible(c.topic)), el('td.num', null, c.partition), el('td.num', null, c.from < 0 ? 'none' : count(c.from)), el('td.num', null, count(c.to)), el('td.num', null, c.delta), el('td.num', null, c.tally ? count(c.tally.dropped) : '–')))))),
        (a.plan.skipped || []).map((/** @type {string} */ s) => el('p.dim', null, 'Skipped: ', visible(s))),
        el('p.actions', null, go = /** @type {HTMLButtonElement} */ (el('button.danger', { type: 'button', onclick: () => apply(body, changes) }, `Reset ${many(changes.length, 'partition')}…`)), why = el('span.dim')));
      allow(app.state?.groups[name]);
    } catch (e) { plan.replaceChildren(el('p.alert', { role: 'alert' }, /** @type {Error} */ (e).message)); }
  };
  const apply = async (/** @type {any} */ body, /** @type {any[]} */ changes) => {
    const counts = changes.some((c) => c.tally);
    if (!await confirmTyped({ title: 'Reset this group?', body: el('p', null, `The group moves to ${to.value}, and ${counts ? 'counts' : 'reads'} again from there.`), type: name, action: 'Reset' })) return;
    try {
      const a = await app.api(path, { ...body, confirm: name });
      toast('The group was reset');
      const had = changes.filter((c) => c.from >= 0).map((c) => ({ topic: c.topic, partition: c.partition, offset: c.from }));
      plan.replaceChildren(el('p.actions', { role: 'status' }, badge('ok', `${many(changes.length, 'partition')} moved`), counts ? el('span.dim', null, 'The counts that were dropped come back when the log is counted again.') : undoOffsets(app, name, had, changed)),
        commandBar(a.command, a.requests, a.others, true).root);
      changed();
    } catch (e) { toast(/** @type {Error} */ (e).message, true); }
  };
  const root = el('section.card.change', null, el('h2', null, 'Reset'), el('p.dim', null, 'A group can be reset while it has no members. First you see a preview. Nothing changes until you type the group\'s name.'),
    el('div.bar-row', null, el('label', null, 'Move to ', to), el('datalist', { id: 'targets' }, ['oldest', 'latest', '-1000'].map((v) => el('option', { value: v }))), el('label', null, 'in ', topic), el('label', null, 'partitions ', only), el('button', { type: 'button', onclick: preview }, 'Preview')), plan);
  return { root, allow, set(/** @type {string[]} */ topics) { options(topic, topics, 'all topics'); } };
}

/** Keeps the choices of a list in step with topics. @param {HTMLSelectElement} select @param {string[]} topics @param {string} [none] */
function options(select, topics, none) {
  const sig = JSON.stringify(topics);
  if (select.dataset.sig === sig) return;
  select.dataset.sig = sig;
  const was = select.value;
  select.replaceChildren(...(none ? [el('option', { value: '' }, none)] : []), ...topics.map((t) => el('option', { value: t }, t)));
  if (topics.includes(was)) select.value = was;
}

/** Deletes committed offsets, or the whole group. @param {string} name @param {App} app @param {() => void} changed */
export function deleteCard(name, app, changed) {
  /** @type {any[]} */
  let parts = [];
  let type = '';
  const topic = /** @type {HTMLSelectElement} */ (el('select', { 'aria-label': 'topic of the offsets' }));
  const only = /** @type {HTMLInputElement} */ (el('input', { size: 9, placeholder: 'all', 'aria-label': 'partitions of the offsets', autocomplete: 'off' }));
  const undone = () => changed();
  const blocked = (/** @type {any} */ p) => p.active?.length ? `not while it has ${many(p.active.length, 'member')}: stop them first` : '';
  const offsets = planned({ app, path: groupPath(name, '/delete-offsets'), name, body: () => ({ topic: topic.value, partitions: partitionsOf(only.value) }), blocked,
    show: (p) => [el('p', null, 'A group without a committed offset begins where its auto.offset.reset says: at the end of the partition, or at its beginning.'),
      list('plan of the deletion', ['Topic', ['Partition'], ['Committed offset']], p.offsets.map((/** @type {any} */ o) => [visible(o.topic), o.partition, count(o.committed)]))],
    title: 'Delete committed offsets?', action: (p) => `Delete ${many(p.offsets.length, 'offset')}`, verb: 'Delete', ask: (p) => `The group loses its committed offset in ${many(p.offsets.length, 'partition')}.`,
    done: (p) => `${many(p.offsets.length, 'offset')} deleted`, changed,
    undo: (p) => p.type === 'share' ? null : undoOffsets(app, name, p.offsets.map((/** @type {any} */ o) => ({ topic: o.topic, partition: o.partition, offset: o.committed })), undone) });
  const whole = planned({ app, path: groupPath(name, '/delete'), name, body: () => ({}), blocked,
    show: (p) => [el('p', null, `The group and its committed offsets in ${many(p.offsets, 'partition')} will be deleted. The messages stay.`)],
    title: 'Delete this group?', action: () => 'Delete the group', verb: 'Delete', ask: (p) => `The group loses its committed offset in ${many(p.offsets, 'partition')}.`,
    done: () => 'The group was deleted', changed,
    undo: () => type === 'share' ? null : undoOffsets(app, name, parts.filter((p) => p.committed >= 0).map((p) => ({ topic: p.topic, partition: p.partition, offset: p.committed })), undone) });
  const form = (/** @type {string} */ title, /** @type {any[]} */ fields, /** @type {ReturnType<typeof planned>} */ p, /** @type {string} */ label) => el('form.change-part', { 'aria-label': title, onsubmit: (/** @type {Event} */ e) => { e.preventDefault(); p.preview(); } },
    el('h3', null, title), el('div.bar-row', null, fields, el('button', { type: 'submit' }, label)), p.box);
  const root = el('section.card.change', null, el('h2', null, 'Delete'), el('p.dim', null, 'While a group has no members, you can delete the group or its committed offsets. First you see a preview.'),
    form('Committed offsets', [el('label', null, 'of ', topic), el('label', null, 'partitions ', only)], offsets, 'Preview the offsets'), form('The group', [], whole, 'Preview the deletion'));
  return { root,
    /** @param {any} d the group as the cluster has it */
    set(d) {
      // After its deletion a group has nothing, but it can still be taken back.
      if ((d.partitions || []).some((/** @type {any} */ p) => p.committed >= 0)) { parts = d.partitions; type = d.type; }
      options(topic, topicsOf(d));
    } };
}

/** The topics in which a group stands. @param {any} d @returns {string[]} */
export function topicsOf(d) { return [...new Set((d.partitions || []).map((/** @type {any} */ p) => p.topic))].sort(); }


/** A replay: the log is counted once more into a second group, beside the live one. @param {string} name @param {App} app */
export function replayCard(name, app) {
  const path = groupPath(name, '/replay');
  const box = el('div');
  const plan = el('div');
  const start = /** @type {HTMLButtonElement} */ (el('button', { type: 'button', onclick: preview }, 'Preview the replay'));
  const command = commandBar(weir('groups replay', name), ['ListOffsets', 'Fetch', 'OffsetCommit', 'JoinGroup']);
  const root = el('section.card.post', null, el('h2', null, 'Replay'), el('p.dim', null, 'Counts the whole log again as a second group, while this group goes on. When both columns are equal, nothing was lost, duplicated or miscounted.'),
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
      command.set(a.command, a.requests, a.others);
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
      : el('p', { role: 'status' }, badge('bad', 'The counts differ'), ': weir verify shows what is wrong');
    const rows = r && !a.running ? r.kinds.map((/** @type {any} */ k) => [k.kind, k.original, k.replay, k.difference]) : a.kinds.map((/** @type {any} */ k) => [k.kind, k.counted, k.again, null]);
    box.replaceChildren(verdict, el('div.scroll', { tabindex: '0', role: 'region', 'aria-label': 'replay' }, el('table.rows.replay', null, head(['Type', [a.running ? 'Counted, live' : 'Counted'], ['Counted again'], [''], ['Difference']]),
      el('tbody', null, rows.map((/** @type {any[]} */ [kind, x, y, d]) => el('tr', null, el('th', { scope: 'row', 'data-plain': true }, visible(kind)), el('td.num', null, count(x)), el('td.num', null, count(y)),
        el('td', null, el('meter', { min: 0, max: Math.max(1, x), value: y, 'aria-label': `${kind} counted again` })), el(d ? 'td.num.badtext' : 'td.num', null, d === null ? '…' : d)))))));
  }
  poll();
  return { root, close() { closed = true; clearTimeout(timer); } };
}

// @ts-check
// Changes of a topic: more partitions, fewer messages, none of it any more. And a new one.

import { el, put, count, many, visible } from '../store.js';
import { badge, commandBar, field, toast } from '../ui.js';
import { list, partitionsOf, planned, problem } from '../changes.js';
import { newSettings } from '../settings.js';
import { parseTime, fieldTime, instant, zone } from '../time.js';

/** @typedef {import('../app.js').App} App */

/** Adds partitions, truncates and deletes. @param {string} name @param {App} app @param {() => void} changed */
export function topicChanges(name, app, changed) {
  const path = '/topics/' + encodeURIComponent(name);
  const to = /** @type {HTMLInputElement} */ (el('input', { inputmode: 'numeric', size: 5, 'aria-label': 'how many partitions', autocomplete: 'off' }));
  const add = planned({ app, path: path + '/partitions', name,
    body: () => { if (!/^\d{1,6}$/.test(to.value.trim())) throw new Error('Write how many partitions the topic is to have.'); return { to: Number(to.value) }; },
    show: (p) => [el('p', null, `The topic has ${many(p.from, 'partition')} and will have ${count(p.to)}. Kafka cannot remove partitions again.`),
      p.keys_move ? el('p.warning', null, badge('warn', 'Keys move'), ': the partition of a key is its hash modulo the number of partitions. New messages of a key can lie in another partition than its older ones, and then nothing keeps their order.') : el('p.dim', null, 'The topic has never had a message, so no key moves.')],
    title: 'Add partitions?', action: (p) => `Add ${many(p.to - p.from, 'partition')}`, verb: 'Add', ask: (p) => `The topic will have ${count(p.to)} partitions for good.` + (p.keys_move ? ' Keys move to other partitions.' : ''),
    done: (p) => `The topic has ${many(p.to, 'partition')} now`, changed });

  const before = /** @type {HTMLInputElement} */ (el('input', { value: 'end', size: 24, list: 'truncate-to', 'aria-label': 'before', autocomplete: 'off', title: `end, an offset, or a time in ${zone()} such as 2026-01-31 12:00:00, 15:04 or 2h (ago)` }));
  const only = /** @type {HTMLInputElement} */ (el('input', { size: 9, placeholder: 'all', 'aria-label': 'partitions to truncate', autocomplete: 'off' }));
  const truncate = planned({ app, path: path + '/truncate', name,
    body: () => {
      const text = before.value.trim();
      const ms = /^\d+$/.test(text) ? null : parseTime(text, Date.now());
      if (ms !== null) before.value = fieldTime(ms);
      return { before: ms === null ? text : instant(ms), partitions: partitionsOf(only.value) };
    },
    show: (p) => [el('p', null, `${many(p.messages, 'message')} will be deleted. No tool brings them back.`),
      list('plan of the truncation', [['Partition'], ['First offset'], ['First offset afterwards'], ['Deleted']], p.partitions.map((/** @type {any} */ x) => [x.partition, count(x.low), count(x.to), count(x.deleted)]))],
    blocked: (p) => p.messages ? '' : 'there is nothing to delete',
    title: 'Delete messages?', action: (p) => `Delete ${many(p.messages, 'message')}`, verb: 'Delete', ask: (p) => `${many(p.messages, 'message')} of the topic will be deleted for good. Groups that stand there continue at the first message that is left.`,
    done: (p) => `${many(p.messages, 'message')} ${p.messages === 1 ? 'was' : 'were'} deleted`, changed });

  const remove = planned({ app, path: path + '/delete', name, body: () => ({}),
    show: (p) => [el('p', null, `The topic and its ${many(p.messages, 'message')} will be deleted. No tool brings them back.`),
      p.groups.length ? list('groups that read the topic', ['Group', 'State', ['Members'], ['Lag']], p.groups.map((/** @type {any} */ g) => [visible(g.group), g.state, count(g.members), count(g.lag)])) : el('p.dim', null, 'No consumer group reads it.'),
      ...(p.warnings || []).map((/** @type {string} */ w) => el('p.alert', null, w))],
    title: 'Delete this topic?', action: () => 'Delete the topic', verb: 'Delete', ask: (p) => `The topic and its ${many(p.messages, 'message')} will be deleted for good.` + (p.groups.some((/** @type {any} */ g) => g.members) ? ' Running consumers will fail, or wait for a topic of this name.' : ''),
    done: () => 'The topic was deleted', changed: (a) => { toast(`Topic ${name} was deleted, with ${many(a.plan.messages, 'message')}`); app.navigate('/topics'); } });

  const part = (/** @type {string} */ title, /** @type {string} */ text, /** @type {any[]} */ fields, /** @type {ReturnType<typeof planned>} */ p, /** @type {string} */ label) => el('form.change-part', { 'aria-label': title, onsubmit: (/** @type {Event} */ e) => { e.preventDefault(); p.preview(); } },
    el('h3', null, title), el('p.dim', null, text), el('div.bar-row', null, fields, el('button', { type: 'submit' }, label)), p.box);
  const parts = el('div', null, el('p.dim', null, 'First you see what will happen. Nothing changes until you type the topic\'s name.'),
    part('Add partitions', 'More partitions let more members of a group read at the same time.', [el('label', null, 'To ', to, ' partitions')], add, 'Preview'),
    part('Truncate', 'Deletes the oldest messages of each partition. Offsets go on as before.', [el('label', null, 'Before ', before), el('datalist', { id: 'truncate-to' }, ['end', '1000', '2h'].map((v) => el('option', { value: v }))), el('label', null, 'in partitions ', only)], truncate, 'Preview the truncation'),
    part('Delete', 'Deletes the topic, its messages and its settings.', [], remove, 'Preview the deletion'));
  const why = el('p.dim');
  const root = el('section.card.change', null, el('h2', null, 'Change this topic'), why, parts);
  return { root,
    /** @param {number} partitions @param {string} reason why the topic is not changed from here */
    set(partitions, reason) {
      to.placeholder = String(partitions + 1);
      put(why, reason);
      parts.hidden = !!reason;
    } };
}

/** The form that creates a topic. @param {App} app @param {(name: string) => void} created */
export function createCard(app, created) {
  const name = /** @type {HTMLInputElement} */ (el('input', { name: 'name', required: true, autocomplete: 'off', spellcheck: 'false', maxlength: 249, title: 'letters, digits, dots, underscores and hyphens' }));
  const partitions = /** @type {HTMLInputElement} */ (el('input', { name: 'partitions', type: 'number', min: 1, placeholder: 'default' }));
  const replicas = /** @type {HTMLInputElement} */ (el('input', { name: 'replicas', type: 'number', min: 1, placeholder: 'default' }));
  const grid = el('div.lab-form.new-topic');
  const result = el('div');
  const go = /** @type {HTMLButtonElement} */ (el('button.primary', { type: 'submit' }, 'Create the topic'));
  const close = el('button', { type: 'button', onclick: () => { root.hidden = true; } }, 'Close');
  /** @type {ReturnType<typeof newSettings>|null} */
  let settings = null;
  const labelled = (/** @type {string} */ label, /** @type {HTMLElement} */ input, /** @type {string} */ about) => field(label, el('label', null, label, input), about);
  const form = el('form', { 'aria-label': 'create a topic', onsubmit: async (/** @type {Event} */ e) => {
    e.preventDefault();
    go.disabled = true;
    try {
      const a = await app.api('/topics', { name: name.value.trim(), partitions: Number(partitions.value), replicas: Number(replicas.value), config: settings?.config() || {} });
      result.replaceChildren(el('p', { role: 'status' }, badge('ok', 'Created: '), el('a', { href: '/topics/' + encodeURIComponent(a.topic.name) }, a.topic.name), ` with ${many(a.topic.partitions, 'partition')} and ${many(a.topic.replicas, 'replica')} of each. `, el('a', { href: '/produce?topic=' + encodeURIComponent(a.topic.name) }, 'Write a message into it')),
        commandBar(a.command, a.requests, a.others, true).root);
      name.value = '';
      created(a.topic.name);
    } catch (x) { result.replaceChildren(problem(x)); }
    go.disabled = false;
  } },
  el('div.lab-form.new-topic', null, labelled('Name', name, 'letters, digits, dots, underscores and hyphens'),
    labelled('Partitions', partitions, 'how many members of a group can read at the same time'), labelled('Replicas', replicas, 'how many brokers keep a copy; not more than there are brokers')),
  el('details.more', null, el('summary', null, 'Settings'), grid), el('p.actions', null, go, close), result);
  const root = el('section.card.change', { hidden: true }, el('h2', null, 'Create a topic'), form);
  return { root,
    async open() {
      root.hidden = false;
      name.focus();
      if (settings) return;
      try {
        const a = await app.api('/topic-settings');
        settings = newSettings(a.settings);
        grid.replaceChildren(...settings.rows);
      } catch (e) { grid.replaceChildren(problem(e)); }
    } };
}

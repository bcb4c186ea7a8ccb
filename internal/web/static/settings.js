// @ts-check
// The settings of topics: what each does, a field for its value, and an editor that sends
// only those that change.

import { el, put, keyed, bytes, duration, many } from './store.js';
import { badge, commandBar, field } from './ui.js';
import { problem, undoButton } from './changes.js';

/** @typedef {import('./app.js').App} App */
/** @typedef {{name: string, about: string, values: string, choices: string[], several: boolean, unit: string, default: string, common: boolean}} About */

/** What a number means, for a reader. @param {About|undefined} s @param {string} value */
export function inWords(s, value) {
  const n = Number(value);
  if (!s || value.trim() === '' || !Number.isFinite(n)) return '';
  if (n < 0) return n === -1 && s.unit ? 'no limit' : ''; // a level of -1 is a choice of the codec's
  if (n >= 2 ** 62) return 'no limit';
  return s.unit === 'milliseconds' ? duration(n / 1000) : s.unit === 'bytes' ? bytes(n) : '';
}

/**
 * A field for a value.
 * @param {string} name @param {About|undefined} s @param {string} value @param {string} [none] what an empty field stands for, where it may be empty
 * @returns {{root: HTMLElement, input: HTMLInputElement|HTMLSelectElement}}
 */
export function settingField(name, s, value, none) {
  const label = { name, 'aria-label': name, title: s?.values || null };
  let choices = s?.choices || [];
  if (s?.several) choices = choices.length === 2 ? [...choices, choices.join(',')] : [];
  if (choices.length) {
    if (value && !choices.includes(value)) choices = [...choices, value];
    const select = /** @type {HTMLSelectElement} */ (el('select', label, none === undefined ? null : el('option', { value: '' }, none), choices.map((c) => el('option', { value: c }, c))));
    select.value = value;
    return { root: el('span.setting', null, select), input: select };
  }
  const input = /** @type {HTMLInputElement} */ (el('input', { ...label, value, size: 22, autocomplete: 'off', spellcheck: 'false', placeholder: none || null }));
  const words = el('span.dim');
  const say = () => put(words, inWords(s, input.value));
  input.addEventListener('input', say);
  say();
  return { root: el('span.setting', null, input, words), input };
}

/** Fields for a topic that does not exist yet: empty ones stay the cluster's default. @param {About[]} all */
export function newSettings(all) {
  const fields = all.map((s) => {
    const f = settingField(s.name, s, '', `default: ${inWords(s, s.default) || s.default || 'none'}`);
    return { name: s.name, ...f, row: field(s.name, el('label', null, s.name, f.root), s.about) };
  });
  return { rows: fields.map((f) => f.row),
    config: () => Object.fromEntries(fields.filter((f) => f.input.value !== '').map((f) => [f.name, f.input.value])),
    clear() { for (const f of fields) { f.input.value = ''; f.input.dispatchEvent(new Event('input')); } } };
}

/** @param {string} text */
const words = (text) => (text ? [' ', el('span.dim', null, text)] : []);

/** A value as a row shows it. @param {any} c */
const shown = (c) => c.sensitive ? '(hidden)' : c.value;

/**
 * The settings of a topic, which can be edited.
 * @param {string} path the topic's, in the API @param {App} app @param {() => void} changed
 */
export function settingsCard(path, app, changed) {
  const filter = /** @type {HTMLInputElement} */ (el('input', { type: 'search', placeholder: 'Filter settings ( / )', 'aria-label': 'Filter settings' }));
  const body = el('tbody');
  const edit = el('button.change', { type: 'button', onclick: () => start() }, 'Edit settings');
  const save = /** @type {HTMLButtonElement} */ (el('button.primary.change', { type: 'button', hidden: true, onclick: () => send() }));
  const cancel = el('button', { type: 'button', hidden: true, onclick: () => stop() }, 'Cancel');
  const result = el('div');
  /** @type {any[]} */
  let settings = [];
  /** @type {Map<string, About>} */
  let about = new Map();
  /** What is edited: a value for each setting, null for the default. @type {Map<string, string|null>|null} */
  let draft = null;

  const before = (/** @type {any} */ c) => c.source === 'topic' ? c.value : null;
  /** The drafts that differ from what the topic has. @returns {Array<[string, string|null]>} */
  const differing = () => draft ? settings.filter((c) => draft?.has(c.name) && draft.get(c.name) !== before(c)).map((c) => [c.name, /** @type {string|null} */ (draft?.get(c.name) ?? null)]) : [];
  const count = () => { const n = differing().length; save.disabled = !n; put(save, n ? `Save ${many(n, 'change')}` : 'Nothing is changed'); };

  /** @param {any} c */
  function row(c) {
    const s = about.get(c.name);
    const value = el('td.wrap');
    const source = el('td.dim');
    const tr = el('tr', null, el('th', { scope: 'row' }, c.name, s ? el('small.about', null, s.about) : null), value, source);
    if (!draft || c.sensitive) { value.append(shown(c), ...words(inWords(s, c.value))); source.append(c.source); return tr; }
    const drafted = draft.get(c.name);
    const f = settingField(c.name, s, drafted ?? c.value);
    const back = /** @type {HTMLButtonElement} */ (el('button', { type: 'button', 'aria-pressed': 'false', title: 'Remove the topic\'s own value', onclick: () => set(draft?.get(c.name) === null ? c.value : null) }, 'Use the default'));
    back.hidden = c.source !== 'topic';
    const set = (/** @type {string|null} */ v) => {
      // A default that is shown and not touched stays one.
      if (v === c.value && c.source !== 'topic') draft?.delete(c.name); else draft?.set(c.name, v);
      f.input.disabled = v === null;
      back.setAttribute('aria-pressed', String(v === null));
      tr.classList.toggle('edited', differing().some(([n]) => n === c.name));
      count();
    };
    f.input.addEventListener('input', () => set(f.input.value));
    if (drafted !== undefined) set(drafted); // it was out of sight, behind the filter
    value.append(f.root);
    source.append(s && s.default !== '' ? `Kafka's default: ${inWords(s, s.default) || s.default} ` : c.source + ' ', back);
    return tr;
  }
  const key = (/** @type {any} */ c) => [c.name, draft ? 'edit' : 'show', draft ? '' : c.value, draft ? '' : c.source, about.size].join('\n');
  function draw() {
    keyed(body, settings.filter((c) => c.name.includes(filter.value)), key, row, () => {});
    edit.hidden = !!draft || !settings.length;
    save.hidden = cancel.hidden = !draft;
    count();
  }
  function start() { draft = new Map(); result.replaceChildren(); draw(); /** @type {HTMLElement|null} */ (body.querySelector('input, select'))?.focus(); }
  function stop() { draft = null; draw(); }
  async function send() {
    const list = differing();
    const ask = { set: Object.fromEntries(list.filter(([, v]) => v !== null)), unset: list.filter(([, v]) => v === null).map(([n]) => n) };
    save.disabled = true;
    try {
      const a = await app.api(path + '/alter', ask);
      const own = a.changes.filter((/** @type {any} */ c) => c.before_source === 'topic');
      const back = { set: Object.fromEntries(own.map((/** @type {any} */ c) => [c.name, c.before])), unset: a.changes.filter((/** @type {any} */ c) => c.before_source !== 'topic').map((/** @type {any} */ c) => c.name) };
      result.replaceChildren(
        el('p.actions', { role: 'status' }, badge('ok', a.changes.map((/** @type {any} */ c) => `${c.name} was ${c.before || 'empty'} and is ${c.after || 'empty'}`).join('; ') || 'Nothing to change'), a.changes.length ? undoButton(app, 'Return these settings to what they were', path + '/alter', back, changed) : null),
        a.note ? el('p.dim', null, a.note) : '', commandBar(a.command, a.requests, a.others, true).root);
      stop();
      changed();
    } catch (e) { result.replaceChildren(problem(e)); count(); }
  }
  filter.addEventListener('input', draw);
  app.api('/topic-settings?all=true').then((a) => { about = new Map(a.settings.map((/** @type {About} */ s) => [s.name, s])); draw(); }).catch(() => { /* the settings are shown without words then */ });
  draw();
  return { root: el('section.card', null, el('h2', null, 'Configuration'), el('div.bar-row', null, filter, edit, save, cancel), result,
    el('div.scroll', { tabindex: '0', role: 'region', 'aria-label': 'configuration' }, el('table.rows.config', null, body))),
  /** @param {any[]} list the settings as the cluster has them */
  set(list) { settings = list; if (!draft) draw(); } };
}

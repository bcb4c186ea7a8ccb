// @ts-check
// What all changes have in common: a plan that is shown first, a name that is typed, the
// result in the same place, and a way back where Kafka has one.

import { el, put } from './store.js';
import { badge, commandBar, confirmTyped, toast } from './ui.js';

/** @typedef {import('./app.js').App} App */

/** An error, where one stands. @param {unknown} e */
export const problem = (e) => el('p.alert', { role: 'alert' }, /** @type {Error} */ (e).message);

/** A table's head. @param {Array<string|[string]>} titles those in brackets are of numbers */
export const head = (titles) => el('thead', null, el('tr', null, titles.map((t) => el(Array.isArray(t) ? 'th.num' : 'th', { scope: 'col' }, Array.isArray(t) ? t[0] : t))));

/** A table that scrolls by itself. @param {string} label @param {Array<string|[string]>} titles @param {Array<Array<any>>} rows numbers stand under titles in brackets */
export function list(label, titles, rows) {
  return el('div.scroll', { tabindex: '0', role: 'region', 'aria-label': label }, el('table.rows', null, head(titles),
    el('tbody', null, rows.map((r) => el('tr', null, r.map((c, i) => el(Array.isArray(titles[i]) ? 'td.num' : 'td', null, c)))))));
}

/** Partitions as they are typed: 0, 2, 5-7. Empty means all. @param {string} text @returns {number[]} */
export function partitionsOf(text) {
  /** @type {Set<number>} */
  const out = new Set();
  for (const part of text.split(',').map((p) => p.trim()).filter((p) => p)) {
    const m = /^(\d{1,6})(?:\s*-\s*(\d{1,6}))?$/.exec(part);
    if (!m || Number(m[2] ?? m[1]) < Number(m[1]) || Number(m[2] ?? m[1]) - Number(m[1]) > 10_000) throw new Error(`“${part}” is not a partition. Write numbers such as 0, 2 or a range such as 5-7, or leave the field empty for all.`);
    for (let p = Number(m[1]); p <= Number(m[2] ?? m[1]); p++) out.add(p);
  }
  return [...out].sort((a, b) => a - b);
}

/**
 * A button that takes a change back.
 * @param {App} app @param {string} title what it does @param {string} path @param {any} body @param {(answer: any) => void} done
 */
export function undoButton(app, title, path, body, done) {
  const said = el('span', { role: 'status' });
  const b = /** @type {HTMLButtonElement} */ (el('button', { type: 'button', title, onclick: async () => {
    b.disabled = true;
    try { const a = await app.api(path, body); b.remove(); put(said, 'Undone.'); done(a); } catch (e) { b.disabled = false; toast(/** @type {Error} */ (e).message, true); }
  } }, 'Undo'));
  return el('span.change', null, b, said);
}

/**
 * A change that is planned, confirmed by a name and carried out. What was planned is what is
 * carried out, whatever the form says by then.
 * @param {{
 *   app: App, path: string, name: string, body: () => any, show: (plan: any) => Node[],
 *   title: string, action: (plan: any) => string, verb: string, ask: (plan: any) => string,
 *   blocked?: (plan: any) => string, done: (plan: any) => string, undo?: (plan: any) => Node|null, changed: (answer: any) => void,
 * }} o blocked says why it cannot be done now
 */
export function planned(o) {
  const box = el('div.plan');
  async function preview() {
    try {
      const body = o.body();
      const a = await o.app.api(o.path, { ...body, confirm: '' });
      const why = o.blocked?.(a.plan) || '';
      box.replaceChildren(...o.show(a.plan), el('p.actions', null, el('button.danger', { type: 'button', disabled: !!why, onclick: () => apply(body, a.plan) }, o.action(a.plan) + '…'), el('span.dim', null, why)),
        commandBar(a.command, a.requests, a.others, true).root);
    } catch (e) { box.replaceChildren(problem(e)); }
  }
  async function apply(/** @type {any} */ body, /** @type {any} */ plan) {
    if (!await confirmTyped({ title: o.title, body: el('p', null, o.ask(plan)), type: o.name, action: o.verb })) return;
    try {
      const a = await o.app.api(o.path, { ...body, confirm: o.name });
      box.replaceChildren(el('p.actions', { role: 'status' }, badge('ok', o.done(a.plan)), o.undo?.(plan) || null), commandBar(a.command, a.requests, a.others, true).root);
      o.changed(a);
    } catch (e) { box.replaceChildren(problem(e)); }
  }
  return { box, preview };
}

// @ts-check
// Verification: start it, see how far it is, read the verdict.

import { el, put, count, duration, stamp } from '../store.js';
import { badge, commandBar, toast, weir } from '../ui.js';

/** @type {import('../app.js').Page} */
export default {
  title: () => 'Verify',
  mount(root, _p, app) {
    const run = /** @type {HTMLButtonElement} */ (el('button.primary.post', { type: 'button', onclick: start }, 'Run verify'));
    const progress = el('p', { role: 'status' });
    const verdict = el('div');
    let shown = '';
    /** @type {any} */
    let timer = 0;
    async function start() {
      try { await app.api('/verify', {}); poll(); } catch (e) { toast(/** @type {Error} */ (e).message, true); }
    }
    async function poll() {
      clearTimeout(timer);
      try {
        const v = await app.api('/verify');
        run.disabled = v.running;
        if (v.running) {
          const p = v.progress;
          put(progress, p ? 'scanning: ' + Object.entries(p).filter(([, x]) => typeof x !== 'object').map(([k, x]) => `${k} ${typeof x === 'number' ? count(x) : x}`).join(', ') : 'beginning…');
          timer = setTimeout(poll, 300);
          return;
        }
        put(progress, v.ended ? `Last run: ${stamp(v.ended)}, in ${duration((v.ended - v.started) / 1000)}` : 'Not run yet.');
        const sig = JSON.stringify([v.report, v.error]);
        if (sig !== shown) { shown = sig; draw(v); }
      } catch (e) { put(progress, /** @type {Error} */ (e).message); }
    }
    function draw(/** @type {any} */ v) {
      if (v.error) { verdict.replaceChildren(el('p.alert', { role: 'alert' }, v.error)); return; }
      if (!v.report) { verdict.replaceChildren(); return; }
      const sources = Object.entries(v.report).filter(([, s]) => s && typeof s === 'object' && 'events' in /** @type {any} */ (s));
      const lines = [['events', 'events', 'in the log, by their sequence numbers'], ['lost', 'lost', 'numbers that are missing'], ['doubled', 'duplicated', 'numbers that are stored more than once'],
        ['miscounted', 'miscounted', 'counts that differ from a recount'], ['gaps', 'gaps', 'ranges that the source no longer offered'], ['dead_letters', 'dead letters', 'stored separately, because they could not be decoded'],
        ['foreign', 'of other programs', 'records without a sequence number'], ['disordered', 'out of order', 'numbers that are lower than the one before'], ['trimmed', 'deleted', 'by retention, before this run'],
        ['unverifiable', 'not verifiable', 'the records to compare them with are deleted'], ['uncounted', 'not counted yet', 'the consumer group has yet to read them']];
      const faults = new Set(['lost', 'doubled', 'miscounted', 'disordered']);
      verdict.replaceChildren(
        el('section.card.narrow', null, el('h2', null, v.report.ok ? badge('ok', 'Nothing lost, nothing duplicated, nothing miscounted') : badge('bad', 'Verification failed: see the numbers in red')),
          el('table.rows', null, el('thead', null, el('tr', null, el('th', { scope: 'col' }, ''), sources.map(([n]) => el('th.num', { scope: 'col' }, n)))),
            el('tbody', null, lines.map(([k, name, meaning]) => el('tr', null, el('th', { scope: 'row' }, name + ' ', el('span.dim.meaning', null, meaning)), sources.map(([, s]) => { const n = /** @type {any} */ (s)[k]; return el(faults.has(k) && n > 0 ? 'td.num.badtext' : 'td.num', null, n === undefined ? '–' : count(n)); }))))),
          sources.flatMap(([n, s]) => (/** @type {any} */ (s).findings || /** @type {any} */ (s).notes || []).map((/** @type {any} */ x) => el('p.dim', null, `${n}: ${typeof x === 'string' ? x : x.text || JSON.stringify(x)}`)))));
    }
    root.append(el('h1', null, 'Verify'), el('p.dim', null, 'Reads the topics from start to end and compares three things: the sequence numbers of the events, the counts in the cursor that the same transactions stored, and the counts in Redis.'),
      el('p.actions', null, run), progress, verdict, commandBar(weir('verify', ''), ['ListOffsets', 'Fetch']).root);
    poll();
    return { unmount() { clearTimeout(timer); } };
  },
};

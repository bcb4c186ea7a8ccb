// @ts-check
// Learn: the stations with the learner's progress, and one station.

import { el, put, attr, clock } from '../store.js';
import { nodes } from '../text.js';
import { Picture } from '../picture.js';
import { badge, commandBar, teach, toast, weir } from '../ui.js';

/** What a link in a station's text leads to. @param {string} a */
const place = (a) => (/^(https?:|\/|#)/.test(a) ? a : '/docs/' + a.replace(/^(\.\.\/)+/, '').replace(/^docs\//, '').replace(/\.md\b/, ''));

/** @param {any} s */
const state = (s) => (s.done ? badge('ok', 'done') : s.unavailable ? badge('off', 'not here') : s.answered ? badge('off', 'begun') : null);

/** The list of stations. @type {import('../app.js').Page} */
export default {
  title: () => 'Learn',
  mount(root, _p, app) {
    const progress = /** @type {HTMLProgressElement} */ (el('progress', { max: '13', value: '0', 'aria-label': 'stations done' }));
    const text = el('p', { role: 'status' });
    const list = el('ol.stations');
    const again = overButton(app, 'Start over', () => 0, load);
    again.hidden = true;
    root.append(el('h1', null, 'Learn Kafka'),
      el('p.narrow', null, 'Short stations, on the streams that run here. Each has something to read, a question, and something to do. weir looks at Kafka and Redis and shows when it is done, whichever tool you use. Take them in any order.'),
      el('div.learn-progress', null, progress, text, again), list,
      el('p.narrow', null, 'Then write your own program: ', el('a', { href: '/exercises' }, 'nine exercises'), ' check it. All words are in the ', el('a', { href: '/docs/reference/glossary' }, 'glossary'), '.'),
      commandBar(weir('learn', '')).root);
    async function load() {
      try {
        const a = await app.api('/learn');
        const done = a.stations.filter((/** @type {any} */ s) => s.done).length;
        progress.max = a.stations.length;
        progress.value = done;
        put(text, done === a.stations.length ? 'All stations are done.' : `${done} of ${a.stations.length} stations done`);
        again.hidden = !a.stations.some((/** @type {any} */ s) => s.done || s.answered);
        list.replaceChildren(...a.stations.map((/** @type {any} */ s) => el('li' + (s.number === a.next ? '.next' : '') + (s.done ? '.done' : ''), null,
          el('a.station-link', { href: '/learn/' + s.number }, el('span.station-number', { 'aria-hidden': 'true' }, s.done ? '✓' : s.number),
            el('span', null, el('b', { 'data-plain': true }, s.title), el('span.station-able', { 'data-plain': true }, 'You will be able to ' + s.able)),
            el('span.station-state', null, state(s) || (s.number === a.next ? el('span.chip', null, 'next') : null), el('span.dim', null, `${s.minutes} min`))))));
      } catch (e) { list.replaceChildren(el('li', null, el('p.alert', { role: 'alert' }, /** @type {Error} */ (e).message))); }
    }
    load();
    return {};
  },
};

/**
 * A button that starts a station over, or all of them, when it is clicked twice.
 * @param {import('../app.js').App} app @param {string} text @param {() => number|null} number 0 for all; null while it is not known @param {() => void} then
 */
function overButton(app, text, number, then) {
  let asked = 0;
  const b = /** @type {HTMLButtonElement} */ (el('button', { type: 'button', onclick: async () => {
    const n = number();
    if (n === null) return;
    if (Date.now() - asked > 6000) {
      asked = Date.now();
      put(b, n ? 'Forget this station? Click again' : 'Forget all stations? Click again');
      setTimeout(() => { if (Date.now() - asked >= 6000) put(b, text); }, 6000);
      return;
    }
    asked = 0;
    put(b, text);
    try { await app.api('/learn/reset', { station: n }); toast('Started over. Topics and groups are still there.'); then(); } catch (e) { toast(/** @type {Error} */ (e).message, true); }
  } }, text));
  return b;
}

/** The commands of a station, each with its tool. @param {any[]} list */
function commands(list) {
  return list.map((c) => commandBar(c.command).root);
}

/** One station. @type {import('../app.js').Page} */
export const station = {
  title: (p) => 'Station ' + p[0],
  mount(root, [name], app) {
    const path = '/learn/' + encodeURIComponent(name);
    const title = el('h1', null, ' ');
    const crumb = el('p.crumb', null, el('a', { href: '/learn' }, 'Learn'));
    const able = el('p.claim');
    const text = el('section.doc.station-text');
    const picture = new Picture();
    const question = el('section.card', { hidden: true });
    const task = el('div.doc');
    const tools = el('div');
    const others = el('details.others', null, el('summary', null, 'The same with other tools'), el('div'));
    const status = el('div.station-check', { role: 'status' });
    const checkNow = /** @type {HTMLButtonElement} */ (el('button.primary', { type: 'button', onclick: look }, 'Check now'));
    const production = el('section.doc');
    const turn = el('p.docs-turn');
    const problem = el('div');
    const aside = el('aside.station-picture', { 'aria-label': 'Your cluster now' }, el('h2', { 'data-plain': true }, 'Your cluster now'), picture.root);
    const columns = el('div.station', null,
      el('div.station-main', null, text, question,
        el('section.card', null, el('h2', null, 'Do'), task, tools, others),
        el('section.card', null, el('h2', null, 'Done?'), status, el('p.actions', null, checkNow, overButton(app, 'Start this station over', () => last?.number ?? null, () => load(true)))),
        production), aside);
    root.append(crumb, title, able, problem, columns, turn);
    let gone = false; // an answer that comes late must not draw on the next page
    /** @type {any} */
    let last = null;
    let asked = '';
    /** The answer that was given here a moment ago: its form stays, with the focus in it. */
    let own = '';

    /** @param {any} c */
    function checked(c) {
      status.replaceChildren(c.done ? badge('ok', 'Done' + (last?.done_at ? ' at ' + clock(last.done_at) : '')) : badge('off', 'Not yet'),
        ...(c.done ? [] : [el('p', null, c.reason)]), ...(c.seen?.length ? [el('p.dim', null, 'weir sees:'), el('ul', null, c.seen.map((/** @type {string} */ s) => el('li', null, s)))] : []));
    }

    async function look() {
      checkNow.disabled = true;
      try { const c = await app.api(path + '/check', {}); if (last) last.check = c; checked(c); await load(false); } catch (e) { problem.replaceChildren(el('p.alert', { role: 'alert' }, /** @type {Error} */ (e).message)); }
      checkNow.disabled = false;
    }

    /** @param {any} q */
    function ask(q) {
      const sig = JSON.stringify([q.text, q.kind, q.choices, q.given, q.right]);
      question.hidden = !(q.text || []).length;
      if (own && q.given === own) { own = ''; asked = sig; return; }
      if (sig === asked || question.contains(document.activeElement) && q.given === last?.question.given) return;
      asked = sig;
      const go = el('button.primary', { type: 'submit' }, 'Answer');
      const field = q.kind === 'choice'
        ? el('fieldset.choices', null, el('legend.sr', null, 'Your answer'), q.choices.map((/** @type {string} */ c) => el('label', null, el('input', { type: 'radio', name: 'answer', value: c, checked: c === q.given }), ' ' + c)))
        : el('label', null, 'Your answer ', el('input', { name: 'answer', inputmode: 'decimal', autocomplete: 'off', value: q.given || '', size: '12' }));
      const result = el('div', { role: 'status' }, ...(q.right === null ? [] : [badge(q.right ? 'ok' : 'warn', q.right ? 'Right' : 'Not right'), el('div.doc', null, nodes(q.explanation, place))]));
      const form = el('form', { onsubmit: async (/** @type {SubmitEvent} */ e) => {
        e.preventDefault();
        const answer = String(new FormData(/** @type {HTMLFormElement} */ (e.target)).get('answer') || '').trim();
        if (!answer) { toast('Choose or type an answer first'); return; }
        try {
          const a = await app.api(path + '/answer', { answer });
          result.replaceChildren(badge(a.right ? 'ok' : 'warn', a.right ? 'Right' : 'Not right'), el('div.doc', null, nodes(a.explanation, place)));
          own = answer;
          await load(false);
        } catch (err) { result.replaceChildren(el('p.alert', { role: 'alert' }, /** @type {Error} */ (err).message)); }
      } }, field, el('p.actions', null, go));
      question.replaceChildren(el('h2', null, 'Question'), el('div.doc', null, nodes(q.text, place)), ...(q.kind ? [form, result] : []));
    }

    /** @param {boolean} whole also draws what does not change by itself */
    async function load(whole) {
      try {
        const d = await app.api(path);
        if (gone) return;
        problem.replaceChildren();
        const first = whole || !last;
        ask(d.question);
        last = d;
        if (first) {
          put(title, `${d.number}. ${d.title}`);
          document.title = d.title + ' · weir';
          put(able, 'You will be able to ' + d.able);
          text.replaceChildren(...nodes(d.text, place));
          task.replaceChildren(...nodes(d.task, place));
          production.replaceChildren(el('h2', null, 'In production'), ...nodes(d.production, place));
          turn.replaceChildren(d.number > 1 ? el('a', { href: '/learn/' + (d.number - 1) }, '← Station ' + (d.number - 1)) : el('span'), d.number < 13 ? el('a', { href: '/learn/' + (d.number + 1) }, `Station ${d.number + 1} →`) : el('a', { href: '/exercises' }, 'Exercises →'));
        }
        const sig = JSON.stringify([d.commands, d.others]);
        if (tools.dataset.sig !== sig) {
          tools.dataset.sig = sig;
          tools.replaceChildren(...commands(d.commands || []));
          others.hidden = !d.others?.length;
          /** @type {Element} */ (others.lastElementChild).replaceChildren(...(d.others || []).map((/** @type {any} */ c) => el('div', null, el('span.dim', null, c.tool), commandBar(c.command).root)));
        }
        attr(checkNow, 'disabled', d.unavailable ? '' : null);
        if (d.unavailable && !d.done) status.replaceChildren(badge('off', 'Not possible here'), el('p', null, d.unavailable));
        else checked(d.check);
        picture.set(d.picture, app.state);
        aside.hidden = picture.root.hidden;
        columns.classList.toggle('alone', !!aside.hidden);
      } catch (e) {
        if (gone) return;
        if (!last) root.replaceChildren(teach('This station cannot be shown', /** @type {Error} */ (e).message, el('a.button', { href: '/learn' }, 'All stations')));
        else problem.replaceChildren(el('p.alert', { role: 'alert' }, /** @type {Error} */ (e).message));
      }
    }
    load(true);
    let busy = false;
    const timer = setInterval(async () => {
      if (document.hidden || app.paused || busy) return;
      busy = true;
      await load(false);
      busy = false;
    }, 2000);
    return { unmount() { gone = true; clearInterval(timer); } };
  },
};

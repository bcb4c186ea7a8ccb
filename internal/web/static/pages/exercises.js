// @ts-check
// Exercises: the list, and one with its starter programs and the last report.

import { el, stamp } from '../store.js';
import { nodes } from '../text.js';
import { Course } from '../course.js';
import { badge, commandBar, teach, weir } from '../ui.js';

/** @param {string} v */
const verdict = (v) => badge(v === 'passed' ? 'ok' : v === 'wrong' ? 'bad' : 'warn', v);

/** @type {import('../app.js').Page} */
export default {
  title: () => 'Exercises',
  mount(root, _p, app) {
    const cards = el('div.cards');
    root.append(el('h1', null, 'Exercises'), el('p.narrow', null, 'Write a small program in any language. weir runs it in a private cluster, does to it what production would, and reports what is wrong, with the event that shows it. Begin with count.'),
      cards, commandBar(weir('exercise list', '')).root);
    app.api('/exercises').then((a) => {
      cards.replaceChildren(...a.exercises.map((/** @type {any} */ x) => el('article.card.lab-card', null,
        el('h2', { 'data-plain': true }, el('a', { href: '/exercises/' + x.name }, x.title), x.last ? verdict(x.last.verdict) : null),
        el('p', null, x.summary), el('p.dim', null, x.last ? x.last.headline : `about ${x.minutes} minutes`), el('code.dim', null, x.name))));
    }).catch((e) => cards.replaceChildren(el('p.alert', { role: 'alert' }, e.message)));
    return {};
  },
};

/** Where and when something was observed, in words. @param {any} e */
const place = (e) => [e.topic && `topic ${e.topic}`, e.partition >= 0 && `partition ${e.partition}`, e.offset >= 0 && `offset ${e.offset}`, e.key && `key ${e.key}`, e.at && stamp(Date.parse(e.at))].filter(Boolean).join(', ');

/** The last report: the verdict, the evidence, the course. @param {any} r */
function result(r) {
  const course = new Course();
  const t = r.timeline || { series: [], marks: [], seconds: 0 };
  // One picture for each unit, with all that happened.
  const units = [...new Set((t.series || []).map((/** @type {any} */ s) => s.unit))];
  course.set((t.series || []).map((/** @type {any} */ s) => ({ case: s.name, panel: s.unit, x: s.points.map((/** @type {number[]} */ p) => p[0]), y: s.points.map((/** @type {number[]} */ p) => p[1]) })),
    units.length ? (t.marks || []).map((/** @type {any} */ m) => ({ case: t.series[0].name, x: m.t, text: m.what + (m.detail ? ': ' + m.detail : '') })) : []);
  return el('div', null,
    el('p.verdict-line', null, verdict(r.verdict), ' ', el('b', null, r.headline)),
    el('p.dim', null, `${stamp(Date.parse(r.started))}, ${r.seconds.toFixed(1)} s: `, el('code', null, r.command)),
    r.why ? el('p', null, el('b', null, 'Why: '), r.why) : null,
    r.hint ? el('p', null, el('b', null, 'Hint: '), r.hint) : null,
    (r.evidence || []).length ? el('div', null, el('b', null, 'Evidence:'), el('ul.log', null, r.evidence.map((/** @type {any} */ e) => el('li', null, e.what, ' ', el('span.dim', null, place(e)))))) : null,
    (r.checks || []).length ? el('div.scroll', { tabindex: '0', role: 'region', 'aria-label': 'What must hold' }, el('table.rows.checks', null,
      el('thead', null, el('tr', null, ['', 'What must hold', 'Expected', 'Measured'].map((h) => el('th', { scope: 'col' }, h || el('span.sr', null, 'Holds'))))),
      el('tbody', null, r.checks.map((/** @type {any} */ c) => el('tr', null, el('td', null, badge(c.ok ? 'ok' : 'bad', c.ok ? 'holds' : 'does not hold')), el('td', null, c.claim), el('td', null, c.want), el('td', null, c.got)))))) : null,
    units.length ? el('div', null, el('h3', null, 'What happened'), course.root) : null,
    (t.marks || []).length ? el('details', { open: true }, el('summary', null, 'Moment by moment'), el('ol.log.moments', null, t.marks.map((/** @type {any} */ m) => el('li', null, el('span.num', null, m.t.toFixed(1) + ' s'), ' ', el('b', null, m.what), m.detail ? ' ' + m.detail : '')))) : null,
    r.output ? el('details', { open: /output below/.test(r.hint) }, el('summary', null, 'The end of what the program printed'), el('pre.raw', { tabindex: '0' }, r.output)) : null);
}

/** One exercise. @type {import('../app.js').Page} */
export const exercise = {
  title: (p) => p[0],
  mount(root, [name], app) {
    const path = '/exercises/' + encodeURIComponent(name);
    const text = el('article.doc');
    const report = el('section.card', { id: 'last-check' });
    const jump = el('span', null);
    root.append(el('p.crumb', null, el('a', { href: '/exercises' }, 'Exercises'), jump));
    const starters = ['python', 'go'].map((lang) => el('a.button', { href: `/api/v1${path}/starter.zip?lang=${lang}`, download: '' }, `Starter in ${lang === 'go' ? 'Go' : 'Python'}`));
    root.append(el('div.exercise', null, el('div', null, text),
      el('aside', null, el('section.card', null, el('h2', { 'data-plain': true }, 'Begin'), el('p.actions', null, starters), commandBar(`weir exercise start ${name} --lang python`).root, el('p', null, 'Then check it:'), commandBar(weir('exercise check', name, '--dir', name)).root), report)));
    let at = '';
    const load = async (/** @type {boolean} */ first) => {
      try {
        const x = await app.api(path);
        if (first) { text.replaceChildren(...nodes(x.text, (a) => (/^(https?:|\/|#)/.test(a) ? a : '/docs/' + a.replace(/\.md\b/, '')))); document.title = x.title + ' · weir'; }
        if (!first && at === (x.last?.started || '')) return;
        at = x.last?.started || '';
        if (x.last) jump.replaceChildren(' · ', el('a', { href: '#last-check' }, 'Last check'), ': ', verdict(x.last.verdict));
        report.replaceChildren(el('h2', null, 'Last check'), x.last ? result(x.last) : teach('Not checked yet', 'The report of weir exercise check appears here, with everything that happened to your program.'));
      } catch (e) { if (first) text.replaceChildren(el('p.alert', { role: 'alert' }, /** @type {Error} */ (e).message)); }
    };
    load(true);
    const timer = setInterval(() => { if (!document.hidden) load(false); }, 3000);
    return { unmount() { clearInterval(timer); } };
  },
};
